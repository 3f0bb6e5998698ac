package load

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/directory"
)

// begin takes a slot of a limiter that has only this one.
func begin(t *testing.T) (*Limiter, context.Context) {
	t.Helper()
	limiter := NewLimiter()
	limiter.Most = 1
	ctx, end, err := limiter.Begin(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end()
		if left := limiter.AtWork(); left != 0 {
			t.Errorf("%d requests are worked on after all have ended", left)
		}
	})
	return limiter, ctx
}

func wantAtWork(t *testing.T, limiter *Limiter, want int64) {
	t.Helper()
	if got := limiter.AtWork(); got != want {
		t.Errorf("%d at work, want %d", got, want)
	}
}

func TestNoMoreRequestsAreWorkedOnThanAllowed(t *testing.T) {
	t.Parallel()
	limiter, _ := begin(t)
	if _, _, err := limiter.Begin(t.Context(), ""); !errors.Is(err, ErrOverloaded) {
		t.Error(err)
	}
	wantAtWork(t, limiter, 1)
}

// What one network sends leaves places for others.
func TestANetworkHasAShare(t *testing.T) {
	t.Parallel()
	limiter := NewLimiter()
	limiter.Most = 8
	ends := map[string][]func(){}
	begin := func(network string) error {
		_, end, err := limiter.Begin(t.Context(), network)
		if err == nil {
			ends[network] = append(ends[network], end)
		}
		return err
	}
	for i := range 8 {
		if err := begin("one"); (err == nil) != (i < 6) {
			t.Errorf("request %d of one network: %v", i+1, err)
		}
	}
	for i, network := range []string{"two", "three", "four"} {
		if err := begin(network); (err == nil) != (i < 2) {
			t.Errorf("the network %s: %v", network, err)
		}
	}
	for _, of := range ends {
		for _, end := range of {
			end()
		}
	}
	wantAtWork(t, limiter, 0)
	if len(limiter.networks) > 0 {
		t.Errorf("%v is remembered", limiter.networks)
	}
	for range 8 { // what comes from no network
		if err := begin(""); err != nil {
			t.Error(err)
		}
	}
}

// A request that only waits counts neither for all nor for its network.
func TestAWaitingRequestLeavesItsNetworksShare(t *testing.T) {
	t.Parallel()
	limiter := NewLimiter()
	limiter.Most = 1
	ctx, end, err := limiter.Begin(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	err = WithoutSlot(ctx, func() error {
		_, other, err := limiter.Begin(t.Context(), "one")
		if err == nil {
			other()
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, _, err := limiter.Begin(t.Context(), "one"); !errors.Is(err, ErrOverloaded) {
		t.Errorf("got %v", err)
	}
}

func TestARequestThatWaitsHasNoSlot(t *testing.T) {
	t.Parallel()
	failure := errors.New("given on")
	for name, waits := range map[string]func(ctx context.Context, check func()) error{
		"for anything": func(ctx context.Context, check func()) error {
			return WithoutSlot(ctx, func() error { check(); return failure })
		},
		"within another wait": func(ctx context.Context, check func()) error {
			return WithoutSlot(ctx, func() error {
				err := WithoutSlot(ctx, func() error { return failure })
				check()
				return err
			})
		},
		"for its body": func(ctx context.Context, check func()) error {
			_, err := Body{
				ReadCloser: io.NopCloser(reader(func() error { check(); return failure })), Context: ctx,
			}.Read(nil)
			return err
		},
		"in a pause": func(ctx context.Context, check func()) error {
			if Pause(func(context.Context, time.Duration) bool { check(); return true })(ctx, time.Second) {
				return failure
			}
			return nil
		},
		"for a directory": func(ctx context.Context, check func()) error {
			_, err := NewDirectory(asked(func() error { check(); return failure })).SignIn(ctx, directory.Server{}, "",
				"")
			return err
		},
		"for the test of a directory": func(ctx context.Context, check func()) error {
			_, _, err := NewDirectory(asked(func() error { check(); return failure })).Test(ctx, directory.Server{}, "",
				"")
			return err
		},
		"for the entries of a directory": func(ctx context.Context, check func()) (err error) {
			for _, err = range NewDirectory(asked(func() error { check(); return failure })).Entries(ctx,
				directory.Server{}) {
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limiter, ctx := begin(t)
			asked := false
			err := waits(ctx, func() {
				asked = true
				wantAtWork(t, limiter, 0)
			})
			if !asked || !errors.Is(err, failure) {
				t.Errorf("asked: %t, %v", asked, err)
			}
			wantAtWork(t, limiter, 1)
		})
	}
}

func TestSoManyWaitForTheSame(t *testing.T) {
	t.Parallel()
	_, ctx := begin(t)
	waiting := NewWaiting(1)
	err := waiting.WithoutSlot(ctx, "silent", func() error {
		nothing := func() error { return nil }
		if err := waiting.WithoutSlot(ctx, "silent", nothing); !errors.Is(err, ErrTooManyWaiting) {
			t.Error("a second one waits for the same:", err)
		}
		if err := waiting.WithoutSlot(ctx, "healthy", nothing); err != nil {
			t.Error("nobody waits for another server:", err)
		}
		return waiting.WithoutSlot(t.Context(), "silent", nothing)
	})
	if err != nil {
		t.Error("what no request asked for is not limited:", err)
	}
	if err := waiting.WithoutSlot(ctx, "silent", func() error { return nil }); err != nil {
		t.Error("who has waited is still counted:", err)
	}
}

type reader func() error

func (r reader) Read([]byte) (int, error) { return 0, r() }

// asked is a directory that calls a function each time.
type asked func() error

var _ commands.Directory = asked(nil)

func (a asked) SignIn(context.Context, directory.Server, string, string) (directory.Entry, error) {
	return directory.Entry{}, a()
}

func (a asked) Test(context.Context, directory.Server, string, string) ([]directory.Step, *directory.Entry, error) {
	return nil, nil, a()
}

func (a asked) Entries(context.Context, directory.Server) iter.Seq2[directory.Entry, error] {
	return func(yield func(directory.Entry, error) bool) { yield(directory.Entry{}, a()) }
}

func TestABodyIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	_, ctx := begin(t)
	text, err := io.ReadAll(Body{ReadCloser: io.NopCloser(strings.NewReader("all of it")), Context: ctx})
	if err != nil || string(text) != "all of it" {
		t.Error(string(text), err)
	}
}
