package projections

import (
	"errors"
	"testing"

	"github.com/secboard/secboard/eventstore/nodetest"
	"github.com/secboard/secboard/projections/engine"
)

func TestADatabaseOfAnotherLogIsRefused(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	other := &stack{Handler: newHandler(t, nodetest.Connect(t))}
	check := func(what string, h *stack, want bool) {
		t.Helper()
		err := engine.CheckLog(t.Context(), s.pool, h.Log)
		if _, refused := errors.AsType[*engine.ErrOtherLog](err); refused == want || !refused && err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("nothing built yet", s, true)
	waitFor(t, s.runner, s.register(t, "a@example.com").Position)
	check("its own log", s, true)
	check("an empty log", other, false)
	other.register(t, "a@example.com") // as many events, at the same positions
	check("another log", other, false)
	waitFor(t, s.runner, s.register(t, "b@example.com").Position)
	check("its own log, grown", s, true)
	check("a shorter log", other, false)
}
