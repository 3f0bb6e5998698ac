package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/go-cmp/cmp"
)

// What becomes of an append that is sent again, because its answer got lost, is decided by the
// event ids: EventStoreDB's CheckCommit.
var repeatTests = []test{
	{"the same append again succeeds as before and writes nothing", sameAppendAgain},
	{"an append inside the stream again succeeds as before", sameAppendInsideStream},
	{"a part of what was appended counts as the same", beginningOfAppendAgain},
	{"another id, order or number of events is a conflict", otherAppendIsConflict},
	{"an empty append below the current revision is a conflict", emptyAppendIsConflict},
	{"at the current revision ids don't matter", idsDontMatterAtCurrentRevision},
	{"without expected revision known ids are not written again", knownIDsWithoutRevision},
	{"without expected revision an unknown first id writes all", unknownFirstID},
	{"without expected revision known then unknown is a conflict", knownThenUnknown},
	{"ids of other streams don't matter", idsOfOtherStreams},
}

func sameAppendAgain(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("repeat")
	events := newEvents("repeated", 3)
	first := s.mustAppend(ctx, t, stream, esdb.NoStream{}, events...)
	again := s.mustAppend(ctx, t, stream, esdb.NoStream{}, events...)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Fatalf("again (-want +got):\n%s", diff)
	}
	if got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything); len(got) != 3 {
		t.Fatalf("the list has %d elements, want 3: %v", len(got), got)
	}
}

func sameAppendInsideStream(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("repeat")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("before", 2)...)
	events := newEvents("repeated", 3)
	first := s.mustAppend(ctx, t, stream, esdb.Revision(1), events...)
	s.mustAppend(ctx, t, stream, esdb.Revision(4), newEvents("after", 4)...)

	again := s.mustAppend(ctx, t, stream, esdb.Revision(1), events...)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Fatalf("again (-want +got):\n%s", diff)
	}
	if got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything); len(got) != 9 {
		t.Fatalf("the list has %d elements, want 9: %v", len(got), got)
	}
}

func beginningOfAppendAgain(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("repeat")
	events := newEvents("repeated", 3)
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, events...)
	again := s.mustAppend(ctx, t, stream, esdb.NoStream{}, events[:2]...)
	if again.NextExpectedVersion != uint64(1) {
		t.Fatalf("again.NextExpectedVersion = %v, want %v", again.NextExpectedVersion, uint64(1))
	}
	stored := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything)
	if len(stored) != 3 {
		t.Fatalf("stored has %d elements, want 3: %v", len(stored), stored)
	}
	if got := positionOf(again); got != stored[1].Position {
		t.Fatalf("positionOf(again) = %v, want %v", got, stored[1].Position)
	}
}

func otherAppendIsConflict(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("repeat")
	events := newEvents("repeated", 3)
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, events...)
	for name, other := range map[string][]esdb.EventData{
		"other ids":        newEvents("repeated", 3),
		"other order":      {events[1], events[0], events[2]},
		"last id differs":  {events[0], events[1], newEvent("repeated")},
		"one more":         {events[0], events[1], events[2], newEvent("repeated")},
		"begins elsewhere": {events[1], events[2]},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.append(ctx, stream, esdb.NoStream{}, other...)
			if err == nil {
				t.Fatal("no error")
			}
			requireCode(t, esdb.ErrorCodeWrongExpectedVersion, err)
		})
	}
	if got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything); len(got) != 3 {
		t.Fatalf("the list has %d elements, want 3: %v", len(got), got)
	}
}

func emptyAppendIsConflict(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("repeat")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("before", 2)...)
	for _, expected := range []esdb.ExpectedRevision{esdb.NoStream{}, esdb.Revision(0)} {
		t.Run(fmt.Sprintf("%T", expected), func(t *testing.T) {
			_, err := s.append(ctx, stream, expected)
			requireCode(t, esdb.ErrorCodeWrongExpectedVersion, err)
		})
	}
}

