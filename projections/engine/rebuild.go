package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/migrations"
	"github.com/secboard/secboard/pause"
)

// rebuilding builds read models beside the live ones and puts them in their place: one read of the log into a schema of
// its own, indexes, catching up, comparing, swapping. Until the swap, one transaction, nothing live is touched.
type rebuilding struct {
	set         Set
	pool        *pgxpool.Pool
	log         eventstore.Log
	report      func(Rebuild) // may be nil; one call after the other
	reporting   sync.Mutex
	projections []Projection // that are rebuilt
	lock        *pgx.Conn    // holds the advisory lock; used by keep alone while there is work

	done atomic.Int64 // events read

	mu      sync.Mutex
	state   Rebuild
	reading time.Time // when reading began
	needed  float64   // seconds that all takes from then on, as far as known
}

// progressPace is how often progress is reported and recorded, and how often an abort is looked for.
const progressPace = 500 * time.Millisecond

var errAborted = errors.New("it was aborted")

// RunRebuild carries a rebuild out and gives its end, whose error is the answer too. report gets its progress, one call
// after the other; nil for nobody. ErrRebuildRunning where there is one already, in whichever process.
func RunRebuild(ctx context.Context, set Set, pool *pgxpool.Pool, log eventstore.Log, request RebuildRequest,
	report func(Rebuild)) (Rebuild, error) {
	b, err := beginRebuild(ctx, set, pool, log, request, report)
	if err != nil {
		return Rebuild{}, err
	}
	return b.run(ctx)
}

// StartRebuild starts a rebuild in the background, which ends with Run at the latest, and gives how it stands.
// ErrUnknownProjection for a name that there is not, ErrRebuildRunning where there is one already.
func (r *Runner) StartRebuild(ctx context.Context, request RebuildRequest) (Rebuild, error) {
	if err := r.set.Check(request.Names); err != nil {
		return Rebuild{}, err
	}
	r.mu.Lock()
	lifetime := r.lifetime
	if lifetime == nil {
		r.mu.Unlock()
		return Rebuild{}, errors.New("the projections of this process are not running: try again in a moment")
	}
	begun, failed := make(chan Rebuild, 1), make(chan error, 1)
	r.rebuilds.Go(func() {
		var last Rebuild
		err := r.CarryOut(lifetime, request, func(now Rebuild) {
			if last.ID == uuid.Nil {
				r.logger.Info("a rebuild of read models begins", "id", now.ID, "mode", now.Mode, "projections",
					now.Names)
				begun <- now
			}
			last = now
		})
		switch {
		case last.ID == uuid.Nil:
		case err != nil && lifetime.Err() == nil:
			r.logger.Warn("a rebuild of read models failed", "id", last.ID, "error", err)
		default:
			r.logger.Info("a rebuild of read models has ended", "id", last.ID, "state", last.State, "seconds",
				int(time.Since(last.StartedAt).Seconds()))
		}
		failed <- err
	})
	r.mu.Unlock()
	select {
	case first := <-begun:
		return first, nil
	case err := <-failed:
		select {
		case first := <-begun:
			return first, nil
		default:
			return Rebuild{}, err
		}
	case <-ctx.Done():
		return Rebuild{}, ctx.Err()
	}
}

// Rebuild gives how a rebuild stands. ErrNotFound where there was none.
func (r *Runner) Rebuild(ctx context.Context, id uuid.UUID) (Rebuild, error) {
	return RebuildByID(ctx, r.pool, id)
}

// AbortRebuild has a rebuild end without any effect, in whichever process, and does not wait for that.
func (r *Runner) AbortRebuild(ctx context.Context, id uuid.UUID) error {
	_, err := r.pool.Exec(ctx, "UPDATE app.rebuilds SET abort = true WHERE id = $1 AND ended_at IS NULL", id)
	return err
}

// connect opens a connection in which unqualified names mean a schema of read models, and a statement takes as long as
// it takes.
func connect(ctx context.Context, pool *pgxpool.Pool, schema string) (*pgx.Conn, error) {
	config := pool.Config().ConnConfig.Copy()
	config.RuntimeParams["search_path"] = pgx.Identifier{schema}.Sanitize() + ", app, public"
	config.RuntimeParams["statement_timeout"] = "0"
	// Between its statements it reads the log, for as long as that takes; nobody else needs what it has locked.
	config.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	config.RuntimeParams["application_name"] = "secboard rebuild"
	// Each index would otherwise be made by three processes: with two connections six, beside those that answer
	// queries.
	config.RuntimeParams["max_parallel_maintenance_workers"] = "0"
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	return pgx.ConnectConfig(ctx, config)
}

func closeConn(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return conn.Close(ctx)
}

