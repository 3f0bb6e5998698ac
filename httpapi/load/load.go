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
)

// DefaultMost is how many requests are worked on at once. More would only wait for each other, longer and longer, and
// fill the memory; so they are told to come again, and those that were let in are answered in time. It leaves room
// beside a full queue of passwords.
const DefaultMost = 256

// ErrOverloaded refuses a request while as many as possible are being worked on.
var ErrOverloaded = errors.New("too many requests at the moment")

// Limiter counts the requests that are worked on.
type Limiter struct {
	Most int64 // of all networks together

	mu       sync.Mutex
	atWork   int64
	networks map[string]int64 // at work, by network
}

// NewLimiter lets DefaultMost requests be worked on.
func NewLimiter() *Limiter { return &Limiter{Most: DefaultMost, networks: map[string]int64{}} }

// AtWork is how many requests are worked on at this moment.
func (l *Limiter) AtWork() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.atWork
}

// share is how many requests of one network are worked on at most: three quarters. A proxy that is not known as one
// looks like a network, and should still be served well.
func (l *Limiter) share() int64 { return (3*l.Most + 3) / 4 }

// Begin gives a request of a network a slot, which is in the context and has to be given back by end. ErrOverloaded
// when there is none, or none for the network; "" is in no network.
func (l *Limiter) Begin(ctx context.Context, network string) (with context.Context, end func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.atWork >= l.Most || network != "" && l.networks[network] >= l.share() {
		return ctx, nil, ErrOverloaded
	}
	l.count(network, 1)
	held := &slot{limiter: l, network: network}
	return context.WithValue(ctx, slotKey{}, held), func() { l.add(network, -1) }, nil
}

func (l *Limiter) add(network string, more int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count(network, more)
}

// count is add for who holds the lock.
func (l *Limiter) count(network string, more int64) {
	l.atWork += more
	if l.networks[network] += more; l.networks[network] == 0 {
		delete(l.networks, network)
	}
}

// slot is a request's place among those that are worked on.
type slot struct {
	limiter *Limiter
	network string
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
		s.limiter.add(s.network, -1)
	}
}

func (s *slot) takeAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits--; s.waits == 0 {
		s.limiter.add(s.network, 1)
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
