package eventstore_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/eventstore"
)

var update = flag.Bool("update", false, "write the golden files of new event types")

var exact = cmp.Comparer(func(a, b domain.Date) bool { return a == b })

// text is any that is written as it is.
var text = rapid.Map(rapid.String(), func(s string) string { return strings.ReplaceAll(s, "\x00", "\uFFFD") })

// Each event type has one golden file for ever: what was once written must be readable for ever.
func TestEveryEventTypeDecodesItsGoldenFile(t *testing.T) {
	t.Parallel()
	for _, event := range eventstore.Catalogue {
		t.Run(event.EventType(), func(t *testing.T) {
			path := filepath.Join("testdata", event.EventType()+".json")
			golden, err := os.ReadFile(path)
			if os.IsNotExist(err) && *update {
				golden = indent(t, filled(reflect.TypeOf(event)))
				if err := os.WriteFile(path, golden, 0o600); err != nil {
					t.Fatal(err)
				}
			} else if err != nil {
				t.Fatalf("%v: write it with go test ./eventstore -run Golden -update", err)
			}
			decoded, err := eventstore.DecodeData(event.EventType(), golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(filled(reflect.TypeOf(event)), decoded, exact); diff != "" {
				t.Errorf("%s reads otherwise than it was written (-want +got):\n%s", path, diff)
			}
			if again := indent(t, decoded); !bytes.Equal(golden, again) {
				t.Errorf("%s is written otherwise now (-golden +now):\n%s", path,
					cmp.Diff(string(golden), string(again)))
			}
		})
	}
}

func TestNoGoldenFileIsLeftWithoutItsEvent(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		eventType := strings.TrimSuffix(filepath.Base(file), ".json")
		if _, err := eventstore.DecodeData(eventType, []byte("{}")); err != nil {
			t.Errorf("%s: the event was released and must stay readable: %v", file, err)
		}
	}
}

func TestEventTypesNameAnAggregateAndAFact(t *testing.T) {
	t.Parallel()
	shape := regexp.MustCompile(`^[a-z_]+\.[a-z_]+$`)
	for _, event := range eventstore.Catalogue {
		t.Run(event.EventType(), func(t *testing.T) {
			if !shape.MatchString(event.EventType()) {
				t.Error("it is not like user.registered")
			}
			if event.Summary() == "" {
				t.Error("it has no summary")
			}
		})
	}
}

func TestEncodeDecode(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		event := rapid.SampledFrom(eventstore.Catalogue).Draw(t, "event")
		value := random(t, reflect.TypeOf(event))
		meta := eventstore.Metadata{
			At:    time.UnixMicro(rapid.Int64Range(0, 1<<51).Draw(t, "at")).UTC(),
			Actor: eventstore.Actor{Kind: eventstore.ActorUser, ID: text.Draw(t, "actor")},
			IP:    text.Draw(t, "ip"), UserAgent: text.Draw(t, "agent"), CommandID: uuid.New(),
			CorrelationID: uuid.New(), CausationID: uuid.New(),
		}
		proposed, err := eventstore.Encode("user-x", 4, []domain.Event{value}, meta)
		if err != nil {
			t.Fatal(err)
		}
		envelope := eventstore.Decode(eventstore.Recorded{Type: proposed[0].Type, Data: proposed[0].Data,
			Metadata: proposed[0].Metadata})
		if envelope.Err != nil {
			t.Fatal(envelope.Err)
		}
		meta.SchemaVersion = eventstore.SchemaVersion
		if diff := cmp.Diff(value, envelope.Event, exact); diff != "" {
			t.Fatalf("event (-written +read):\n%s", diff)
		}
		if diff := cmp.Diff(meta, envelope.Meta); diff != "" {
			t.Fatalf("metadata (-written +read):\n%s", diff)
		}
	})
}

func TestEventIDsRepeatWithTheAppendAndNeverOtherwise(t *testing.T) {
	t.Parallel()
	command := uuid.New()
	if first, again := eventstore.EventID(command, "user-1", 3),
		eventstore.EventID(command, "user-1", 3); first != again {
		t.Error("the same append has other ids the second time")
	}
	seen := map[uuid.UUID]bool{}
	for _, id := range []uuid.UUID{
		eventstore.EventID(command, "user-1", 3), eventstore.EventID(command, "user-1", 4),
		eventstore.EventID(command, "user-2", 3), eventstore.EventID(uuid.New(), "user-1", 3),
	} {
		if seen[id] {
			t.Error("two appends share an event id")
		}
		seen[id] = true
	}
}

