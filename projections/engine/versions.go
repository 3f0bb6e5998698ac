package projections

import (
	"context"
	"fmt"
	"slices"
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

// versionsTable is a table of versions of the aggregates R with the state S. Its first column is the aggregate's id, then
// come those of version.
type versionsTable[S any, R row] struct {
	of         aggregate[uuid.UUID, R]
	succession func(R) *succession[S]
	concerns   func(*eventstore.Envelope) bool // false for events that change no state, so that their aggregates need not be loaded
	name       string
	columns    []string
	state      []column[S]
	end        string // SQL
}

func newVersionsTable[S any, R row](name, id string, of aggregate[uuid.UUID, R], successionOf func(R) *succession[S],
	concerns func(*eventstore.Envelope) bool, state ...column[S],
) versionsTable[S, R] {
	columns := []string{id, "position", "from_at", "to_at", "event_id", "actor_kind", "actor_id"}
	for _, column := range state {
		columns = append(columns, column.name)
	}
	return versionsTable[S, R]{
		of: of, succession: successionOf, concerns: concerns, name: name, columns: columns, state: state,
		end: fmt.Sprintf(`UPDATE %s v SET to_at = e.at FROM unnest($1::uuid[], $2::timestamptz[]) e (id, at)
			WHERE v.%s = e.id AND v.to_at IS NULL`, name, id),
	}
}

func (t versionsTable[S, R]) table() table {
	return table{name: t.name, columns: t.columns, apply: t.apply, whole: func() whole {
		return &wholeVersions[S, R]{table: t, found: map[uuid.UUID]R{}}
	}}
}

// apply ends the versions that held before the page, then adds those that it begins.
func (t versionsTable[S, R]) apply(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) error {
	timelines, err := t.of.fold(ctx, tx, slices.DeleteFunc(slices.Clone(events), func(e *eventstore.Envelope) bool { return !t.concerns(e) }))
	if err != nil {
		return err
	}
	var ended []rawUUID
	var endedAt []time.Time
	var begun copyRows
	for _, timeline := range timelines {
		id, s := t.of.id(timeline), t.succession(timeline)
		if s.ended != nil {
			ended, endedAt = append(ended, rawUUID(id)), append(endedAt, *s.ended)
		}
		for i := range s.begun {
			if err := t.copyRow(&begun, id, &s.begun[i]); err != nil {
				return err
			}
		}
	}
	if len(ended) > 0 {
		if _, err := tx.Exec(ctx, t.end, ended, endedAt); err != nil {
			return err
		}
	}
	return begun.write(ctx, tx.Conn().PgConn(), t.name, t.columns)
}

// copyRow adds a version for COPY.
func (t versionsTable[S, R]) copyRow(to *copyRows, id uuid.UUID, v *began[S]) error {
	to.row(len(t.columns))
	to.uuid(rawUUID(id))
	to.bigint(int64(v.position))
	to.time(v.from)
	if v.to == nil {
		to.null()
	} else {
		to.time(*v.to)
	}
	to.uuid(rawUUID(v.event))
	to.text(v.actor.Kind)
	if v.actor.ID == nil {
		to.null()
	} else {
		to.text(*v.actor.ID)
	}
	for _, column := range t.state {
		if err := column.copy(to, v.state); err != nil {
			return fmt.Errorf("column %s of %s: %w", column.name, t.name, err)
		}
	}
	return nil
}

// wholeVersions holds every version that there ever was.
type wholeVersions[S any, R row] struct {
	table versionsTable[S, R]
	found map[uuid.UUID]R
}

func (w *wholeVersions[S, R]) add(e *eventstore.Envelope) error {
	if !w.table.concerns(e) {
		return nil
	}
	id, err := w.table.of.subject(e)
	if err != nil {
		return err
	}
	timeline, met := w.found[id]
	if !met {
		timeline = w.table.of.fresh(id)
		w.found[id] = timeline
	}
	return timeline.apply(e)
}

func (w *wholeVersions[S, R]) rows(to *copyRows, yield func() error) error {
	for id, timeline := range w.found {
		s := w.table.succession(timeline)
		for i := range s.begun {
			if err := w.table.copyRow(to, id, &s.begun[i]); err != nil {
				return err
			}
			if err := yield(); err != nil {
				return err
			}
		}
	}
	return nil
}
