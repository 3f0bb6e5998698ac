package storetest

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/go-cmp/cmp"
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
		t.Run(contentType.back, func(t *testing.T) {
			stream := newStream("back")
			given := newEvent("thing.happened")
			given.ContentType = contentType.given
			given.Data = []byte(`{"name":"Олена 😀","n":1}`)
			given.Metadata = []byte(`{"$correlationId":"x"}`)
			result := s.mustAppend(ctx, t, stream, esdb.NoStream{}, given)

			got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, 10)
			if len(got) != 1 {
				t.Fatalf("got has %d elements, want 1: %v", len(got), got)
			}
			event := got[0]
			if event.EventID != given.EventID {
				t.Fatalf("event.EventID = %v, want %v", event.EventID, given.EventID)
			}
			if event.EventType != given.EventType {
				t.Fatalf("event.EventType = %q, want %q", event.EventType, given.EventType)
			}
			if event.StreamID != stream {
				t.Fatalf("event.StreamID = %q, want %q", event.StreamID, stream)
			}
			if diff := cmp.Diff(given.Data, event.Data); diff != "" {
				t.Fatalf("event.Data (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(given.Metadata, event.UserMetadata); diff != "" {
				t.Fatalf("event.UserMetadata (-want +got):\n%s", diff)
			}
			if event.ContentType != contentType.back {
				t.Fatalf("event.ContentType = %q, want %q", event.ContentType, contentType.back)
			}
			if event.Position != positionOf(result) {
				t.Fatalf("event.Position = %v, want %v", event.Position, positionOf(result))
			}
			if event.EventNumber != uint64(0) {
				t.Fatalf("event.EventNumber = %v, want %v", event.EventNumber, uint64(0))
			}
			// The store's clock may differ from ours, but not by much, and it must be in ticks of 100 ns.
			if age := time.Since(event.CreatedDate).Abs(); age > time.Hour {
				t.Fatalf("event.CreatedDate is %v away from now", age)
			}
		})
	}
}

func emptyEventComesBack(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("empty")
	given := newEvent("thing.happened")
	given.ContentType, given.Data = esdb.ContentTypeBinary, nil
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, given)

	got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, 10)
	if len(got) != 1 {
		t.Fatalf("got has %d elements, want 1: %v", len(got), got)
	}
	if len(got[0].Data) != 0 {
		t.Fatalf("got[0].Data = %v, want nothing", got[0].Data)
	}
	if len(got[0].UserMetadata) != 0 {
		t.Fatalf("got[0].UserMetadata = %v, want nothing", got[0].UserMetadata)
	}
}

func batchAnswer(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("batch")
	first := s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("thing.happened", 3)...)
	second := s.mustAppend(ctx, t, stream, esdb.Revision(2), newEvents("thing.happened", 2)...)
	if first.NextExpectedVersion != uint64(2) {
		t.Fatalf("first.NextExpectedVersion = %v, want %v", first.NextExpectedVersion, uint64(2))
	}
	if second.NextExpectedVersion != uint64(4) {
		t.Fatalf("second.NextExpectedVersion = %v, want %v", second.NextExpectedVersion, uint64(4))
	}

	got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, 10)
	if diff := cmp.Diff([]uint64{0, 1, 2, 3, 4}, revisions(got)); diff != "" {
		t.Fatalf("revisions(got) (-want +got):\n%s", diff)
	}
	if gotNow := positionOf(first); gotNow != got[2].Position {
		t.Fatalf("positionOf(first) = %v, want %v", gotNow, got[2].Position)
	}
	if gotNow := positionOf(second); gotNow != got[4].Position {
		t.Fatalf("positionOf(second) = %v, want %v", gotNow, got[4].Position)
	}
	before := uint64(0)
	for _, event := range got {
		if event.Position.Prepare != event.Position.Commit {
			t.Fatalf("event.Position.Prepare = %v, want %v", event.Position.Prepare, event.Position.Commit)
		}
		if event.Position.Commit <= before {
			t.Fatalf("event.Position.Commit = %v, want more than %v", event.Position.Commit, before)
		}
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
		t.Run(c.name, func(t *testing.T) {
			stream := newStream("expected")
			if c.have > 0 {
				s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("before", c.have)...)
			}
			result, err := s.append(ctx, stream, c.expected, newEvent("after"))
			if !c.ok {
				requireCode(t, esdb.ErrorCodeWrongExpectedVersion, err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if result.NextExpectedVersion != uint64(c.have) {
				t.Fatalf("got %v, want %v", result.NextExpectedVersion, uint64(c.have))
			}
		})
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
	if err == nil {
		t.Fatal("no error")
	}
	if got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything); len(got) != 2 {
		t.Fatalf("the list has %d elements, want 2: %v", len(got), got)
	}

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
		if won != 1 {
			t.Fatalf("won = %v, want 1", won)
		}
	}
	if got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything); len(got) != rounds+1 {
		t.Fatalf("the list has %d elements, want %d: %v", len(got), rounds+1, got)
	}
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
		if len(results[i]) != rounds {
			t.Fatalf("results[i] has %d elements, want %d: %v", len(results[i]), rounds, results[i])
		}
		for _, event := range s.mustRead(ctx, t, streams[i], esdb.Forwards, esdb.Start{}, everything) {
			if seen[event.Position.Commit] {
				t.Fatalf("two events at position %d", event.Position.Commit)
			}
			seen[event.Position.Commit] = true
		}
		for j := 1; j < rounds; j++ {
			if results[i][j].CommitPosition <= results[i][j-1].CommitPosition {
				t.Fatalf("results[i][j].CommitPosition = %v, want more than %v", results[i][j].CommitPosition,
					results[i][j-1].CommitPosition)
			}
			if results[i][j].NextExpectedVersion != uint64(2*j+1) {
				t.Fatalf("results[i][j].NextExpectedVersion = %v, want %v", results[i][j].NextExpectedVersion,
					uint64(2*j+1))
			}
		}
	}
	if len(seen) != writers*rounds*2 {
		t.Fatalf("seen has %d elements, want %d: %v", len(seen), writers*rounds*2, seen)
	}
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
	if len(got[0].Data) != len(event.Data) {
		t.Fatalf("got[0].Data has %d elements, want %d: %v", len(got[0].Data), len(event.Data), got[0].Data)
	}

	event.Metadata = append(event.Metadata, 0)
	_, err := s.append(ctx, newStream("size"), esdb.NoStream{}, event)
	if err == nil || !strings.Contains(err.Error(), "InvalidArgument") {
		t.Fatalf(`%v does not say "InvalidArgument"`, err)
	}

	// It is the sum that counts.
	half := newEvent("size")
	half.Data = make([]byte, maxAppendSize/2)
	_, err = s.append(ctx, newStream("size"), esdb.NoStream{}, half, half)
	if err == nil || !strings.Contains(err.Error(), "InvalidArgument") {
		t.Fatalf(`%v does not say "InvalidArgument"`, err)
	}
}