func TestSecretsStayOutOfReadModels(t *testing.T) {
	t.Parallel()
	for _, event := range eventstore.Catalogue {
		t.Run(event.EventType(), func(t *testing.T) {
			value := filled(reflect.TypeOf(event))
			data, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			shown, err := eventstore.WithoutSecrets(
				eventstore.Envelope{Recorded: eventstore.Recorded{Type: event.EventType(), Data: data}, Event: value})
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(shown, []byte("c2VjcmV0")) { // "secret" in base64
				t.Errorf("it shows its secret: %s", shown)
			}
			changes, err := json.Marshal(domain.ChangesOf(value))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(changes, []byte("c2VjcmV0")) {
				t.Errorf("its changes show its secret: %s", changes)
			}
		})
	}
}

func TestUnknownAndBrokenEventsAreNamed(t *testing.T) {
	t.Parallel()
	for name, recorded := range map[string]eventstore.Recorded{
		"an unknown type": {Type: "user.flown_to_mars", Data: []byte("{}"), Metadata: []byte("{}")},
		"broken data":     {Type: "user.registered", Data: []byte("{"), Metadata: []byte("{}")},
		"broken metadata": {Type: "user.registered", Data: []byte("{}"), Metadata: []byte("x")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if envelope := eventstore.Decode(recorded); envelope.Err == nil || envelope.Event != nil {
				t.Errorf("%s %q %q was accepted", recorded.Type, recorded.Data, recorded.Metadata)
			}
		})
	}
}

// FuzzDecode reads whatever stands in a log: it is refused by name, or it is read the same again after it was written
// anew, and none of its secrets is shown.
func FuzzDecode(f *testing.F) {
	metadata, err := json.Marshal(eventstore.Metadata{At: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		Actor: eventstore.Actor{Kind: eventstore.ActorSystem}})
	if err != nil {
		f.Fatal(err)
	}
	for _, event := range eventstore.Catalogue {
		for _, value := range []domain.Event{event, filled(reflect.TypeOf(event))} {
			data, err := json.Marshal(value)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(event.EventType(), data, metadata)
		}
	}
	f.Fuzz(func(t *testing.T, eventType string, data, metadata []byte) {
		read := eventstore.Decode(eventstore.Recorded{Type: eventType, Data: data, Metadata: metadata})
		if read.Err != nil {
			if read.Event != nil {
				t.Fatalf("%s %q was read, and refused: %v", eventType, data, read.Err)
			}
			return
		}
		domain.ChangesOf(read.Event)
		written, err := eventstore.Encode("user-x", 0, []domain.Event{read.Event}, read.Meta)
		if err != nil {
			t.Fatalf("%s %q %q is read but can't be written: %v", eventType, data, metadata, err)
		}
		again := eventstore.Decode(eventstore.Recorded{Type: written[0].Type, Data: written[0].Data,
			Metadata: written[0].Metadata})
		if again.Err != nil {
			t.Fatalf("%s %q %q is written but can't be read: %v", eventType, written[0].Data, written[0].Metadata,
				again.Err)
		}
		if diff := cmp.Diff(read.Event, again.Event, exact, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s %q changes when it is written anew:\n%s", eventType, data, diff)
		}
		shown, err := eventstore.WithoutSecrets(read)
		if err != nil {
			t.Fatal(err)
		}
		if withheld, err := eventstore.DecodeData(eventType, shown); err != nil {
			t.Fatalf("%s can't be read without its secrets, %q: %v", eventType, shown, err)
		} else if secret := secretOf(withheld); secret != nil {
			t.Fatalf("%s shows %q", eventType, secret)
		}
	})
}

// secretOf is the first sealed value of an event that is not empty.
func secretOf(event domain.Event) []byte {
	value := reflect.ValueOf(event)
	for i := range value.NumField() {
		if sealed, ok := value.Field(i).Interface().(domain.Sealed); ok && len(sealed) > 0 {
			return sealed
		}
	}
	return nil
}

// filled gives an event in which every field has a value that tells its name.
func filled(eventType reflect.Type) domain.Event {
	value := reflect.New(eventType).Elem()
	for i := range value.NumField() {
		fill(value.Field(i), eventType.Field(i).Name)
	}
	return value.Interface().(domain.Event)
}

