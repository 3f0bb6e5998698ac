package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
)

// injections are texts that do harm where they are not kept as text.
var injections = []string{
	"", " ", "\u0000", "a\u0000b", "' OR 1=1 --", "'; DROP SCHEMA readmodels CASCADE; --", `\`, `%`, `_%`, "$1",
	"*)(uid=*))(|(uid=*", `<script>alert(1)</script>`,
	"{{.}}", "%s%n%x%d", "${jndi:ldap://x}", "a\r\nSet-Cookie: x=y", "../../../../etc/passwd", "\u202eevil", "ｆｕｌｌ",
	"e\u0301\u0301\u0301", "👩‍👩‍👧‍👦", "\ufffe", "\U0010ffff",
	"null", "-1", "0", "9223372036854775808", "1e400", "NaN", "true", "0001-01-01", "9999-12-31",
	"9999-12-31T23:59:59.999999999-23:59", "1900-01-01T00:00:00+23:59",
	"-2026-01-01", "2026-02-30", "x0190a0f0-0000-7000-8000-000000000000y", "00000000-0000-0000-0000-000000000000",
	"urn:uuid:0190a0f0-0000-7000-8000-000000000000",
}

// jsonValues are values in JSON for any field. Most are no good for it; some are no JSON.
var jsonValues = func() []string {
	values := []string{
		"null", "true", "0", "-1", "1.5", "1e308", "1e999", "9223372036854775807", "-9223372036854775809",
		"123456789012345678901234567890",
		"{}", "[]", "[null]", "[[]]", `{"":""}`, `{"a":{"b":[{}]}}`, `"\ud800"`, `"\udc00\ud800x"`, "\"\xff\xfe\"",
		"\"\xc0\x80\"", `"\u0000"`, "\"\x00\"", "tru", `"`, "",
	}
	for _, text := range injections {
		encoded, err := json.Marshal(text)
		if err != nil {
			panic(err)
		}
		values = append(values, string(encoded))
	}
	return values
}()

// heavyValues are large or deep; they take time, so each operation gets them in one place.
var heavyValues = []string{
	`"` + strings.Repeat("x", 1<<20) + `"`, `"` + strings.Repeat("x", 900_000) + `"`,
	`"` + strings.Repeat("é", 5000) + `"`,
	"[" + strings.Repeat(`"x",`, 9999) + `"x"]`, "[" + strings.Repeat("null,", 9999) + "null]",
	strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000),
	strings.Repeat(`{"a":`, 9_998) + "1" + strings.Repeat("}", 9_998), strings.Repeat("9", 100_000),
}

// internals are what no answer may tell.
var internals = regexp.MustCompile(
	`\bgolang\.|\.go\b|json: |jsontext|SQLSTATE|pgx|pgconn|\bSELECT\b|\bINSERT\b|goroutine|runtime error|nil pointer|` +
		`reflect\.|strconv\.|time\.Time|uuid\.UUID|projections\.|httpapi\.|commands\.|/tmp/|/root/|/home/|` +
		`parsing time|rpc error|invalid memory`)

const echoedSecret = "Zq7-this-secret-must-not-come-back"

// badCall is one request of the corpus.
type badCall struct {
	method, path string
	body         string
	headers      []with
	about        string
}

// corpus makes bad requests for the operations of an OpenAPI document, so that one added later is covered by itself.
type corpus struct {
	document *huma.OpenAPI
	random   *rand.Rand
	bytes    io.Reader         // the same source, for ids
	known    map[string]string // a good value for a parameter of the path, {id} by the kind of resource
	each     int               // how many values each parameter and field gets, of those there are
}

func (c *corpus) some(values []string) []string {
	picked := make([]string, min(c.each, len(values)))
	for i, at := range c.random.Perm(len(values))[:len(picked)] {
		picked[i] = values[at]
	}
	return picked
}

func (c *corpus) resolved(schema *huma.Schema) *huma.Schema {
	if schema != nil && schema.Ref != "" {
		return c.document.Components.Schemas.SchemaFromRef(schema.Ref)
	}
	return schema
}

