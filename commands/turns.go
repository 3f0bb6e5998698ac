package commands

import (
	"context"
	"sync"

	"github.com/secboard/secboard/domain/signin"
)

// turns let guesses at the same secret come one after the other within this instance, so that each is counted before
// the next is checked. Between instances the log does: what it has not counted yet signs nobody in.
type turns struct {
	mu    sync.Mutex
	taken map[string]*turn
}

type turn struct {
	free   chan struct{} // holds one value while nobody has the turn
	wanted int           // by how many, with the one who has it
}

func newTurns() *turns { return &turns{taken: map[string]*turn{}} }

// take waits for the turn at what a key names, and keeps it until release is called.
func (t *turns) take(ctx context.Context, key string) (release func(), err error) {
	t.mu.Lock()
	mine := t.taken[key]
	if mine == nil {
		mine = &turn{free: make(chan struct{}, 1)}
		mine.free <- struct{}{}
		t.taken[key] = mine
	}
	mine.wanted++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.wanted--; mine.wanted == 0 {
			delete(t.taken, key)
		}
	}
	select {
	case <-mine.free:
		return func() { mine.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// passwordTurn is the turn of guesses at the password of an attempt's account from its network: others never wait for
// a network that guesses.
func (h *Handler) passwordTurn(ctx context.Context, a attempt) (release func(), err error) {
	return h.turns.take(ctx, a.stream+" "+a.Of+" "+a.Network)
}

// codeTurn is the turn of guesses at the codes of an attempt's account.
func (h *Handler) codeTurn(ctx context.Context, a attempt) (release func(), err error) {
	return h.turns.take(ctx, a.stream+" codes")
}

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
