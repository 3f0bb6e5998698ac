package feed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/secboard/secboard/eventstore"
)

// At a stop, a page under way may take drainTime; Watermill waits a little longer.
const (
	drainTime = 5 * time.Second
	closeTime = drainTime + 2*time.Second
)

// Handler works on a page of the log, and moves its own checkpoint with that. After an error the checkpoint is asked
// for again and the events come one by one.
type Handler func(ctx context.Context, page Page) error

// Consume reads the log from a position on and has each handler follow it under its name, as a handler of one Watermill
// router, until ctx ends, through every outage of the store. A page under way is finished before it returns. The
// Subscriber can't be used again.
func (s *Subscriber) Consume(ctx context.Context, from eventstore.Position, handlers map[string]Handler) error {
	// Watermill is silent: it would log each of the many attempts during an outage. Handlers log what is worth it.
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: closeTime}, watermill.NopLogger{})
	if err != nil {
		return errors.Join(fmt.Errorf("make Watermill's router: %w", err), s.Close())
	}
	for name, handle := range handlers {
		router.AddConsumerHandler(name, name, s, func(msg *message.Message) error {
			page, ok := PageOf(msg)
			if !ok {
				return errors.New("the message carries no page")
			}
			return handle(msg.Context(), page)
		})
	}
	// The log is read until the handlers have ended.
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { s.tail.Run(reading, from) })
	err = router.Run(ctx)
	stop()
	running.Wait()
	return errors.Join(err, s.Close())
}
