package storetest

import (
	"context"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

var subscribeTests = []test{
	{"a stream's events come in order, then CaughtUp, then what is appended", subscribeStreamFromStart},
	{"the start of a subscription to a stream is exclusive", subscribeStreamExclusive},
	{"from the end of a stream only new events come", subscribeStreamFromEnd},
	{"a stream that isn't there yet is waited for", subscribeMissingStream},
	{"hidden events of a stream don't come", subscribeHidden},
	{"the start of a subscription to $all is exclusive", subscribeAllExclusive},
	{"from the end of $all only new events come", subscribeAllFromEnd},
	{"nothing is lost or doubled between catching up and live", subscribeWhileAppending},
	{"a closed subscription is dropped", closedSubscription},
}

// message is what a subscription received, without the rest.
type message struct {
	event      *esdb.RecordedEvent
	checkpoint *esdb.Position
	caughtUp   bool
}

// receive waits for the next message. A drop fails the test, also the one at the end of its time.
func receive(t *testing.T, subscription *esdb.Subscription) message {
	t.Helper()
	for {
		received := subscription.Recv()
		switch {
		case received.SubscriptionDropped != nil:
			if received.SubscriptionDropped.Error != nil {
				t.Fatalf("the subscription was dropped: %v", received.SubscriptionDropped.Error)
			}
		case received.EventAppeared != nil:
			return message{event: received.EventAppeared.Event}
		case received.CheckPointReached != nil:
			return message{checkpoint: received.CheckPointReached}
		case received.CaughtUp != nil:
			return message{caughtUp: true}
		}
	}
}

// receiveEvents waits for n events of a stream and passes over everything else.
func receiveEvents(t *testing.T, subscription *esdb.Subscription, stream string, n int) []*esdb.RecordedEvent {
	t.Helper()
	var events []*esdb.RecordedEvent
	for len(events) < n {
		if m := receive(t, subscription); m.event != nil && m.event.StreamID == stream {
			events = append(events, m.event)
		}
	}
	return events
}

// receiveUntilCaughtUp returns the events of a stream and the checkpoints that come before CaughtUp.
func receiveUntilCaughtUp(t *testing.T, subscription *esdb.Subscription,
	stream string) (events []*esdb.RecordedEvent, checkpoints []esdb.Position) {
	t.Helper()
	for {
		switch m := receive(t, subscription); {
		case m.caughtUp:
			return events, checkpoints
		case m.checkpoint != nil:
			checkpoints = append(checkpoints, *m.checkpoint)
		case m.event.StreamID == stream:
			events = append(events, m.event)
		}
	}
}

func (s *store) subscribe(ctx context.Context, t *testing.T, stream string,
	from esdb.StreamPosition) *esdb.Subscription {
	t.Helper()
	subscription, err := s.client.SubscribeToStream(ctx, stream, esdb.SubscribeToStreamOptions{From: from})
	if err != nil {
		t.Fatal(err)
	}
	if got := subscription.Id(); got == "" {
		t.Fatalf("subscription.Id() = %q, want something", got)
	}
	t.Cleanup(func() {
		if err := subscription.Close(); err != nil {
			t.Fatal(err)
		}
	})
	return subscription
}

func (s *store) subscribeAll(ctx context.Context, t *testing.T, options esdb.SubscribeToAllOptions) *esdb.Subscription {
	t.Helper()
	subscription, err := s.client.SubscribeToAll(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := subscription.Close(); err != nil {
			t.Fatal(err)
		}
	})
	return subscription
}

func subscribeStreamFromStart(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("subscribed")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("past", 1500)...)
	subscription := s.subscribe(ctx, t, stream, esdb.Start{})
	past, _ := receiveUntilCaughtUp(t, subscription, stream)
	if diff := cmp.Diff(s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything), past); diff != "" {
		t.Fatalf("past (-want +got):\n%s", diff)
	}

	for revision := uint64(1499); revision < 1509; revision++ {
		event := newEvent("live")
		s.mustAppend(ctx, t, stream, esdb.Revision(revision), event)
		live := receiveEvents(t, subscription, stream, 1)
		if diff := cmp.Diff([]uuid.UUID{event.EventID}, ids(live)); diff != "" {
			t.Fatalf("ids(live) (-want +got):\n%s", diff)
		}
		if live[0].EventNumber != revision+1 {
			t.Fatalf("live[0].EventNumber = %v, want %v", live[0].EventNumber, revision+1)
		}
	}
}

func subscribeStreamExclusive(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("subscribed")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("past", 5)...)
	subscription := s.subscribe(ctx, t, stream, esdb.Revision(2))
	past, _ := receiveUntilCaughtUp(t, subscription, stream)
	if diff := cmp.Diff([]uint64{3, 4}, revisions(past)); diff != "" {
		t.Fatalf("revisions(past) (-want +got):\n%s", diff)
	}

	atEnd := s.subscribe(ctx, t, stream, esdb.Revision(4))
	past, _ = receiveUntilCaughtUp(t, atEnd, stream)
	if len(past) != 0 {
		t.Fatalf("past = %v, want nothing", past)
	}
}

