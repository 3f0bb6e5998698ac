package storetest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/go-cmp/cmp"

	"github.com/secboard/secboard/pause/pausetest"
)

var readTests = []test{
	{"a stream is read inclusively both ways", readStreamBounds},
	{"a stream that isn't there is not found", readMissingStream},
	{"a count of nothing is refused", readNothing},
	{"$all forwards is inclusive, backwards exclusive", readAllBounds},
	{"$all holds the events of all streams in the order of their positions", readAllInOrder},
	{"$all ends at its end", readAllEnds},
	{"a long stream is read in order, both ways", readLongStream},
	{"the version of the server is known", serverVersion},
}

func readStreamBounds(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("bounds")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("counted", 6)...)
	for _, c := range []struct {
		name      string
		direction esdb.Direction
		from      esdb.StreamPosition
		count     uint64
		want      []uint64
	}{
		{"all", esdb.Forwards, esdb.Start{}, everything, []uint64{0, 1, 2, 3, 4, 5}},
		{"as many as the largest count", esdb.Forwards, esdb.Start{}, math.MaxInt64, []uint64{0, 1, 2, 3, 4, 5}},
		{"first two", esdb.Forwards, esdb.Start{}, 2, []uint64{0, 1}},
		{"from the middle", esdb.Forwards, esdb.Revision(3), everything, []uint64{3, 4, 5}},
		{"some from the middle", esdb.Forwards, esdb.Revision(3), 2, []uint64{3, 4}},
		{"the last", esdb.Forwards, esdb.Revision(5), everything, []uint64{5}},
		{"past the end", esdb.Forwards, esdb.Revision(6), everything, []uint64{}},
		{"far past the end", esdb.Forwards, esdb.Revision(math.MaxInt64 - 1), everything, []uint64{}},
		{"all back", esdb.Backwards, esdb.End{}, everything, []uint64{5, 4, 3, 2, 1, 0}},
		{"last two", esdb.Backwards, esdb.End{}, 2, []uint64{5, 4}},
		{"back from the middle", esdb.Backwards, esdb.Revision(2), everything, []uint64{2, 1, 0}},
		{"some back from the middle", esdb.Backwards, esdb.Revision(2), 2, []uint64{2, 1}},
		{"back from the first", esdb.Backwards, esdb.Revision(0), everything, []uint64{0}},
		{"back from the start", esdb.Backwards, esdb.Start{}, everything, []uint64{0}},
		{"back from past the end", esdb.Backwards, esdb.Revision(9), everything, []uint64{5, 4, 3, 2, 1, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := s.mustRead(ctx, t, stream, c.direction, c.from, c.count)
			if diff := cmp.Diff(c.want, revisions(got)); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
		})
	}
}

func readMissingStream(ctx context.Context, t *testing.T, s *store) {
	for name, direction := range map[string]esdb.Direction{"forwards": esdb.Forwards, "backwards": esdb.Backwards} {
		t.Run(name, func(t *testing.T) {
			_, err := s.read(ctx, newStream("missing"), direction, esdb.Start{}, 10)
			requireCode(t, esdb.ErrorCodeResourceNotFound, err)
		})
	}
}

func readNothing(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("nothing")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvent("here"))
	_, err := s.read(ctx, stream, esdb.Forwards, esdb.Start{}, 0)
	if err == nil {
		t.Fatal("no error")
	}
	reader, err := s.client.ReadAll(ctx, esdb.ReadAllOptions{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = drain(reader)
	if err == nil {
		t.Fatal("no error")
	}
}

func readAllBounds(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("all")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("in all", 3)...)
	events := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, 3)

	forwards := s.mustReadAll(ctx, t, esdb.Forwards, events[1].Position, 1)
	if diff := cmp.Diff(ids(events[1:2]), ids(forwards)); diff != "" {
		t.Fatalf("forwards begins with the event at the position (-want +got):\n%s", diff)
	}

	backwards := s.mustReadAll(ctx, t, esdb.Backwards, events[1].Position, 1)
	if diff := cmp.Diff(ids(events[0:1]), ids(backwards)); diff != "" {
		t.Fatalf("backwards begins before the event at the position (-want +got):\n%s", diff)
	}

	if events[0].EventNumber != uint64(0) {
		t.Fatalf("events[0].EventNumber = %v, want %v", events[0].EventNumber, uint64(0))
	}
	if forwards[0].Position != events[1].Position {
		t.Fatalf("forwards[0].Position = %v, want %v", forwards[0].Position, events[1].Position)
	}
}

