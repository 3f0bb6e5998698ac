package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/feed"
	"github.com/secboard/secboard/pause"
)

// fold is a table being folded from the whole log.
type fold struct {
	projection Projection
	table      Table
	whole      Fold
}

const (
	readBatch   = 1000      // events that go through the pipeline together
	readAhead   = 4         // batches between two of its stages
	copyChunk   = 256 << 10 // bytes that go to Postgres at once
	readRetries = 100       // of an interrupted read, with a pause of progressPace each
)

// read folds the whole log: one read, decoded once, for all tables. Stages run at the same time: reading, decoding,
// folding, and for a streamed table encoding its rows and copying them. The rest is in memory at the end.
func (b *rebuilding) read(ctx context.Context, conns []*pgx.Conn) ([]fold, error) {
	var folds, streamed, inMemory []fold
	var paged []Projection
	for _, p := range b.projections {
		byPage := Projection{Name: p.Name, Kind: p.Kind}
		for _, t := range p.Tables {
			if t.Fold == nil {
				byPage.Tables = append(byPage.Tables, t)
				continue
			}
			f := fold{p, t, t.Fold()}
			folds = append(folds, f)
			if t.Streamed {
				streamed = append(streamed, f)
			} else {
				inMemory = append(inMemory, f)
			}
		}
		if len(byPage.Tables) > 0 {
			paged = append(paged, byPage)
		}
	}
	if len(streamed) > 1 {
		return nil, errors.New("only one table can be streamed, for each takes a connection of its own")
	}

	group, piping := errgroup.WithContext(ctx)
	raw, decoded := make(chan []eventstore.Recorded, readAhead), make(chan []eventstore.Envelope, readAhead)
	forStream := make(chan []eventstore.Envelope, readAhead)
	var last checkpoint
	group.Go(func() error {
		defer close(raw)
		return b.readLog(piping, raw)
	})
	group.Go(func() error {
		defer close(decoded)
		defer close(forStream)
		var decoder eventstore.Decoder
		for batch := range raw {
			envelopes := make([]eventstore.Envelope, len(batch))
			for i := range batch {
				envelopes[i] = decoder.Decode(batch[i])
			}
			last.position, last.events = envelopes[len(envelopes)-1].Position, last.events+int64(len(batch))
			if err := send(piping, decoded, envelopes); err != nil {
				return err
			}
			if len(streamed) == 0 {
				continue
			}
			if err := send(piping, forStream, envelopes); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error {
		return pgx.BeginFunc(piping, conns[0], func(tx pgx.Tx) error {
			for batch := range decoded {
				for _, f := range inMemory {
					if err := f.add(batch); err != nil {
						return err
					}
				}
				for _, p := range paged {
					if err := p.applyBatch(piping, tx, batch); err != nil {
						return err
					}
				}
				b.done.Add(int64(len(batch)))
			}
			return piping.Err()
		})
	})
	for _, f := range streamed {
		group.Go(func() error { return f.stream(piping, conns[1], forStream) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	_, err := conns[0].Exec(ctx, "UPDATE checkpoints SET position = $1, events = $2", last.position, last.events)
	return folds, err
}

func send[T any](ctx context.Context, to chan<- T, value T) error {
	select {
	case to <- value:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readLog gives the log to its end, through short outages of the store.
func (b *rebuilding) readLog(ctx context.Context, to chan<- []eventstore.Recorded) error {
	var after eventstore.Position
	for attempt := 0; ; attempt++ {
		batch := make([]eventstore.Recorded, 0, readBatch)
		var failure error
		for event, err := range b.log.ReadAll(ctx, after) {
			if err != nil {
				failure = err
				break
			}
			batch, after = append(batch, event), event.Position
			if len(batch) < readBatch {
				continue
			}
			if err := send(ctx, to, batch); err != nil {
				return err
			}
			batch, attempt = make([]eventstore.Recorded, 0, readBatch), 0
		}
		if len(batch) > 0 {
			if err := send(ctx, to, batch); err != nil {
				return err
			}
		}
		switch {
		case failure == nil:
			return nil
		case !errors.Is(failure, eventstore.ErrUnavailable) || attempt == readRetries:
			return fmt.Errorf("read the event log: %w", failure)
		}
		pause.For(ctx, progressPace)
	}
}

// add folds a batch. What is wrong with an event must never end the process.
func (f fold) add(batch []eventstore.Envelope) (err error) {
	var e *eventstore.Envelope
	defer func() {
		if recovered := recover(); recovered != nil {
			err = fmt.Errorf("%s: %w", f.projection.Name,
				eventError{e, fmt.Errorf("applying it failed: %v", recovered)})
		}
	}()
	for i := range batch {
		e = &batch[i]
		if !f.projection.handles(e) {
			continue
		}
		if e.Err != nil {
			return fmt.Errorf("%s: %w", f.projection.Name, eventError{e, errors.New(reasonOf(e.Err))})
		}
		if err := f.whole.Add(e); err != nil {
			return fmt.Errorf("%s: %w", f.projection.Name, eventError{e, err})
		}
	}
	return nil
}

// applyBatch writes a batch as live pages are written, but for the checkpoint.
func (p Projection) applyBatch(ctx context.Context, tx pgx.Tx, batch []eventstore.Envelope) error {
	events, err := p.concerned(feed.Page{Events: batch})
	if err != nil || len(events) == 0 {
		return err // of an event that cannot be read, which the tables in memory name
	}
	return p.applyEvents(ctx, tx, events)
}

// stream copies a table's rows while their events arrive.
func (f fold) stream(ctx context.Context, conn *pgx.Conn, batches <-chan []eventstore.Envelope) error {
	return copyInto(ctx, conn, f.table, func(rows *CopyRows, flush func() error) error {
		for batch := range batches {
			if err := f.add(batch); err != nil {
				return err
			}
			if err := f.whole.Rows(rows, flush); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
}

// copy copies the rows that are in memory, and lets go of them.
func (f fold) copy(ctx context.Context, conn *pgx.Conn) error {
	return copyInto(ctx, conn, f.table, f.whole.Rows)
}

// copyInto copies what produce makes into an empty table. As the table is emptied in the same transaction, the rows are
// written in the form that they get when everybody can see them (FREEZE), so that no later read has to rewrite them.
func copyInto(ctx context.Context, conn *pgx.Conn, t Table,
	produce func(rows *CopyRows, flush func() error) error) error {
	reader, writer := io.Pipe()
	var rows CopyRows
	send := func(data []byte) error {
		_, err := writer.Write(data)
		return err
	}
	var producing errgroup.Group
	producing.Go(func() (err error) {
		defer func() { writer.CloseWithError(err) }()
		if err := send([]byte(copyHeader)); err != nil {
			return err
		}
		err = produce(&rows, func() error {
			if len(rows.buf) < copyChunk {
				return nil
			}
			err := send(rows.buf)
			rows.buf = rows.buf[:0]
			return err
		})
		if err != nil {
			return err
		}
		return send(append(rows.buf, "\xff\xff"...))
	})
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "TRUNCATE "+t.Name); err != nil {
			return err
		}
		_, err := conn.PgConn().CopyFrom(ctx, reader, copyStatement(t.Name, t.Columns, ", FREEZE"))
		return err
	})
	closeErr := reader.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // ends a producer that nobody reads from
	if produced := producing.Wait(); produced != nil && !errors.Is(produced, io.ErrClosedPipe) {
		return produced // the cause: Postgres only says that the copying was given up
	}
	if err := errors.Join(err, closeErr); err != nil {
		return fmt.Errorf("copy the rows of %s: %w", t.Name, err)
	}
	return nil
}

// advance applies the log to tables that somebody brought up to some position already, page by page as live: for each
// projection up to a position, nil for the end of the log. It outlasts short outages of the store.
func (b *rebuilding) advance(ctx context.Context, db DB, projections []Projection,
	to map[string]eventstore.Position) error {
	for attempt := 0; ; attempt++ {
		err := b.tryAdvance(ctx, db, projections, to)
		if !errors.Is(err, eventstore.ErrUnavailable) || attempt == readRetries {
			return err
		}
		pause.For(ctx, progressPace)
	}
}

// tryAdvance is advance as far as the store answers. It continues where it stopped.
func (b *rebuilding) tryAdvance(ctx context.Context, db DB, projections []Projection,
	to map[string]eventstore.Position) error {
	at, err := positions(ctx, db, projections)
	if err != nil {
		return err
	}
	var from, until eventstore.Position
	for i, p := range projections {
		if i == 0 || at[p.Name] < from {
			from = at[p.Name]
		}
		until = max(until, to[p.Name])
	}
	if to != nil && until <= from {
		return nil
	}
	var events []eventstore.Envelope
	var decoder eventstore.Decoder
	apply := func() error {
		for _, p := range projections {
			page := feed.Page{After: at[p.Name]}
			for i := range events {
				if position := events[i].Position; position > page.After && (to == nil || position <= to[p.Name]) {
					page.Events = append(page.Events, events[i])
				}
			}
			if len(page.Events) == 0 {
				continue
			}
			if err := p.ApplyPage(ctx, db, page); err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
			at[p.Name] = page.Position()
		}
		events = events[:0]
		return nil
	}
	for recorded, err := range b.log.ReadAll(ctx, from) {
		if err != nil {
			return fmt.Errorf("read the event log: %w", err)
		}
		if to != nil && recorded.Position > until {
			break
		}
		events = append(events, decoder.Decode(recorded))
		if len(events) == readBatch {
			if err := apply(); err != nil {
				return err
			}
		}
	}
	return apply()
}

// positions gives how far projections are, in the schema of a connection.
func positions(ctx context.Context, db DB, projections []Projection) (map[string]eventstore.Position, error) {
	return positionsIn(ctx, db, "checkpoints", projections)
}

// positionsIn is positions from a table of checkpoints, which may name another schema.
func positionsIn(ctx context.Context, db DB, checkpoints string,
	projections []Projection) (map[string]eventstore.Position, error) {
	rows, err := db.Query(ctx, "SELECT name, position FROM "+checkpoints+" WHERE name = ANY($1)", namesOf(projections))
	if err != nil {
		return nil, err
	}
	at := map[string]eventstore.Position{}
	var name string
	var position eventstore.Position
	if _, err := pgx.ForEachRow(rows, []any{&name, &position}, func() error {
		at[name] = position
		return nil
	}); err != nil {
		return nil, err
	}
	if len(at) != len(projections) {
		var missing []string
		for _, p := range projections {
			if _, ok := at[p.Name]; !ok {
				missing = append(missing, p.Name)
			}
		}
		return nil, fmt.Errorf("there is no checkpoint of %s", strings.Join(missing, ", "))
	}
	return at, nil
}
