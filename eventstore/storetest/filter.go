package storetest

import (
	"context"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

var filterTests = []test{
	{"filters choose by type or stream, by prefix or expression", filtersChoose},
	{"filters choose what is appended later too", filtersChooseLive},
	{"system events can be left out", filterSystemEvents},
	{"a subscription that finds nothing gets checkpoints", checkpointsWithoutMatches},
	{"checkpoints come at the interval, also live", checkpointInterval},
	{"resuming from any checkpoint loses and doubles nothing", resumeFromCheckpoint},
}

func filtersChoose(ctx context.Context, t *testing.T, s *store) {
	mark := strings.ReplaceAll(uuid.NewString(), "-", "")
	stream, other := newStream("chosen-"+mark), newStream("other-"+mark)
	start := s.mustAppend(ctx, t, newStream("before"), esdb.NoStream{}, newEvent("before"))
	types := []string{"user.registered-" + mark, "user.renamed-" + mark, "company.renamed-" + mark, "x-" + mark}
	for _, eventType := range types {
		s.mustAppend(ctx, t, stream, esdb.Any{}, newEvent(eventType))
		s.mustAppend(ctx, t, other, esdb.Any{}, newEvent(eventType))
	}
	byType := func(pick func(string) bool) func(*esdb.RecordedEvent) bool {
		return func(e *esdb.RecordedEvent) bool { return pick(e.EventType) }
	}
	byStream := func(pick func(string) bool) func(*esdb.RecordedEvent) bool {
		return func(e *esdb.RecordedEvent) bool { return pick(e.StreamID) }
	}
	for name, c := range map[string]struct {
		filter esdb.SubscriptionFilter
		want   func(*esdb.RecordedEvent) bool
	}{
		"type prefix": {
			esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: []string{"user."}},
			byType(func(s string) bool { return strings.HasPrefix(s, "user.") }),
		},
		"several type prefixes": {
			esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: []string{"company.", "x-"}},
			byType(func(s string) bool { return strings.HasPrefix(s, "company.") || strings.HasPrefix(s, "x-") }),
		},
		"type expression": {
			esdb.SubscriptionFilter{Type: esdb.EventFilterType, Regex: `renamed-` + mark + `$`},
			byType(regexp.MustCompile(`renamed-` + mark + `$`).MatchString),
		},
		"stream prefix": {
			esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"chosen-" + mark}},
			byStream(func(s string) bool { return s == stream }),
		},
		"stream expression": {
			esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Regex: `^(oth|zzz).*` + mark},
			byStream(func(s string) bool { return s == other }),
		},
	} {
		t.Run(name, func(t *testing.T) {
			var want []uuid.UUID
			for _, event := range s.mustReadAll(ctx, t, esdb.Forwards, positionOf(start), everything) {
				if (event.StreamID == stream || event.StreamID == other) && c.want(event) {
					want = append(want, event.EventID)
				}
			}
			if len(want) == 0 {
				t.Fatal("no event is chosen")
			}
			options := esdb.SubscribeToAllOptions{From: positionOf(start), Filter: &c.filter}
			subscription := s.subscribeAll(ctx, t, options)
			var got []uuid.UUID
			for {
				m := receive(t, subscription)
				if m.caughtUp {
					break
				}
				if m.event == nil {
					continue
				}
				if !c.want(m.event) {
					t.Fatalf("got %s of %s", m.event.EventType, m.event.StreamID)
				}
				if m.event.StreamID == stream || m.event.StreamID == other {
					got = append(got, m.event.EventID)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
		})
	}
}

func filtersChooseLive(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("live")
	wanted := "wanted-" + stream
	subscription := s.subscribeAll(ctx, t, esdb.SubscribeToAllOptions{
		From:   esdb.End{},
		Filter: &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: []string{wanted}},
	})
	receiveUntilCaughtUp(t, subscription, stream)
	for range 10 {
		s.mustAppend(ctx, t, stream, esdb.Any{}, newEvent("unwanted"), newEvent(wanted), newEvent("unwanted"))
	}
	got := receiveEvents(t, subscription, stream, 10)
	for i, event := range got {
		if event.EventType != wanted {
			t.Fatalf("event.EventType = %q, want %q", event.EventType, wanted)
		}
		if event.EventNumber != uint64(3*i+1) {
			t.Fatalf("event.EventNumber = %v, want %v", event.EventNumber, uint64(3*i+1))
		}
	}
}

func filterSystemEvents(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("system")
	start := s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvent("first"))
	s.setMetadata(ctx, t, stream, func(m *esdb.StreamMetadata) { m.SetMaxCount(100) })
	s.mustAppend(ctx, t, stream, esdb.Revision(0), newEvent("$system"), newEvent("last"))
	subscription := s.subscribeAll(ctx, t,
		esdb.SubscribeToAllOptions{From: positionOf(start), Filter: esdb.ExcludeSystemEventsFilter()})
	for {
		m := receive(t, subscription)
		if m.event == nil {
			continue
		}
		if strings.HasPrefix(m.event.EventType, "$") {
			t.Fatalf("got %s", m.event.EventType)
		}
		if m.event.StreamID == stream && m.event.EventType == "last" {
			return
		}
	}
}

