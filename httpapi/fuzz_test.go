package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// FuzzMoment: what is taken for a point in time begins before it ends, and can be written in JSON.
func FuzzMoment(f *testing.F) {
	for _, text := range []string{
		"2026-11-23", "2026-11-23T10:00:00Z", "2026-11-23T12:00:00 02:00", "9999-12-31",
		"9999-12-31T23:59:59.999999999-23:59", "1900-01-01T00:00:00+23:59",
		"2016-12-31T23:59:60Z", "0000-00-00", "", " ", "2026-11-23T10:00:00,5Z", "12026-11-23", "\x00",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var moment Moment
		if err := moment.UnmarshalText([]byte(text)); err != nil {
			if moment.start() != nil || moment.end() != nil {
				t.Fatalf("%q is refused and read as %v", text, moment)
			}
			return
		}
		start, end := moment.start(), moment.end()
		if start == nil || end == nil || end.Before(*start) {
			t.Fatalf("%q is from %v to %v", text, start, end)
		}
		for _, at := range []*time.Time{start, end} {
			if _, err := json.Marshal(at); err != nil || at.Year() < 1900 || at.Location() != time.UTC {
				t.Fatalf("%q is %v, %v", text, at, err)
			}
		}
	})
}

// FuzzOptional: a field of a patch is cleared, wrong, or the value that stands there; never a wrong one that counts.
func FuzzOptional(f *testing.F) {
	for _, text := range []string{`null`, `"x"`, `""`, `1`, `true`, `["a",null]`, `[1]`, `["` + uuid.NewString() +
		`"]`, `{}`, ` null `, `nul`, `"\ud800"`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		checkOptional[string](t, text)
		checkOptional[bool](t, text)
		checkOptional[int](t, text)
		checkOptional[[]string](t, text)
		checkOptional[[]uuid.UUID](t, text)
		checkOptional[domain.Permissions](t, text)
	})
}

func checkOptional[T any](t *testing.T, text []byte) {
	t.Helper()
	var body struct {
		Field Optional[T] `json:"field"`
	}
	if json.Unmarshal(slices.Concat([]byte(`{"field":`), text, []byte("}")), &body) != nil {
		return
	}
	var problems domain.Invalid
	value := body.Field.patch("field", &problems)
	var none T
	switch wanted := new(T); {
	case !body.Field.Set: // a text that closes the object by itself
	case string(text) == "null" != body.Field.Null && strings.TrimSpace(string(text)) != "null":
		t.Fatalf("%q is null: %t", text, body.Field.Null)
	case body.Field.Null:
		if value == nil || !reflect.DeepEqual(*value, none) || len(problems.Fields) > 0 {
			t.Fatalf("%q does not clear the field: %v, %v", text, value, problems)
		}
	case json.Unmarshal(text, wanted) != nil:
		if value != nil || len(problems.Fields) != 1 {
			t.Fatalf("%q counts as %v, %v", text, value, problems)
		}
	case value == nil || !reflect.DeepEqual(*value, *wanted) || len(problems.Fields) > 0:
		t.Fatalf("%q counts as %v, %v", text, value, problems)
	}
}

// FuzzIfMatch: a condition is refused unless it is the ETag of a revision as it was answered, or none.
func FuzzIfMatch(f *testing.F) {
	for _, text := range []string{`"4"`, `W/"4"`, `*`, ``, ` "0" `, `"+4"`, `"-0"`, `"007"`, `4`, `"4`, `"4", "5"`,
		`"9223372036854775807"`, `"9223372036854775808"`, `""`, `W/*`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		revision, err := ChangeHeaders{IfMatch: text}.ifMatch()
		trimmed := strings.TrimSpace(text)
		var refused *domain.Error
		switch {
		case err != nil:
			if !errors.As(err, &refused) || refused.Code != domain.CodeRevisionMismatch || revision != nil {
				t.Fatalf("%q: %v", text, err)
			}
		case revision == nil:
			if trimmed != "" && trimmed != "*" {
				t.Fatalf("%q is no condition", text)
			}
		case etag(*revision) != strings.TrimPrefix(trimmed, "W/"):
			t.Fatalf("%q is taken for %s", text, etag(*revision))
		}
	})
}

// FuzzPreferences: what a client prefers is one of the things that there are, whatever stands beside it.
func FuzzPreferences(f *testing.F) {
	for _, text := range []string{"respond-async", "respond-async; x, wait=10", "return=minimal", "Respond-Async", "",
		",,;", "uk;q=0.5, ru", "*", "zh-Hant-u-co-pinyin;q=0,en;q=2", strings.Repeat("en-", 500), "\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if wantsAsync(text) && !strings.Contains(strings.ToLower(text), "respond-async") {
			t.Fatalf("%q does not ask for respond-async", text)
		}
		if !wantsAsync(text + ", Respond-Async;x") {
			t.Fatalf("respond-async is missed behind %q", text)
		}
		if chosen := languageOf(text); chosen != "" && !slices.Contains(domain.Languages, chosen) {
			t.Fatalf("%q chooses %q", text, chosen)
		}
	})
}

// FuzzClient: the address of a client is one, nobody but a trusted proxy can name another, and nothing of what the
// client says about itself garbles a log.
func FuzzClient(f *testing.F) {
	for _, text := range []string{
		"203.0.113.7", "203.0.113.7, 127.0.0.1", "[2001:db8::1]:443, 127.0.0.1:80", "fe80::1%eth0",
		"::ffff:203.0.113.7", "unknown", "", ",", "1.2.3.4\x00", "127.0.0.1,,127.0.0.2",
		"0190a0f0-0000-7000-8000-000000000000", "x0190a0f0-0000-7000-8000-000000000000y",
		"00-0190a0f000007000800000000000000a-00f067aa0ba902b7-01", "a\u202eb\x1b[31m\n\xff",
	} {
		f.Add(text)
	}
	s := &server{Options: Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
	f.Fuzz(func(t *testing.T, text string) {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		from := func(remote, forwarded string) string {
			request.RemoteAddr = remote
			request.Header.Set("X-Forwarded-For", forwarded)
			ip, _ := s.clientOf(request)
			return ip
		}
		if got := from("198.51.100.9:80", text); got != "198.51.100.9" {
			t.Fatalf("without a proxy %q makes it %q", text, got)
		}
		if got := from("127.0.0.1:80", text+", 203.0.113.7"); got != "203.0.113.7" {
			t.Fatalf("behind a proxy %q makes it %q", text, got)
		}
		if got := from("127.0.0.1:80", text); netip.MustParseAddr(got).String() != got || strings.Contains(got, "%") {
			t.Fatalf("%q is %q", text, got)
		}
		shown := printable(text, 20)
		if utf8.RuneCountInString(shown) > 20 || !utf8.ValidString(shown) ||
			strings.ContainsFunc(shown, unicode.IsControl) {
			t.Fatalf("%q is shown as %q", text, shown)
		}
		id := givenID(http.Header{"X-Request-Id": {text}, "Traceparent": {text}})
		plain := strings.ReplaceAll(strings.ToLower(text), "-", "")
		if id != uuid.Nil && !strings.Contains(plain, strings.ReplaceAll(id.String(), "-", "")) {
			t.Fatalf("%q has the id %s", text, id)
		}
	})
}
