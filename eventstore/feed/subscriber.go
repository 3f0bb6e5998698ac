package feed

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/pause"
)

// Subscriber is a Watermill subscriber whose messages are pages of the event log. A topic is the name of a consumer
// with a checkpoint of its own. The next page is sent only after the one before was acknowledged. After a nack the
// checkpoint is read again and the events come one by one, with growing pauses, until they are through.
type Subscriber struct {
	tail       *Tail
	checkpoint func(ctx context.Context, topic string) (eventstore.Position, error)
	logger     *slog.Logger

	closing context.Context
	close   context.CancelFunc
	running sync.WaitGroup

	mu         sync.Mutex
	generation context.Context // ends when every checkpoint has to be read again
	outdate    context.CancelFunc
}

// NewSubscriber makes a Subscriber. checkpoint gives the position up to which a consumer has applied the log.
func NewSubscriber(tail *Tail, checkpoint func(context.Context, string) (eventstore.Position, error),
	logger *slog.Logger) *Subscriber {
	s := &Subscriber{tail: tail, checkpoint: checkpoint, logger: logger}
	s.closing, s.close = context.WithCancel(context.Background())
	s.generation, s.outdate = context.WithCancel(context.Background())
	return s
}

type pageKey struct{}

// PageOf gives the page that a message of this Subscriber carries.
func PageOf(msg *message.Message) (Page, bool) {
	page, ok := msg.Context().Value(pageKey{}).(Page)
	return page, ok
}

// Subscribe implements message.Subscriber.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	output := make(chan *message.Message)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.closing, cancel)
	s.running.Go(func() {
		defer close(output)
		defer stop()
		defer cancel()
		s.deliver(ctx, topic, output)
	})
	return output, nil
}

// Close implements message.Subscriber.
func (s *Subscriber) Close() error {
	s.close()
	s.running.Wait()
	return nil
}

// Recheck has every consumer read its checkpoint again, also one that waits for new events: after a crash of the
// database the checkpoint may be behind what was delivered.
func (s *Subscriber) Recheck() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outdate()
	s.generation, s.outdate = context.WithCancel(context.Background())
}

func (s *Subscriber) asking() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.generation
}

func (s *Subscriber) deliver(ctx context.Context, topic string, output chan<- *message.Message) {
	reader := s.tail.Reader()
	defer reader.Close()
	var (
		position eventstore.Position
		known    bool // whether position is the checkpoint
		single   int  // how many events still come one by one
		failures int

		generation context.Context // ends when the checkpoint has to be read again
	)
	for ctx.Err() == nil {
		asked := s.asking() // before the checkpoint is read, so that no Recheck is missed
		if asked != generation {
			known, generation = false, asked
		}
		if !known {
			var err error
			if position, err = s.checkpoint(ctx, topic); err != nil {
				failures++
				s.logFailure(ctx, topic, "reading the checkpoint failed", err)
				pause.For(ctx, backoff(failures))
				continue
			}
			known = true
		}
		limit := MaxPage
		if single > 0 {
			limit = 1
		}
		waiting, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(generation, cancel)
		page, err := reader.Next(waiting, position, limit)
		stop()
		cancel()
		if err != nil && generation.Err() != nil {
			reader.Close() // while it waits it must not hold the others up
			continue
		}
		if err != nil {
			failures++
			s.logFailure(ctx, topic, "reading the event log failed", err)
			pause.For(ctx, backoff(failures))
			continue
		}
		acked, sent := s.send(ctx, page, output)
		switch {
		case !sent:
			return
		case acked:
			position, failures = page.Position(), 0
			single = max(0, single-1)
		default:
			reader.Close() // while it waits it must not hold the others up
			known, failures = false, failures+1
			single = max(single, len(page.Events))
			pause.For(ctx, backoff(failures))
		}
	}
}

// send hands one page out and waits for its answer. The page's context outlives ctx by the drain time, so that a
// transaction under way can commit.
func (s *Subscriber) send(ctx context.Context, page Page, output chan<- *message.Message) (acked, sent bool) {
	pageCtx, cancel := context.WithCancel(context.WithValue(context.WithoutCancel(ctx), pageKey{}, page))
	defer cancel()
	msg := message.NewMessage(uuid.NewString(), nil)
	msg.SetContext(pageCtx)
	select {
	case output <- msg:
	case <-ctx.Done():
		return false, false
	}
	select {
	case <-msg.Acked():
		return true, true
	case <-msg.Nacked():
		return false, true
	case <-ctx.Done():
	}
	drain := time.NewTimer(drainTime)
	defer drain.Stop()
	select {
	case <-msg.Acked():
	case <-msg.Nacked():
	case <-drain.C:
	}
	return false, false
}

func (s *Subscriber) logFailure(ctx context.Context, topic, what string, err error) {
	if ctx.Err() == nil {
		s.logger.Warn(what, "consumer", topic, "error", err)
	}
}

// backoff is the pause after the n-th failure in a row: 0.1 s, doubled up to 5 s.
func backoff(failures int) time.Duration {
	return min(100*time.Millisecond<<min(failures-1, 10), 5*time.Second)
}
