package eventstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"time"

	jsonv2 "github.com/go-json-experiment/json" // decodes four times as fast as encoding/json, and more strictly
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/kinds"
)

// Catalogue lists every event that may stand in the log, as a zero value, one aggregate after the other.
var Catalogue = catalogue()

func catalogue() []Event {
	var events []Event
	for _, kind := range kinds.All {
		events = append(events, kind.Events...)
	}
	return events
}

// SchemaVersion is written into each event's metadata, so that a later codec knows how to read an older event.
const SchemaVersion = 1

// Kinds of actor.
const (
	ActorUser      = "user"      // a signed-in person; ID is the account
	ActorSystem    = "system"    // SecBoard itself
	ActorDirectory = "directory" // a directory connection; ID is the connection
	ActorOperator  = "operator"  // somebody with a shell on the server
)

// Actor is who caused an event. ID is empty for system and a person who is not signed in. Of an operator it is the user
// and the host, such as root@host, and empty in what was written before that was recorded.
type Actor struct {
	Kind string `json:"kind"`
	ID   string `json:"id,omitempty"`
}

// Metadata stands beside the data of each event: who, when, from where and why.
type Metadata struct {
	At            time.Time `json:"at"` // when it was decided, UTC; never earlier than the event before in its stream
	Actor         Actor     `json:"actor"`
	Session       string    `json:"session,omitempty"`
	IP            string    `json:"ip,omitempty"`
	UserAgent     string    `json:"user_agent,omitempty"`
	CommandID     uuid.UUID `json:"command_id"`
	CorrelationID uuid.UUID `json:"$correlationId"`
	CausationID   uuid.UUID `json:"$causationId"`
	SchemaVersion int       `json:"schema_version"`
}

// Envelope is a recorded event with its decoded content. Err says why it could not be decoded; Event is nil then.
type Envelope struct {
	Recorded
	Event Event
	Meta  Metadata
	Err   error
}

// Foreign says whether another program wrote the event, to a stream of its own: SecBoard has no such kind of stream,
// and the metadata are not SecBoard's. What a newer SecBoard wrote is not foreign.
func (e *Envelope) Foreign() bool {
	if e.Err == nil || e.Meta.SchemaVersion != 0 {
		return false
	}
	kind, _ := domain.SplitStream(e.Stream)
	_, own := kinds.Of(kind)
	return !own
}

// Event is a domain event.
type Event = domain.Event

// types are those of the events that the codec knows, by name; secrets says which of them have secrets.
var types, secrets = map[string]reflect.Type{}, map[string]bool{}

func init() { Register(Catalogue...) }

// Register makes events, given as zero values, known to the codec. Those of the Catalogue are registered already; a
// program with events of its own, such as a test that knows no aggregate of SecBoard, registers them in a function
// init, before anything is encoded or decoded. It panics when two events have the same type.
func Register(events ...Event) {
	for _, event := range events {
		eventType := reflect.TypeOf(event)
		if types[event.EventType()] != nil {
			panic("two events are called " + event.EventType())
		}
		types[event.EventType()] = eventType
		for i := range eventType.NumField() {
			if hidden(eventType.Field(i)) {
				secrets[event.EventType()] = true
			}
		}
	}
}

// hidden says whether a field stays out of read models: a secret, or something too large for a history.
func hidden(field reflect.StructField) bool {
	return field.Tag.Get("secret") == "true" || field.Tag.Get("readmodel") == "-"
}

// EventID is the id of the event that a command writes at a revision of a stream. The same append tried again has the
// same ids, which is what makes it repeatable; two appends of one command never share an id.
func EventID(command uuid.UUID, stream string, revision Revision) uuid.UUID {
	return uuid.NewSHA1(command, []byte(stream+"/"+strconv.FormatInt(int64(revision), 10)))
}

