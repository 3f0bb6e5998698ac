package engine

import (
	"maps"
	"slices"
	"testing"

	"github.com/secboard/secboard/pause/pausetest"

	"github.com/jackc/pgx/v5/pgxpool"
)

// checkpointsIn gives the checkpoints as they are in a database.
func checkpointsIn(t testing.TB, pool *pgxpool.Pool) map[string]checkpoint {
	t.Helper()
	checkpoints, err := parcelSet().readCheckpoints(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	return checkpoints
}

func TestAStopWritesWhatProjectionsSkipped(t *testing.T) {
	t.Parallel()
	w := newStoppedWorld(t)
	runner, stop := startStoppable(t, w.pool, w.log, nil)
	_, last := w.post(t, "Lviv")
	waitFor(t, runner, last)
	stop()
	after := checkpointsIn(t, w.pool)
	for name, c := range after {
		if c != after["journal"] || c.position < last {
			t.Errorf("%s is at %+v, journal at %+v, the last event at %d", name, c, after["journal"], last)
		}
	}
}

// A crash of Postgres may take a checkpoint back, and another instance may move it: the next write notices.
func TestACheckpointMovedByOthersIsReadAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	waitFor(t, w.runner, w.send(t, "Lviv"))
	same := func() bool {
		checkpoints := slices.Collect(maps.Values(checkpointsIn(t, w.pool)))
		return !slices.ContainsFunc(checkpoints, func(c checkpoint) bool { return c != checkpoints[0] })
	}
	pausetest.Until(t, "all checkpoints are written", same)
	// depots skips what comes next, and parcels does not.
	const back = "UPDATE checkpoints SET position = 0, events = 0 WHERE name IN ('depots', 'parcels')"
	if _, err := w.pool.Exec(t.Context(), back+"; TRUNCATE parcels, storage, parcel_labels, depots"); err != nil {
		t.Fatal(err)
	}
	_, last := w.post(t, "Odesa")
	waitFor(t, w.runner, last)
	pausetest.Until(t, "all checkpoints are written", func() bool {
		return same() && checkpointsIn(t, w.pool)["depots"].position >= last
	})
	w.assertReplayed(t)
}
