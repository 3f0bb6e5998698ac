package httpapi

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func trusting(prefixes ...string) func(*Options) {
	return func(o *Options) {
		for _, prefix := range prefixes {
			o.TrustedProxies = append(o.TrustedProxies, netip.MustParsePrefix(prefix))
		}
	}
}

// What body an operation takes is told as it is.
func TestTheBodyThatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	for path, body := range map[string]string{"/users/import": "text/csv", "/users": "application/json"} {
		for name, answer := range map[string]answered{
			"no body":      a.call(t, a.admin, http.MethodPost, path, "", with{"Content-Type", body}),
			"another type": a.call(t, a.admin, http.MethodPost, path, "x", with{"Content-Type", "text/html"}),
		} {
			t.Run(name+" for "+path, func(t *testing.T) {
				if got := answer.text("detail"); !strings.Contains(got, body) {
					t.Errorf("%s: %q lacks %q", answer, got, body)
				}
			})
		}
	}
}

// Every wrong field is told at once, whether the schema or the domain finds it, under its name in the body.
func TestEveryWrongFieldIsTold(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.create(t, "/users", map[string]any{"email": "anna@example.com", "start_date": "2026-05-01"})
	group := a.create(t, "/groups", map[string]any{"name": "Analysts"})
	unknown := uuid.NewString()
	for name, c := range map[string]struct {
		method, path, body string
		code               string
		wrong              map[string]string
	}{
		"schema and domain together": {
			http.MethodPost, "/users",
			`{"email":"no address","first_name":7,"phone":"a\u0000b","start_date":"1.5.2026","end_date":"2026-13-01",
			  "company_id":"x","active":"yes",
			  "role_ids":["` + unknown + `","y"],"nickname":"Z","EMAIL":"x"}`, "invalid",
			map[string]string{
				"email": "email", "first_name": "type", "phone": "control_character", "start_date": "date",
				"end_date": "date", "company_id": "uuid",
				"active": "type", "role_ids.1": "uuid", "nickname": "unknown_field", "EMAIL": "unknown_field",
			},
		},
		"what only the log knows": {
			http.MethodPost, "/users",
			`{"email":"x@example.com","company_id":"` + unknown + `","role_ids":["` + unknown + `"],"group_ids":["` +
				group + `","` + unknown + `"],"start_date":"2026-02-01","end_date":"2026-01-01"}`,
			"invalid", nil,
		},
		"a required field": {
			http.MethodPost, "/users", `{"first_name":"Anna"}`, "invalid", map[string]string{"email": "required"},
		},
		"required and null": {
			http.MethodPost, "/users", `{"email":null}`, "invalid", map[string]string{"email": "type"},
		},
		"an unknown field alone": {http.MethodPost, "/users", `{"email":"x@example.com","admin":true}`,
			"unknown_field", map[string]string{"admin": "unknown_field"}},
		"no object": {http.MethodPost, "/users", `[1]`, "invalid", nil},
		"null":      {http.MethodPost, "/users", `null`, "invalid", nil},
		"a patch": {http.MethodPatch, "/users/" +
			id, `{"email":"","active":null,"end_date":"x","group_ids":[null]}`, "invalid",
			map[string]string{"email": "email", "active": "type", "end_date": "date", "group_ids.0": "type"}},
		"against what is there": {http.MethodPatch, "/users/" + id, `{"end_date":"2026-04-30"}`, "invalid",
			map[string]string{"end_date": "before_start_date"}},
		"permissions": {http.MethodPost, "/groups",
			`{"name":" ","permissions":{"risks":{"view":1,"fly":true},"users":null}}`, "invalid", map[string]string{
				"name": "required", "permissions.risks.view": "type", "permissions.risks.fly": "unknown_field",
				"permissions.users": "type",
			}},
		"an unknown module": {http.MethodPost, "/groups", `{"name":"X","permissions":{"risks":{"view":true}}}`,
			"invalid", map[string]string{"permissions.risks": "unknown_module"}},
		"widgets": {http.MethodPost, "/roles", `{"name":"X","widgets":["a","a",""]}`, "invalid",
			map[string]string{"widgets.1": "duplicate", "widgets.2": "required"}},
		"parameters": {http.MethodGet, "/users?limit=0&state=odd&company_id=x&superuser=perhaps", "",
			"invalid",
			map[string]string{"limit": "minimum", "state": "enum", "company_id": "uuid", "superuser": "type"}},
		"a parameter with a typo": {http.MethodGet, "/users?compani_id=" +
			unknown, "", "unknown_parameter", map[string]string{"compani_id": "unknown_parameter"}},
		"an order that is none": {
			http.MethodGet, "/users?sort=password", "", "invalid", map[string]string{"sort": "sort"},
		},
		"a cursor that is none": {
			http.MethodGet, "/users?cursor=eyJ4IjoxfQ", "", "invalid", map[string]string{"cursor": "cursor"},
		},
		"an id that is none": {http.MethodGet, "/users/42", "", "invalid", map[string]string{"id": "uuid"}},
		"a time that is none": {
			http.MethodGet, "/users/" + id + "?as_of=yesterday", "", "invalid", map[string]string{"as_of": "invalid"},
		},
		"a module's key": {
			http.MethodPut, "/modules/Risks!", `{"name":"x"}`, "invalid", map[string]string{"key": "pattern"},
		},
		"one of SecBoard's modules": {
			http.MethodPut, "/modules/users", `{"name":"x"}`, "invalid", map[string]string{"key": "reserved"},
		},
		"a long reason": {http.MethodPost, "/users/" + id + "/deactivate", `{"reason":"` + strings.Repeat("ы", 1001) +
			`"}`, "invalid", map[string]string{"reason": "too_long"}},
	} {
		t.Run(name, func(t *testing.T) {
			answer := a.call(t, a.admin, c.method, c.path, c.body)
			if answer.status != http.StatusUnprocessableEntity {
				t.Errorf("%s: got %v, want %v", answer, answer.status, http.StatusUnprocessableEntity)
			}
			if got := answer.text("code"); got != c.code {
				t.Errorf("got %q, want %q", got, c.code)
			}
			if c.wrong != nil {
				if diff := cmp.Diff(c.wrong, answer.wrong()); diff != "" {
					t.Errorf("%s (-want +got):\n%s", answer, diff)
				}
			}
			if got := answer.header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf(`Content-Type = %q, want "application/problem+json"`, got)
			}
			if got := answer.text("type"); got != "urn:secboard:problem:"+c.code {
				t.Errorf("type = %q, want %q", got, "urn:secboard:problem:"+c.code)
			}
			if got := answer.text("instance"); got != "urn:uuid:"+answer.header.Get("X-Request-ID") {
				t.Errorf("instance = %q, want %q", got, "urn:uuid:"+answer.header.Get("X-Request-ID"))
			}
		})
	}
	logged := a.call(t, a.admin, http.MethodPost, "/users",
		`{"email":"x@example.com","company_id":"`+unknown+`","role_ids":["`+unknown+`"],"group_ids":["`+group+`","`+
			unknown+`"]}`)
	if diff := cmp.Diff(map[string]string{"company_id": "unknown_company", "role_ids.0": "unknown_role",
		"group_ids.1": "unknown_group"}, logged.wrong()); diff != "" {
		t.Errorf("logged.wrong() (-want +got):\n%s", diff)
	}
}