// Encode prepares a command's events for a stream whose last event has the revision expected.
func Encode(stream string, expected Revision, events []Event, meta Metadata) ([]Proposed, error) {
	meta.At = meta.At.UTC().Truncate(time.Microsecond)
	meta.SchemaVersion = SchemaVersion
	metadata, err := json.Marshal(meta)
	if err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	proposed := make([]Proposed, len(events))
	for i, event := range events {
		if types[event.EventType()] != reflect.TypeOf(event) {
			return nil, fmt.Errorf("event %T (%s) is not in the catalogue", event, event.EventType())
		}
		data, err := json.Marshal(event)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", event.EventType(), err)
		}
		proposed[i] = Proposed{ID: EventID(meta.CommandID, stream, expected+1+Revision(i)), Type: event.EventType(),
			Data: Storable(data), Metadata: Storable(metadata)}
	}
	return proposed, nil
}

// Storable is a JSON document in which U+FFFD stands for U+0000, which Postgres holds neither in text nor in jsonb. So
// no text that somebody sends, or that a mail server or a directory answers, can stop a read model.
func Storable(document []byte) []byte {
	const nul = `\u0000`
	if !bytes.Contains(document, []byte(nul)) {
		return document
	}
	replaced := make([]byte, 0, len(document))
	for len(document) > 0 {
		switch {
		case document[0] != '\\':
			replaced, document = append(replaced, document[0]), document[1:]
		case bytes.HasPrefix(document, []byte(nul)):
			replaced, document = append(replaced, `\ufffd`...), document[len(nul):]
		default: // the character behind a backslash belongs to it
			n := min(2, len(document))
			replaced, document = append(replaced, document[:n]...), document[n:]
		}
	}
	return replaced
}

// Decode reads a recorded event.
func Decode(recorded Recorded) Envelope { return new(Decoder).Decode(recorded) }

// Decoder reads one event after the other. The events of one append have the same metadata, which is read once.
type Decoder struct {
	metadata []byte
	meta     Metadata
}

// Decode reads a recorded event; see Envelope for one that can not be read.
func (d *Decoder) Decode(recorded Recorded) Envelope {
	envelope := Envelope{Recorded: recorded}
	if d.metadata == nil || !bytes.Equal(d.metadata, recorded.Metadata) {
		var meta Metadata
		if err := jsonv2.Unmarshal(Storable(recorded.Metadata), &meta); err != nil {
			envelope.Err = fmt.Errorf("metadata of event %s at %d: %w", recorded.ID, recorded.Position, err)
			return envelope
		}
		d.metadata, d.meta = recorded.Metadata, meta
	}
	envelope.Meta = d.meta
	event, err := DecodeData(recorded.Type, recorded.Data)
	if err != nil {
		envelope.Err = fmt.Errorf("event %s at %d: %w", recorded.ID, recorded.Position, err)
		return envelope
	}
	envelope.Event = event
	return envelope
}

// DecodeData reads an event's data by its type.
func DecodeData(eventType string, data []byte) (Event, error) {
	known := types[eventType]
	if known == nil {
		return nil, fmt.Errorf("unknown event type %q: it was written by a newer SecBoard", eventType)
	}
	value := reflect.New(known)
	if err := jsonv2.Unmarshal(Storable(data), value.Interface()); err != nil {
		return nil, fmt.Errorf("decode %s: %w", eventType, err)
	}
	return value.Elem().Interface().(Event), nil
}

// WithoutSecrets gives an event's data as it may stand in a read model: JSON in which every secret is null. Sealed
// secrets are useless without the keyset, but nobody who reads a history needs them.
func WithoutSecrets(envelope Envelope) ([]byte, error) {
	if !secrets[envelope.Type] {
		return envelope.Data, nil
	}
	value := reflect.New(types[envelope.Type]).Elem()
	value.Set(reflect.ValueOf(envelope.Event))
	for i := range value.NumField() {
		if hidden(value.Type().Field(i)) {
			value.Field(i).SetZero()
		}
	}
	data, err := json.Marshal(value.Interface())
	if err != nil {
		return nil, fmt.Errorf("encode %s without its secrets: %w", envelope.Type, err)
	}
	return data, nil
}
