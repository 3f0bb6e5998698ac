package node

import (
	"context"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
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
		require.NoError(t, err)
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
	require.NoError(t, err)
	require.NotNil(t, empty.Recv().CaughtUp)
	require.NoError(t, empty.Close())

	end := appendMany(t, n, "stream", 50)
	for name, from := range map[string]esdb.AllPosition{
		"start": esdb.Start{}, "middle": esdb.Position{Commit: 20, Prepare: 20}, "end": esdb.End{},
	} {
		subscription, err := client.SubscribeToAll(ctx, esdb.SubscribeToAllOptions{From: from, Filter: none, MaxSearchWindow: 32, CheckpointInterval: 1000})
		require.NoError(t, err)
		checkpoint := subscription.Recv()
		require.NotNil(t, checkpoint.CheckPointReached, name)
		require.Equal(t, esdb.Position{Commit: end.position, Prepare: end.position}, *checkpoint.CheckPointReached)
		require.NotNil(t, subscription.Recv().CaughtUp, name)
		require.NoError(t, subscription.Close())
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
	require.NoError(t, err)
	defer func() { require.NoError(t, subscription.Close()) }()
	next := func() uint64 {
		received := subscription.Recv()
		require.NotNil(t, received.CheckPointReached)
		return received.CheckPointReached.Commit
	}
	require.Equal(t, []uint64{10, 20, 25}, []uint64{next(), next(), next()})
	require.NotNil(t, subscription.Recv().CaughtUp)
	// Live, the count begins again after the checkpoint before CaughtUp.
	appendMany(t, n, "stream", 20)
	require.Equal(t, []uint64{35, 45}, []uint64{next(), next()})
}

func TestSubscriberThatFallsBehindIsTold(t *testing.T) {
	t.Parallel()
	n := openNode(t, t.TempDir())
	client := unixClient(t, serveUnix(t, n))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	appendMany(t, n, "stream", 10)
	toAll, err := client.SubscribeToAll(ctx, esdb.SubscribeToAllOptions{From: esdb.Start{}})
	require.NoError(t, err)
	toStream, err := client.SubscribeToStream(ctx, "stream", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	require.NoError(t, err)
	for _, subscription := range []*esdb.Subscription{toAll, toStream} {
		requireRun(t, subscription, 0, 10)
	}
	// More at once than a live subscription may be behind.
	ids := make([]uuid.UUID, maxLag+1)
	for i := range ids {
		ids[i] = uuid.New()
	}
	_, err = n.append(newRequest("stream", 9, ids...))
	require.NoError(t, err)
	for _, subscription := range []*esdb.Subscription{toAll, toStream} {
		require.NotNil(t, subscription.Recv().FellBehind)
		requireRun(t, subscription, 10, len(ids))
		require.NoError(t, subscription.Close())
	}
}

// requireRun receives so many events from a revision on, then CaughtUp.
func requireRun(t *testing.T, subscription *esdb.Subscription, from, count int) {
	t.Helper()
	for i := range count {
		received := subscription.Recv()
		require.NotNil(t, received.EventAppeared)
		require.Equal(t, uint64(from+i), received.EventAppeared.Event.EventNumber)
	}
	require.NotNil(t, subscription.Recv().CaughtUp)
}

// A subscriber that doesn't read is held up by flow control. It must not hold up the others.
func TestSlowSubscriberHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	n := openNode(t, t.TempDir())
	socket := serveUnix(t, n)
	slow, err := api.NewStreamsClient(dialUnix(t, socket)).Read(t.Context(), subscribeRequest())
	require.NoError(t, err)
	appendMany(t, n, "stream", 20_000)
	client := unixClient(t, socket)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.Equal(t, 1000, countEvents(ctx, t, client, "stream", esdb.Forwards, esdb.Start{}))

	events := uint64(0)
	for events < 20_000 {
		message, err := slow.Recv()
		require.NoError(t, err)
		if recorded := message.GetEvent().GetEvent(); recorded != nil {
			require.Equal(t, events, recorded.GetStreamRevision())
			events++
		}
	}
}

func TestWrongFiltersAreRefused(t *testing.T) {
	t.Parallel()
	socket := serveUnix(t, openNode(t, t.TempDir()))
	prefix := &api.ReadReq_Options_FilterOptions_EventType{EventType: &api.ReadReq_Options_FilterOptions_Expression{Prefix: []string{"x"}}}
	window := &api.ReadReq_Options_FilterOptions_Max{Max: 32}
	for name, filter := range map[string]*api.ReadReq_Options_FilterOptions{
		"neither type nor stream": {Window: window, CheckpointIntervalMultiplier: 1},
		"empty expression": {
			Filter: &api.ReadReq_Options_FilterOptions_EventType{EventType: &api.ReadReq_Options_FilterOptions_Expression{}},
			Window: window, CheckpointIntervalMultiplier: 1,
		},
		"lookahead": {
			Filter: &api.ReadReq_Options_FilterOptions_EventType{EventType: &api.ReadReq_Options_FilterOptions_Expression{Regex: `^(?!\$)`}},
			Window: window, CheckpointIntervalMultiplier: 1,
		},
		"window of nothing":   {Filter: prefix, Window: &api.ReadReq_Options_FilterOptions_Max{}, CheckpointIntervalMultiplier: 1},
		"interval of nothing": {Filter: prefix, Window: window},
	} {
		request := subscribeRequest()
		request.Options.FilterOption = &api.ReadReq_Options_Filter{Filter: filter}
		call, err := api.NewStreamsClient(dialUnix(t, socket)).Read(t.Context(), request)
		require.NoError(t, err)
		_, err = call.Recv()
		require.Equal(t, codes.InvalidArgument, status.Code(err), name)
	}
}
