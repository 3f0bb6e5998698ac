package projections

import (
	"maps"
	"slices"
	"testing"

	"github.com/secboard/secboard/eventstore/nodetest"
	"github.com/secboard/secboard/postgres/pgtest"
)

// checkpointsOf gives the checkpoints as they are in the database.
func checkpointsOf(t testing.TB, s *stack) map[string]checkpoint {
	t.Helper()
	checkpoints, err := readCheckpoints(t.Context(), s.pool)
	if err != nil {
		t.Fatal(err)
	}
	return checkpoints
}

func TestAStopWritesWhatProjectionsWentPast(t *testing.T) {
	t.Parallel()
	log, pool := nodetest.Connect(t), pgtest.NewDatabase(t)
	s := &stack{Handler: newHandler(t, log), log: log, pool: pool}
	runner, stop := startStoppable(t, s.pool, s.log)
	last := s.register(t, "a@example.com")
	waitFor(t, runner, last.Position)
	stop()
	after := checkpointsOf(t, s)
	for name, c := range after {
		if c != after["history"] || c.position < last.Position {
			t.Errorf("%s is at %+v, history at %+v, the last event at %d", name, c, after["history"], last.Position)
		}
	}
}

// A crash of Postgres may take a checkpoint back, and another instance may move it: the next write notices.
func TestACheckpointMovedByOthersIsReadAgain(t *testing.T) {
	t.Parallel()
	log, pool := nodetest.Connect(t), pgtest.NewDatabase(t)
	s := &stack{Handler: newHandler(t, log), log: log, pool: pool}
	runner, _ := startStoppable(t, s.pool, s.log)
	waitFor(t, runner, s.register(t, "a@example.com").Position)
	same := func() bool {
		checkpoints := slices.Collect(maps.Values(checkpointsOf(t, s)))
		return !slices.ContainsFunc(checkpoints, func(c checkpoint) bool { return c != checkpoints[0] })
	}
	eventually(t, "all checkpoints are written", same)
	if _, err := s.pool.Exec(t.Context(), "UPDATE checkpoints SET position = 0, events = 0 WHERE name IN ('modules', 'users')"); err != nil {
		t.Fatal(err)
	}
	last := s.register(t, "b@example.com")
	waitFor(t, runner, last.Position)
	eventually(t, "all checkpoints are written", func() bool { return same() && checkpointsOf(t, s)["modules"].position >= last.Position })
}
