package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/eventstore"
)

// Succession is the versions of one aggregate, as far as a page continues them. S is what a version holds.
type Succession[S any] struct {
	current S
	known   bool       // current is one
	ended   *time.Time // when the one ended that held before the page; nil: it did not
	begun   []version[S]
}

// version is when something held, and the event that made it so.
type version[S any] struct {
	position  eventstore.Position
	from      time.Time
	to        *time.Time // exclusive; nil: it still holds
	event     uuid.UUID
	actorKind string
	actorID   string
	state     S
}

// Continued is the succession of an aggregate of which current is the version that holds.
func Continued[S any](current S) Succession[S] { return Succession[S]{current: current, known: true} }

// Current gives the newest version; false before the first, when it is the zero value.
func (s *Succession[S]) Current() (current S, known bool) { return s.current, s.known }

// Follow notes the state after an event; same says whether it is Current.
func (s *Succession[S]) Follow(e *eventstore.Envelope, state S, same bool) {
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
	s.begun = append(s.begun, version[S]{
		position: e.Position, from: at, event: e.ID, actorKind: e.Meta.Actor.Kind, actorID: e.Meta.Actor.ID,
		state: state,
	})
}

// Versions says how the versions of a kind of aggregate come to be: of each aggregate what it held, from when and until
// when, and the event that made it so.
type Versions[S any, R Row] struct {
	// Of is the aggregates. Its ByIDs and Scan read the versions that hold, from the table.
	Of         Aggregate[uuid.UUID, R]
	Succession func(R) *Succession[S]
	// Concerns is false for events that change no version, so that their aggregates need not be loaded; nil: all do.
	Concerns func(*eventstore.Envelope) bool
	State    []Column[S]
}

// versionsTable is a table of versions.
type versionsTable[S any, R Row] struct {
	Versions[S, R]
	name    string
	columns []string
	end     string // SQL
}

// Table makes the table of the versions. Its columns are id, the aggregate's id, then position, from_at, to_at (null
// while it holds), event_id, actor_kind and actor_id of the event that began the version, then those of State.
func (v Versions[S, R]) Table(name, id string) Table {
	columns := []string{id, "position", "from_at", "to_at", "event_id", "actor_kind", "actor_id"}
	for _, column := range v.State {
		columns = append(columns, column.name)
	}
	t := versionsTable[S, R]{
		Versions: v, name: name, columns: columns,
		end: fmt.Sprintf(`UPDATE %s v SET to_at = e.at FROM unnest($1::uuid[], $2::timestamptz[]) e (id, at)
			WHERE v.%s = e.id AND v.to_at IS NULL`, name, id),
	}
	return Table{Name: name, Columns: columns, Apply: t.apply, Fold: func() Fold {
		return &wholeVersions[S, R]{table: t, found: map[uuid.UUID]R{}}
	}}
}

func (v Versions[S, R]) concerns(e *eventstore.Envelope) bool {
	return v.Concerns == nil || v.Concerns(e)
}

// apply ends the versions that held before the page, then adds those that it begins.
func (t versionsTable[S, R]) apply(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) error {
	concerned := slices.DeleteFunc(slices.Clone(events), func(e *eventstore.Envelope) bool { return !t.concerns(e) })
	rows, err := t.Of.fold(ctx, tx, concerned)
	if err != nil {
		return err
	}
	var ended [][16]byte // pgx would send a uuid.UUID through its text, at many times the cost
	var endedAt []time.Time
	var begun CopyRows
	for _, row := range rows {
		id, s := t.Of.ID(row), t.Succession(row)
		if s.ended != nil {
			ended, endedAt = append(ended, id), append(endedAt, *s.ended)
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
	return begun.Write(ctx, tx.Conn().PgConn(), t.name, t.columns)
}

// copyRow adds a version for COPY.
func (t versionsTable[S, R]) copyRow(to *CopyRows, id uuid.UUID, v *version[S]) error {
	to.Row(len(t.columns))
	to.UUID(id)
	to.Bigint(int64(v.position))
	to.Time(v.from)
	if v.to == nil {
		to.Null()
	} else {
		to.Time(*v.to)
	}
	to.UUID(v.event)
	to.Text(v.actorKind)
	to.OptionalText(v.actorID)
	for _, column := range t.State {
		if err := column.copy(to, v.state); err != nil {
			return fmt.Errorf("column %s of %s: %w", column.name, t.name, err)
		}
	}
	return nil
}

// wholeVersions holds every version that there ever was.
type wholeVersions[S any, R Row] struct {
	table versionsTable[S, R]
	found map[uuid.UUID]R
}

func (w *wholeVersions[S, R]) Add(e *eventstore.Envelope) error {
	if !w.table.concerns(e) {
		return nil
	}
	id, err := w.table.Of.subject(e)
	if err != nil {
		return err
	}
	row, met := w.found[id]
	if !met {
		row = w.table.Of.Fresh(id)
		w.found[id] = row
	}
	return row.Apply(e)
}

func (w *wholeVersions[S, R]) Rows(to *CopyRows, yield func() error) error {
	for id, row := range w.found {
		s := w.table.Succession(row)
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
