package httpapi

import (
	"context"
	"iter"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/directory"
)

// Whoever waits for somebody outside is not counted among those at work. So many may wait for the same one at once.
const (
	mostAtDirectory = 64 // who sign in, for each directory; a healthy one answers thousands a second with that
	mostTests       = 8  // of each directory, and of each mail server
	mostExports     = 8
)

var errTooManyWait = &refusal{
	status: http.StatusServiceUnavailable, code: "unavailable", headers: retryAfter(5 * time.Second),
	detail: "there are as many requests of this kind under way as are possible at once: try again",
}

// waitingRoom counts who waits, by what for: one server that does not answer keeps nobody from the others.
type waitingRoom struct {
	most int
	mu   sync.Mutex
	now  map[string]int
}

func newWaitingRoom(most int) *waitingRoom { return &waitingRoom{most: most, now: map[string]int{}} }

func (r *waitingRoom) enter(what string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now[what] >= r.most {
		return false
	}
	r.now[what]++
	return true
}

func (r *waitingRoom) leave(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now[what]--; r.now[what] == 0 {
		delete(r.now, what)
	}
}

// waitIn is withoutSlot for what may take long. It is refused while too many wait for the same.
func (w *work) waitIn(room *waitingRoom, what string, waiting func() error) error {
	if !room.enter(what) {
		return errTooManyWait
	}
	defer room.leave(what)
	return w.withoutSlot(waiting)
}

// uncounted is for operations that mostly wait.
func (s *server) uncounted(room *waitingRoom) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		err := s.work.waitIn(room, "", func() error {
			next(ctx)
			return nil
		})
		if err != nil {
			s.refuse(ctx, err)
		}
	}
}

// uncountedDirectory asks directories. Each of its calls may take as long as the directory's time-outs.
type uncountedDirectory struct {
	commands.Directory
	work           *work
	signIns, tests *waitingRoom
}

// SignIn implements commands.Directory.
func (d uncountedDirectory) SignIn(ctx context.Context, server directory.Server, email, password string) (entry directory.Entry, err error) {
	err = d.work.waitIn(d.signIns, server.Name, func() error {
		entry, err = d.Directory.SignIn(ctx, server, email, password)
		return err
	})
	return entry, err
}

// Test implements commands.Directory.
func (d uncountedDirectory) Test(ctx context.Context, server directory.Server, email, password string) (steps []directory.Step, entry *directory.Entry, err error) {
	err = d.work.waitIn(d.tests, server.Name, func() error {
		steps, entry, err = d.Directory.Test(ctx, server, email, password)
		return err
	})
	return steps, entry, err
}

// Entries implements commands.Directory.
func (d uncountedDirectory) Entries(ctx context.Context, server directory.Server) iter.Seq2[directory.Entry, error] {
	return func(yield func(directory.Entry, error) bool) {
		err := d.work.waitIn(d.tests, server.Name, func() error {
			d.Directory.Entries(ctx, server)(yield)
			return nil
		})
		if err != nil {
			yield(directory.Entry{}, err)
		}
	}
}

// uncountedPause is for refusals that wait so that all take the same time. They need no limit: each has taken the time of a
// core before, for its password, and waits half a second at most.
func (w *work) uncountedPause(pause func(context.Context, time.Duration) bool) func(context.Context, time.Duration) bool {
	return func(ctx context.Context, d time.Duration) (whole bool) {
		w.withoutSlot(func() error { whole = pause(ctx, d); return nil }) //nolint:errcheck,gosec // it has none
		return whole
	}
}
