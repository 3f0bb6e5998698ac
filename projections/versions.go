package projections

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

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

// versionColumns are what every table of versions has, of the version v.
const versionColumns = "v.position, v.from_at, v.to_at, v.event_id, v.actor_kind, v.actor_id"

func (v *version) places() []any {
	return []any{&v.position, &v.from, &v.to, &v.event, &v.actor.Kind, &v.actor.ID}
}

func (v *version) values() []any {
	return []any{int64(v.position), v.from, v.to, rawUUID(v.event), v.actor.Kind, v.actor.ID}
}

// succession is the versions of one aggregate, as far as a page goes on with them.
type succession[S any] struct {
	current S
	known   bool       // current is one
	ended   *time.Time // when the one ended that held before the page; nil: it did not
	begun   []began[S]
}

type began[S any] struct {
	version
	state S
}

// follow notes the state after an event; same says whether it is that of before.
func (s *succession[S]) follow(e *eventstore.Envelope, state S, same bool) {
	if s.known && same {
		return
	}
	at := e.Meta.At
	switch {
	case len(s.begun) > 0:
		s.begun[len(s.begun)-1].to = &at
	case s.known:
		s.ended = &at
	}
	s.current, s.known = state, true
	s.begun = append(s.begun, began[S]{versionOf(e), state})
}

// versionsTable is a table of versions. Its first column is the aggregate's id, then come those of version.
type versionsTable struct {
	table   string
	columns []string
	end     string
}

func newVersionsTable(table, id string, columns ...string) versionsTable {
	return versionsTable{
		table:   table,
		columns: append([]string{id, "position", "from_at", "to_at", "event_id", "actor_kind", "actor_id"}, columns...),
		end: fmt.Sprintf(`UPDATE %s v SET to_at = e.at FROM unnest($1::uuid[], $2::timestamptz[]) e (id, at)
			WHERE v.%s = e.id AND v.to_at IS NULL`, table, id),
	}
}

// changedVersions is what a page does to a table of versions.
type changedVersions struct {
	ended   []rawUUID // whose open version ends
	endedAt []time.Time
	begun   [][]any
}

// addVersions takes over what one aggregate's succession did. values gives the columns behind those of version.
func addVersions[S any](c *changedVersions, id uuid.UUID, s *succession[S], values func(S) []any) {
	if s.ended != nil {
		c.ended, c.endedAt = append(c.ended, rawUUID(id)), append(c.endedAt, *s.ended)
	}
	for i := range s.begun {
		row := append([]any{rawUUID(id)}, s.begun[i].values()...)
		c.begun = append(c.begun, append(row, values(s.begun[i].state)...))
	}
}

func (t versionsTable) write(ctx context.Context, tx pgx.Tx, c *changedVersions) error {
	if len(c.ended) > 0 {
		if _, err := tx.Exec(ctx, t.end, c.ended, c.endedAt); err != nil {
			return err
		}
	}
	if len(c.begun) == 0 {
		return nil
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{t.table}, t.columns, pgx.CopyFromRows(c.begun))
	return err
}