// good is a value that fits a schema, or nearly.
func (c *corpus) good(name string, schema *huma.Schema, depth int) any {
	schema = c.resolved(schema)
	switch {
	case schema == nil || depth > 4:
		return "x"
	case len(schema.Enum) > 0:
		return schema.Enum[0]
	case len(schema.Examples) > 0:
		return schema.Examples[0]
	case strings.Contains(name, "password"), strings.Contains(name, "code"), name == "challenge":
		return echoedSecret
	case strings.Contains(name, "email"):
		return fmt.Sprintf("p%d@example.com", c.random.Uint64())
	}
	switch schema.Type {
	case huma.TypeBoolean:
		return false
	case huma.TypeInteger, huma.TypeNumber:
		return cmp.Or(schema.Minimum, new(float64(1)))
	case huma.TypeArray:
		return []any{}
	case huma.TypeObject:
		object := map[string]any{}
		for _, field := range slices.Sorted(maps.Keys(schema.Properties)) {
			property := schema.Properties[field]
			if slices.Contains(schema.Required, field) || depth == 0 && c.random.IntN(2) == 0 {
				object[field] = c.good(field, property, depth+1)
			}
		}
		return object
	}
	switch schema.Format {
	case "uuid":
		return c.id()
	case "date":
		return "2026-11-23"
	}
	return fmt.Sprintf("x%d", c.random.Uint64())
}

func (c *corpus) id() string { return uuid.Must(uuid.NewRandomFromReader(c.bytes)).String() }

// path puts values into the template of a path.
func (c *corpus) path(template string, bad map[string]string) string {
	return regexp.MustCompile(`\{(\w+)\}`).ReplaceAllStringFunc(template, func(match string) string {
		name := strings.Trim(match, "{}")
		if value, given := bad[name]; given {
			return url.PathEscape(value)
		}
		return cmp.Or(c.known[name], c.known[strings.Split(template+"/", "/")[3]], c.id())
	})
}

func (c *corpus) calls(method, template string, o *huma.Operation) (calls []badCall) {
	add := func(about, path, body string, headers ...with) {
		calls = append(calls, badCall{method: method, path: path, body: body, headers: headers, about: about})
	}
	body := ""
	var schema *huma.Schema
	contentType := with{"Content-Type", "application/json"}
	if o.RequestBody != nil {
		for _, media := range slices.Sorted(maps.Keys(o.RequestBody.Content)) {
			contentType.value, schema = media, o.RequestBody.Content[media].Schema
		}
		if contentType.value == "application/json" {
			encoded, err := json.Marshal(c.good("", schema, 0))
			if err != nil {
				panic(err)
			}
			body = string(encoded)
		}
	}
	plain := c.path(template, nil)
	for _, p := range o.Parameters {
		for _, bad := range append(c.some(injections), "\xff", strings.Repeat("x", 10_000)) {
			switch p.In {
			case "path":
				add(fmt.Sprintf("%s=%.40q in the path", p.Name, bad), c.path(template, map[string]string{p.Name: bad}),
					body, contentType)
			case "query":
				query := "?" + p.Name + "=" + url.QueryEscape(bad)
				add(fmt.Sprintf("%s=%.40q", p.Name, bad), plain+query, body, contentType)
				add(fmt.Sprintf("%s=%.40q twice", p.Name, bad), plain+query+"&"+p.Name+"=1", body, contentType)
			case "header":
				// the client sends no others
				if value := strings.Map(func(r rune) rune { return max(r, ' ') }, bad); len(value) < 5000 {
					add(fmt.Sprintf("%s: %.40q", p.Name, value), plain, body, contentType, with{p.Name, value})
				}
			}
		}
	}
	add("an unknown parameter", plain+"?%3Cscript%3E=1", body, contentType)
	add("a broken query", plain+"?a=%zz;b", body, contentType)
	if method == http.MethodGet {
		add("a body", plain, `{"a":1}`, contentType)
		return calls
	}
	for _, media := range []string{"", "text/html", "application/json; charset=utf-16", "application/cbor",
		"multipart/form-data; boundary=x", "application/problem+json", ";;;", "*/*"} {
		add("Content-Type "+media, plain, body, with{"Content-Type", media})
	}
	if contentType.value != "application/json" {
		for _, content := range append(c.some(jsonValues), heavyValues...) {
			add(fmt.Sprintf("the body %.40q", content), plain, content, contentType)
		}
		return calls
	}
	for _, content := range append(c.some(jsonValues), body+body, body+"x", body+"\x00", "\ufeff"+body, "["+body+"]",
		strings.TrimSuffix(body, "}"), heavyValues[c.random.IntN(len(heavyValues))]) {
		add(fmt.Sprintf("the body %.40q", content), plain, content, contentType)
	}
	properties := c.resolved(schema)
	if properties == nil {
		return calls
	}
	for _, field := range slices.Sorted(maps.Keys(properties.Properties)) {
		for _, bad := range c.some(jsonValues) {
			add(fmt.Sprintf("%s: %.40q", field, bad), plain, c.withField(schema, field, bad), contentType)
		}
		add(field+" twice", plain, strings.TrimSuffix(c.withField(schema, field, `"a"`), "}")+`,"`+field+`":"b"}`,
			contentType)
		heavy := heavyValues[c.random.IntN(len(heavyValues))]
		add(fmt.Sprintf("%s: %.20q…", field, heavy), plain, c.withField(schema, field, heavy), contentType)
	}
	return calls
}