func readAllInOrder(ctx context.Context, t *testing.T, s *store) {
	first, second := newStream("all"), newStream("all")
	start := s.mustAppend(ctx, t, first, esdb.NoStream{}, newEvent("in all"))
	for i := range uint64(20) {
		s.mustAppend(ctx, t, second, esdb.Any{}, newEvents("in all", 2)...)
		s.mustAppend(ctx, t, first, esdb.Revision(i), newEvent("in all"))
	}
	forwards := s.mustReadAll(ctx, t, esdb.Forwards, positionOf(start), everything)
	if forwards[0].StreamID != first {
		t.Fatalf("forwards[0].StreamID = %q, want %q", forwards[0].StreamID, first)
	}
	if !slices.IsSortedFunc(forwards, func(a, b *esdb.RecordedEvent) int {
		if a.Position.Commit >= b.Position.Commit {
			return 1
		}
		return -1
	}) {
		t.Fatal("positions rise strictly")
	}
	for _, stream := range []string{first, second} {
		want := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything)
		if diff := cmp.Diff(want, of(stream, forwards)); diff != "" {
			t.Fatalf("an event looks the same in $all and in its stream (-want +got):\n%s", diff)
		}
	}

	end := s.mustAppend(ctx, t, first, esdb.StreamExists{}, newEvent("end"))
	backwards := s.mustReadAll(ctx, t, esdb.Backwards, positionOf(end), everything)
	for _, stream := range []string{first, second} {
		want := of(stream, forwards)
		slices.Reverse(want)
		if diff := cmp.Diff(ids(want), ids(of(stream, backwards))); diff != "" {
			t.Fatalf("ids(of(stream, backwards)) (-want +got):\n%s", diff)
		}
	}
}

func readAllEnds(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("all")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvent("in all"))
	if got := of(stream, s.mustReadAll(ctx, t, esdb.Forwards, esdb.End{}, 100)); len(got) != 0 {
		t.Fatalf("got %v, want nothing", got)
	}
	if got := s.mustReadAll(ctx, t, esdb.Backwards, esdb.Start{}, 100); len(got) != 0 {
		t.Fatalf("s.mustReadAll(ctx, t, esdb.Backwards, esdb.Start{}, 100) = %v, want nothing", got)
	}
	last := s.mustReadAll(ctx, t, esdb.Backwards, esdb.End{}, 1)
	if len(last) != 1 {
		t.Fatalf("last has %d elements, want 1: %v", len(last), last)
	}
}

func readLongStream(ctx context.Context, t *testing.T, s *store) {
	const total = 3000
	stream := newStream("long")
	for range total / 500 {
		s.mustAppend(ctx, t, stream, esdb.Any{}, newEvents("long", 500)...)
	}
	forwards := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything)
	if len(forwards) != total {
		t.Fatalf("forwards has %d elements, want %d: %v", len(forwards), total, forwards)
	}
	for i, event := range forwards {
		if event.EventNumber != uint64(i) {
			t.Fatalf("event.EventNumber = %v, want %v", event.EventNumber, uint64(i))
		}
	}
	backwards := s.mustRead(ctx, t, stream, esdb.Backwards, esdb.Revision(total-2), total-3)
	slices.Reverse(backwards)
	if diff := cmp.Diff(ids(forwards[2:total-1]), ids(backwards)); diff != "" {
		t.Fatalf("ids(backwards) (-want +got):\n%s", diff)
	}
}

func serverVersion(_ context.Context, t *testing.T, s *store) {
	version, err := s.client.GetServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if version.Major < 23 {
		t.Fatalf("version.Major = %v, want at least 23", version.Major)
	}
}

// What the metadata of a stream hide in reads of the stream, and only there.
var hiddenTests = []test{
	{"$maxCount leaves the last events", maxCount},
	{"$tb leaves the events from a revision on", truncateBefore},
	{"$maxAge leaves young events", maxAge},
	{"the stronger of $maxCount and $tb holds", maxCountAndTruncateBefore},
	{"later metadata replace earlier ones", laterMetadata},
	{"$all shows what a stream hides", allShowsHidden},
	{"a hidden event's revision is not used again", hiddenRevisions},
}

func (s *store) setMetadata(ctx context.Context, t *testing.T, stream string, set func(*esdb.StreamMetadata)) {
	t.Helper()
	metadata := esdb.StreamMetadata{}
	set(&metadata)
	_, err := s.client.SetStreamMetadata(ctx, stream, esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}},
		metadata)
	if err != nil {
		t.Fatal(err)
	}
}

func (s *store) requireVisible(ctx context.Context, t *testing.T, stream string, want ...uint64) {
	t.Helper()
	if want == nil {
		want = []uint64{}
	}
	if diff := cmp.Diff(want,
		revisions(s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything))); diff != "" {
		t.Fatalf("got (-want +got):\n%s", diff)
	}
	backwards := revisions(s.mustRead(ctx, t, stream, esdb.Backwards, esdb.End{}, everything))
	slices.Reverse(backwards)
	if diff := cmp.Diff(want, backwards); diff != "" {
		t.Fatalf("backwards (-want +got):\n%s", diff)
	}
}