func subscribeStreamFromEnd(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("subscribed")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("past", 5)...)
	subscription := s.subscribe(ctx, t, stream, esdb.End{})
	past, _ := receiveUntilCaughtUp(t, subscription, stream)
	if len(past) != 0 {
		t.Fatalf("past = %v, want nothing", past)
	}
	s.mustAppend(ctx, t, newStream("other"), esdb.NoStream{}, newEvent("live"))
	s.mustAppend(ctx, t, stream, esdb.Revision(4), newEvents("live", 2)...)
	if diff := cmp.Diff([]uint64{5, 6}, revisions(receiveEvents(t, subscription, stream, 2))); diff != "" {
		t.Fatalf("revisions(receiveEvents(t, subscription, stream, 2)) (-want +got):\n%s", diff)
	}
}

func subscribeMissingStream(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("subscribed")
	subscription := s.subscribe(ctx, t, stream, esdb.Start{})
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("first", 2)...)
	if diff := cmp.Diff([]uint64{0, 1}, revisions(receiveEvents(t, subscription, stream, 2))); diff != "" {
		t.Fatalf("revisions(receiveEvents(t, subscription, stream, 2)) (-want +got):\n%s", diff)
	}
}

func subscribeHidden(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("subscribed")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("past", 5)...)
	s.setMetadata(ctx, t, stream, func(m *esdb.StreamMetadata) { m.SetTruncateBefore(3) })
	subscription := s.subscribe(ctx, t, stream, esdb.Start{})
	past, _ := receiveUntilCaughtUp(t, subscription, stream)
	if diff := cmp.Diff([]uint64{3, 4}, revisions(past)); diff != "" {
		t.Fatalf("revisions(past) (-want +got):\n%s", diff)
	}
}

func subscribeAllExclusive(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("subscribed")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("past", 5)...)
	events := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything)
	subscription := s.subscribeAll(ctx, t, esdb.SubscribeToAllOptions{From: events[1].Position})
	past, _ := receiveUntilCaughtUp(t, subscription, stream)
	if diff := cmp.Diff(events[2:], past); diff != "" {
		t.Fatalf("past (-want +got):\n%s", diff)
	}

	s.mustAppend(ctx, t, stream, esdb.Revision(4), newEvents("live", 2)...)
	if diff := cmp.Diff([]uint64{5, 6}, revisions(receiveEvents(t, subscription, stream, 2))); diff != "" {
		t.Fatalf("revisions(receiveEvents(t, subscription, stream, 2)) (-want +got):\n%s", diff)
	}
}

func subscribeAllFromEnd(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("subscribed")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("past", 5)...)
	subscription := s.subscribeAll(ctx, t, esdb.SubscribeToAllOptions{From: esdb.End{}})
	past, _ := receiveUntilCaughtUp(t, subscription, stream)
	if len(past) != 0 {
		t.Fatalf("past = %v, want nothing", past)
	}
	s.mustAppend(ctx, t, stream, esdb.Revision(4), newEvent("live"))
	if diff := cmp.Diff([]uint64{5}, revisions(receiveEvents(t, subscription, stream, 1))); diff != "" {
		t.Fatalf("revisions(receiveEvents(t, subscription, stream, 1)) (-want +got):\n%s", diff)
	}
}

func subscribeWhileAppending(ctx context.Context, t *testing.T, s *store) {
	const appends, batch = 150, 4
	stream := newStream("subscribed")
	start := s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvent("first"))
	appended := make(chan error, 1)
	go func() {
		for range appends {
			if _, err := s.append(ctx, stream, esdb.Any{}, newEvents("next", batch)...); err != nil {
				appended <- err
				return
			}
		}
		appended <- nil
	}()
	toStream := s.subscribe(ctx, t, stream, esdb.Start{})
	toAll := s.subscribeAll(ctx, t, esdb.SubscribeToAllOptions{From: positionOf(start)})
	for i, event := range receiveEvents(t, toStream, stream, 1+appends*batch) {
		if event.EventNumber != uint64(i) {
			t.Fatalf("event.EventNumber = %v, want %v", event.EventNumber, uint64(i))
		}
	}
	for i, event := range receiveEvents(t, toAll, stream, appends*batch) {
		if event.EventNumber != uint64(i+1) {
			t.Fatalf("event.EventNumber = %v, want %v", event.EventNumber, uint64(i+1))
		}
	}
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
}

func closedSubscription(ctx context.Context, t *testing.T, s *store) {
	subscription := s.subscribe(ctx, t, newStream("subscribed"), esdb.Start{})
	if err := subscription.Close(); err != nil {
		t.Fatal(err)
	}
	if got := subscription.Recv().SubscriptionDropped; got == nil {
		t.Fatalf("subscription.Recv().SubscriptionDropped = %v, want something", got)
	}
}
