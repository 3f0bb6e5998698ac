package storetest

import (
	"context"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/stretchr/testify/require"
)

var appendTests = []test{
	{"an event comes back as it was given", eventComesBack},
	{"an event without data or metadata comes back empty", emptyEventComesBack},
	{"a batch answers with its last revision and the position of its last event", batchAnswer},
	{"the expected revision decides", expectedRevisionDecides},
	{"a refused batch leaves nothing behind", refusedBatchLeavesNothing},
	{"of many writers that expect the same revision one wins", oneWriterWins},
	{"positions rise whoever writes where", positionsRise},
	{"one mebibyte is the most an append may hold", sizeLimit},
	{"types count twice their length in UTF-16", typeCountsAsUTF16},
	{"a batch far over the limit is refused with the reason", oversizeIsRefusedWithReason},
	{"thousands of events go in one append", largeBatch},
	{"stream names may hold anything but nothing", streamNames},
	{"streams whose names begin alike are apart", streamsWithCommonPrefix},
}

func eventComesBack(ctx context.Context, t *testing.T, s *store) {
	for _, contentType := range []struct {
		given esdb.ContentType
		back  string
	}{
		{esdb.ContentTypeJson, "application/json"},
		{esdb.ContentTypeBinary, "application/octet-stream"},
	} {
		stream := newStream("back")
		given := newEvent("thing.happened")
		given.ContentType = contentType.given
		given.Data = []byte(`{"name":"Олена 😀","n":1}`)
		given.Metadata = []byte(`{"$correlationId":"x"}`)
		result := s.mustAppend(ctx, t, stream, esdb.NoStream{}, given)

		got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, 10)
		require.Len(t, got, 1)
		event := got[0]
		require.Equal(t, given.EventID, event.EventID)
		require.Equal(t, given.EventType, event.EventType)
		require.Equal(t, stream, event.StreamID)
		require.Equal(t, given.Data, event.Data)
		require.Equal(t, given.Metadata, event.UserMetadata)
		require.Equal(t, contentType.back, event.ContentType)
		require.Equal(t, positionOf(result), event.Position)
		require.Equal(t, uint64(0), event.EventNumber)
		// The store's clock may differ from ours, but not by much, and it must be in ticks of 100 ns.
		require.WithinDuration(t, time.Now(), event.CreatedDate, time.Hour)
	}
}

func emptyEventComesBack(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("empty")
	given := newEvent("thing.happened")
	given.ContentType, given.Data = esdb.ContentTypeBinary, nil
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, given)

	got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, 10)
	require.Len(t, got, 1)
	require.Empty(t, got[0].Data)
	require.Empty(t, got[0].UserMetadata)
}

func batchAnswer(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("batch")
	first := s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("thing.happened", 3)...)
	second := s.mustAppend(ctx, t, stream, esdb.Revision(2), newEvents("thing.happened", 2)...)
	require.Equal(t, uint64(2), first.NextExpectedVersion)
	require.Equal(t, uint64(4), second.NextExpectedVersion)

	got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, 10)
	require.Equal(t, []uint64{0, 1, 2, 3, 4}, revisions(got))
	require.Equal(t, got[2].Position, positionOf(first))
	require.Equal(t, got[4].Position, positionOf(second))
	before := uint64(0)
	for _, event := range got {
		require.Equal(t, event.Position.Commit, event.Position.Prepare)
		require.Greater(t, event.Position.Commit, before)
		before = event.Position.Commit
	}
}