// Absent leaves a field, null clears it, a value sets it.
func TestPatchTellsAbsentNullAndValuesApart(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	id := a.create(t, "/users", map[string]any{
		"email": "anna@example.com", "first_name": "Anna", "phone": "1", "company_id": company,
		"end_date": "2090-01-01", "active": false,
	})
	changed := a.call(t, a.admin, http.MethodPatch, "/users/"+id,
		`{"phone":null,"company_id":null,"end_date":null,"department":"Risk"}`)
	if changed.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", changed, changed.status, http.StatusOK)
	}
	for field, want := range map[string]any{
		"email": "anna@example.com", "first_name": "Anna", "phone": nil, "company_id": nil, "end_date": nil,
		"department": "Risk", "active": false,
	} {
		t.Run(field, func(t *testing.T) {
			if diff := cmp.Diff(want, changed.json[field]); diff != "" {
				t.Errorf("changed.json[field] (-want +got):\n%s", diff)
			}
		})
	}
	nothing := a.call(t, a.admin, http.MethodPatch, "/users/"+id, `{"department":"Risk"}`)
	if got := nothing.header.Get("ETag"); got != changed.header.Get("ETag") {
		t.Errorf("a change that changes nothing writes no event: got %q, want %q", got, changed.header.Get("ETag"))
	}
}

