package httpapi

import (
	"context"
	"sync"
	"time"
)

// cleaning removes operational rows that nobody asks for any more, in passing and at most once a minute.
type cleaning struct {
	mu   sync.Mutex
	next time.Time
}

func (c *cleaning) due(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.next) {
		return false
	}
	c.next = now.Add(time.Minute)
	return true
}

// clean removes them when it is time. A failure harms nobody: rows that are too old are never used, and it is tried
// again.
func (c *cleaning) clean(ctx context.Context, s *server) {
	now := s.Now()
	if !c.due(now) {
		return
	}
	err := s.sessions.RemoveExpired(ctx, now)
	for statement, before := range outdated(now) {
		if err == nil {
			_, err = s.Pool.Exec(ctx, statement, before)
		}
	}
	if err != nil {
		s.Logger.WarnContext(ctx, "removing outdated rows failed", "error", err)
	}
}

// outdated are statements that remove rows from before a time.
func outdated(now time.Time) map[string]time.Time {
	return map[string]time.Time{
		`DELETE FROM app.idempotency_keys WHERE created_at < $1`: now.Add(-keysLast),
		`DELETE FROM app.rate_limits WHERE window_start < $1`:    now.Add(-ownWindow),
		`DELETE FROM app.rate_limits WHERE window_start < $1 AND key NOT LIKE '` + longWindow + `%'`: now.Add(
			-shortWindow),
	}
}
