package node

import (
	"encoding/binary"
	"testing"

	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

// requireConsistent checks that log, stream index, heads and id index say the same, and that no
// stream has gaps. It returns the number of events.
func requireConsistent(t testing.TB, n *Node) int {
	t.Helper()
	next := map[string]uint64{} // revision that should follow, per stream
	lastPosition := map[string]uint64{}
	lastID := map[string]uint64{} // revision by id key
	events := 0
	eachKey(t, n, keyLog, func(key, value []byte) {
		events++
		position := binary.BigEndian.Uint64(key[1:])
		stored, err := parseRecord(value)
		require.NoError(t, err)
		var message api.ReadResp
		require.NoError(t, proto.Unmarshal(stored.message(), &message))
		recorded := message.GetEvent().GetEvent()
		stream := recorded.GetStreamIdentifier().GetStreamName()
		require.Equal(t, position, recorded.GetCommitPosition())
		require.Equal(t, stream, stored.stream())
		require.Equal(t, recorded.GetMetadata()["type"], string(stored.eventType()))
		revision := recorded.GetStreamRevision()
		require.Equal(t, next[string(stream)], revision, "stream %q has a gap", stream)
		next[string(stream)]++
		lastPosition[string(stream)] = position
		lastID[string(eventIDKey(stream, stored.id()))] = revision
		indexed, err := n.positionOf(stream, revision)
		require.NoError(t, err)
		require.Equal(t, position, indexed)
	})
	indexed := 0
	eachKey(t, n, keyStreamEvent, func(_, _ []byte) { indexed++ })
	require.Equal(t, events, indexed)
	eachKey(t, n, keyEventID, func(key, value []byte) {
		require.Equal(t, lastID[string(key)], binary.BigEndian.Uint64(value))
		delete(lastID, string(key))
	})
	require.Empty(t, lastID)
	heads := 0
	for stream, revision := range next {
		value, found, err := n.get(streamHeadKey([]byte(stream)))
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, revision-1, binary.BigEndian.Uint64(value))
		require.Equal(t, lastPosition[stream], binary.BigEndian.Uint64(value[8:]))
	}
	eachKey(t, n, keyStreamHead, func(_, _ []byte) { heads++ })
	require.Equal(t, len(next), heads)
	return events
}

func eachKey(t testing.TB, n *Node, prefix byte, visit func(key, value []byte)) {
	t.Helper()
	iter, err := n.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	require.NoError(t, err)
	for ok := iter.First(); ok; ok = iter.Next() {
		visit(iter.Key(), iter.Value())
	}
	require.NoError(t, iter.Error())
	require.NoError(t, iter.Close())
}