// Whatever a client sends, it is the client's mistake and not a 5xx.
func TestBrokenRequestsAreTheClientsMistake(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.create(t, "/users", map[string]any{"email": "anna@example.com"})
	deep := strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)
	for name, c := range map[string]struct {
		method, path, body, contentType string
		status                          int
		code                            string
	}{
		"cut off":         {http.MethodPost, "/users", `{"email":`, "", 400, "malformed"},
		"no body":         {http.MethodPost, "/users", "", "", 400, "malformed"},
		"not JSON at all": {http.MethodPost, "/users", "email=x", "", 400, "malformed"},
		"a huge number":   {http.MethodPost, "/users", `{"email":1e999}`, "", 400, "malformed"},
		"deep nesting":    {http.MethodPost, "/users", `{"email":` + deep + `}`, "", 400, "malformed"},
		"deep in permissions": {http.MethodPost, "/groups", `{"name":"x","permissions":{"a":` +
			strings.Repeat(`{"b":`, 5000) + "1" + strings.Repeat("}", 5000) + `}}`, "", 422, "unknown_field"},
		"a field twice": {
			http.MethodPost, "/users", `{"email":"x@example.com","superuser":false,"superuser":true}`, "", 400,
			"malformed",
		},
		"bad UTF-8": {
			http.MethodPost, "/users", "{\"email\":\"x@example.com\",\"first_name\":\"\xff\"}", "", 400, "malformed",
		},
		"half a surrogate": {
			http.MethodPost, "/users", `{"email":"x@example.com","first_name":"\ud800"}`, "", 400, "malformed",
		},
		"a form": {
			http.MethodPost, "/users", "email=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type",
		},
		"JSON for CSV": {
			http.MethodPost, "/users/import", `{}`, "application/json", 415, "unsupported_media_type",
		},
		"too large": {
			http.MethodPost, "/users", `{"email":"` + strings.Repeat("x", 1<<20) + `"}`, "", 413, "too_large",
		},
		"too many groups": {http.MethodPatch, "/users/" + id, `{"group_ids":[` +
			strings.Repeat(`"`+id+`",`, 1000) + `"` + id + `"]}`, "", 422, "invalid"},
		"a NUL in a query":     {http.MethodGet, "/users?query=%00", "", "", 422, "invalid"},
		"bad UTF-8 in a query": {http.MethodGet, "/users?query=%ff", "", "", 422, "invalid"},
		"a bad escape":         {http.MethodGet, "/users?query=%zz", "", "", 400, "malformed"},
		"a bad page":           {http.MethodGet, "/users?limit=99999999999999999999", "", "", 422, "invalid"},
		"a cursor with a NUL": {
			http.MethodGet,
			"/companies?cursor=" +
				"eyJzIjoibmFtZSIsImsiOiJcdTAwMDAiLCJpIjoiMDE5ODNjMWMtMmI3YS03YzFlLTlkNWUtMmY2YTBjOWI3ZTExIn0",
			"", "", 422, "invalid",
		},
		"a NUL in a path":     {http.MethodGet, "/modules/a%00b", "", "", 422, "invalid"},
		"a NUL in an id":      {http.MethodGet, "/users/a%00b", "", "", 422, "invalid"},
		"an odd position":     {http.MethodGet, "/users", "", "", 422, "invalid"},
		"an unknown path":     {http.MethodGet, "/nowhere", "", "", 404, "not_found"},
		"a path with a slash": {http.MethodGet, "/users/", "", "", 404, "not_found"},
		"a wrong method":      {http.MethodPut, "/users", "{}", "", 405, "method_not_allowed"},
		"an unknown account":  {http.MethodPatch, "/users/" + uuid.NewString(), "{}", "", 404, "not_found"},
		"an unknown history":  {http.MethodGet, "/users/" + uuid.NewString() + "/history", "", "", 404, "not_found"},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []with
			if c.contentType != "" {
				headers = append(headers, with{"Content-Type", c.contentType})
			}
			if name == "an odd position" {
				headers = append(headers, with{"Secboard-Min-Position", "-1"})
			}
			var body any
			if c.body != "" {
				body = c.body
			}
			answer := a.call(t, a.admin, c.method, c.path, body, headers...)
			if answer.status != c.status {
				t.Errorf("%.300s: got %v, want %v", answer, answer.status, c.status)
			}
			if got := answer.text("code"); got != c.code {
				t.Errorf("%.300s: got %q, want %q", answer, got, c.code)
			}
			if c.status == http.StatusMethodNotAllowed {
				if got := answer.header.Get("Allow"); got != "GET, POST" {
					t.Errorf(`Allow = %q, want "GET, POST"`, got)
				}
			}
		})
	}
	if got := a.log.String(); strings.Contains(got, "level=ERROR") {
		t.Errorf(`%q contains "level=ERROR"`, got)
	}
}

