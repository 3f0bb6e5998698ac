package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/eventstore"
)

// Row is one aggregate as a table shows it, changed by the aggregate's events.
type Row interface {
	// Apply applies the next event of the aggregate. An error is a defect of the event.
	Apply(e *eventstore.Envelope) error
	// Exists says whether there is such an aggregate, after the events that were applied: else it has no row.
	Exists() bool
}

// Aggregate says how the rows of one kind of aggregate come to be. The live tables and the rows of an earlier time
// are folded by the same functions.
type Aggregate[ID comparable, R Row] struct {
	Kind  string                      // the first part of the names of its streams
	Parse func(id string) (ID, error) // reads the second part of a stream's name
	Fresh func(id ID) R               // the row before the first event
	// ByIDs selects rows of the table by an array of ids; Scan reads one, and further columns into place. An aggregate
	// that has no table needs neither these nor ID.
	ByIDs string
	Scan  func(row pgx.Row, place ...any) (R, error)
	ID    func(R) ID
}

// Table makes the table whose rows the aggregates are.
func (a Aggregate[ID, R]) Table(write Upsert[R]) Table {
	return Table{
		Name: write.table, Columns: write.names(),
		Apply: func(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) error {
			rows, err := a.fold(ctx, tx, events)
			if err != nil {
				return err
			}
			return write.write(ctx, tx, rows)
		},
		Fold: func() Fold { return &wholeAggregate[ID, R]{a, write, map[ID]R{}} },
		Load: a.loadNamed,
	}
}

// loadNamed gives rows by the second parts of their streams' names. What names no row is left out.
func (a Aggregate[ID, R]) loadNamed(ctx context.Context, pool *pgxpool.Pool, names []string) (map[string]Row, error) {
	var ids []ID
	for _, name := range names {
		if id, err := a.Parse(name); err == nil {
			ids = append(ids, id)
		}
	}
	found := make(map[ID]R, len(ids))
	if err := a.load(ctx, pool, ids, found); err != nil {
		return nil, err
	}
	rows := make(map[string]Row, len(found))
	for id, r := range found {
		rows[fmt.Sprint(id)] = r
	}
	return rows, nil
}

// wholeAggregate holds the rows of all aggregates of a kind.
type wholeAggregate[ID comparable, R Row] struct {
	of    Aggregate[ID, R]
	write Upsert[R]
	found map[ID]R
}

func (w *wholeAggregate[ID, R]) Add(e *eventstore.Envelope) error {
	id, err := w.of.subject(e)
	if err != nil {
		return err
	}
	row, met := w.found[id]
	if !met {
		row = w.of.Fresh(id)
		w.found[id] = row
	}
	return row.Apply(e)
}

func (w *wholeAggregate[ID, R]) Rows(to *CopyRows, yield func() error) error {
	for _, row := range w.found {
		if !row.Exists() {
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
func (a Aggregate[ID, R]) subject(e *eventstore.Envelope) (ID, error) {
	_, text := domain.SplitStream(e.Stream)
	id, err := a.Parse(text)
	if err != nil {
		err = fmt.Errorf("its stream %q is not named after a %s: %w", e.Stream, a.Kind, err)
	}
	return id, err
}

// fold applies events to the rows that they concern and gives those to write.
func (a Aggregate[ID, R]) fold(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) ([]R, error) {
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
			rows[id] = a.Fresh(id)
			if events[i].Revision > 0 {
				known = append(known, id)
			}
		}
	}
	if err := a.load(ctx, tx, known, rows); err != nil {
		return nil, err
	}
	for i := range events {
		if err := rows[subjects[i]].Apply(events[i]); err != nil {
			return nil, err
		}
	}
	changed := make([]R, 0, len(rows))
	for _, row := range rows {
		if row.Exists() {
			changed = append(changed, row)
		}
	}
	return changed, nil
}

// queryer is a pool, or a transaction.
type queryer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// load puts the rows that the table has into rows.
func (a Aggregate[ID, R]) load(ctx context.Context, db queryer, ids []ID, rows map[ID]R) error {
	if len(ids) == 0 {
		return nil
	}
	found, err := db.Query(ctx, a.ByIDs, ids)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		row, err := a.Scan(found)
		if err != nil {
			return err
		}
		rows[a.ID(row)] = row
	}
	return found.Err()
}

// AsOf gives the aggregates as they were at a time, from their history. Those that did not exist are left out.
func (a Aggregate[ID, R]) AsOf(ctx context.Context, pool *pgxpool.Pool, ids []ID, at time.Time) (map[ID]R, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	subjects := make([]string, len(ids))
	rows := make(map[ID]R, len(ids))
	for i, id := range ids {
		subjects[i] = fmt.Sprint(id)
		rows[id] = a.Fresh(id)
	}
	const query = `SELECT subject_id, type, revision, at, data FROM history
		WHERE kind = $1 AND subject_id = ANY($2) AND at <= $3 ORDER BY position`
	found, err := pool.Query(ctx, query, a.Kind, subjects, at)
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
		id, err := a.Parse(subject)
		if err != nil {
			return nil, err
		}
		if err := rows[id].Apply(&e); err != nil {
			return nil, fmt.Errorf("the history of %s %s: %w", a.Kind, subject, err)
		}
	}
	if err := found.Err(); err != nil {
		return nil, err
	}
	for id, row := range rows {
		if !row.Exists() {
			delete(rows, id)
		}
	}
	return rows, nil
}

// OneAsOf is AsOf for one aggregate; ErrNotFound when it did not exist.
func (a Aggregate[ID, R]) OneAsOf(ctx context.Context, pool *pgxpool.Pool, id ID, at time.Time) (R, error) {
	rows, err := a.AsOf(ctx, pool, []ID{id}, at)
	row, existed := rows[id]
	if err == nil && !existed {
		err = ErrNotFound
	}
	return row, err
}
