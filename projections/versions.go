package projections

import (
	"fmt"

	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/eventstore"
)

// heldAt is the condition that the version v held at a time.
func heldAt(v, time string) string {
	return fmt.Sprintf("%[1]s.from_at <= %[2]s AND (%[1]s.to_at IS NULL OR %[1]s.to_at > %[2]s)", v, time)
}

// versionColumns are what every table of versions (engine.Versions) says about the cause of version v.
const versionColumns = "v.from_at, v.event_id, v.actor_kind, coalesce(v.actor_id, '')"

// causePlaces are where versionColumns go.
func causePlaces(c *access.Cause) []any { return []any{&c.At, &c.EventID, &c.By.Kind, &c.By.ID} }

// causeOf is an event as the cause of something.
func causeOf(e *eventstore.Envelope) access.Cause {
	return access.Cause{EventID: e.ID, At: e.Meta.At, By: access.Actor(e.Meta.Actor)}
}
