package projections

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Small machines make one index at a time, so the rebuilds that other tests do never share the steps out.
func TestStepsAreSharedOutAmongConnections(t *testing.T) {
	t.Parallel()
	var done atomic.Int64
	index := func(context.Context, *pgx.Conn) ([]step, error) {
		done.Add(1)
		return nil, nil
	}
	table := func(context.Context, *pgx.Conn) ([]step, error) {
		done.Add(1)
		return []step{index, index, index}, nil
	}
	var steps []step
	for range 50 {
		steps = append(steps, table)
	}
	if err := inSteps(t.Context(), make([]*pgx.Conn, connections), steps); err != nil {
		t.Fatal(err)
	}
	if want := int64(50 * 4); done.Load() != want {
		t.Errorf("%d steps were done, want %d", done.Load(), want)
	}

	broken := errors.New("disk full")
	done.Store(0)
	steps[10] = func(context.Context, *pgx.Conn) ([]step, error) { return nil, broken }
	if err := inSteps(t.Context(), make([]*pgx.Conn, 1), steps); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of the step", err)
	}
	if done.Load() != 10 {
		t.Errorf("%d steps were done on one connection, want the 10 before the broken one", done.Load())
	}
}

func TestIndexersLeaveAProcessorToQueries(t *testing.T) {
	t.Parallel()
	for processors, want := range map[int]int{1: 1, 2: 1, 3: 1, 4: 2, 64: connections} {
		if got := indexers(processors); got != want {
			t.Errorf("%d processors: %d at once, want %d", processors, got, want)
		}
	}
}
