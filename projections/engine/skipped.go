package projections

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/feed"
)

// Most events concern few projections. One that a page does not concern goes past it in memory, and its checkpoint is
// written later, with those of the others in one statement: a transaction for each would cost more than all changes to
// rows. After a crash such a projection reads on from the checkpoint, past the same events.

// passPace is how often the checkpoints of projections that only went past events are written.
const passPace = 100 * time.Millisecond

// passed is the part of the log that a projection went past since its checkpoint was written.
type passed struct {
	moving sync.Mutex // held by whoever moves the checkpoint in the database
	over   stretch    // guarded by Runner.mu; after is where the checkpoint stands
}

// since is the stretch from the written checkpoint to the end of a page.
func (r *Runner) since(name string, page feed.Page) stretch {
	r.mu.Lock()
	defer r.mu.Unlock()
	over := stretchOf(page)
	if before := r.passed[name].over; before.to == page.After {
		over.after = before.after
		over.events += before.events
	}
	return over
}

// setPassed notes what a projection went past; a stretch without events says where its checkpoint was written.
func (r *Runner) setPassed(name string, over stretch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.passed[name].over = over
}

// writePassing writes the checkpoints until ctx ends.
func (r *Runner) writePassing(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, passPace)
		if err := r.writePassed(context.WithoutCancel(ctx)); err != nil { // tried again, with the next page if not before
			r.logger.Debug("writing checkpoints failed", "error", err)
		}
	}
}

// writePassed moves the checkpoints of projections that went past events and are not at work now.
func (r *Runner) writePassed(ctx context.Context) error {
	var names []string
	var after, to []eventstore.Position
	var events []int
	pending := map[string]stretch{}
	for _, p := range all {
		if !r.passed[p.name].moving.TryLock() {
			continue
		}
		defer r.passed[p.name].moving.Unlock()
		r.mu.Lock()
		over := r.passed[p.name].over
		r.mu.Unlock()
		if over.events > 0 {
			pending[p.name] = over
			names, after, to, events = append(names, p.name), append(after, over.after), append(to, over.to), append(events, over.events)
		}
	}
	if len(names) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	rows, err := r.pool.Query(ctx, movePassed, names, to, events, after)
	if err != nil {
		return err
	}
	moved, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range moved {
		r.setPassed(name, stretch{after: pending[name].to, to: pending[name].to})
		delete(pending, name)
	}
	if len(pending) == 0 {
		return nil
	}
	// Another instance moved it, a swap did, or a crash of Postgres took commits back: the projection asks where it stands.
	for name := range pending {
		r.setPassed(name, stretch{})
	}
	r.locks.lost()
	return nil
}

// movePassed is move for several projections.
const movePassed = `UPDATE checkpoints c SET position = m.position, events = c.events + m.events, error = NULL, stopped_at = NULL, updated_at = now()
	FROM (SELECT set_config('synchronous_commit', 'off', true)) setting, unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) m (name, position, events, after)
	WHERE c.name = m.name AND c.position = m.after RETURNING c.name`

// withPassed adds to checkpoints as they were written what this process went past since.
func (r *Runner) withPassed(written map[string]checkpoint) map[string]checkpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, c := range written {
		if over := r.passed[name].over; over.events > 0 && over.after == c.position {
			c.position, c.events = over.to, c.events+int64(over.events)
			written[name] = c
		}
	}
	return written
}