func typeCountsAsUTF16(ctx context.Context, t *testing.T, s *store) {
	for _, c := range []struct {
		eventType string
		bytes     int
	}{
		{"plain", 10}, {"é", 2}, {"😀", 4},
	} {
		t.Run(c.eventType, func(t *testing.T) {
			event := newEvent(c.eventType)
			event.Data = make([]byte, maxAppendSize-c.bytes)
			s.mustAppend(ctx, t, newStream("utf16"), esdb.NoStream{}, event)
			event.Data = append(event.Data, 0)
			_, err := s.append(ctx, newStream("utf16"), esdb.NoStream{}, event)
			if err == nil || !strings.Contains(err.Error(), "InvalidArgument") {
				t.Fatalf(`%v does not say "InvalidArgument"`, err)
			}
		})
	}
}

func oversizeIsRefusedWithReason(ctx context.Context, t *testing.T, s *store) {
	events := newEvents("big", 64)
	for i := range events {
		events[i].Data = make([]byte, 100_000)
	}
	_, err := s.append(ctx, newStream("oversize"), esdb.NoStream{}, events...)
	if err == nil || !strings.Contains(err.Error(), "InvalidArgument") {
		t.Fatalf(`%v does not say "InvalidArgument"`, err)
	}
}

func largeBatch(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("large")
	events := newEvents("large.batch", 5000)
	result := s.mustAppend(ctx, t, stream, esdb.NoStream{}, events...)
	if result.NextExpectedVersion != uint64(4999) {
		t.Fatalf("result.NextExpectedVersion = %v, want %v", result.NextExpectedVersion, uint64(4999))
	}
	got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything)
	if diff := cmp.Diff(proposedIDs(events), ids(got)); diff != "" {
		t.Fatalf("ids(got) (-want +got):\n%s", diff)
	}
}

func streamNames(ctx context.Context, t *testing.T, s *store) {
	for _, name := range []string{
		"plain", "with space", "a/b?c=d&e#f", "Олена-😀", "$system", strings.Repeat("x", 1000),
	} {
		t.Run(name[:min(20, len(name))], func(t *testing.T) {
			stream := newStream(name)
			event := newEvent("named")
			s.mustAppend(ctx, t, stream, esdb.NoStream{}, event)
			got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, 10)
			if len(got) != 1 {
				t.Fatalf("got has %d elements, want 1: %v", len(got), got)
			}
			if got[0].StreamID != stream {
				t.Fatalf("got[0].StreamID = %q, want %q", got[0].StreamID, stream)
			}
			if got[0].EventID != event.EventID {
				t.Fatalf("got[0].EventID = %v, want %v", got[0].EventID, event.EventID)
			}
		})
	}
	for _, name := range []string{"", "$$"} {
		t.Run(fmt.Sprintf("%q", name), func(t *testing.T) {
			_, err := s.append(ctx, name, esdb.Any{}, newEvent("named"))
			if err == nil {
				t.Fatal("no error")
			}
		})
	}
}

func streamsWithCommonPrefix(ctx context.Context, t *testing.T, s *store) {
	base := newStream("prefix")
	endings := []string{"", "-", "-1", "0", "~"}
	for i, ending := range endings {
		s.mustAppend(ctx, t, base+ending, esdb.NoStream{}, newEvents("prefixed", i+1)...)
	}
	for i, ending := range endings {
		t.Run(fmt.Sprintf("ending in %q", ending), func(t *testing.T) {
			name := base + ending
			for _, direction := range []esdb.Direction{esdb.Forwards, esdb.Backwards} {
				from := esdb.StreamPosition(esdb.Start{})
				if direction == esdb.Backwards {
					from = esdb.End{}
				}
				got := s.mustRead(ctx, t, name, direction, from, everything)
				if len(got) != i+1 {
					t.Fatalf("got has %d elements, want %d: %v", len(got), i+1, got)
				}
				if gotNow := of(name, got); len(gotNow) != i+1 {
					t.Fatalf("of(name, got) has %d elements, want %d: %v", len(gotNow), i+1, gotNow)
				}
			}
		})
	}
}