// withField is a good body but for one field.
func (c *corpus) withField(schema *huma.Schema, field, value string) string {
	object, ok := c.good("", schema, 0).(map[string]any)
	if !ok {
		return value
	}
	delete(object, field)
	encoded, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	rest := strings.TrimSuffix(strings.TrimPrefix(string(encoded), "{"), "}")
	if rest != "" {
		rest = "," + rest
	}
	return fmt.Sprintf(`{%q:%s%s}`, field, value, rest)
}

// Whatever is sent to any operation of the document, by a superuser or by nobody, is not the server's mistake: never a
// 5xx, always a problem with a code, without anything of the server's insides and without the secret that was sent.
// SECBOARD_TEST_BADINPUT=n tries n values for each field instead of two, and every other choice by another seed.
func TestBadInputIsNeverTheServersMistake(t *testing.T) {
	t.Parallel()
	each, err := strconv.Atoi(cmp.Or(os.Getenv("SECBOARD_TEST_BADINPUT"), "2"))
	if err != nil {
		t.Fatal(err)
	}
	a := newAPI(t)
	victim, _ := a.person(t, "victim@example.com", nil)
	source := rand.NewChaCha8([32]byte{byte(each)}) // the same values each time
	c := &corpus{document: a.api.OpenAPI(), random: rand.New(source), bytes: source, each: each,
		known: map[string]string{
			"key": "risks", "token": "made-up", "users": victim.String(),
			"companies": a.create(t, "/companies", map[string]any{"name": "Nova"}),
			"roles":     a.create(t, "/roles", map[string]any{"name": "Auditor"}),
			"groups":    a.create(t, "/groups", map[string]any{"name": "Readers"}),
		}}
	c.known["role_id"], c.known["group_id"] = c.known["roles"], c.known["groups"]
	a.patience = 1 // a position that is not reached is a 503 behind at once, and a change a 202
	sent := 0
	for _, path := range slices.Sorted(maps.Keys(c.document.Paths)) {
		item := c.document.Paths[path]
		for _, o := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if o == nil {
				continue
			}
			for i, call := range c.calls(o.Method, path, o) {
				token := a.admin
				if endsSession := o.OperationID == "sign-out" ||
					strings.HasSuffix(o.OperationID, "-sessions"); endsSession || i%8 == 7 {
					token = ""
				}
				answer := a.sendBad(t.Context(), t, token, call)
				sent++
				if problem := wrongAnswer(answer); problem != "" {
					t.Errorf("%s %.100s, %s: %s: %.400s", call.method, call.path, call.about, problem, answer)
				}
			}
		}
	}
	t.Logf("%d requests", sent)
	if sent <= 20*len(a.routes) {
		t.Errorf("sent = %v, want more than %v", sent, 20*len(a.routes))
	}
	if got := a.log.String(); strings.Contains(got, "level=ERROR") {
		t.Errorf(`%q contains "level=ERROR"`, got)
	}
	if got := a.log.String(); strings.Contains(got, echoedSecret) {
		t.Errorf("%q contains %q", got, echoedSecret)
	}
	if got := a.call(t, a.admin, http.MethodGet, "/users", nil).status; got != http.StatusOK {
		t.Errorf("the stack still works: got %v, want %v", got, http.StatusOK)
	}
}

func (a *api) sendBad(ctx context.Context, t *testing.T, token string, call badCall) answered {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, call.method, a.url+call.path, strings.NewReader(call.body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for _, header := range call.headers {
		request.Header.Set(header.name, header.value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatalf("%s: %v", call.about, err)
	}
	answer := answered{status: response.StatusCode, header: response.Header}
	answer.body, err = io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s: %v", call.about, err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal(answer.body, &answer.json) // not every answer is JSON
	return answer
}

// wrongAnswer says what is wrong with the answer to a bad request, or "".
func wrongAnswer(a answered) string {
	switch code := a.text("code"); {
	case a.status >= 500 && (a.status != http.StatusServiceUnavailable || code != "behind"):
		return "the server's mistake"
	case a.status < 400:
		return ""
	case code == "" || a.text("detail") == "":
		return "no problem with a code and a detail"
	case bytes.Contains(a.body, []byte(echoedSecret)):
		return "gives the secret back"
	case internals.Match(a.body):
		return fmt.Sprintf("tells of the server's insides: %q", internals.Find(a.body))
	}
	if mediaType, _, err := mime.ParseMediaType(a.header.Get("Content-Type")); err != nil ||
		mediaType != "application/problem+json" {
		return "is " + mediaType
	}
	return ""
}
