package commands

import (
	"context"
	"sync"

	"github.com/secboard/secboard/domain/signin"
)

// glance tells whether an attempt meets a lockout, and lets it wait where many networks guess together.
func (h *Handler) glance(ctx context.Context, a attempt) (locked bool, err error) {
	state, _, err := h.newestAttempts(ctx, a)
	if err != nil || state.Locked(a.Attempt) {
		return true, err
	}
	if state.Slowed(a.Attempt, h.Lockout()) && !h.Pause(ctx, signin.SlowFor) {
		return true, ctx.Err()
	}
	return false, nil
}

// asking counts the passwords that a directory is being asked about at the moment. What SecBoard checks itself needs no
// such count, since no answer is given before it is in the log; but a directory counts each guess, and locks its own
// account out.
type asking struct {
	mu    sync.Mutex
	under map[string]int // by account and network
}

func newAsking() *asking { return &asking{under: map[string]int{}} }

func (c *asking) add(key string, n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.under[key] += n
	left := c.under[key]
	if left == 0 {
		delete(c.under, key)
	}
	return left
}

// mayAsk says whether a directory may be asked about one more password: not more at the same time than guesses are left
// until a lockout. Whoever gets no answer counts as refused. done is to be called when the outcome is recorded.
func (h *Handler) mayAsk(ctx context.Context, a attempt) (done func(), may bool, err error) {
	key := a.stream + " " + a.Of + " " + a.Network
	under := h.asking.add(key, 1)
	done = func() { h.asking.add(key, -1) }
	state, _, err := h.newestAttempts(ctx, a)
	return done, err == nil && under <= state.Left(a.Attempt, h.Lockout()), err
}
