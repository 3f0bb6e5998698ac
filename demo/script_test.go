package demo

import (
	"context"
	"iter"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/secrets"
	"github.com/secboard/secboard/secrets/secretstest"
)

// memory is a log that lasts as long as a test.
type memory struct {
	mu      sync.Mutex
	all     []eventstore.Recorded
	streams map[string][]eventstore.Recorded
}

func (m *memory) Append(_ context.Context, stream string, expected eventstore.Revision,
	events []eventstore.Proposed) (eventstore.Appended, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if expected != eventstore.Revision(len(m.streams[stream])-1) {
		return eventstore.Appended{}, eventstore.ErrConflict
	}
	for _, event := range events {
		recorded := eventstore.Recorded{
			ID: event.ID, Stream: stream, Revision: eventstore.Revision(len(m.streams[stream])),
			Position: eventstore.Position(len(m.all) + 1),
			Type:     event.Type, Data: event.Data, Metadata: event.Metadata,
		}
		m.streams[stream] = append(m.streams[stream], recorded)
		m.all = append(m.all, recorded)
	}
	return eventstore.Appended{
		Revision: eventstore.Revision(len(m.streams[stream]) - 1), Position: eventstore.Position(len(m.all)),
	}, nil
}

func (m *memory) ReadStream(_ context.Context, stream string) ([]eventstore.Recorded, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.streams[stream], nil
}

func (m *memory) ReadNewest(ctx context.Context, stream string, n int) ([]eventstore.Recorded, error) {
	events, err := m.ReadStream(ctx, stream)
	return events[max(0, len(events)-n):], err
}

func (m *memory) ReadAll(_ context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		for _, recorded := range m.all[after:] {
			if !yield(recorded, nil) {
				return
			}
		}
	}
}

func (m *memory) End(context.Context) (eventstore.Position, error) {
	return eventstore.Position(len(m.all)), nil
}

func (m *memory) Subscribe(context.Context, eventstore.Position) iter.Seq2[eventstore.Delivery, error] {
	panic("the demo subscribes to nothing")
}

// TestEveryCommandOfTheScriptChangesSomething: whatever day the history is written on, each of its commands leaves an
// event. One that changed nothing would be repeated by a resumed start, when it may change something.
func TestEveryCommandOfTheScriptChangesSomething(t *testing.T) {
	t.Parallel()
	keys, err := secrets.LoadOrCreateKeyset(filepath.Join(t.TempDir(), "keyset.json"))
	if err != nil {
		t.Fatal(err)
	}
	first := time.Date(2026, 11, 23, 3, 4, 5, 6, time.UTC)
	for i := range 7 {
		now := first.Add(time.Duration(i) * 31 * time.Hour)
		log := &memory{streams: map[string][]eventstore.Recorded{}}
		if _, err := Load(t.Context(), commands.New(log, keys, secretstest.Hasher(t)), now); err != nil {
			t.Fatalf("%s: %v", now, err)
		}
		changed := map[string]bool{}
		for _, recorded := range log.all {
			envelope := eventstore.Decode(recorded)
			if !isClaim(recorded.Type) {
				changed[envelope.Meta.CommandID.String()] = true
			}
			if envelope.Meta.At.After(now) && recorded.Type != "user.password_set" {
				t.Errorf("%s: %s happens at %s, in the future", now, recorded.Type, envelope.Meta.At)
			}
		}
		for _, s := range write(now.Add(-years).Truncate(time.Second)).steps {
			if !changed[s.command.String()] {
				t.Errorf("%s: the command of %s to %s changes nothing", now, s.at, s.subject)
			}
		}
	}
}
