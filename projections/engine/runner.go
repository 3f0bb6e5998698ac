package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/feed"
	"github.com/secboard/secboard/pause"
)

// pageTime bounds the transaction of a page: an outage of Postgres, which bounds each statement, may come without an
// error.
const pageTime = 2 * time.Minute

// Runner keeps the read models up to date with the log. Any number may run on one database, in one process or several:
// each projection is worked on by one of them.
type Runner struct {
	// CarryOut does the rebuilds that StartRebuild starts, and reports how they stand, as RunRebuild does, which it is
	// unless it is set before Run.
	CarryOut func(ctx context.Context, request RebuildRequest, report func(Rebuild)) error

	set     Set
	pool    *pgxpool.Pool
	log     *countingLog
	tail    *feed.Tail
	locks   *locks
	logger  *slog.Logger
	metrics metrics
	skipped map[string]*skipped // by name; each projection has its own

	rebuilds sync.WaitGroup

	mu          sync.Mutex
	lifetime    context.Context       // of rebuilds; nil while Run does not run
	checkpoints map[string]checkpoint // as far as this process knows
	broken      map[string]bool       // projections whose last page failed for a reason that passes by itself
	waiting     map[*waiter]struct{}
	refreshed   time.Time // when checkpoints was read from the database
	samples     []sample  // where the log ended, the newest last
}

// NewRunner makes a Runner of a set and registers its metrics, unless registry is nil. Run starts it. In the
// connections of pool unqualified names must mean the schema of the live read models.
func NewRunner(set Set, pool *pgxpool.Pool, log eventstore.Log, logger *slog.Logger,
	registry prometheus.Registerer) *Runner {
	counting := &countingLog{Log: log}
	r := &Runner{
		set: set, pool: pool, log: counting, tail: feed.NewTail(counting, logger),
		locks: newLocks(namesOf(set.Projections), pool, logger), logger: logger,
		metrics: newMetrics(registry), checkpoints: map[string]checkpoint{}, broken: map[string]bool{},
		waiting: map[*waiter]struct{}{},
		skipped: map[string]*skipped{},
	}
	r.CarryOut = func(ctx context.Context, request RebuildRequest, report func(Rebuild)) error {
		_, err := RunRebuild(ctx, set, pool, counting, request, report)
		return err
	}
	for _, p := range set.Projections {
		r.skipped[p.Name] = &skipped{}
	}
	r.follow(registry)
	return r
}

// countingLog counts the events that a subscription delivers: positions have gaps.
type countingLog struct {
	eventstore.Log
	events atomic.Int64
}

func (l *countingLog) Subscribe(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Delivery, error] {
	return func(yield func(eventstore.Delivery, error) bool) {
		for delivery, err := range l.Log.Subscribe(ctx, after) {
			if err == nil && !delivery.CaughtUp {
				l.events.Add(1)
			}
			if !yield(delivery, err) {
				return
			}
		}
	}
}

// Run works until ctx ends, through every outage of Postgres and of the event store. A page under way is committed
// before it returns. It may be called once.
func (r *Runner) Run(ctx context.Context) error {
	from, ok := r.begin(ctx)
	if !ok {
		return nil
	}
	endRebuilds := r.allowRebuilds(ctx)
	defer endRebuilds()
	subscriber := feed.NewSubscriber(r.tail, r.checkpoint, r.logger)
	r.locks.lost = subscriber.Recheck
	handlers := map[string]feed.Handler{}
	for _, p := range r.set.Projections {
		handlers[p.Name] = func(ctx context.Context, page feed.Page) error { return r.handle(ctx, page, p) }
	}
	// What the handlers rely on ends after them, so that the last page still commits.
	support, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { r.locks.run(support) })
	running.Go(func() { r.watch(support) })
	running.Go(func() { r.sampling(support) })
	running.Go(func() { r.keepWriting(support) })
	err := subscriber.Consume(ctx, from, handlers)
	stop()
	running.Wait()
	return err
}

// allowRebuilds lets StartRebuild start some, which end with ctx. The answer waits for them.
func (r *Runner) allowRebuilds(ctx context.Context) (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lifetime = ctx
	return func() {
		r.mu.Lock()
		r.lifetime = nil
		r.mu.Unlock()
		r.rebuilds.Wait()
	}
}

// begin finds out from where to read, however long Postgres takes to answer; false when ctx ends first.
func (r *Runner) begin(ctx context.Context) (eventstore.Position, bool) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		err := r.set.makeCheckpoints(ctx, r.pool)
		if err == nil {
			err = r.refresh(ctx)
		}
		if err == nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			// From the furthest checkpoint: a projection that was stopped long ago reads what it lacks by itself,
			// and the others are live at once.
			var furthest checkpoint
			for _, c := range r.checkpoints {
				if c.position > furthest.position {
					furthest = c
				}
			}
			r.log.events.Store(furthest.events)
			return furthest.position, true
		}
		if attempt == 0 && ctx.Err() == nil {
			r.logger.Warn("the projections wait for Postgres", "error", err)
		}
		pause.For(ctx, lockPace)
	}
	return 0, false
}

// checkpoint is what the subscriber asks when it starts and after a failure. It answers when this instance is the one
// that works on the projection.
func (r *Runner) checkpoint(ctx context.Context, name string) (eventstore.Position, error) {
	if err := r.locks.wait(ctx, name); err != nil {
		return 0, err
	}
	r.skipped[name].moving.Lock()
	defer r.skipped[name].moving.Unlock()
	// A crash of a Postgres that does not write at once loses even the rows themselves.
	if err := r.set.makeCheckpoints(ctx, r.pool); err != nil {
		return 0, err
	}
	read, err := r.set.readCheckpoints(ctx, r.pool)
	if err != nil {
		return 0, err
	}
	// It may be behind what this process knew: a crash of Postgres loses the last pages.
	r.learn(name, func(checkpoint) checkpoint { return read[name] })
	r.setPending(name, span{after: read[name].position, to: read[name].position})
	return read[name].position, nil
}