func fill(value reflect.Value, name string) {
	date, _ := domain.ParseDate("2026-03-04")
	switch value.Interface().(type) {
	case string, domain.Action, domain.Code:
		value.SetString("the " + name)
	case uuid.UUID:
		value.Set(reflect.ValueOf(uuid.NewSHA1(uuid.Nil, []byte(name))))
	case domain.Date:
		value.Set(reflect.ValueOf(date))
	case time.Time:
		value.Set(reflect.ValueOf(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)))
	case domain.Sealed:
		value.SetBytes([]byte("secret"))
	case []byte:
		value.SetBytes([]byte("bytes"))
	case json.RawMessage:
		value.SetBytes([]byte(`"` + name + `"`))
	case bool:
		value.SetBool(true)
	case int, int64:
		value.SetInt(int64(len(name)))
	case uint64:
		value.SetUint(uint64(len(name)))
	case []string:
		value.Set(reflect.ValueOf([]string{name, "another"}))
	case map[string]string:
		value.Set(reflect.ValueOf(map[string]string{"a": name}))
	case []signin.Place, []signin.Open, []signin.Link, []signin.Asked, []time.Time:
		// Added to events that were released: their golden files have none.
	case domain.Permissions:
		value.Set(reflect.ValueOf(domain.Permissions{"risks": {View: true, Export: name == "To"}}))
	default:
		if value.Kind() != reflect.Struct {
			panic("teach fill about " + value.Type().String())
		}
		for i := range value.NumField() {
			fill(value.Field(i), value.Type().Field(i).Name)
		}
	}
}

// random gives an event whose texts are arbitrary.
func random(t *rapid.T, eventType reflect.Type) domain.Event {
	value := reflect.ValueOf(filled(eventType))
	changed := reflect.New(eventType).Elem()
	changed.Set(value)
	for i := range changed.NumField() {
		if field := changed.Field(i); field.Kind() == reflect.String {
			field.SetString(text.Draw(t, eventType.Field(i).Name))
		}
	}
	return changed.Interface().(domain.Event)
}

func indent(t *testing.T, event domain.Event) []byte {
	t.Helper()
	text, err := json.MarshalIndent(event, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

func TestNoTextThatPostgresCannotHoldIsWrittenOrRead(t *testing.T) {
	t.Parallel()
	meta := eventstore.Metadata{At: time.Now(), UserAgent: "curl\x00", CommandID: uuid.New()}
	stored := `a \u0000 b` // these six characters are a text like any other
	proposed, err := eventstore.Encode("group-1", eventstore.NoStream,
		[]eventstore.Event{group.Created{Name: "a\x00b\\\x00", Description: stored}}, meta)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(group.Created{Name: "a\x00b\\\x00", Description: stored})
	if err != nil {
		t.Fatal(err)
	}
	want := group.Created{Name: "a\uFFFDb\\\uFFFD", Description: stored}
	for how, data := range map[string][]byte{"written now": proposed[0].Data, "written before": raw} {
		t.Run(how, func(t *testing.T) {
			read := eventstore.Decode(eventstore.Recorded{Stream: "group-1", Type: "group.created", Data: data,
				Metadata: proposed[0].Metadata})
			if diff := cmp.Diff(want, read.Event); diff != "" || read.Err != nil ||
				read.Meta.UserAgent != "curl\uFFFD" {
				t.Errorf("%s: %s %v %q", how, diff, read.Err, read.Meta.UserAgent)
			}
			if again := eventstore.Storable(data); !json.Valid(again) || bytes.Contains(again, []byte(`b\u0000`)) {
				t.Errorf("%s: %s", how, again)
			}
		})
	}
}

func TestAnEventOfAnotherProgramIsTold(t *testing.T) {
	t.Parallel()
	ours, err := json.Marshal(eventstore.Metadata{SchemaVersion: eventstore.SchemaVersion})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		stream, metadata string
		foreign          bool
	}{
		{"orders-1", "", true}, {"orders-1", "{}", true}, {"orders", "\x00\x01", true},
		{"orders-1", string(ours), false}, // of a newer SecBoard
		{"user-1", "", false},             // nobody else has any business there
	} {
		t.Run(c.stream+" "+c.metadata, func(t *testing.T) {
			e := eventstore.Decode(eventstore.Recorded{Stream: c.stream, Type: "OrderPlaced", Data: []byte("{}"),
				Metadata: []byte(c.metadata)})
			if e.Foreign() != c.foreign || e.Err == nil {
				t.Errorf("%+v: %v, %v", c, e.Foreign(), e.Err)
			}
		})
	}
}
