package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/claim"
	"github.com/secboard/secboard/eventstore"
)

// row is one aggregate as a table shows it, changed by the aggregate's events.
type row interface {
	apply(e *eventstore.Envelope) error
	exists() bool
}

// aggregate says how the rows of one kind of aggregate come to be. The live tables and the rows of an earlier time
// are folded by the same functions.
type aggregate[ID comparable, R row] struct {
	kind  string
	parse func(id string) (ID, error) // reads the second part of a stream's name
	fresh func(id ID) R
	// byIDs selects rows of the table by an array of ids; scan reads one, and further columns into place.
	byIDs string
	scan  func(row pgx.Row, place ...any) (R, error)
	id    func(R) ID
}

// table makes the table whose rows the aggregates are.
func (a aggregate[ID, R]) table(write upsert[R]) table {
	return table{
		name: write.table, columns: write.names(),
		apply: func(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) error {
			rows, err := a.fold(ctx, tx, events)
			if err != nil {
				return err
			}
			return write.write(ctx, tx, rows)
		},
		whole: func() whole { return &wholeAggregate[ID, R]{a, write, map[ID]R{}} },
	}
}

// wholeAggregate holds the rows of all aggregates of a kind.
type wholeAggregate[ID comparable, R row] struct {
	of    aggregate[ID, R]
	write upsert[R]
	found map[ID]R
}

func (w *wholeAggregate[ID, R]) add(e *eventstore.Envelope) error {
	id, err := w.of.subject(e)
	if err != nil {
		return err
	}
	row, met := w.found[id]
	if !met {
		row = w.of.fresh(id)
		w.found[id] = row
	}
	return row.apply(e)
}

func (w *wholeAggregate[ID, R]) rows(to *copyRows, yield func() error) error {
	for _, row := range w.found {
		if !row.exists() {
			continue
		}
		if err := w.write.copyRow(to, row); err != nil {
			return err
		}
		if err := yield(); err != nil {
			return err
		}
	}
	return nil
}

// subject reads whom an event is about.
func (a aggregate[ID, R]) subject(e *eventstore.Envelope) (ID, error) {
	_, text := domain.SplitStream(e.Stream)
	id, err := a.parse(text)
	if err != nil {
		err = fmt.Errorf("its stream %q is not named after a %s: %w", e.Stream, a.kind, err)
	}
	return id, err
}

// fold applies events to the rows that they concern and gives those to write.
func (a aggregate[ID, R]) fold(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) ([]R, error) {
	subjects := make([]ID, len(events))
	rows := make(map[ID]R, len(events))
	var known []ID
	for i := range events {
		id, err := a.subject(events[i])
		if err != nil {
			return nil, err
		}
		subjects[i] = id
		if _, met := rows[id]; !met {
			rows[id] = a.fresh(id)
			if events[i].Revision > 0 {
				known = append(known, id)
			}
		}
	}
	if err := a.load(ctx, tx, known, rows); err != nil {
		return nil, err
	}
	for i := range events {
		if err := rows[subjects[i]].apply(events[i]); err != nil {
			return nil, err
		}
	}
	changed := make([]R, 0, len(rows))
	for _, row := range rows {
		if row.exists() {
			changed = append(changed, row)
		}
	}
	return changed, nil
}

// load puts the rows that the table has into rows.
func (a aggregate[ID, R]) load(ctx context.Context, tx pgx.Tx, ids []ID, rows map[ID]R) error {
	if len(ids) == 0 {
		return nil
	}
	found, err := tx.Query(ctx, a.byIDs, ids)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		row, err := a.scan(found)
		if err != nil {
			return err
		}
		rows[a.id(row)] = row
	}
	return found.Err()
}

// asOf gives the aggregates as they were at a time, from their history. Those that did not exist are left out.
func (a aggregate[ID, R]) asOf(ctx context.Context, pool *pgxpool.Pool, ids []ID, at time.Time) (map[ID]R, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	subjects := make([]string, len(ids))
	rows := make(map[ID]R, len(ids))
	for i, id := range ids {
		subjects[i] = fmt.Sprint(id)
		rows[id] = a.fresh(id)
	}
	const query = `SELECT subject_id, type, revision, at, data FROM history
		WHERE kind = $1 AND subject_id = ANY($2) AND at <= $3 ORDER BY position`
	found, err := pool.Query(ctx, query, a.kind, subjects, at)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var subject string
		var e eventstore.Envelope
		if err := found.Scan(&subject, &e.Type, &e.Revision, &e.Meta.At, &e.Data); err != nil {
			return nil, err
		}
		if e.Event, err = eventstore.DecodeData(e.Type, e.Data); err != nil {
			return nil, err
		}
		id, err := a.parse(subject)
		if err != nil {
			return nil, err
		}
		if err := rows[id].apply(&e); err != nil {
			return nil, fmt.Errorf("the history of %s %s: %w", a.kind, subject, err)
		}
	}
	if err := found.Err(); err != nil {
		return nil, err
	}
	for id, row := range rows {
		if !row.exists() {
			delete(rows, id)
		}
	}
	return rows, nil
}

// oneAsOf is asOf for one aggregate; ErrNotFound when it did not exist.
func (a aggregate[ID, R]) oneAsOf(ctx context.Context, pool *pgxpool.Pool, id ID, at time.Time) (R, error) {
	rows, err := a.asOf(ctx, pool, []ID{id}, at)
	row, existed := rows[id]
	if err == nil && !existed {
		err = ErrNotFound
	}
	return row, err
}

// lifetime is what every row holds.
type lifetime struct {
	createdAt time.Time
	updatedAt time.Time
	revision  eventstore.Revision
}

func (l *lifetime) exists() bool { return !l.createdAt.IsZero() }

// applied notes an event. exists says whether the aggregate exists after it.
func (l *lifetime) applied(e *eventstore.Envelope, exists bool) error {
	if !exists {
		if _, fence := e.Event.(claim.Contested); fence {
			return nil // the aggregate was about to begin when its claim was taken over
		}
		return errors.New("it changes something that does not exist yet")
	}
	if l.createdAt.IsZero() {
		l.createdAt = e.Meta.At
	}
	l.updatedAt, l.revision = e.Meta.At, e.Revision
	return nil
}
