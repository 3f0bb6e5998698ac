package httpapi

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// Optional is a field of a body that tells absent, null and a value apart.
type Optional[T any] struct {
	Set   bool // the field stands in the body
	Null  bool // as null
	Wrong bool // as something else than a T
	Value T
}

// UnmarshalJSON never fails: an error would hide the wrong fields after this one. The schema reports a value of a
// wrong type, and patch once more.
func (o *Optional[T]) UnmarshalJSON(data []byte) error {
	*o = Optional[T]{Set: true, Null: string(data) == "null"}
	if !o.Null {
		o.Wrong = json.Unmarshal(data, &o.Value) != nil
	}
	return nil
}

// Schema is that of the value, or null, which clears it; a yes or no can't be cleared.
func (Optional[T]) Schema(registry huma.Registry) *huma.Schema {
	value := reflect.TypeFor[T]()
	var schema *huma.Schema
	if value.Kind() == reflect.Struct {
		schema = huma.SchemaFromType(registry, value) // in place: a reference could not say that null is possible too
	} else {
		schema = registry.Schema(value, true, "")
	}
	schema.Nullable = value.Kind() != reflect.Bool
	return schema
}

// patch gives nil for an absent field, the zero value for null, else the value.
func (o Optional[T]) patch(field string, problems *domain.Invalid) *T {
	switch {
	case !o.Set:
		return nil
	case o.Wrong:
		problems.Add(field, domain.CodeType, "has the wrong type")
		return nil
	}
	return &o.Value
}

// readFlag is patch for a yes or no, which null can't clear.
func readFlag(field string, o Optional[bool], problems *domain.Invalid) *bool {
	if o.Null {
		problems.Add(field, domain.CodeType, "must be true or false")
		return nil
	}
	return o.patch(field, problems)
}

// readID reads an id of a body; "" is uuid.Nil.
func readID(field, text string, problems *domain.Invalid) uuid.UUID {
	if text == "" {
		return uuid.Nil
	}
	parsed, err := uuid.Parse(text)
	if err != nil {
		problems.Add(field, domain.CodeUUID, "must be an id such as 01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11")
	}
	return parsed
}

// readDate reads a date of a body; "" is none.
func readDate(field, text string, problems *domain.Invalid) domain.Date {
	parsed, err := domain.ParseDate(text)
	if err != nil {
		problems.Add(field, domain.CodeDate, "%s", err)
	}
	return parsed
}

// converted applies read to the value of a patch that is there.
func converted[F, T any](field string, value *F, problems *domain.Invalid, read func(string, F, *domain.Invalid) T) *T {
	if value == nil {
		return nil
	}
	result := read(field, *value, problems)
	return &result
}

// OptionalParam is a parameter of a query that may be absent.
type OptionalParam[T any] struct {
	Value T
	Set   bool
}

// Receiver is where Huma puts the value.
func (o *OptionalParam[T]) Receiver() reflect.Value { return reflect.ValueOf(o).Elem().Field(0) }

// OnParamSet is how Huma says whether there is one.
func (o *OptionalParam[T]) OnParamSet(isSet bool, _ any) { o.Set = isSet }

// Schema is that of the value.
func (OptionalParam[T]) Schema(registry huma.Registry) *huma.Schema {
	return registry.Schema(reflect.TypeFor[T](), true, "")
}

// pointer is nil for an absent parameter.
func (o OptionalParam[T]) pointer() *T {
	if !o.Set {
		return nil
	}
	return &o.Value
}

// Moment is a point in time in a query: RFC 3339, or a date, which stands for the whole day in UTC.
type Moment struct {
	from time.Time // the first instant that is meant
	to   time.Time // the last one
}

// UnmarshalText reads 2026-11-23T10:00:00Z, 2026-11-23T12:00:00+02:00 or 2026-11-23.
func (m *Moment) UnmarshalText(text []byte) error {
	// An unescaped + in a query arrives as a space.
	value := strings.Replace(string(text), " ", "+", 1)
	if instant, err := time.Parse(time.RFC3339Nano, value); err == nil {
		// not before: an offset moves the year
		if instant = instant.UTC(); instant.Year() >= 1900 && instant.Year() <= 9999 {
			m.from, m.to = instant, instant
			return nil
		}
	}
	day, err := domain.ParseDate(value)
	if err != nil || day.IsZero() {
		return errors.New("must be a time such as 2026-11-23T10:00:00Z, or a date")
	}
	m.from, m.to = day.Time(), day.Time().Add(24*time.Hour-time.Microsecond)
	return nil
}

// Schema shows a Moment as text.
func (Moment) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Examples: []any{"2026-11-23T10:00:00Z"}}
}

// start is the first instant, nil without a Moment.
func (m Moment) start() *time.Time { return instant(m.from) }

// end is the last instant, nil without a Moment.
func (m Moment) end() *time.Time { return instant(m.to) }

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