// lockRebuilds takes the lock of rebuilds with a connection of its own, or answers ErrRebuildRunning.
func lockRebuilds(ctx context.Context, pool *pgxpool.Pool) (*pgx.Conn, error) {
	conn, err := connect(ctx, pool, migrations.ReadModelsSchema)
	if err != nil {
		return nil, err
	}
	// A connection that broke unnoticed must not keep the lock: the server ends one that is silent.
	var mine bool
	err = conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1) FROM set_config('idle_session_timeout', $2, false)",
		int64(rebuildLock), (40 * progressPace).String()).Scan(&mine)
	if err == nil && !mine {
		err = ErrRebuildRunning
	}
	if err != nil {
		return nil, errors.Join(err, closeConn(ctx, conn))
	}
	return conn, nil
}

// unlockRebuilds gives the lock back before it closes the connection: the server would notice the end some time later.
func unlockRebuilds(ctx context.Context, lock *pgx.Conn) error {
	if !lock.IsClosed() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryTime)
		defer cancel()
		if _, err := lock.Exec(ctx, "SELECT pg_advisory_unlock_all()"); err != nil {
			return errors.Join(err, closeConn(ctx, lock))
		}
	}
	return closeConn(ctx, lock)
}

// keptRebuilds is how many rows of former rebuilds are kept: they show values of read models.
const keptRebuilds = 20

func beginRebuild(ctx context.Context, set Set, pool *pgxpool.Pool, log eventstore.Log, request RebuildRequest,
	report func(Rebuild)) (*rebuilding, error) {
	chosen, err := set.named(request.Names)
	if err != nil {
		return nil, err
	}
	if err := set.makeCheckpoints(ctx, pool); err != nil { // the live ones may never have been worked on
		return nil, err
	}
	lock, err := lockRebuilds(ctx, pool)
	if err != nil {
		return nil, err
	}
	b := &rebuilding{set: set, pool: pool, log: log, report: report, projections: chosen, lock: lock}
	b.state = Rebuild{
		ID: uuid.Must(uuid.NewV7()), Mode: request.Mode, VerifyOnly: request.Mode == ModeVerify,
		State:       RebuildPreparing,
		Differences: []Difference{}, NotCompared: map[string]string{}, StartedAt: time.Now().UTC(),
	}
	err = pgx.BeginFunc(ctx, lock, func(tx pgx.Tx) error {
		if request.Mode == ModeRollback {
			if b.projections, err = b.former(ctx, tx); err != nil {
				return err
			}
		}
		b.state.Names = namesOf(b.projections)
		if _, err := tx.Exec(ctx, "UPDATE app.rebuilds SET state = $1, ended_at = now() WHERE ended_at IS NULL",
			RebuildInterrupted); err != nil {
			return err
		}
		const prune = "DELETE FROM app.rebuilds WHERE id NOT IN (SELECT id FROM app.rebuilds ORDER BY started_at " +
			"DESC LIMIT $1)"
		if _, err := tx.Exec(ctx, prune, keptRebuilds-1); err != nil {
			return err
		}
		// How many events there are is known from the projection that is furthest.
		return tx.QueryRow(ctx, `INSERT INTO app.rebuilds (id, names, mode, state, started_at, total)
			SELECT $1, $2, $3, $4, $5, coalesce(max(events), 0) FROM checkpoints RETURNING total`,
			b.state.ID, b.state.Names, b.state.Mode, b.state.State, b.state.StartedAt).Scan(&b.state.Total)
	})
	if err != nil {
		return nil, errors.Join(err, unlockRebuilds(ctx, lock))
	}
	return b, nil
}

// run does the work, and leaves either the swapped read models or nothing.
func (b *rebuilding) run(ctx context.Context) (Rebuild, error) {
	b.publish()
	working, stop := context.WithCancelCause(ctx)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		b.keep(working, stop)
	}()
	err := b.work(working)
	if cause := context.Cause(working); err != nil && cause != nil {
		err = cause
	}
	stop(nil)
	<-kept
	err = b.end(context.WithoutCancel(ctx), err)
	ended := b.shown()
	b.publish()
	return ended, err
}

func (b *rebuilding) work(ctx context.Context) error {
	if b.state.Mode == ModeRollback {
		if err := b.set.Migrate(ctx, b.pool, previousSchema); err != nil {
			return err
		}
		return b.goLive(ctx, previousSchema)
	}
	if err := b.stage(ctx); err != nil {
		return err
	}
	return b.goLive(ctx, nextSchema)
}

// goLive brings staged read models up to the end of the log and puts them in place.
func (b *rebuilding) goLive(ctx context.Context, schema string) (err error) {
	conn, err := connect(ctx, b.pool, schema)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeConn(ctx, conn)) }()
	b.enter(RebuildCatchingUp)
	if err := b.advance(ctx, conn, b.projections, nil); err != nil {
		return err
	}
	if b.state.Mode != ModeRollback {
		b.enter(RebuildComparing)
		if err := b.compare(ctx, conn, schema); err != nil {
			return err
		}
	}
	if b.state.Mode == ModeVerify {
		return nil
	}
	b.enter(RebuildSwapping)
	return b.swap(ctx, conn, schema)
}

