// Package domain holds what every aggregate shares: the shape of an event, field changes, permissions, dates and
// errors. Each aggregate has a package of its own below it: events.go is its catalogue, the rest its state and its
// deciders. Everything here is pure: no clock, no randomness, no I/O. Times and ids come in with the command.
package domain

import (
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Event is one fact about an aggregate, in business terms.
type Event interface {
	// EventType is the event's name in the log for ever: lower-case, dotted, past tense ("user.registered").
	EventType() string
	// Summary says in one plain English sentence, without the subject, what happened ("joined the group Risk").
	Summary() string
}

// Changed carries the old and the new value of one field.
type Changed[T any] struct {
	From T `json:"from"`
	To   T `json:"to"`
}

func (c Changed[T]) fieldValues() (from, to any) { return c.From, c.To }

// FieldChange is one line of a history entry. From and To are JSON-encodable; nil stands for "no value".
type FieldChange struct {
	Field string `json:"field"`
	From  any    `json:"from"`
	To    any    `json:"to"`
}

// changeLister is what an event implements whose fields alone do not say its changes.
type changeLister interface{ Changes() []FieldChange }

// ChangesOf lists what an event changed, field by field, named as in the HTTP API. A field of type Changed gives its
// old and new value; any other field that is not empty gives null and its value; `history:"-"` leaves a field out.
func ChangesOf(event Event) []FieldChange {
	if lister, ok := event.(changeLister); ok {
		return lister.Changes()
	}
	value := reflect.ValueOf(event)
	changes := make([]FieldChange, 0, value.NumField())
	for i := range value.NumField() {
		field, fieldValue := value.Type().Field(i), value.Field(i)
		if field.Tag.Get("history") == "-" || fieldValue.IsZero() {
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if changed, ok := fieldValue.Interface().(interface{ fieldValues() (from, to any) }); ok {
			from, to := changed.fieldValues()
			changes = append(changes, FieldChange{Field: name, From: shown(from), To: shown(to)})
			continue
		}
		changes = append(changes, FieldChange{Field: name, To: shown(fieldValue.Interface())})
	}
	return changes
}

// shown turns an empty value into nil, so that a history line reads null and not "" or a zero id.
func shown(value any) any {
	switch v := value.(type) {
	case string:
		if v == "" {
			return nil
		}
	case uuid.UUID:
		if v == uuid.Nil {
			return nil
		}
	case Date:
		if v.IsZero() {
			return nil
		}
	case time.Time:
		if v.IsZero() {
			return nil
		}
	}
	return value
}

// Change gives the Changed for a field that a patch sets, and whether it changes anything. A nil patch leaves the
// field.
func Change[T comparable](current T, patch *T) (Changed[T], bool) {
	if patch == nil || *patch == current {
		return Changed[T]{}, false
	}
	return Changed[T]{From: current, To: *patch}, true
}

// Apply sets a field of a state to what a change says; a change that was left out of its event says nothing.
func Apply[T comparable](field *T, changed Changed[T]) {
	if changed != (Changed[T]{}) {
		*field = changed.To
	}
}

// Set sets a field to what a patch says; nil leaves it.
func Set[T any](field, patch *T) {
	if patch != nil {
		*field = *patch
	}
}

// StreamName is the stream of one aggregate: "<kind>-<id>".
func StreamName(kind string, id uuid.UUID) string { return kind + "-" + id.String() }

// SplitStream parts a stream name into the kind of its aggregate and the aggregate's id.
func SplitStream(stream string) (kind, id string) {
	kind, id, _ = strings.Cut(stream, "-")
	return kind, id
}

// Because is the end of a summary that gives a reason; empty without one.
func Because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}
