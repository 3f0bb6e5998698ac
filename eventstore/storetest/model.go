package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"
)

var modelTests = []test{
	{"any sequence of appends and reads behaves like a simple model", behavesLikeModel},
}

// model is what the store should hold: the ids of the events of each stream, in order.
type model map[string][]uuid.UUID

const wrongRevision = -1

// append returns the revision an append answers with, or wrongRevision.
func (m model) append(stream string, expected esdb.ExpectedRevision, events []uuid.UUID) int {
	have := m[stream]
	after := 0 // number of events expected before these
	switch expected := expected.(type) {
	case esdb.Any, esdb.StreamExists:
		if _, mustExist := expected.(esdb.StreamExists); mustExist && len(have) == 0 {
			return wrongRevision
		}
		return m.appendWithoutRevision(stream, events)
	case esdb.StreamRevision:
		after = int(expected.Value) + 1
	}
	if after == len(have) {
		m[stream] = append(have, events...)
		return len(m[stream]) - 1
	}
	if after > len(have) || after+len(events) > len(have) {
		return wrongRevision
	}
	for i, id := range events {
		if have[after+i] != id {
			return wrongRevision
		}
	}
	return after + len(events) - 1
}

func (m model) appendWithoutRevision(stream string, events []uuid.UUID) int {
	last := wrongRevision
	for i, id := range events {
		known := m.lastOf(stream, id)
		if known == wrongRevision {
			if i > 0 {
				return wrongRevision
			}
			m[stream] = append(m[stream], events...)
			return len(m[stream]) - 1
		}
		last = known
	}
	return last
}

func (m model) lastOf(stream string, id uuid.UUID) int {
	for i := len(m[stream]) - 1; i >= 0; i-- {
		if m[stream][i] == id {
			return i
		}
	}
	return wrongRevision
}

func (m model) read(stream string, backwards bool, from, count int) []uuid.UUID {
	have := m[stream]
	list := []uuid.UUID{}
	if backwards {
		for i := min(from, len(have)-1); i >= 0 && len(list) < count; i-- {
			list = append(list, have[i])
		}
		return list
	}
	for i := from; i < len(have) && len(list) < count; i++ {
		list = append(list, have[i])
	}
	return list
}

// behavesLikeModel draws ids from a handful, so that repeated and clashing appends are common.
func behavesLikeModel(ctx context.Context, t *testing.T, s *store) {
	rapid.Check(t, func(t *rapid.T) {
		streams := []string{newStream("model"), newStream("model")}
		pool := make([]uuid.UUID, 6)
		for i := range pool {
			pool[i] = uuid.New()
		}
		want := model{}
		for range rapid.IntRange(1, 12).Draw(t, "operations") {
			stream := rapid.SampledFrom(streams).Draw(t, "stream")
			if rapid.IntRange(0, 3).Draw(t, "kind") > 0 {
				s.appendLikeModel(ctx, t, want, stream, pool)
			} else {
				s.readLikeModel(ctx, t, want, stream)
			}
		}
		for _, stream := range streams {
			s.requireModel(ctx, t, want, stream)
		}
	})
}

func (s *store) appendLikeModel(ctx context.Context, t *rapid.T, want model, stream string, pool []uuid.UUID) {
	chosen := rapid.SliceOfN(rapid.SampledFrom(pool), 1, 4).Draw(t, "ids")
	expected := rapid.Custom(func(t *rapid.T) esdb.ExpectedRevision {
		switch rapid.IntRange(0, 5).Draw(t, "expected kind") {
		case 0:
			return esdb.NoStream{}
		case 1:
			return esdb.Any{}
		case 2:
			return esdb.StreamExists{}
		default:
			return esdb.Revision(uint64(rapid.IntRange(0, 8).Draw(t, "expected revision")))
		}
	}).Draw(t, "expected")
	events := make([]esdb.EventData, len(chosen))
	for i, id := range chosen {
		events[i] = esdb.EventData{EventID: id, EventType: "drawn", Data: id[:]}
	}
	wanted := want.append(stream, expected, chosen)
	result, err := s.append(ctx, stream, expected, events...)
	if wanted == wrongRevision {
		requireCode(t, esdb.ErrorCodeWrongExpectedVersion, err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if result.NextExpectedVersion != uint64(wanted) {
		t.Fatalf("result.NextExpectedVersion = %v, want %v", result.NextExpectedVersion, uint64(wanted))
	}
	at := s.mustRead(ctx, t, stream, esdb.Forwards, esdb.Revision(uint64(wanted)), 1)
	if len(at) != 1 {
		t.Fatalf("at has %d elements, want 1: %v", len(at), at)
	}
	if got := positionOf(result); got != at[0].Position {
		t.Fatalf("positionOf(result) = %v, want %v", got, at[0].Position)
	}
}

func (s *store) readLikeModel(ctx context.Context, t *rapid.T, want model, stream string) {
	backwards := rapid.Bool().Draw(t, "backwards")
	from := rapid.IntRange(0, 8).Draw(t, "from")
	count := rapid.IntRange(1, 8).Draw(t, "count")
	direction := esdb.Forwards
	if backwards {
		direction = esdb.Backwards
	}
	got, err := s.read(ctx, stream, direction, esdb.Revision(uint64(from)), uint64(count))
	if len(want[stream]) == 0 {
		requireCode(t, esdb.ErrorCodeResourceNotFound, err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.read(stream, backwards, from, count), ids(got)); diff != "" {
		t.Fatalf("ids(got) (-want +got):\n%s", diff)
	}
}

func (s *store) requireModel(ctx context.Context, t *rapid.T, want model, stream string) {
	got, err := s.read(ctx, stream, esdb.Forwards, esdb.Start{}, everything)
	var clientError *esdb.Error
	if errors.As(err, &clientError) && clientError.Code() == esdb.ErrorCodeResourceNotFound {
		if len(want[stream]) != 0 {
			t.Fatalf("want[stream] = %v, want nothing", want[stream])
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want[stream], ids(got)); diff != "" {
		t.Fatalf("ids(got) (-want +got):\n%s", diff)
	}
	for i, event := range got {
		if event.EventNumber != uint64(i) {
			t.Fatalf("event.EventNumber = %v, want %v", event.EventNumber, uint64(i))
		}
		if diff := cmp.Diff(event.EventID[:], event.Data); diff != "" {
			t.Fatalf("event.Data (-want +got):\n%s", diff)
		}
		if i > 0 {
			if event.Position.Commit <= got[i-1].Position.Commit {
				t.Fatalf("event.Position.Commit = %v, want more than %v", event.Position.Commit,
					got[i-1].Position.Commit)
			}
		}
	}
}
