package node

import (
	"encoding/binary"
	"testing"

	api "github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/cockroachdb/pebble/v2"
	"github.com/google/go-cmp/cmp"
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
		if err != nil {
			t.Fatal(err)
		}
		var message api.ReadResp
		if err := proto.Unmarshal(stored.message(), &message); err != nil {
			t.Fatal(err)
		}
		recorded := message.GetEvent().GetEvent()
		stream := recorded.GetStreamIdentifier().GetStreamName()
		if got := recorded.GetCommitPosition(); got != position {
			t.Fatalf("recorded.GetCommitPosition() = %v, want %v", got, position)
		}
		if diff := cmp.Diff(stream, stored.stream()); diff != "" {
			t.Fatalf("stored.stream() (-want +got):\n%s", diff)
		}
		if got := string(stored.eventType()); got != recorded.GetMetadata()["type"] {
			t.Fatalf("string(stored.eventType()) = %q, want %q", got, recorded.GetMetadata()["type"])
		}
		revision := recorded.GetStreamRevision()
		if revision != next[string(stream)] {
			t.Fatalf("stream %q has a gap: got %v, want %v", stream, revision, next[string(stream)])
		}
		next[string(stream)]++
		lastPosition[string(stream)] = position
		lastID[string(eventIDKey(stream, stored.id()))] = revision
		indexed, err := n.positionOf(stream, revision)
		if err != nil {
			t.Fatal(err)
		}
		if indexed != position {
			t.Fatalf("indexed = %v, want %v", indexed, position)
		}
	})
	indexed := 0
	eachKey(t, n, keyStreamEvent, func(_, _ []byte) { indexed++ })
	if indexed != events {
		t.Fatalf("indexed = %v, want %v", indexed, events)
	}
	eachKey(t, n, keyEventID, func(key, value []byte) {
		if got := binary.BigEndian.Uint64(value); got != lastID[string(key)] {
			t.Fatalf("binary.BigEndian.Uint64(value) = %v, want %v", got, lastID[string(key)])
		}
		delete(lastID, string(key))
	})
	if len(lastID) != 0 {
		t.Fatalf("lastID = %v, want nothing", lastID)
	}
	heads := 0
	for stream, revision := range next {
		value, found, err := n.get(streamHeadKey([]byte(stream)))
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			t.Fatal("not found")
		}
		if got := binary.BigEndian.Uint64(value); got != revision-1 {
			t.Fatalf("binary.BigEndian.Uint64(value) = %v, want %v", got, revision-1)
		}
		if got := binary.BigEndian.Uint64(value[8:]); got != lastPosition[stream] {
			t.Fatalf("binary.BigEndian.Uint64(value[8:]) = %v, want %v", got, lastPosition[stream])
		}
	}
	eachKey(t, n, keyStreamHead, func(_, _ []byte) { heads++ })
	if heads != len(next) {
		t.Fatalf("heads = %v, want %v", heads, len(next))
	}
	return events
}

func eachKey(t testing.TB, n *Node, prefix byte, visit func(key, value []byte)) {
	t.Helper()
	iter, err := n.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	if err != nil {
		t.Fatal(err)
	}
	for ok := iter.First(); ok; ok = iter.Next() {
		visit(iter.Key(), iter.Value())
	}
	if err := iter.Error(); err != nil {
		t.Fatal(err)
	}
	if err := iter.Close(); err != nil {
		t.Fatal(err)
	}
}