// requireUsable checks that checkpoints don't go back. EventStoreDB before 24 may send the largest
// position while nothing has matched; it has to be ignored.
func requireUsable(t *testing.T, checkpoints []esdb.Position) []esdb.Position {
	t.Helper()
	var usable []esdb.Position
	before := uint64(0)
	for _, checkpoint := range checkpoints {
		if checkpoint.Commit == math.MaxUint64 {
			continue
		}
		if checkpoint.Commit < before {
			t.Fatalf("checkpoint.Commit = %v, want at least %v", checkpoint.Commit, before)
		}
		before = checkpoint.Commit
		usable = append(usable, checkpoint)
	}
	return usable
}

func checkpointsWithoutMatches(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("unmatched")
	start := s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvent("first"))
	end := s.mustAppend(ctx, t, stream, esdb.Revision(0), newEvents("skipped", 200)...)
	subscription := s.subscribeAll(ctx, t, esdb.SubscribeToAllOptions{
		From: positionOf(start), MaxSearchWindow: 10, CheckpointInterval: 2,
		Filter: &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: []string{"none-" + stream}},
	})
	events, checkpoints := receiveUntilCaughtUp(t, subscription, stream)
	if len(events) != 0 {
		t.Fatalf("events = %v, want nothing", events)
	}
	checkpoints = requireUsable(t, checkpoints)
	if got := len(checkpoints); got < 9 {
		t.Fatalf("200 events at one checkpoint every 20: got %v, want at least 9", got)
	}
	last := checkpoints[len(checkpoints)-1]
	if last.Commit <= start.CommitPosition {
		t.Fatalf("last.Commit = %v, want more than %v", last.Commit, start.CommitPosition)
	}
	if last.Commit < end.CommitPosition-(end.CommitPosition-start.CommitPosition)/5 {
		t.Fatalf("last.Commit = %v, want at least %v", last.Commit,
			end.CommitPosition-(end.CommitPosition-start.CommitPosition)/5)
	}
}

func checkpointInterval(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("interval")
	subscription := s.subscribeAll(ctx, t, esdb.SubscribeToAllOptions{
		From: esdb.End{}, MaxSearchWindow: 5, CheckpointInterval: 1,
		Filter: &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: []string{"wanted-" + stream}},
	})
	receiveUntilCaughtUp(t, subscription, stream)
	appended := s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvents("unwanted", 50)...)
	marker := s.mustAppend(ctx, t, stream, esdb.Revision(49), newEvent("wanted-"+stream))
	var checkpoints []esdb.Position
	for {
		m := receive(t, subscription)
		if m.checkpoint != nil {
			checkpoints = append(checkpoints, *m.checkpoint)
		}
		if m.event != nil {
			if m.event.Position != positionOf(marker) {
				t.Fatalf("m.event.Position = %v, want %v", m.event.Position, positionOf(marker))
			}
			break
		}
	}
	checkpoints = requireUsable(t, checkpoints)
	if got := len(checkpoints); got < 9 {
		t.Fatalf("50 events at one checkpoint every 5: got %v, want at least 9", got)
	}
	if got := checkpoints[len(checkpoints)-1].Commit; got >= marker.CommitPosition {
		t.Fatalf("checkpoints[len(checkpoints)-1].Commit = %v, want less than %v", got, marker.CommitPosition)
	}
	if checkpoints[0].Commit > appended.CommitPosition {
		t.Fatalf("checkpoints[0].Commit = %v, want at most %v", checkpoints[0].Commit, appended.CommitPosition)
	}
}

func resumeFromCheckpoint(ctx context.Context, t *testing.T, s *store) {
	stream := newStream("resume")
	wanted := "wanted-" + stream
	start := s.mustAppend(ctx, t, stream, esdb.NoStream{}, newEvent("first"))
	for range 20 {
		s.mustAppend(ctx, t, stream, esdb.Any{}, newEvent("unwanted"), newEvent(wanted), newEvent("unwanted"),
			newEvent("unwanted"))
	}
	options := esdb.SubscribeToAllOptions{
		From: positionOf(start), MaxSearchWindow: 3, CheckpointInterval: 1,
		Filter: &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: []string{wanted}},
	}
	all, checkpoints := receiveUntilCaughtUp(t, s.subscribeAll(ctx, t, options), stream)
	if len(all) != 20 {
		t.Fatalf("all has %d elements, want 20: %v", len(all), all)
	}
	checkpoints = requireUsable(t, checkpoints)
	if len(checkpoints) == 0 {
		t.Fatalf("checkpoints = %v, want something", checkpoints)
	}
	for _, checkpoint := range checkpoints {
		var want []uuid.UUID
		for _, event := range all {
			if event.Position.Commit > checkpoint.Commit {
				want = append(want, event.EventID)
			}
		}
		options.From = checkpoint
		resumed := s.subscribeAll(ctx, t, options)
		rest, _ := receiveUntilCaughtUp(t, resumed, stream)
		if err := resumed.Close(); err != nil {
			t.Fatal(err)
		}
		if len(want) == 0 {
			if len(rest) != 0 {
				t.Fatalf("rest = %v, want nothing", rest)
			}
			continue
		}
		if diff := cmp.Diff(want, ids(rest)); diff != "" {
			t.Fatalf("ids(rest) (-want +got):\n%s", diff)
		}
	}
}
