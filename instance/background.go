package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// background is what works beside the HTTP server until the end. A part that ends earlier ends everything: nobody would notice
// that no mail is sent any more, and a process that has ended is started again.
type background struct {
	group *errgroup.Group
	ctx   context.Context
	stop  context.CancelFunc
}

func newBackground() *background {
	ctx, stop := context.WithCancel(context.Background())
	group, ctx := errgroup.WithContext(ctx)
	return &background{group, ctx, stop}
}

// start begins a part, which works until its context ends.
func (b *background) start(name string, run func(context.Context) error) {
	b.group.Go(func() error {
		err := run(b.ctx)
		switch {
		case b.ctx.Err() == nil:
			return fmt.Errorf("%s ended: %w", name, cmp.Or(err, errors.New("for no reason that it tells")))
		case err == nil || errors.Is(err, context.Canceled):
			return nil
		}
		return fmt.Errorf("stopping %s: %w", name, err)
	})
}

// ended is closed when a part has ended before the end.
func (b *background) ended() <-chan struct{} { return b.ctx.Done() }

// end stops all parts and gives the first error.
func (b *background) end() error {
	b.stop()
	return b.group.Wait()
}
