package engine

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/pause"
)

// locks pick, of all instances on one database, the one that works on a projection: session-level advisory locks, one
// for each, all held by one connection. Losing them late does no harm, because a page moves the checkpoint by
// compare-and-set; they only keep two instances from doing the same work.
type locks struct {
	names  []string // of the projections
	pool   *pgxpool.Pool
	logger *slog.Logger
	lost   func() // called when the database may have lost what it had not yet on disk: every checkpoint is read again

	mu      sync.Mutex
	held    map[string]bool
	changed chan struct{} // closed and replaced when held changes
}

// lockPace is how often a lock that somebody else holds is tried, and how often the connection is tried.
const lockPace = 500 * time.Millisecond

func newLocks(names []string, pool *pgxpool.Pool, logger *slog.Logger) *locks {
	return &locks{names: names, pool: pool, logger: logger, held: map[string]bool{}, changed: make(chan struct{})}
}

// run takes the locks and keeps them until ctx ends.
func (l *locks) run(ctx context.Context) {
	away := false
	for ctx.Err() == nil {
		connected, err := l.hold(ctx)
		l.set(nil)
		if ctx.Err() != nil {
			return
		}
		if connected {
			l.lost()
		}
		if connected || !away {
			l.logger.Warn("the projections wait for Postgres", "error", err)
		}
		away = true
		pause.For(ctx, lockPace)
	}
}

// hold takes the locks until the connection breaks. connected says whether there was one.
func (l *locks) hold(ctx context.Context) (connected bool, err error) {
	config := l.pool.Config().ConnConfig.Copy()
	// A connection that broke unnoticed must not keep the locks: the server (14 or newer) ends one that is silent.
	config.RuntimeParams["idle_session_timeout"] = (20 * lockPace).String()
	connectCtx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	conn, err := pgx.ConnectConfig(connectCtx, config)
	if err != nil {
		return false, err
	}
	defer func() {
		closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if closeErr := conn.Close(closeCtx); err == nil {
			err = closeErr
		}
	}()
	held := map[string]bool{}
	for {
		if err := l.take(ctx, conn, held); err != nil {
			return true, err
		}
		l.set(held)
		pause.For(ctx, lockPace)
		if ctx.Err() != nil {
			return true, ctx.Err()
		}
	}
}

// take tries for the locks that are not held; with all of them held it only finds out whether the connection lives.
func (l *locks) take(ctx context.Context, conn *pgx.Conn, held map[string]bool) error {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	var wanted []string
	for _, name := range l.names {
		if !held[name] {
			wanted = append(wanted, name)
		}
	}
	rows, err := conn.Query(ctx,
		"SELECT name FROM unnest($1::text[]) name WHERE pg_try_advisory_lock(hashtextextended('secboard projection ' "+
			"|| name, 0))", wanted)
	if err != nil {
		return err
	}
	taken, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("take the lock of a projection: %w", err)
	}
	for _, name := range taken {
		held[name] = true
	}
	return nil
}

func (l *locks) set(held map[string]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !maps.Equal(l.held, held) {
		l.held = maps.Clone(held)
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

// holds says whether this instance works on a projection.
func (l *locks) holds(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[name]
}

// holdsAll says whether this instance works on all projections.
func (l *locks) holdsAll() bool {
	return !slices.ContainsFunc(l.names, func(name string) bool { return !l.holds(name) })
}

// wait returns when this instance works on a projection, or ctx ends.
func (l *locks) wait(ctx context.Context, name string) error {
	for {
		l.mu.Lock()
		held, changed := l.held[name], l.changed
		l.mu.Unlock()
		if held {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
