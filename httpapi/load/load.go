// Package load limits how many requests are worked on at once. A request has a slot from its beginning to its end, but
// gives it up while it only waits: for a body, for the read models, for a server elsewhere. The slot is in the
// request's context, so what waits for somebody can be told by whoever does the waiting, and does not concern what no
// request asked for.
package load

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// DefaultMost is how many requests are worked on at once. More would only wait for each other, longer and longer, and
// fill the memory; so they are told to come again, and those that were let in are answered in time. It leaves room
// beside a full queue of passwords.
const DefaultMost = 256

// ErrOverloaded refuses a request while as many as possible are being worked on.
var ErrOverloaded = errors.New("too many requests at the moment")

// Limiter counts the requests that are worked on.
type Limiter struct {
	Most   int64
	atWork atomic.Int64
}

// NewLimiter lets DefaultMost requests be worked on.
func NewLimiter() *Limiter { return &Limiter{Most: DefaultMost} }

// AtWork is how many requests are worked on at this moment.
func (l *Limiter) AtWork() int64 { return l.atWork.Load() }

// Begin gives a request a slot, which is in the context and has to be given back by end. ErrOverloaded when there is
// none.
func (l *Limiter) Begin(ctx context.Context) (with context.Context, end func(), err error) {
	if l.atWork.Add(1) > l.Most {
		l.atWork.Add(-1)
		return ctx, nil, ErrOverloaded
	}
	return context.WithValue(ctx, slotKey{}, &slot{limiter: l}), func() { l.atWork.Add(-1) }, nil
}

// slot is a request's place among those that are worked on.
type slot struct {
	limiter *Limiter
	mu      sync.Mutex
	waits   int // within each other, or at the same time
}

type slotKey struct{}

func slotOf(ctx context.Context) *slot {
	held, _ := ctx.Value(slotKey{}).(*slot)
	return held
}

func (s *slot) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits++; s.waits == 1 {
		s.limiter.atWork.Add(-1)
	}
}

func (s *slot) takeAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits--; s.waits == 0 {
		s.limiter.atWork.Add(1)
	}
}

// WithoutSlot does what is no work but waiting, for which nobody else must be turned down. It also takes a context
// without a slot.
func WithoutSlot(ctx context.Context, wait func() error) error {
	if held := slotOf(ctx); held != nil {
		held.free()
		defer held.takeAgain()
	}
	return wait()
}

// Body is the body of a request. Clients that send it slowly, or never, keep nobody out.
type Body struct {
	io.ReadCloser
	Context context.Context //nolint:containedctx // that of the request, whose slot it is
}

// Read implements io.Reader.
func (b Body) Read(into []byte) (n int, err error) {
	err = WithoutSlot(b.Context, func() error {
		n, err = b.ReadCloser.Read(into)
		return err
	})
	return n, err
}
