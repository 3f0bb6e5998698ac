package projections

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/eventstore"
)

// version is when something held, and the event that made it so.
type version struct {
	position eventstore.Position
	from     time.Time
	to       *time.Time // exclusive; nil: it still holds
	event    uuid.UUID
	actor    Actor // without its name
}

func versionOf(e *eventstore.Envelope) version {
	return version{position: e.Position, from: e.Meta.At, event: e.ID, actor: Actor{Kind: e.Meta.Actor.Kind, ID: optional(e.Meta.Actor.ID)}}
}

// heldAt is the condition that the version v held at a time.
func heldAt(v, time string) string {
	return fmt.Sprintf("%[1]s.from_at <= %[2]s AND (%[1]s.to_at IS NULL OR %[1]s.to_at > %[2]s)", v, time)
}

// versionColumns are what every table of versions has (engine.VersionsTable), of the version v.
const versionColumns = "v.position, v.from_at, v.to_at, v.event_id, v.actor_kind, v.actor_id"

func (v *version) places() []any {
	return []any{&v.position, &v.from, &v.to, &v.event, &v.actor.Kind, &v.actor.ID}
}
