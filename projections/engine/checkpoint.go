package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/feed"
)

// checkpoint is how far a projection has applied the log.
type checkpoint struct {
	position eventstore.Position
	events   int64  // how many events stand up to there
	failure  string // why it is stopped at the next event; empty while it isn't
}

// queryTime bounds the small queries of a runner: Postgres may be away without a word.
const queryTime = 5 * time.Second

// makeCheckpoints adds the rows of projections that have none yet.
func makeCheckpoints(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.name
	}
	_, err := pool.Exec(ctx, "INSERT INTO checkpoints (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", names)
	return err
}

// readCheckpoints gives those of all projections, zero for one that has no row yet.
func readCheckpoints(ctx context.Context, pool *pgxpool.Pool) (map[string]checkpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	rows, err := pool.Query(ctx, "SELECT name, position, events, coalesce(error, '') FROM checkpoints")
	if err != nil {
		return nil, err
	}
	checkpoints := make(map[string]checkpoint, len(all))
	for _, p := range all {
		checkpoints[p.name] = checkpoint{}
	}
	var name string
	var c checkpoint
	_, err = pgx.ForEachRow(rows, []any{&name, &c.position, &c.events, &c.failure}, func() error {
		if _, known := checkpoints[name]; known {
			checkpoints[name] = c
		}
		return nil
	})
	return checkpoints, err
}

// errApplied: the checkpoint is past the page already.
var errApplied = errors.New("the page was applied already")

// move is the compare-and-set of a checkpoint. The rows and the checkpoint commit together or not at all, so nothing
// is lost when a crash of Postgres takes the last commits back: they come again. So it need not wait for the disk.
const move = `UPDATE checkpoints SET position = $2, events = events + $3, error = NULL, stopped_at = NULL, updated_at = now()
	FROM (SELECT set_config('synchronous_commit', 'off', true)) setting WHERE name = $1 AND position = $4`

// session is a connection, or a transaction in which applying a page is one of several steps.
type session interface {
	Begin(ctx context.Context) (pgx.Tx, error)
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// stretch is a part of the log.
type stretch struct {
	after, to eventstore.Position // after is not in it, to is
	events    int
}

func stretchOf(page feed.Page) stretch {
	return stretch{page.After, page.Position(), len(page.Events)}
}

// applyPage writes one page and moves the checkpoint, in one transaction.
func (p projection) applyPage(ctx context.Context, db session, page feed.Page) error {
	events, err := p.concerned(page)
	if err != nil {
		return err
	}
	return p.apply(ctx, db, stretchOf(page), events)
}

// apply writes those events of a stretch that concern the projection, and moves the checkpoint over it.
func (p projection) apply(ctx context.Context, db session, over stretch, events []*eventstore.Envelope) error {
	if len(events) == 0 {
		return p.moveOver(ctx, db, over)
	}
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if err := p.moveOver(ctx, tx, over); err != nil {
			return err
		}
		return p.applyEvents(ctx, tx, events)
	})
}

func (p projection) moveOver(ctx context.Context, db session, over stretch) error {
	tag, err := db.Exec(ctx, move, p.name, over.to, over.events, over.after)
	if err != nil || tag.RowsAffected() == 1 {
		return err
	}
	var position eventstore.Position
	if err := db.QueryRow(ctx, "SELECT position FROM checkpoints WHERE name = $1", p.name).Scan(&position); err != nil {
		return err
	}
	if position >= over.to {
		return errApplied
	}
	return fmt.Errorf("%w: it is at %d, the page goes from %d to %d", errGap, position, over.after, over.to)
}

// errGap: the page does not follow on the checkpoint, which another instance has moved.
var errGap = errors.New("the checkpoint was moved by another instance")

// concerned picks the events that concern the projection.
func (p projection) concerned(page feed.Page) ([]*eventstore.Envelope, error) {
	var events []*eventstore.Envelope
	for i := range page.Events {
		e := &page.Events[i]
		if !p.handles(e) {
			continue
		}
		if e.Err != nil {
			return nil, errors.New(reasonOf(e.Err))
		}
		events = append(events, e)
	}
	return events, nil
}

// applyEvents changes the tables. What is wrong with an event must never end the process.
func (p projection) applyEvents(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) (err error) {
	defer func() {
		if recovered := recover(); recovered != nil {
			err = fmt.Errorf("applying it failed: %v", recovered)
		}
	}()
	for _, t := range p.tables {
		if err := t.apply(ctx, tx, events); err != nil {
			return err
		}
	}
	return nil
}

// reasonOf drops the event that the codec's error names in front.
func reasonOf(err error) string {
	if cause := errors.Unwrap(err); cause != nil {
		return cause.Error()
	}
	return err.Error()
}
