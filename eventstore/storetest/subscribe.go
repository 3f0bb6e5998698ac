package storetest

import (
	"context"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
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
			require.NoError(t, received.SubscriptionDropped.Error, "the subscription was dropped")
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
func receiveUntilCaughtUp(t *testing.T, subscription *esdb.Subscription, stream string) (events []*esdb.RecordedEvent, checkpoints []esdb.Position) {
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

func (s *store) subscribe(ctx context.Context, t *testing.T, stream string, from esdb.StreamPosition) *esdb.Subscription {
	t.Helper()
	subscription, err := s.client.SubscribeToStream(ctx, stream, esdb.SubscribeToStreamOptions{From: from})
	require.NoError(t, err)
	require.NotEmpty(t, subscription.Id())
	t.Cleanup(func() { require.NoError(t, subscription.Close()) })
	return subscription
}

func (s *store) subscribeAll(ctx context.Context, t *testing.T, options esdb.SubscribeToAllOptions) *esdb.Subscription {
	t.Helper()
	subscription, err := s.client.SubscribeToAll(ctx, options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, subscription.Close()) })
	return subscription
}

func subscribeStreamFromStart(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("subscribed")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("past", 1500)...)
	subscription := s.subscribe(ctx, t, stream, esdb.Start{})
	past, _ := receiveUntilCaughtUp(t, subscription, stream)
	require.Equal(t, s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything), past)

	for revision := uint64(1499); revision < 1509; revision++ {
		event := newEvent("live")
		s.mustAppend(ctx, t, stream, esdb.Revision(revision), event)
		live := receiveEvents(t, subscription, stream, 1)
		require.Equal(t, []uuid.UUID{event.EventID}, ids(live))
		require.Equal(t, revision+1, live[0].EventNumber)
	}
}

func subscribeStreamExclusive(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("subscribed")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("past", 5)...)
	subscription := s.subscribe(ctx, t, stream, esdb.Revision(2))
	past, _ := receiveUntilCaughtUp(t, subscription, stream)
	require.Equal(t, []uint64{3, 4}, revisions(past))

	atEnd := s.subscribe(ctx, t, stream, esdb.Revision(4))
	past, _ = receiveUntilCaughtUp(t, atEnd, stream)
	require.Empty(t, past)
}

func subscribeStreamFromEnd(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("subscribed")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("past", 5)...)
	subscription := s.subscribe(ctx, t, stream, esdb.End{})
	past, _ := receiveUntilCaughtUp(t, subscription, stream)
	require.Empty(t, past)
	s.mustAppend(ctx, t, newStream("other"), esdb.NoStream{}, newEvent("live"))
	s.mustAppend(ctx, t, stream, esdb.Revision(4), newEvents("live", 2)...)
	require.Equal(t, []uint64{5, 6}, revisions(receiveEvents(t, subscription, stream, 2)))
}

func subscribeMissingStream(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("subscribed")
	subscription := s.subscribe(ctx, t, stream, esdb.Start{})
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("first", 2)...)
	require.Equal(t, []uint64{0, 1}, revisions(receiveEvents(t, subscription, stream, 2)))
}

func subscribeHidden(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("subscribed")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("past", 5)...)
	s.setMetadata(ctx, t, stream, func(m *esdb.StreamMetadata) { m.SetTruncateBefore(3) })
	subscription := s.subscribe(ctx, t, stream, esdb.Start{})
	past, _ := receiveUntilCaughtUp(t, subscription, stream)
	require.Equal(t, []uint64{3, 4}, revisions(past))
}

func subscribeAllExclusive(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("subscribed")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("past", 5)...)
	events := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything)
	subscription := s.subscribeAll(ctx, t, esdb.SubscribeToAllOptions{From: events[1].Position})
	past, _ := receiveUntilCaughtUp(t, subscription, stream)
	require.Equal(t, events[2:], past)

	s.mustAppend(ctx, t, stream, esdb.Revision(4), newEvents("live", 2)...)
	require.Equal(t, []uint64{5, 6}, revisions(receiveEvents(t, subscription, stream, 2)))
}

func subscribeAllFromEnd(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("subscribed")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("past", 5)...)
	subscription := s.subscribeAll(ctx, t, esdb.SubscribeToAllOptions{From: esdb.End{}})
	past, _ := receiveUntilCaughtUp(t, subscription, stream)
	require.Empty(t, past)
	s.mustAppend(ctx, t, stream, esdb.Revision(4), newEvent("live"))
	require.Equal(t, []uint64{5}, revisions(receiveEvents(t, subscription, stream, 1)))
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
		require.Equal(t, uint64(i), event.EventNumber)
	}
	for i, event := range receiveEvents(t, toAll, stream, appends*batch) {
		require.Equal(t, uint64(i+1), event.EventNumber)
	}
	require.NoError(t, <-appended)
}

func closedSubscription(ctx context.Context, t *testing.T, s *store) {
	subscription := s.subscribe(ctx, t, newStream("subscribed"), esdb.Start{})
	require.NoError(t, subscription.Close())
	require.NotNil(t, subscription.Recv().SubscriptionDropped)
}
