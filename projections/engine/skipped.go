package engine

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/feed"
	"github.com/secboard/secboard/pause"
)

// Most events concern few projections. One that a page does not concern skips it in memory, and its checkpoint is
// written later, with those of the others in one statement: a transaction for each would cost more than all changes to
// rows. After a crash such a projection reads on from the checkpoint, and skips the same events again.

// pendingPace is how often the checkpoints of projections that only skipped events are written.
const pendingPace = 100 * time.Millisecond

// skipped is the part of the log that a projection skipped since its checkpoint was written.
type skipped struct {
	moving  sync.Mutex // held by whoever moves the checkpoint in the database
	pending span       // guarded by Runner.mu; after is where the checkpoint stands
}

// since is the span from the written checkpoint to the end of a page.
func (r *Runner) since(name string, page feed.Page) span {
	r.mu.Lock()
	defer r.mu.Unlock()
	whole := spanOf(page)
	if before := r.skipped[name].pending; before.to == page.After {
		whole.after = before.after
		whole.events += before.events
	}
	return whole
}

// setPending notes what a projection skipped; a span without events says where its checkpoint was written.
func (r *Runner) setPending(name string, pending span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skipped[name].pending = pending
}

// keepWriting writes the checkpoints of skipped events until ctx ends.
func (r *Runner) keepWriting(ctx context.Context) {
	for ctx.Err() == nil {
		pause.For(ctx, pendingPace)
		// tried again, with the next page if not before
		if err := r.writePending(context.WithoutCancel(ctx)); err != nil {
			r.logger.Debug("writing checkpoints failed", "error", err)
		}
	}
}

// writePending moves the checkpoints of projections that skipped events and are not at work now.
func (r *Runner) writePending(ctx context.Context) error {
	var names []string
	var after, to []eventstore.Position
	var events []int
	pending := map[string]span{}
	for _, p := range r.set.Projections {
		if !r.skipped[p.Name].moving.TryLock() {
			continue
		}
		defer r.skipped[p.Name].moving.Unlock()
		r.mu.Lock()
		skipped := r.skipped[p.Name].pending
		r.mu.Unlock()
		if skipped.events > 0 {
			pending[p.Name] = skipped
			names, after = append(names, p.Name), append(after, skipped.after)
			to, events = append(to, skipped.to), append(events, skipped.events)
		}
	}
	if len(names) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	rows, err := r.pool.Query(ctx, movePending, names, to, events, after)
	if err != nil {
		return err
	}
	moved, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range moved {
		r.setPending(name, span{after: pending[name].to, to: pending[name].to})
		delete(pending, name)
	}
	if len(pending) == 0 {
		return nil
	}
	// Another instance moved it, a swap did, or a crash of Postgres took commits back: the projection asks where it
	// stands.
	for name := range pending {
		r.setPending(name, span{})
	}
	r.locks.lost()
	return nil
}

// movePending is move for several projections.
const movePending = `UPDATE checkpoints c SET position = m.position, events = c.events + m.events, error = NULL,
	stopped_at = NULL, updated_at = now()
	FROM (SELECT set_config('synchronous_commit', 'off', true), set_config('lock_timeout', '5s', true)) setting,
	unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) m (name, position, events, after)
	WHERE c.name = m.name AND c.position = m.after RETURNING c.name`

// withPending adds to checkpoints as they were written what this process skipped since.
func (r *Runner) withPending(written map[string]checkpoint) map[string]checkpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, c := range written {
		if s := r.skipped[name].pending; s.events > 0 && s.after == c.position {
			c.position, c.events = s.to, c.events+int64(s.events)
			written[name] = c
		}
	}
	return written
}
