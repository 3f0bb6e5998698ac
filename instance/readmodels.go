package instance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/migrations"
	"github.com/secboard/secboard/pause"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/projections/engine"
)

// CheckLog refuses read models that were built from another log. A database without tables yet has none.
func (st *Stores) CheckLog(ctx context.Context) error {
	err := engine.CheckLog(ctx, st.Pool, st.Log)
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Code == "42P01" { // undefined_table
		return nil
	}
	if other, ok := errors.AsType[*engine.ErrOtherLog](err); ok {
		return fmt.Errorf("%s: %w", settingDatabase, other)
	}
	return err
}

// PendingMigrations counts what the database lacks.
func (st *Stores) PendingMigrations(ctx context.Context) (int, error) {
	list, err := migrations.Status(ctx, st.Pool)
	pending := 0
	for _, m := range list {
		if m.AppliedAt.IsZero() {
			pending++
		}
	}
	return pending, err
}

// catchUpTime is how long a start waits for the read models.
const catchUpTime = 10 * time.Second

// AwaitReadModels waits until the read models have the whole log, so that the first request after a start finds what
// was acknowledged before it. Postgres may have lost the newest of it in a crash, as that is read from the log again;
// and a first start has just written.
func (st *Stores) AwaitReadModels(ctx context.Context, runner *engine.Runner) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	for {
		statuses, err := runner.Status(ctx)
		behind := slices.ContainsFunc(statuses, func(s engine.Status) bool { return s.State == engine.StateCatchingUp })
		if err == nil && !behind {
			return
		}
		if !pause.For(ctx, 20*time.Millisecond) {
			st.request.Logger.Warn("the read models are still behind; queries show older data until they have "+
				"caught up", "error", err)
			return
		}
	}
}

// slowTime is how long a command waits for the read models before somebody is told why.
const slowTime = 2 * time.Second

// CatchUp waits until the read models have the log as it is now. warn is called with what the user should know while
// waiting.
func (st *Stores) CatchUp(ctx context.Context, runner *engine.Runner, warn func(string)) error {
	statuses, err := engine.StatusOf(ctx, projections.Set(), st.Pool, st.Log)
	if err != nil {
		return err
	}
	var head eventstore.Position
	for _, s := range statuses {
		head = max(head, s.Position)
		if s.State == engine.StateStopped {
			warn(fmt.Sprintf("the projection %s is stopped, so what it would show is missing below: %s", s.Name,
				*s.Error))
		}
	}
	for event, err := range st.Log.ReadAll(ctx, head) {
		if err != nil {
			return err
		}
		head = event.Position
	}
	slow := time.AfterFunc(slowTime, func() { warn("the read models are behind the log, they are catching up") })
	defer slow.Stop()
	position := func(ctx context.Context) (sum eventstore.Position, err error) {
		statuses, err := runner.Status(ctx)
		for _, s := range statuses {
			sum += s.Position
		}
		return sum, err
	}
	return whileMoving(ctx, func(ctx context.Context) error { return runner.WaitFor(ctx, head) }, position)
}

// stallTime is how long read models may stand still before a command no longer waits for them.
const stallTime = 30 * time.Second

// whileMoving waits until wait returns, or until what is waited for stands still: its position, which is asked now and
// then, is the same for stallTime, or can't be told.
func whileMoving(ctx context.Context, wait func(context.Context) error,
	position func(context.Context) (eventstore.Position, error)) error {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- wait(waiting) }()
	ask := time.NewTicker(stallTime / 30)
	defer ask.Stop()
	last, moved := eventstore.Position(0), time.Now()
	for {
		select {
		case err := <-ended:
			if err != nil {
				err = errors.Join(ctx.Err(), err)
			}
			return err
		case <-ask.C:
		}
		now, err := position(waiting)
		if err == nil && now != last {
			last, moved = now, time.Now()
		}
		if time.Since(moved) >= stallTime {
			return errors.Join(ctx.Err(),
				fmt.Errorf("the read models are behind the log and have not moved for %s: `secboard doctor` "+
					"says more; "+
					"`secboard audit replay` and `secboard audit export` need none", stallTime), err)
		}
	}
}
