// Package pausetest waits in tests for what has to happen, however busy the machine is.
package pausetest

import (
	"context"
	"testing"
	"time"

	"github.com/secboard/secboard/pause"
)

// Patience bounds every wait for what has to happen. It is no expectation of how long something takes.
const Patience = 10 * time.Minute

// Until polls until something holds that has to become true without the test's help. It fails the test after Patience.
func Until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	for !holds() {
		if !pause.For(ctx, 10*time.Millisecond) {
			t.Fatal("never happened: " + what)
		}
	}
}