// end removes what is left over and records how it went.
func (b *rebuilding) end(ctx context.Context, failure error) error {
	ctx, cancel := context.WithTimeout(ctx, pageTime)
	defer cancel()
	state := RebuildDone
	switch {
	case errors.Is(failure, errAborted), errors.Is(failure, context.Canceled):
		state = RebuildAborted
	case failure != nil:
		state = RebuildFailed
	}
	now := time.Now().UTC()
	b.mu.Lock()
	b.state.State, b.state.EndedAt, b.state.ETA = state, &now, nil
	if failure != nil {
		b.state.Error = optional(Storable(failure.Error()))
	}
	b.mu.Unlock()
	var err error
	if b.state.Mode != ModeRollback && !b.lock.IsClosed() { // without the lock another one may be building there
		err = dropSchema(ctx, b.pool, nextSchema)
	}
	if recordErr := b.record(ctx, b.pool); recordErr != nil {
		err = errors.Join(err, recordErr)
	} else if r, readErr := RebuildByID(ctx, b.pool, b.state.ID); readErr == nil && r.State == RebuildDone {
		failure = nil // the swap was committed, though its answer did not arrive
		b.mu.Lock()
		b.state.State, b.state.Error = RebuildDone, nil
		b.mu.Unlock()
	}
	return errors.Join(failure, err, unlockRebuilds(ctx, b.lock))
}

// enter begins a step.
func (b *rebuilding) enter(state string) {
	b.mu.Lock()
	if b.state.State == RebuildReading { // it has come to its end
		b.state.Done = b.done.Load()
		b.state.Total = b.state.Done
		b.state.EventsPerS = int64(float64(b.state.Done) / max(time.Since(b.reading).Seconds(), 0.001))
	}
	b.state.State = state
	if state == RebuildReading {
		b.reading = time.Now()
	}
	b.mu.Unlock()
	b.publish()
}

// publish hands to report how it stands.
func (b *rebuilding) publish() {
	if b.report == nil {
		return
	}
	b.reporting.Lock()
	defer b.reporting.Unlock()
	b.report(b.shown())
}

// readingShare is the part of a rebuild's time that reading takes, roughly.
const readingShare = 0.5

// shown is how it stands.
func (b *rebuilding) shown() Rebuild {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.state
	if s.Ended() || b.reading.IsZero() {
		return s
	}
	spent := time.Since(b.reading).Seconds()
	if s.State == RebuildReading {
		s.Done = b.done.Load()
		if s.Done > s.Total { // the live ones are behind, so nobody knows how many there are
			s.Total, b.needed = 0, 0
		}
		s.EventsPerS = int64(float64(s.Done) / max(spent, 0.001))
		if s.Done > 0 && s.Total > 0 {
			b.needed = spent * float64(s.Total) / float64(s.Done) / readingShare
		}
	}
	if b.needed > 0 {
		s.ETA = new(int64(max(0, b.needed-spent)))
	}
	return s
}

// keep reports and records the progress until ctx ends, and ends the work when somebody aborts it, or the lock is lost.
func (b *rebuilding) keep(ctx context.Context, stop context.CancelCauseFunc) {
	for {
		pause.For(ctx, progressPace)
		if ctx.Err() != nil {
			return
		}
		b.publish()
		abort, err := b.reportProgress(context.WithoutCancel(ctx)) // a cancelled statement would end the connection
		switch {
		case err != nil:
			stop(fmt.Errorf("the connection that holds the lock of rebuilds broke: %w", err))
		case abort:
			stop(errAborted)
		}
	}
}

// reportProgress records the progress and asks whether somebody aborts the rebuild.
func (b *rebuilding) reportProgress(ctx context.Context) (abort bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	if err := b.record(ctx, b.lock); err != nil {
		return false, err
	}
	return abort, b.lock.QueryRow(ctx, "SELECT abort FROM app.rebuilds WHERE id = $1", b.state.ID).Scan(&abort)
}

// record writes how it stands into its row, unless that has ended.
func (b *rebuilding) record(ctx context.Context, db execer) error {
	s := b.shown()
	_, err := db.Exec(ctx, `UPDATE app.rebuilds SET state = $2, done = $3, total = $4, events_per_s = $5, eta_s = $6,
		differences = $7, not_compared = $8,
		error = $9, ended_at = $10 WHERE id = $1 AND ended_at IS NULL`,
		s.ID, s.State, s.Done, s.Total, s.EventsPerS, s.ETA, s.Differences, s.NotCompared, s.Error, s.EndedAt)
	return err
}