func expectedRevisionDecides(ctx context.Context, t *testing.T, s *store) {
	for _, c := range []struct {
		name     string
		have     int // events in the stream
		expected esdb.ExpectedRevision
		ok       bool
	}{
		{"no stream, new", 0, esdb.NoStream{}, true},
		{"no stream, there", 1, esdb.NoStream{}, false},
		{"exact", 3, esdb.Revision(2), true},
		{"exact, too low", 3, esdb.Revision(1), false},
		{"exact, too high", 3, esdb.Revision(3), false},
		{"exact, far too high", 3, esdb.Revision(math.MaxInt64), false},
		{"exact, new", 0, esdb.Revision(0), false},
		{"largest revision means no stream, new", 0, esdb.Revision(math.MaxUint64), true},
		{"largest revision means no stream, there", 1, esdb.Revision(math.MaxUint64), false},
		{"any, new", 0, esdb.Any{}, true},
		{"any, there", 2, esdb.Any{}, true},
		{"stream exists, new", 0, esdb.StreamExists{}, false},
		{"stream exists, there", 2, esdb.StreamExists{}, true},
	} {
		stream := newStream("expected")
		if c.have > 0 {
			s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("before", c.have)...)
		}
		result, err := s.append(ctx, stream, c.expected, newEvent("after"))
		if !c.ok {
			requireCode(t, esdb.ErrorCodeWrongExpectedVersion, err)
			continue
		}
		require.NoError(t, err, c.name)
		require.Equal(t, uint64(c.have), result.NextExpectedVersion, c.name)
	}
}

func refusedBatchLeavesNothing(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("refused")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("before", 2)...)
	_, err := s.append(ctx, stream, esdb.Revision(7), newEvents("after", 3)...)
	requireCode(t, esdb.ErrorCodeWrongExpectedVersion, err)
	tooMuch := newEvent("after")
	tooMuch.Data = make([]byte, 1<<20)
	_, err = s.append(ctx, stream, esdb.Revision(1), newEvent("after"), tooMuch)
	require.Error(t, err)
	require.Len(t, s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything), 2)

	missing := newStream("refused")
	_, err = s.append(ctx, missing, esdb.Revision(0), newEvent("after"))
	requireCode(t, esdb.ErrorCodeWrongExpectedVersion, err)
	_, err = s.read(ctx, missing, esdb.Forwards, esdb.Start{}, 1)
	requireCode(t, esdb.ErrorCodeResourceNotFound, err)
}

func oneWriterWins(ctx context.Context, t *testing.T, s *store) {
	const writers, rounds = 16, 5
	stream := newStream("race")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvent("start"))
	for round := range rounds {
		errs := make([]error, writers)
		var running sync.WaitGroup
		for i := range writers {
			running.Go(func() {
				_, errs[i] = s.append(ctx, stream, esdb.Revision(uint64(round)), newEvent("raced"))
			})
		}
		running.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
				continue
			}
			requireCode(t, esdb.ErrorCodeWrongExpectedVersion, err)
		}
		require.Equal(t, 1, won)
	}
	require.Len(t, s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything), rounds+1)
}

func positionsRise(ctx context.Context, t *testing.T, s *store) {
	const writers, rounds = 8, 10
	results := make([][]*esdb.WriteResult, writers)
	streams := make([]string, writers)
	var running sync.WaitGroup
	for i := range writers {
		streams[i] = newStream("rise")
		running.Go(func() {
			for range rounds {
				result, err := s.append(ctx, streams[i], esdb.Any{}, newEvents("risen", 2)...)
				if err != nil {
					return // the length checked below is then too short
				}
				results[i] = append(results[i], result)
			}
		})
	}
	running.Wait()
	seen := map[uint64]bool{}
	for i := range writers {
		require.Len(t, results[i], rounds)
		for _, event := range s.mustRead(ctx, t, streams[i], esdb.Forwards, esdb.Start{}, everything) {
			require.False(t, seen[event.Position.Commit], "two events at position %d", event.Position.Commit)
			seen[event.Position.Commit] = true
		}
		for j := 1; j < rounds; j++ {
			require.Greater(t, results[i][j].CommitPosition, results[i][j-1].CommitPosition)
			require.Equal(t, uint64(2*j+1), results[i][j].NextExpectedVersion)
		}
	}
	require.Len(t, seen, writers*rounds*2)
}

