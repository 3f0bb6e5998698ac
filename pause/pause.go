// Package pause is the one way to wait for some time. It imports nothing of ours, so every folder may use it.
package pause

import (
	"context"
	"time"
)

// For waits for d, or until ctx ends, and says whether it waited to the end.
func For(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
