package feed_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/secboard/secboard/pause/pausetest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/esdb"
	"github.com/secboard/secboard/eventstore/feed"
	"github.com/secboard/secboard/eventstore/nodetest"
)

var quiet = slog.New(slog.DiscardHandler)

func proposed(n int) []eventstore.Proposed {
	events := make([]eventstore.Proposed, n)
	for i := range events {
		events[i] = eventstore.Proposed{
			ID: uuid.New(), Type: "test.happened", Data: []byte(`{}`), Metadata: []byte(`{}`),
		}
	}
	return events
}

// patience bounds every wait for what has to happen. It is no expectation of how long something takes.
const patience = 3 * time.Minute

// consumer is a projection without tables: it remembers what it applied and its checkpoint.
type consumer struct {
	position atomic.Uint64
	applied  []eventstore.Recorded
	pages    []int
}

func (c *consumer) checkpoint(context.Context, string) (eventstore.Position, error) {
	return eventstore.Position(c.position.Load()), nil
}

func (c *consumer) apply(page feed.Page) {
	for _, event := range page.Events {
		c.applied = append(c.applied, event.Recorded)
	}
	c.pages = append(c.pages, len(page.Events))
	c.position.Store(uint64(page.Position()))
}

func appendMany(t *testing.T, client *esdb.Client, stream string, n int) {
	t.Helper()
	for done := 0; done < n; done += 1000 {
		events := proposed(min(1000, n-done))
		pausetest.Until(t, "an append", func() bool {
			_, err := client.Append(t.Context(), stream, eventstore.Revision(done-1), events)
			if err != nil && !errors.Is(err, eventstore.ErrUnavailable) {
				t.Fatal(err)
			}
			return err == nil
		})
	}
}

func run(t *testing.T, tail *feed.Tail) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { tail.Run(ctx, 0); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
}

func receive(t *testing.T, messages <-chan *message.Message) (*message.Message, feed.Page) {
	t.Helper()
	select {
	case msg := <-messages:
		page, ok := feed.PageOf(msg)
		if !ok {
			t.Fatal("a message without a page")
		}
		return msg, page
	case <-time.After(patience):
		t.Fatal("no message came")
		panic("unreachable")
	}
}

func TestEverySubscriberGetsEveryEventOnceInOrder(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	const events = 12_345
	appendMany(t, client, "test-1", events)
	tail := feed.NewTail(client, quiet)
	run(t, tail)
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			var c consumer
			subscriber := feed.NewSubscriber(tail, c.checkpoint, quiet)
			messages, err := subscriber.Subscribe(t.Context(), "all")
			if err != nil {
				t.Fatal(err)
			}
			after := eventstore.Position(0)
			for len(c.applied) < events {
				msg, page := receive(t, messages)
				if page.After != after || len(page.Events) > feed.MaxPage {
					t.Fatalf("page after %d (want %d) with %d events", page.After, after, len(page.Events))
				}
				c.apply(page)
				after = page.Position()
				msg.Ack()
			}
			for i, event := range c.applied {
				if event.Revision != eventstore.Revision(i) {
					t.Fatalf("event %d has revision %d", i, event.Revision)
				}
			}
			if err := subscriber.Close(); err != nil {
				t.Error(err)
			}
			if _, open := <-messages; open {
				t.Error("a message came after Close")
			}
		})
	}
}

func TestAfterANackTheEventsComeOneByOne(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	appendMany(t, client, "test-1", 20)
	tail := feed.NewTail(client, quiet)
	run(t, tail)
	pausetest.Until(t, "reading the log", func() bool { _, live, _ := tail.Head(); return live })
	var c consumer
	subscriber := feed.NewSubscriber(tail, c.checkpoint, quiet)
	messages, err := subscriber.Subscribe(t.Context(), "all")
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for len(c.applied) < 20 {
		msg, page := receive(t, messages)
		poisoned := false
		for _, event := range page.Events {
			poisoned = poisoned || event.Revision == 7
		}
		if poisoned && refused < 3 {
			refused++
			msg.Nack()
			continue
		}
		c.apply(page)
		msg.Ack()
	}
	if refused != 3 || len(c.applied) != 20 || c.pages[6] != 1 || c.pages[7] != 1 {
		t.Errorf("refused %d, applied %d in pages %v", refused, len(c.applied), c.pages)
	}
	if err := subscriber.Close(); err != nil {
		t.Error(err)
	}
}

func TestAStandingSubscriberDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	const events = 25_000 // more than the tail keeps
	appendMany(t, client, "test-1", events)
	tail := feed.NewTail(client, quiet)
	run(t, tail)
	var standing, moving consumer
	slow := feed.NewSubscriber(tail, standing.checkpoint, quiet)
	fast := feed.NewSubscriber(tail, moving.checkpoint, quiet)
	held, err := slow.Subscribe(t.Context(), "slow")
	if err != nil {
		t.Fatal(err)
	}
	first, firstPage := receive(t, held)
	messages, err := fast.Subscribe(t.Context(), "fast")
	if err != nil {
		t.Fatal(err)
	}
	for len(moving.applied) < events {
		msg, page := receive(t, messages)
		moving.apply(page)
		msg.Ack()
	}
	// Now the one that stood goes on, from the log itself.
	standing.apply(firstPage)
	first.Ack()
	for len(standing.applied) < events {
		msg, page := receive(t, held)
		standing.apply(page)
		msg.Ack()
	}
	for i, event := range standing.applied {
		if event.Revision != eventstore.Revision(i) {
			t.Fatalf("event %d has revision %d", i, event.Revision)
		}
	}
	for _, subscriber := range []*feed.Subscriber{slow, fast} {
		if err := subscriber.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestATailReadsOnAfterAnOutage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	address, stop := nodetest.ListenAndServe(t, dir, "127.0.0.1:0")
	client, err := esdb.Connect("esdb://"+address+"?tls=false", esdb.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	appendMany(t, client, "test-1", 10)
	tail := feed.NewTail(client, quiet)
	run(t, tail)
	pausetest.Until(t, "reading the log", func() bool { _, live, _ := tail.Head(); return live })
	before, _, _ := tail.Head()
	stop()
	pausetest.Until(t, "noticing the outage", func() bool { _, _, err := tail.Head(); return err != nil })
	_, stopAgain := nodetest.ListenAndServe(t, dir, address)
	defer stopAgain()
	again := proposed(1)
	pausetest.Until(t, "writing again", func() bool {
		_, err := client.Append(t.Context(), "test-1", 9, again)
		return err == nil
	})
	pausetest.Until(t, "reading on", func() bool {
		head, live, err := tail.Head()
		return head > before && live && err == nil
	})
}

func TestClosingLetsThePageUnderWayFinish(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	appendMany(t, client, "test-1", 1)
	tail := feed.NewTail(client, quiet)
	run(t, tail)
	var c consumer
	subscriber := feed.NewSubscriber(tail, c.checkpoint, quiet)
	messages, err := subscriber.Subscribe(t.Context(), "all")
	if err != nil {
		t.Fatal(err)
	}
	msg, _ := receive(t, messages)
	closed := make(chan error, 1)
	go func() { closed <- subscriber.Close() }()
	select {
	case err := <-closed:
		t.Fatalf("closed (%v) with a page under way", err)
	case <-msg.Context().Done():
		t.Fatal("the page's context ended with a page under way")
	case <-time.After(100 * time.Millisecond): // nothing may happen, so a moment has to pass
	}
	msg.Ack()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}
