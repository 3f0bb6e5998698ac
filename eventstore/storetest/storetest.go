// Package storetest is the contract that SecBoard expects of an event store, as tests against the
// EventStoreDB client. It runs on the embedded node and on a real EventStoreDB alike, also on one
// that holds other events: every run names its own streams.
package storetest

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// timeout bounds each test, and each call and sign of life. It is far more than a healthy store on a busy machine
// needs.
const timeout = 5 * time.Minute

// Run checks the store that the configuration leads to.
func Run(t *testing.T, configuration esdb.Configuration) {
	t.Helper()
	configuration.Logger = esdb.NoopLogging()
	// the client's own is ten seconds, also for what else keeps the machine busy
	configuration.DefaultDeadline = new(timeout)
	configuration.KeepAliveTimeout = timeout
	client, err := esdb.NewClient(&configuration)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
	})
	s := &store{configuration: configuration, client: client}

	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"Append", appendTests},
		{"Repeat", repeatTests},
		{"Read", readTests},
		{"Hidden", hiddenTests},
		{"Subscribe", subscribeTests},
		{"Filter", filterTests},
		{"Wire", wireTests},
		{"Model", modelTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					ctx, cancel := context.WithTimeout(t.Context(), timeout)
					defer cancel()
					test.run(ctx, t, s)
				})
			}
		})
	}
}

type test struct {
	name string
	run  func(ctx context.Context, t *testing.T, s *store)
}

// store is the store under test.
type store struct {
	configuration esdb.Configuration
	client        *esdb.Client
}

// newStream returns the name of a stream that doesn't exist.
func newStream(prefix string) string { return prefix + "-" + uuid.NewString() }

// newEvent returns a JSON event of this type with a new id.
func newEvent(eventType string) esdb.EventData {
	return esdb.EventData{
		EventID: uuid.New(), EventType: eventType, ContentType: esdb.ContentTypeJson, Data: []byte(`{"a":1}`),
	}
}

func newEvents(eventType string, n int) []esdb.EventData {
	events := make([]esdb.EventData, n)
	for i := range events {
		events[i] = newEvent(eventType)
	}
	return events
}

func (s *store) append(ctx context.Context, stream string, expected esdb.ExpectedRevision,
	events ...esdb.EventData) (*esdb.WriteResult, error) {
	return s.client.AppendToStream(ctx, stream, esdb.AppendToStreamOptions{ExpectedRevision: expected}, events...)
}

func (s *store) mustAppend(ctx context.Context, t rapid.TB, stream string, expected esdb.ExpectedRevision,
	events ...esdb.EventData) *esdb.WriteResult {
	result, err := s.append(ctx, stream, expected, events...)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// requireCode checks that err is an error of the client with this code.
func requireCode(t rapid.TB, code esdb.ErrorCode, err error) {
	var clientError *esdb.Error
	if !errors.As(err, &clientError) {
		t.Fatalf("%T is not of the wanted type: %v", err, err)
	}
	if got := clientError.Code(); got != code {
		t.Fatalf("%v: got %v, want %v", err, got, code)
	}
}

// everything is more than the suite ever writes to one stream.
const everything = 1 << 20

func (s *store) read(ctx context.Context, stream string, direction esdb.Direction, from esdb.StreamPosition,
	count uint64) ([]*esdb.RecordedEvent, error) {
	reader, err := s.client.ReadStream(ctx, stream, esdb.ReadStreamOptions{Direction: direction, From: from}, count)
	if err != nil {
		return nil, err
	}
	return drain(reader)
}

func (s *store) mustRead(ctx context.Context, t rapid.TB, stream string, direction esdb.Direction,
	from esdb.StreamPosition, count uint64) []*esdb.RecordedEvent {
	events, err := s.read(ctx, stream, direction, from, count)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func (s *store) mustReadAll(ctx context.Context, t *testing.T, direction esdb.Direction, from esdb.AllPosition,
	count uint64) []*esdb.RecordedEvent {
	t.Helper()
	reader, err := s.client.ReadAll(ctx, esdb.ReadAllOptions{Direction: direction, From: from}, count)
	if err != nil {
		t.Fatal(err)
	}
	events, err := drain(reader)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func drain(reader *esdb.ReadStream) ([]*esdb.RecordedEvent, error) {
	defer reader.Close()
	var events []*esdb.RecordedEvent
	for {
		event, err := reader.Recv()
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		if err != nil {
			return events, err
		}
		events = append(events, event.Event)
	}
}

func revisions(events []*esdb.RecordedEvent) []uint64 {
	numbers := make([]uint64, len(events))
	for i, event := range events {
		numbers[i] = event.EventNumber
	}
	return numbers
}

func ids(events []*esdb.RecordedEvent) []uuid.UUID {
	list := make([]uuid.UUID, len(events))
	for i, event := range events {
		list[i] = event.EventID
	}
	return list
}

func proposedIDs(events []esdb.EventData) []uuid.UUID {
	list := make([]uuid.UUID, len(events))
	for i, event := range events {
		list[i] = event.EventID
	}
	return list
}

// of returns the events that stand in this stream.
func of(stream string, events []*esdb.RecordedEvent) []*esdb.RecordedEvent {
	var own []*esdb.RecordedEvent
	for _, event := range events {
		if event.StreamID == stream {
			own = append(own, event)
		}
	}
	return own
}

func positionOf(result *esdb.WriteResult) esdb.Position {
	return esdb.Position{Commit: result.CommitPosition, Prepare: result.PreparePosition}
}
