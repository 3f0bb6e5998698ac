package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/pause"
)

// What a rebuild is for.
const (
	ModeRebuild  = "rebuild"  // rebuild, and replace the live ones
	ModeVerify   = "verify"   // rebuild, compare and discard
	ModeRollback = "rollback" // bring the former ones up to date and put them back in place
)

// States of a rebuild, in their order. One of the last four is its end.
const (
	RebuildPreparing   = "preparing"
	RebuildReading     = "reading"
	RebuildIndexing    = "indexing"
	RebuildCatchingUp  = "catching_up"
	RebuildComparing   = "comparing"
	RebuildSwapping    = "swapping"
	RebuildDone        = "done"
	RebuildFailed      = "failed"
	RebuildAborted     = "aborted"
	RebuildInterrupted = "interrupted" // the process that did it has ended
)

// Rebuild is one building of read models beside the live ones, under way or ended.
type Rebuild struct {
	ID          uuid.UUID    `json:"id"`
	Names       []string     `json:"names"` // of projections
	Mode        string       `json:"mode"`
	VerifyOnly  bool         `json:"verify_only"`
	State       string       `json:"state"`
	Done        int64        `json:"done"`  // events
	Total       int64        `json:"total"` // events; 0 while unknown
	EventsPerS  int64        `json:"events_per_s"`
	ETA         *int64       `json:"eta_s"`       // seconds to the end; nil while unknown, and after it
	Differences []Difference `json:"differences"` // at most maxDifferences rows a table
	// NotCompared says by name of a projection why its tables could not be compared with the live ones.
	NotCompared map[string]string `json:"not_compared"`
	Error       *string           `json:"error"`
	StartedAt   time.Time         `json:"started_at"`
	EndedAt     *time.Time        `json:"ended_at"`
}

// Ended says whether nothing more will happen to it.
func (r Rebuild) Ended() bool { return slices.Contains(endStates, r.State) }

var endStates = []string{RebuildDone, RebuildFailed, RebuildAborted, RebuildInterrupted}

// Difference is a value that the live read models and the rebuilt ones do not share. A row that only one of them has
// comes with no column and the whole row as the value of the other. Values are JSON, cut to maxValue.
type Difference struct {
	Table   string  `json:"table"`
	Key     string  `json:"key"`
	Column  *string `json:"column"`
	Live    *string `json:"live"`
	Rebuilt *string `json:"rebuilt"`
}

// ErrRebuildRunning says that only one rebuild at a time is possible.
var ErrRebuildRunning = errors.New("another rebuild of read models is under way")

// RebuildRequest asks for a rebuild.
type RebuildRequest struct {
	Names []string // of projections; none: all. A rollback takes none: it undoes what the last rebuild did
	Mode  string
}

// rebuildLock is the key of the advisory lock that a rebuild holds from its first to its last step.
const rebuildLock = 0x7365637265626c64

// runningRebuild is the condition that some session of this database holds the lock.
var runningRebuild = fmt.Sprintf(`EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted
	AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND classid = %d AND objid = %d)`,
	uint32(rebuildLock>>32), uint32(rebuildLock&0xffffffff))

// rebuildColumns show a rebuild that says it is under way as interrupted where nobody holds the lock.
var rebuildColumns = `id, names, mode, CASE WHEN ended_at IS NULL AND NOT ` + runningRebuild + ` THEN '` +
	RebuildInterrupted + `' ELSE state END,
	done, total, events_per_s, eta_s, differences, not_compared, error, started_at, ended_at`

func scanRebuild(row pgx.Row) (Rebuild, error) {
	var r Rebuild
	err := row.Scan(&r.ID, &r.Names, &r.Mode, &r.State, &r.Done, &r.Total, &r.EventsPerS, &r.ETA, &r.Differences,
		&r.NotCompared,
		&r.Error, &r.StartedAt, &r.EndedAt)
	r.StartedAt, r.VerifyOnly = r.StartedAt.UTC(), r.Mode == ModeVerify
	if r.EndedAt != nil {
		r.EndedAt = new(r.EndedAt.UTC())
	}
	if r.Ended() {
		r.ETA = nil
	}
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	return r, err
}

// RebuildByID gives how a rebuild stands, whichever process does it. ErrNotFound where there was none.
func RebuildByID(ctx context.Context, pool *pgxpool.Pool, id uuid.UUID) (Rebuild, error) {
	return scanRebuild(pool.QueryRow(ctx, "SELECT "+rebuildColumns+" FROM app.rebuilds WHERE id = $1", id))
}

// LastRebuild gives the newest one. ErrNotFound where there was none.
func LastRebuild(ctx context.Context, pool *pgxpool.Pool) (Rebuild, error) {
	return scanRebuild(pool.QueryRow(ctx, "SELECT "+rebuildColumns+" FROM app.rebuilds ORDER BY started_at DESC, id "+
		"DESC LIMIT 1"))
}

// rebuildingNow gives the names of the projections that are being rebuilt.
func rebuildingNow(ctx context.Context, pool *pgxpool.Pool) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	var names []string
	err := pool.QueryRow(ctx, "SELECT coalesce(array_agg(name), '{}') FROM app.rebuilds, unnest(names) name WHERE "+
		"ended_at IS NULL AND mode <> $1 AND "+
		runningRebuild, ModeVerify).Scan(&names)
	return names, err
}

// AbortRebuild has the rebuild under way end without any effect, and waits until it has. Where none is under way it
// removes what an interrupted one has left. It says which one it ended, uuid.Nil for none. The former read models stay
// for a rollback.
func AbortRebuild(ctx context.Context, pool *pgxpool.Pool) (uuid.UUID, error) {
	for asked := uuid.Nil; ; {
		lock, err := lockRebuilds(ctx, pool)
		if err == nil {
			return asked, errors.Join(dropSchema(ctx, pool, nextSchema), closeConn(ctx, lock))
		}
		if !errors.Is(err, ErrRebuildRunning) {
			return uuid.Nil, err
		}
		err = pool.QueryRow(ctx, "UPDATE app.rebuilds SET abort = true WHERE ended_at IS NULL RETURNING id").Scan(
			&asked)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return uuid.Nil, err
		}
		if pause.For(ctx, progressPace/2); ctx.Err() != nil {
			return uuid.Nil, ctx.Err()
		}
	}
}
