package projections

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/secboard/secboard/projections/engine"
)

// FuzzCursor: a cursor that a list gave is read as it was, and every other text is refused as ErrBadCursor, so that
// nothing reaches the database that it would refuse.
func FuzzCursor(f *testing.F) {
	orders := map[string]order{"name": {"name_key", newBytes}, "email": {"email_key", newText}, "created_at": {
		"created_at", newTime,
	}, "position": {"position", newInt}}
	for _, content := range []string{
		`{"s":"name","k":"AQI=","i":"01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11"}`,
		`{"s":"-email","k":"a@example.com","i":"01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11"}`,
		`{"s":"email","k":"\\u0000","i":"01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11"}`,
		`{"s":"email","k":"\u0000","i":"01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11"}`,
		`{"s":"email","k":"\ud800","i":"01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11"}`,
		`{"s":"created_at","k":"2026-03-04T05:06:07.123456Z","i":"01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11"}`,
		`{"s":"created_at","k":"0000-01-01T00:00:00+23:59","i":"01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11"}`,
		`{"s":"-position","k":42,"i":"00000000-0000-0000-0000-000000000000"}`,
		`{"s":"name","k":null,"i":"01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11"}`,
		`{"s":"name","k":"AQI=","k":"AQM=","i":"x"}`, `{}`, ``,
	} {
		f.Add(base64.RawURLEncoding.EncodeToString([]byte(content)), "-email", "anna@example.com", int64(7))
	}
	f.Fuzz(func(t *testing.T, text, sort, name string, number int64) {
		for column, by := range orders {
			for _, sort := range []string{column, "-" + column, sort} {
				key, id, err := readCursor(text, sort, by)
				if err != nil {
					if !errors.Is(err, ErrBadCursor) {
						t.Fatal(err)
					}
					continue
				}
				if again := cursorOf(t, sort, key, id); again != text {
					t.Fatalf("%q is taken, but would have been written %q", text, again)
				}
				if bytes, ok := key.(*[]byte); ok && *bytes == nil {
					t.Fatalf("%q has no place in the order", text)
				}
				if name, ok := key.(*string); ok && (strings.ContainsRune(*name, 0) || !utf8.ValidString(*name)) {
					t.Fatalf("Postgres has no text %q", *name)
				}
			}
		}
		at, bytes, place := time.UnixMicro(number%(1<<51)).UTC(), []byte("\x01"+name), engine.Storable(name)
		for column, given := range map[string]any{
			"name": &bytes, "email": &place, "created_at": &at, "position": &number,
		} {
			id := uuid.NewSHA1(uuid.Nil, bytes)
			key, gotID, err := readCursor(cursorOf(t, column, given, id), column, orders[column])
			if err != nil || gotID != id || !reflect.DeepEqual(key, given) {
				t.Fatalf("%s: gave %v, read %v, %v", column, given, key, err)
			}
		}
	})
}

func cursorOf(t *testing.T, sort string, key any, id uuid.UUID) string {
	t.Helper()
	encoded, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := cursor{Sort: sort, Key: encoded, ID: id}.text()
	if err != nil {
		t.Fatal(err)
	}
	return text
}