func maxCount(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("hidden")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("counted", 5)...)
	s.setMetadata(ctx, t, stream, func(m *esdb.StreamMetadata) { m.SetMaxCount(2) })
	s.requireVisible(ctx, t, stream, 3, 4)
	if diff := cmp.Diff([]uint64{3},
		revisions(s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Revision(1), 1))); diff != "" {
		t.Fatalf("got (-want +got):\n%s", diff)
	}
	s.mustAppend(ctx, t, stream, esdb.Revision(4), newEvent("counted"))
	s.requireVisible(ctx, t, stream, 4, 5)
	s.setMetadata(ctx, t, stream, func(m *esdb.StreamMetadata) { m.SetMaxCount(100) })
	s.requireVisible(ctx, t, stream, 0, 1, 2, 3, 4, 5)
}

func truncateBefore(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("hidden")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("counted", 5)...)
	s.setMetadata(ctx, t, stream, func(m *esdb.StreamMetadata) { m.SetTruncateBefore(3) })
	s.requireVisible(ctx, t, stream, 3, 4)
	if got := s.mustRead(ctx, t, stream, esdb.Backwards, esdb.Revision(2), everything); len(got) != 0 {
		t.Fatalf("got %v, want nothing", got)
	}
	s.setMetadata(ctx, t, stream, func(m *esdb.StreamMetadata) { m.SetTruncateBefore(5) })
	s.requireVisible(ctx, t, stream)
	s.mustAppend(ctx, t, stream, esdb.Revision(4), newEvent("counted"))
	s.requireVisible(ctx, t, stream, 5)
}

func maxAge(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("hidden")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("aged", 2)...)
	s.setMetadata(ctx, t, stream, func(m *esdb.StreamMetadata) { m.SetMaxAge(time.Hour) })
	s.requireVisible(ctx, t, stream, 0, 1)
	s.setMetadata(ctx, t, stream, func(m *esdb.StreamMetadata) { m.SetMaxAge(time.Second) })
	pausetest.Until(t, "events grow too old", func() bool {
		events, err := s.read(ctx, stream, esdb.Forwards, esdb.Start{}, everything)
		return err == nil && len(events) == 0
	})
}

func maxCountAndTruncateBefore(ctx context.Context, t *testing.T, s *store) {
	for _, c := range []struct {
		count, before uint64
		want          []uint64
	}{
		{3, 1, []uint64{3, 4, 5}}, {5, 4, []uint64{4, 5}},
	} {
		t.Run(fmt.Sprintf("$maxCount %d, $tb %d", c.count, c.before), func(t *testing.T) {
			stream := newStream("hidden")
			s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("counted", 6)...)
			s.setMetadata(ctx, t, stream, func(m *esdb.StreamMetadata) {
				m.SetMaxCount(c.count)
				m.SetTruncateBefore(c.before)
			})
			s.requireVisible(ctx, t, stream, c.want...)
		})
	}
}

func laterMetadata(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("hidden")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("counted", 4)...)
	s.setMetadata(ctx, t, stream, func(m *esdb.StreamMetadata) { m.SetMaxCount(1) })
	s.setMetadata(ctx, t, stream, func(m *esdb.StreamMetadata) { m.SetTruncateBefore(2) })
	s.requireVisible(ctx, t, stream, 2, 3)
	metadata, err := s.client.GetStreamMetadata(ctx, stream, esdb.ReadStreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := metadata.MaxCount(); got != nil {
		t.Fatalf("metadata.MaxCount() = %v, want nil", got)
	}
	if got := *metadata.TruncateBefore(); got != uint64(2) {
		t.Fatalf("*metadata.TruncateBefore() = %v, want %v", got, uint64(2))
	}
}

func allShowsHidden(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("hidden")
	s.setMetadata(ctx, t, stream, func(m *esdb.StreamMetadata) { m.SetMaxCount(1) })
	before := s.mustReadAll(ctx, t, esdb.Backwards, esdb.End{}, 1)
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("counted", 4)...)
	s.requireVisible(ctx, t, stream, 3)
	all := s.mustReadAll(ctx, t, esdb.Forwards, before[0].Position, everything)
	if diff := cmp.Diff([]uint64{0, 1, 2, 3}, revisions(of(stream, all))); diff != "" {
		t.Fatalf("revisions(of(stream, all)) (-want +got):\n%s", diff)
	}
}

func hiddenRevisions(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("hidden")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("counted", 4)...)
	s.setMetadata(ctx, t, stream, func(m *esdb.StreamMetadata) { m.SetTruncateBefore(4) })
	_, err := s.append(ctx, stream, esdb.NoStream{}, newEvent("counted"))
	requireCode(t, esdb.ErrorCodeWrongExpectedVersion, err)
	result := s.mustAppend(ctx, t, stream, esdb.Revision(3), newEvent("counted"))
	if result.NextExpectedVersion != uint64(4) {
		t.Fatalf("result.NextExpectedVersion = %v, want %v", result.NextExpectedVersion, uint64(4))
	}
}
