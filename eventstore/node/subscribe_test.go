package node

import (
	"context"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func appendMany(t testing.TB, n *Node, stream string, events int) appendResult {
	t.Helper()
	var last appendResult
	for events > 0 {
		ids := make([]uuid.UUID, min(events, 1000))
		for i := range ids {
			ids[i] = uuid.New()
		}
		events -= len(ids)
		var err error
		last, err = n.append(newRequest(stream, expectAny, ids...))
		if err != nil {
			t.Fatal(err)
		}
	}
	return last
}

func TestFilteredSubscriptionGetsCheckpointBeforeCaughtUp(t *testing.T) {
	t.Parallel()
	n := openNode(t, t.TempDir())
	client := unixClient(t, serveUnix(t, n))
	none := &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: []string{"none"}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	// Of an empty log there is no position to resume from.
	empty, err := client.SubscribeToAll(ctx, esdb.SubscribeToAllOptions{From: esdb.Start{}, Filter: none})
	if err != nil {
		t.Fatal(err)
	}
	if got := empty.Recv().CaughtUp; got == nil {
		t.Fatalf("empty.Recv().CaughtUp = %v, want something", got)
	}
	if err := empty.Close(); err != nil {
		t.Fatal(err)
	}

	end := appendMany(t, n, "stream", 50)
	for name, from := range map[string]esdb.AllPosition{
		"start": esdb.Start{}, "middle": esdb.Position{Commit: 20, Prepare: 20}, "end": esdb.End{},
	} {
		t.Run(name, func(t *testing.T) {
			subscription, err := client.SubscribeToAll(ctx,
				esdb.SubscribeToAllOptions{From: from, Filter: none, MaxSearchWindow: 32, CheckpointInterval: 1000})
			if err != nil {
				t.Fatal(err)
			}
			checkpoint := subscription.Recv()
			if checkpoint.CheckPointReached == nil {
				t.Fatalf("got %v, want something", checkpoint.CheckPointReached)
			}
			if *checkpoint.CheckPointReached != (esdb.Position{Commit: end.position, Prepare: end.position}) {
				t.Fatalf("*checkpoint.CheckPointReached = %v, want %v", *checkpoint.CheckPointReached,
					(esdb.Position{Commit: end.position, Prepare: end.position}))
			}
			if got := subscription.Recv().CaughtUp; got == nil {
				t.Fatalf("got %v, want something", got)
			}
			if err := subscription.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestCheckpointsComeExactlyAtTheInterval(t *testing.T) {
	t.Parallel()
	n := openNode(t, t.TempDir())
	client := unixClient(t, serveUnix(t, n))
	appendMany(t, n, "stream", 25)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	subscription, err := client.SubscribeToAll(ctx, esdb.SubscribeToAllOptions{
		From: esdb.Start{}, MaxSearchWindow: 5, CheckpointInterval: 2,
		Filter: &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"none"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := subscription.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	next := func() uint64 {
		received := subscription.Recv()
		if received.CheckPointReached == nil {
			t.Fatalf("received.CheckPointReached = %v, want something", received.CheckPointReached)
		}
		return received.CheckPointReached.Commit
	}
	if diff := cmp.Diff([]uint64{10, 20, 25}, []uint64{next(), next(), next()}); diff != "" {
		t.Fatalf("[]uint64{next(), next(), next()} (-want +got):\n%s", diff)
	}
	if got := subscription.Recv().CaughtUp; got == nil {
		t.Fatalf("subscription.Recv().CaughtUp = %v, want something", got)
	}
	// Live, the count begins again after the checkpoint before CaughtUp.
	appendMany(t, n, "stream", 20)
	if diff := cmp.Diff([]uint64{35, 45}, []uint64{next(), next()}); diff != "" {
		t.Fatalf("[]uint64{next(), next()} (-want +got):\n%s", diff)
	}
}

func TestSubscriberThatFallsBehindIsTold(t *testing.T) {
	t.Parallel()
	n := openNode(t, t.TempDir())
	client := unixClient(t, serveUnix(t, n))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	appendMany(t, n, "stream", 10)
	toAll, err := client.SubscribeToAll(ctx, esdb.SubscribeToAllOptions{From: esdb.Start{}})
	if err != nil {
		t.Fatal(err)
	}
	toStream, err := client.SubscribeToStream(ctx, "stream", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, subscription := range []*esdb.Subscription{toAll, toStream} {
		requireRun(t, subscription, 0, 10)
	}
	// More at once than a live subscription may be behind.
	ids := make([]uuid.UUID, maxLag+1)
	for i := range ids {
		ids[i] = uuid.New()
	}
	_, err = n.append(newRequest("stream", 9, ids...))
	if err != nil {
		t.Fatal(err)
	}
	for _, subscription := range []*esdb.Subscription{toAll, toStream} {
		if got := subscription.Recv().FellBehind; got == nil {
			t.Fatalf("subscription.Recv().FellBehind = %v, want something", got)
		}
		requireRun(t, subscription, 10, len(ids))
		if err := subscription.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// requireRun receives so many events from a revision on, then CaughtUp.
func requireRun(t *testing.T, subscription *esdb.Subscription, from, count int) {
	t.Helper()
	for i := range count {
		received := subscription.Recv()
		if received.EventAppeared == nil {
			t.Fatalf("received.EventAppeared = %v, want something", received.EventAppeared)
		}
		if received.EventAppeared.Event.EventNumber != uint64(from+i) {
			t.Fatalf("received.EventAppeared.Event.EventNumber = %v, want %v", received.EventAppeared.Event.EventNumber,
				uint64(from+i))
		}
	}
	if got := subscription.Recv().CaughtUp; got == nil {
		t.Fatalf("subscription.Recv().CaughtUp = %v, want something", got)
	}
}

// A subscriber that doesn't read is held up by flow control. It must not hold up the others.
func TestSlowSubscriberHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	n := openNode(t, t.TempDir())
	socket := serveUnix(t, n)
	slow, err := api.NewStreamsClient(dialUnix(t, socket)).Read(t.Context(), subscribeRequest())
	if err != nil {
		t.Fatal(err)
	}
	appendMany(t, n, "stream", 20_000)
	client := unixClient(t, socket)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if got := countEvents(ctx, t, client, "stream", esdb.Forwards, esdb.Start{}); got != 1000 {
		t.Fatalf("got %v, want 1000", got)
	}

	events := uint64(0)
	for events < 20_000 {
		message, err := slow.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if recorded := message.GetEvent().GetEvent(); recorded != nil {
			if got := recorded.GetStreamRevision(); got != events {
				t.Fatalf("recorded.GetStreamRevision() = %v, want %v", got, events)
			}
			events++
		}
	}
}

func TestWrongFiltersAreRefused(t *testing.T) {
	t.Parallel()
	socket := serveUnix(t, openNode(t, t.TempDir()))
	prefix := &api.ReadReq_Options_FilterOptions_EventType{
		EventType: &api.ReadReq_Options_FilterOptions_Expression{Prefix: []string{"x"}},
	}
	window := &api.ReadReq_Options_FilterOptions_Max{Max: 32}
	for name, filter := range map[string]*api.ReadReq_Options_FilterOptions{
		"neither type nor stream": {Window: window, CheckpointIntervalMultiplier: 1},
		"empty expression": {
			Filter: &api.ReadReq_Options_FilterOptions_EventType{
				EventType: &api.ReadReq_Options_FilterOptions_Expression{},
			},
			Window: window, CheckpointIntervalMultiplier: 1,
		},
		"lookahead": {
			Filter: &api.ReadReq_Options_FilterOptions_EventType{
				EventType: &api.ReadReq_Options_FilterOptions_Expression{Regex: `^(?!\$)`},
			},
			Window: window, CheckpointIntervalMultiplier: 1,
		},
		"window of nothing": {
			Filter: prefix, Window: &api.ReadReq_Options_FilterOptions_Max{}, CheckpointIntervalMultiplier: 1,
		},
		"interval of nothing": {Filter: prefix, Window: window},
	} {
		t.Run(name, func(t *testing.T) {
			request := subscribeRequest()
			request.Options.FilterOption = &api.ReadReq_Options_Filter{Filter: filter}
			call, err := api.NewStreamsClient(dialUnix(t, socket)).Read(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			_, err = call.Recv()
			if got := status.Code(err); got != codes.InvalidArgument {
				t.Fatalf("got %v, want %v", got, codes.InvalidArgument)
			}
		})
	}
}