var errNotMine = errors.New("another instance works on the projection")

func (r *Runner) handle(ctx context.Context, page feed.Page, p Projection) error {
	if !r.locks.holds(p.Name) {
		return errNotMine
	}
	r.skipped[p.Name].moving.Lock()
	defer r.skipped[p.Name].moving.Unlock()
	started := time.Now()
	err := r.apply(ctx, p, page)
	if errors.Is(err, errApplied) {
		return r.refresh(ctx)
	}
	if err != nil {
		r.fail(ctx, p, page, err)
		return err
	}
	r.metrics.observe(p.Name, len(page.Events), time.Since(started))
	r.noteApplied(p, page)
	if len(page.Events) < largePage && !r.head().known {
		pause.For(ctx, gatherTime)
	}
	return nil
}

// While the log is being read to its end, a page smaller than largePage is followed by a pause of gatherTime, in which
// the next one grows: each page costs a transaction.
const (
	largePage  = 1000
	gatherTime = 20 * time.Millisecond
)

// outage marks an error that says nothing against the page: the same page is tried again.
type outage struct{ error }

func (o outage) Unwrap() error { return o.error }

// apply runs a page's transaction, if it concerns the projection. An error is an outage or a defect of the page.
func (r *Runner) apply(ctx context.Context, p Projection, page feed.Page) error {
	pending := r.since(p.Name, page)
	events, err := p.concerned(page)
	if err != nil {
		return err
	}
	if len(events) == 0 && r.known(p.Name).failure == "" {
		r.setPending(p.Name, pending)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pageTime)
	defer cancel()
	conn, err := r.pool.Acquire(ctx)
	if err != nil {
		return outage{err}
	}
	defer conn.Release()
	err = p.apply(ctx, conn.Conn(), pending, events)
	switch {
	case err == nil:
		r.setPending(p.Name, span{after: pending.to, to: pending.to})
	case ctx.Err() != nil, conn.Conn().IsClosed(), temporary(err):
		return outage{err}
	}
	return err
}

// temporary says whether an error will pass without anybody touching the event.
func temporary(err error) bool {
	if errors.Is(err, errGap) || errors.Is(err, errApplied) {
		return true
	}
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Code[:2] {
	case "08", // connection
		"25", // a standby after a failover accepts no writes
		"40", // deadlock, serialization
		"53", // disk full, out of memory, too many connections
		"55", // lock not available
		"57", // shutting down, starting up, cancelled
		"58": // input and output of the server
		return true
	}
	return false
}

// fail notes what went wrong. Only a page of one event can be blamed: a larger one comes again event by event.
func (r *Runner) fail(ctx context.Context, p Projection, page feed.Page, err error) {
	var passes outage
	if errors.As(err, &passes) {
		r.mu.Lock()
		first := !r.broken[p.Name]
		r.broken[p.Name] = true
		r.mu.Unlock()
		if first && !errors.Is(err, errGap) {
			r.logger.Warn("a projection is interrupted", "projection", p.Name, "error", err)
		}
		return
	}
	if len(page.Events) > 1 {
		return
	}
	failure := describe(&page.Events[0], err)
	if r.known(p.Name).failure != failure {
		r.logger.Error("a projection is stopped", "projection", p.Name, "reason", failure)
	}
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	const stop = `UPDATE checkpoints SET error = $2, stopped_at = coalesce(stopped_at, now()), updated_at = now()
		WHERE name = $1 AND position = $3 AND error IS DISTINCT FROM $2`
	if _, err := r.pool.Exec(ctx, stop, p.Name, failure, r.since(p.Name, page).after); err != nil {
		r.logger.Warn("a projection is stopped, but that could not be recorded", "projection", p.Name, "error", err)
		return // it is tried again with the event
	}
	r.learn(p.Name, func(c checkpoint) checkpoint {
		c.failure = failure
		return c
	})
}

// describe names an event and what is wrong with it.
func describe(e *eventstore.Envelope, err error) string {
	reason := err.Error()
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		reason = fmt.Sprintf("Postgres refuses it: %s (%s)", refused.Message, refused.Code)
	}
	return fmt.Sprintf("event %s (%s) at position %d: %s", e.ID, e.Type, e.Position, Storable(reason))
}

// noteApplied notes an applied page.
func (r *Runner) noteApplied(p Projection, page feed.Page) {
	r.mu.Lock()
	interrupted := r.broken[p.Name]
	delete(r.broken, p.Name)
	r.mu.Unlock()
	if interrupted {
		r.logger.Info("a projection is resumed", "projection", p.Name, "position", page.Position())
	}
	if r.known(p.Name).failure != "" {
		r.logger.Info("a projection is no longer stopped", "projection", p.Name, "position", page.Position())
	}
	r.learn(p.Name, func(c checkpoint) checkpoint {
		return checkpoint{position: page.Position(), events: c.events + int64(len(page.Events))}
	})
}

func (r *Runner) learn(name string, change func(checkpoint) checkpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checkpoints[name] = change(r.checkpoints[name])
	r.wake()
}

func (r *Runner) known(name string) checkpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.checkpoints[name]
}

// refresh reads the checkpoints of all instances. One that this process knows to be further is not put back.
func (r *Runner) refresh(ctx context.Context) error {
	read, err := r.set.readCheckpoints(ctx, r.pool)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, c := range read {
		if c.position >= r.checkpoints[name].position {
			r.checkpoints[name] = c
		}
	}
	r.refreshed = time.Now()
	r.wake()
	return nil
}
