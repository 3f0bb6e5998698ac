package instance

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// Background is what works beside the HTTP server until the end. A part that ends earlier ends everything: nobody would
// notice that no mail is sent any more, and a process that has ended is started again.
type Background struct {
	group *errgroup.Group
	ctx   context.Context
	stop  context.CancelFunc
}

// NewBackground gives one without parts.
func NewBackground() *Background {
	ctx, stop := context.WithCancel(context.Background())
	group, ctx := errgroup.WithContext(ctx)
	return &Background{group, ctx, stop}
}

// Start begins a part, which works until its context ends.
func (b *Background) Start(name string, run func(context.Context) error) {
	b.group.Go(func() error {
		err := run(b.ctx)
		switch {
		case b.ctx.Err() == nil:
			if err == nil {
				return fmt.Errorf("%s ended unexpectedly without an error", name)
			}
			return fmt.Errorf("%s ended: %w", name, err)
		case err == nil || errors.Is(err, context.Canceled):
			return nil
		}
		return fmt.Errorf("stopping %s: %w", name, err)
	})
}

// Ended is closed when a part has ended before the end.
func (b *Background) Ended() <-chan struct{} { return b.ctx.Done() }

// End stops all parts and gives the first error.
func (b *Background) End() error {
	b.stop()
	return b.group.Wait()
}
