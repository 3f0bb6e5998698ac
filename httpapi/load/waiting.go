package load

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/directory"
)

// How many requests may wait for the same server at once. They have no slot, so each kind has a limit of its own.
const (
	MostSignIns = 64 // at each directory; a healthy one answers thousands a second with that
	MostTests   = 8  // of each directory, and of each mail server
	MostExports = 8
)

// ErrTooManyWaiting refuses a request while as many as possible wait for the same.
var ErrTooManyWaiting = errors.New("too many requests of this kind are waiting")

// Waiting counts the requests that wait, by what for: one server that does not answer keeps nobody from the others.
type Waiting struct {
	Most int
	mu   sync.Mutex
	now  map[string]int
}

// NewWaiting lets so many requests wait for the same.
func NewWaiting(most int) *Waiting { return &Waiting{Most: most, now: map[string]int{}} }

func (w *Waiting) enter(what string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.now[what] >= w.Most {
		return false
	}
	w.now[what]++
	return true
}

func (w *Waiting) leave(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.now[what]--; w.now[what] == 0 {
		delete(w.now, what)
	}
}

// WithoutSlot is the function WithoutSlot for what may take long. A request is refused with ErrTooManyWaiting while too
// many wait for the same; what no request asked for is neither counted nor refused.
func (w *Waiting) WithoutSlot(ctx context.Context, what string, wait func() error) error {
	if slotOf(ctx) == nil {
		return wait()
	}
	if !w.enter(what) {
		return ErrTooManyWaiting
	}
	defer w.leave(what)
	return WithoutSlot(ctx, wait)
}

// Directory asks directories, without the slot of who asks. Each call may take as long as the directory's time-outs.
type Directory struct {
	commands.Directory
	SignIns, Tests *Waiting // by directory
}

// NewDirectory limits who waits for each directory.
func NewDirectory(asked commands.Directory) Directory {
	return Directory{Directory: asked, SignIns: NewWaiting(MostSignIns), Tests: NewWaiting(MostTests)}
}

// SignIn implements commands.Directory.
func (d Directory) SignIn(ctx context.Context, server directory.Server,
	email, password string) (entry directory.Entry, err error) {
	err = d.SignIns.WithoutSlot(ctx, server.Name, func() error {
		entry, err = d.Directory.SignIn(ctx, server, email, password)
		return err
	})
	return entry, err
}

// Test implements commands.Directory.
func (d Directory) Test(ctx context.Context, server directory.Server,
	email, password string) (steps []directory.Step, entry *directory.Entry, err error) {
	err = d.Tests.WithoutSlot(ctx, server.Name, func() error {
		steps, entry, err = d.Directory.Test(ctx, server, email, password)
		return err
	})
	return steps, entry, err
}

// Entries implements commands.Directory.
func (d Directory) Entries(ctx context.Context, server directory.Server) iter.Seq2[directory.Entry, error] {
	return func(yield func(directory.Entry, error) bool) {
		err := d.Tests.WithoutSlot(ctx, server.Name, func() error {
			d.Directory.Entries(ctx, server)(yield)
			return nil
		})
		if err != nil {
			yield(directory.Entry{}, err)
		}
	}
}

// Pause is for refusals that wait so that all take the same time. They need no limit: each has taken the time of a core
// before, for its password, and waits half a second at most.
func Pause(pause func(context.Context, time.Duration) bool) func(context.Context, time.Duration) bool {
	return func(ctx context.Context, d time.Duration) (whole bool) {
		WithoutSlot(ctx, func() error { whole = pause(ctx, d); return nil }) //nolint:errcheck,gosec // it has none
		return whole
	}
}
