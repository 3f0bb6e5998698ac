package pause_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secboard/secboard/pause"
)

func TestForWaitsToTheEndOrUntilTheContextEnds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ctxEnds, d, waited time.Duration
		whole              bool
	}{
		"to the end":             {ctxEnds: time.Hour, d: time.Minute, waited: time.Minute, whole: true},
		"until the context ends": {ctxEnds: time.Minute, d: time.Hour, waited: time.Minute},
		"not at all":             {ctxEnds: time.Minute, d: -time.Second, whole: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), test.ctxEnds)
				defer cancel()
				began := time.Now() // the clock of this bubble, which no other work moves
				whole := pause.For(ctx, test.d)
				if waited := time.Since(began); whole != test.whole || waited != test.waited {
					t.Errorf("it waited %s and said %v, want %s and %v", waited, whole, test.waited, test.whole)
				}
			})
		})
	}
}