func TestHeadersThatProtect(t *testing.T) {
	t.Parallel()
	a := newAPI(t, trusting("127.0.0.0/8"), func(o *Options) {
		o.AllowedHosts = []string{"secboard.example.com", "127.0.0.1"}
	})
	request := uuid.New()
	answer := a.call(t, a.admin, http.MethodGet, "/users", nil, with{"X-Request-ID", request.String()},
		with{"X-Forwarded-Proto", "https"})
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
		"X-Request-ID":              uuid.NewSHA1(a.adminID, request[:]).String(),
		"Strict-Transport-Security": "max-age=31536000; includeSubDomains",
		"Content-Security-Policy":   "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	} {
		t.Run(name, func(t *testing.T) {
			if got := answer.header.Get(name); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	plain := a.call(t, a.admin, http.MethodGet, "/nowhere", nil)
	if got := plain.header.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("only over https: got %q, want nothing", got)
	}
	if got := plain.header.Get("X-Content-Type-Options"); got != "nosniff" {
		t.Errorf(`X-Content-Type-Options = %q, want "nosniff"`, got)
	}

	if got := a.call(t, a.admin, http.MethodGet, "/users", nil,
		with{"Host", "SecBoard.example.com:8080"}).status; got != http.StatusOK {
		t.Errorf("got %v, want %v", got, http.StatusOK)
	}
	foreign := a.call(t, a.admin, http.MethodGet, "/users", nil, with{"Host", "evil.example.net"})
	if foreign.status != http.StatusMisdirectedRequest {
		t.Errorf("foreign.status = %v, want %v", foreign.status, http.StatusMisdirectedRequest)
	}
	if got := foreign.text("code"); got != "unknown_host" {
		t.Errorf(`code = %q, want "unknown_host"`, got)
	}
	if got := a.request(t, "", http.MethodGet, "/healthz", nil, with{"Host", "10.0.0.7"}).status; got != http.StatusOK {
		t.Errorf("probes come by address: got %v, want %v", got, http.StatusOK)
	}

	if got := a.log.String(); !strings.Contains(got, "request_id="+answer.header.Get("X-Request-ID")) {
		t.Errorf("%q lacks %q", got, "request_id="+answer.header.Get("X-Request-ID"))
	}
	if got := a.log.String(); !strings.Contains(got, "given_id="+request.String()) {
		t.Errorf("%q lacks %q", got, "given_id="+request.String())
	}
	if got := a.log.String(); strings.Contains(got, a.admin) {
		t.Errorf("%q contains %q", got, a.admin)
	}
	if got := a.log.String(); strings.Contains(got, adminPassword) {
		t.Errorf("%q contains %q", got, adminPassword)
	}
}

func TestAPanicIsA500ThatTellsNothing(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.Commands = nil // the next command dereferences it
	answer := a.call(t, a.admin, http.MethodPut, "/modules/risks", map[string]any{"name": "Risks"})
	if answer.status != http.StatusInternalServerError {
		t.Errorf("answer.status = %v, want %v", answer.status, http.StatusInternalServerError)
	}
	if got := answer.text("code"); got != "internal" {
		t.Errorf(`code = %q, want "internal"`, got)
	}
	if got := string(answer.body); strings.Contains(got, "nil pointer") {
		t.Errorf(`%q contains "nil pointer"`, got)
	}
	if got := a.log.String(); !strings.Contains(got, "nil pointer") {
		t.Errorf(`%q lacks "nil pointer"`, got)
	}
	if got := a.call(t, a.admin, http.MethodGet, "/companies", nil).status; got != http.StatusOK {
		t.Errorf("the next request is served: got %v, want %v", got, http.StatusOK)
	}
}
