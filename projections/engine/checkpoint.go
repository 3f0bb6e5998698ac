package engine

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

// queryTime bounds the small queries of a runner: an outage of Postgres may come without an error.
const queryTime = 5 * time.Second

// makeCheckpoints adds the rows of projections that have none yet.
func (s Set) makeCheckpoints(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	const add = "INSERT INTO checkpoints (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
	_, err := pool.Exec(ctx, add, namesOf(s.Projections))
	return err
}

// readCheckpoints gives those of all projections, zero for one that has no row yet.
func (s Set) readCheckpoints(ctx context.Context, pool *pgxpool.Pool) (map[string]checkpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	rows, err := pool.Query(ctx, "SELECT name, position, events, coalesce(error, '') FROM checkpoints")
	if err != nil {
		return nil, err
	}
	checkpoints := make(map[string]checkpoint, len(s.Projections))
	for _, p := range s.Projections {
		checkpoints[p.Name] = checkpoint{}
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

// errApplied: the checkpoint is behind the page already.
var errApplied = errors.New("the page was applied already")

// moveStatement is the compare-and-set of a checkpoint. The rows and the checkpoint commit together or not at all, so
// nothing is lost when a crash of Postgres takes the last commits back: they come again. So it need not wait for the
// disk. A lock that somebody else holds on what it changes is an outage like others, and not waited for in silence.
const moveStatement = `UPDATE checkpoints SET position = $2, events = events + $3, error = NULL, stopped_at = NULL,
	updated_at = now()
	FROM (SELECT set_config('synchronous_commit', 'off', true), set_config('lock_timeout', '5s', true)) setting
	WHERE name = $1 AND position = $4`

// DB is a connection, or a transaction in which applying a page is one of several steps.
type DB interface {
	Begin(ctx context.Context) (pgx.Tx, error)
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// span is a part of the log.
type span struct {
	after, to eventstore.Position // after is not in it, to is
	events    int
}

func spanOf(page feed.Page) span {
	return span{page.After, page.Position(), len(page.Events)}
}

// ApplyPage writes one page to the tables and moves the checkpoint, in one transaction. It is an error when the page
// does not follow on the checkpoint, also when it was applied already.
func (p Projection) ApplyPage(ctx context.Context, db DB, page feed.Page) error {
	events, err := p.concerned(page)
	if err != nil {
		return err
	}
	return p.apply(ctx, db, spanOf(page), events)
}

// apply writes those events of a span that concern the projection, and moves the checkpoint to its end.
func (p Projection) apply(ctx context.Context, db DB, read span, events []*eventstore.Envelope) error {
	if len(events) == 0 {
		return p.move(ctx, db, read)
	}
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if err := p.move(ctx, tx, read); err != nil {
			return err
		}
		return p.applyEvents(ctx, tx, events)
	})
}

// move moves the checkpoint from the beginning of a span to its end.
func (p Projection) move(ctx context.Context, db DB, read span) error {
	tag, err := db.Exec(ctx, moveStatement, p.Name, read.to, read.events, read.after)
	if err != nil || tag.RowsAffected() == 1 {
		return err
	}
	var position eventstore.Position
	if err := db.QueryRow(ctx, "SELECT position FROM checkpoints WHERE name = $1", p.Name).Scan(&position); err != nil {
		return err
	}
	if position >= read.to {
		return errApplied
	}
	return fmt.Errorf("%w: it is at %d, the page goes from %d to %d", errGap, position, read.after, read.to)
}

// errGap: the page does not follow on the checkpoint, which another instance has moved.
var errGap = errors.New("the checkpoint was moved by another instance")

// concerned picks the events that concern the projection.
func (p Projection) concerned(page feed.Page) ([]*eventstore.Envelope, error) {
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
func (p Projection) applyEvents(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) (err error) {
	defer func() {
		if recovered := recover(); recovered != nil {
			err = fmt.Errorf("applying it failed: %v", recovered)
		}
	}()
	for _, t := range p.Tables {
		if err := t.Apply(ctx, tx, events); err != nil {
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