// maxAppendSize is the limit of EventStoreDB: data, metadata and types of one append together.
const maxAppendSize = 1 << 20

func sizeLimit(ctx context.Context, t *testing.T, s *store) {
	event := newEvent("size")
	event.ContentType = esdb.ContentTypeBinary
	event.Metadata = make([]byte, 1000)
	event.Data = make([]byte, maxAppendSize-len(event.Metadata)-2*len(event.EventType))
	stream := newStream("size")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, event)
	got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, 1)
	require.Len(t, got[0].Data, len(event.Data))

	event.Metadata = append(event.Metadata, 0)
	_, err := s.append(ctx, newStream("size"), esdb.NoStream{}, event)
	require.ErrorContains(t, err, "InvalidArgument")

	// It is the sum that counts.
	half := newEvent("size")
	half.Data = make([]byte, maxAppendSize/2)
	_, err = s.append(ctx, newStream("size"), esdb.NoStream{}, half, half)
	require.ErrorContains(t, err, "InvalidArgument")
}

func typeCountsAsUTF16(ctx context.Context, t *testing.T, s *store) {
	for _, c := range []struct {
		eventType string
		bytes     int
	}{
		{"plain", 10}, {"é", 2}, {"😀", 4},
	} {
		event := newEvent(c.eventType)
		event.Data = make([]byte, maxAppendSize-c.bytes)
		s.mustAppend(ctx, t, newStream("utf16"), esdb.NoStream{}, event)
		event.Data = append(event.Data, 0)
		_, err := s.append(ctx, newStream("utf16"), esdb.NoStream{}, event)
		require.ErrorContains(t, err, "InvalidArgument", c.eventType)
	}
}

func oversizeIsRefusedWithReason(ctx context.Context, t *testing.T, s *store) {
	events := newEvents("big", 64)
	for i := range events {
		events[i].Data = make([]byte, 100_000)
	}
	_, err := s.append(ctx, newStream("oversize"), esdb.NoStream{}, events...)
	require.ErrorContains(t, err, "InvalidArgument")
}

func largeBatch(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("large")
	events := newEvents("large.batch", 5000)
	result := s.mustAppend(ctx, t, stream, esdb.NoStream{}, events...)
	require.Equal(t, uint64(4999), result.NextExpectedVersion)
	got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything)
	require.Equal(t, proposedIDs(events), ids(got))
}

func streamNames(ctx context.Context, t *testing.T, s *store) {
	for _, name := range []string{"plain", "with space", "a/b?c=d&e#f", "Олена-😀", "$system", strings.Repeat("x", 1000)} {
		stream := newStream(name)
		event := newEvent("named")
		s.mustAppend(ctx, t, stream, esdb.NoStream{}, event)
		got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, 10)
		require.Len(t, got, 1)
		require.Equal(t, stream, got[0].StreamID)
		require.Equal(t, event.EventID, got[0].EventID)
	}
	for _, name := range []string{"", "$$"} {
		_, err := s.append(ctx, name, esdb.Any{}, newEvent("named"))
		require.Error(t, err, "stream %q", name)
	}
}

func streamsWithCommonPrefix(ctx context.Context, t *testing.T, s *store) {
	base := newStream("prefix")
	names := []string{base, base + "-", base + "-1", base + "0", base + "~"}
	for i, name := range names {
		s.mustAppend(ctx, t, name, esdb.NoStream{}, newEvents("prefixed", i+1)...)
	}
	for i, name := range names {
		for _, direction := range []esdb.Direction{esdb.Forwards, esdb.Backwards} {
			from := esdb.StreamPosition(esdb.Start{})
			if direction == esdb.Backwards {
				from = esdb.End{}
			}
			got := s.mustRead(ctx, t, name, direction, from, everything)
			require.Len(t, got, i+1)
			require.Len(t, of(name, got), i+1)
		}
	}
}