func idsDontMatterAtCurrentRevision(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("repeat")
	event := newEvent("repeated")
	s.mustAppend(ctx, t, stream, esdb.NoStream{}, event)
	result := s.mustAppend(ctx, t, stream, esdb.Revision(0), event)
	if result.NextExpectedVersion != uint64(1) {
		t.Fatalf("result.NextExpectedVersion = %v, want %v", result.NextExpectedVersion, uint64(1))
	}
	got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything)
	if len(got) != 2 {
		t.Fatalf("got has %d elements, want 2: %v", len(got), got)
	}
	if got[1].EventID != got[0].EventID {
		t.Fatalf("got[1].EventID = %v, want %v", got[1].EventID, got[0].EventID)
	}
}

func knownIDsWithoutRevision(ctx context.Context, t *testing.T, s *store) {
	for _, expected := range []esdb.ExpectedRevision{esdb.Any{}, esdb.StreamExists{}} {
		t.Run(fmt.Sprintf("%T", expected), func(t *testing.T) {
			stream := newStream("repeat")
			s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvent("before"))
			events := newEvents("repeated", 2)
			first := s.mustAppend(ctx, t, stream, expected, events...)
			s.mustAppend(ctx, t, stream, expected, newEvent("after"))
			again := s.mustAppend(ctx, t, stream, expected, events...)
			if diff := cmp.Diff(first, again); diff != "" {
				t.Fatalf("again (-want +got):\n%s", diff)
			}
			if got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything); len(got) != 4 {
				t.Fatalf("the list has %d elements, want 4: %v", len(got), got)
			}
		})
	}
}

func unknownFirstID(ctx context.Context, t *testing.T, s *store) {
	for _, expected := range []esdb.ExpectedRevision{esdb.Any{}, esdb.StreamExists{}} {
		t.Run(fmt.Sprintf("%T", expected), func(t *testing.T) {
			stream := newStream("repeat")
			known := newEvent("known")
			s.mustAppend(ctx, t, stream, esdb.NoStream{}, known)
			result := s.mustAppend(ctx, t, stream, expected, newEvent("new"), known)
			if result.NextExpectedVersion != uint64(2) {
				t.Fatalf("result.NextExpectedVersion = %v, want %v", result.NextExpectedVersion, uint64(2))
			}
		})
	}
}

func knownThenUnknown(ctx context.Context, t *testing.T, s *store) {
	for _, expected := range []esdb.ExpectedRevision{esdb.Any{}, esdb.StreamExists{}} {
		t.Run(fmt.Sprintf("%T", expected), func(t *testing.T) {
			stream := newStream("repeat")
			known := newEvent("known")
			s.mustAppend(ctx, t, stream, esdb.NoStream{}, known)
			_, err := s.append(ctx, stream, expected, known, newEvent("new"))
			requireCode(t, esdb.ErrorCodeWrongExpectedVersion, err)
			if got := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Start{}, everything); len(got) != 1 {
				t.Fatalf("the list has %d elements, want 1: %v", len(got), got)
			}
		})
	}
}

func idsOfOtherStreams(ctx context.Context, t *testing.T, s *store) {
	event := newEvent("shared")
	for _, expected := range []esdb.ExpectedRevision{esdb.NoStream{}, esdb.Any{}} {
		t.Run(fmt.Sprintf("%T", expected), func(t *testing.T) {
			first, second := newStream("repeat"), newStream("repeat")
			one := s.mustAppend(ctx, t, first, expected, event)
			other := s.mustAppend(ctx, t, second, expected, event)
			if other.CommitPosition == one.CommitPosition {
				t.Fatalf("other.CommitPosition = %v, want anything but %v", other.CommitPosition, one.CommitPosition)
			}
			if got := s.mustRead(ctx, t, second, esdb.Forwards, esdb.Start{}, everything); len(got) != 1 {
				t.Fatalf("the list has %d elements, want 1: %v", len(got), got)
			}
		})
	}
}
