package projections

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/postgres/pgtest"
	"github.com/secboard/secboard/projections/engine"
)

func TestNoTextOfAnEventStopsAProjection(t *testing.T) {
	t.Parallel()
	live, pool := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	rapid.Check(t, func(rt *rapid.T) {
		s := newStory(rt)
		for range 40 {
			s.step()
		}
		for i, e := range s.log {
			e.Data = withNULs(t, e.Data)
			s.log[i] = eventstore.Decode(e.Recorded)
		}
		emptyReadModels(t, live)
		emptyReadModels(t, pool)
		play(t, live, 0, s.log, 7)
		play(t, pool, 0, s.log, 500)
		r, err := engine.RunRebuild(t.Context(), Set(), pool, written{events: s.log},
			engine.RebuildRequest{Mode: engine.ModeRebuild}, nil)
		if err != nil || len(r.Differences) > 0 || len(r.NotCompared) > 0 {
			rt.Fatal(show(t, r), err)
		}
	})
}

// withNULs puts U+0000 behind each text of a document, as events could hold it that were written before it was
// replaced. Texts that are ids, times or of an enumeration stay.
func withNULs(t *testing.T, document []byte) []byte {
	var value any
	if err := json.Unmarshal(document, &value); err != nil {
		t.Fatal(err)
	}
	var walk func(value any) any
	walk = func(value any) any {
		switch v := value.(type) {
		case map[string]any:
			for key := range v {
				if texts := []string{"name", "first_name", "last_name", "phone", "department", "position",
					"description", "reason", "detail", "ca_pem", "dn",
					"subject", "host", "address", "display_name", "username", "from",
					"to"}; slices.Contains(texts, key) {
					v[key] = walk(v[key])
				}
			}
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case string:
			if _, err := uuid.Parse(v); err != nil && v != "" && (v[0] < '0' || v[0] > '9') {
				return v + "\x00"
			}
		}
		return value
	}
	changed, err := json.Marshal(walk(value))
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func TestEventsOfAnotherProgramAreSkipped(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	first := s.register(t, "a@example.com")
	if _, err := s.log.Append(t.Context(), "orders-1", eventstore.NoStream, []eventstore.Proposed{
		{ID: uuid.New(), Type: "OrderPlaced", Data: []byte("not JSON"), Metadata: []byte{}},
		{ID: uuid.New(), Type: "OrderShipped", Data: []byte(`{"to":"\u0000"}`), Metadata: []byte(`{"by":1}`)},
	}); err != nil {
		t.Fatal(err)
	}
	last := s.register(t, "b@example.com")
	waitFor(t, s.runner, last.Position)
	statuses, err := s.runner.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range statuses {
		if status.State == engine.StateStopped {
			t.Error(show(t, status))
		}
	}
	if r := rebuild(t, s, engine.ModeRebuild); len(r.Differences) > 0 {
		t.Error(show(t, r))
	}
	replay := NewReplay()
	var exported bytes.Buffer
	for recorded, err := range s.log.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		e := eventstore.Decode(recorded)
		if err := replay.Apply(&e); err != nil {
			t.Fatal(err)
		}
		exported.WriteString(e.Type)
	}
	if !bytes.Contains(exported.Bytes(), []byte("OrderPlaced")) || first.Position >= last.Position {
		t.Error("the other program's events are not in the log")
	}
}
