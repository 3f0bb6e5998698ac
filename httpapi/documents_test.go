package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/secboard/secboard/pause/pausetest"
)

var update = flag.Bool("update", false, "write testdata/openapi.json anew")

// The document is the contract: a change of it is a change of the code and of testdata/openapi.json.
func TestTheOpenAPIDocument(t *testing.T) {
	t.Parallel()
	a := startAPI(t)
	served := a.request(t, "", http.MethodGet, "/openapi.json", nil)
	if served.status != http.StatusOK {
		t.Fatalf("served.status = %v, want %v", served.status, http.StatusOK)
	}
	const golden = "testdata/openapi.json"
	if *update {
		if err := os.WriteFile(golden, append(served.body, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(served.body) + "\n"; got != string(want) {
		t.Errorf("go test ./httpapi -run OpenAPI -update writes it anew (-want +got):\n%s",
			cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")))
	}

	var document struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			Summary   string         `json:"summary"`
			Tags      []string       `json:"tags"`
			Security  []any          `json:"security"`
			Responses map[string]any `json:"responses"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(served.body, &document); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(document.OpenAPI, "3.1") {
		t.Errorf("%s", document.OpenAPI)
	}
	for _, o := range a.routes {
		t.Run(o.id, func(t *testing.T) {
			documented := document.Paths[basePath+o.path][strings.ToLower(o.method)]
			if documented.Summary == "" {
				t.Errorf("got %q, want something", documented.Summary)
			}
			if len(documented.Tags) == 0 {
				t.Errorf("got %v, want something", documented.Tags)
			}
			if got := len(documented.Security) > 0; got != !o.required.public {
				t.Errorf("got %v, want %v", got, !o.required.public)
			}
			if _, found := documented.Responses["503"]; !found {
				t.Errorf("%v lacks 503", documented.Responses)
			}
		})
	}
}

// What is answered is what the document says, with every field there and of its type.
func TestAnswersAreAsDocumented(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	group := a.create(t, "/groups",
		map[string]any{"name": "Analysts", "permissions": map[string]any{"users": map[string]any{"view": true}}})
	role := a.create(t, "/roles", map[string]any{"name": "Analyst"})
	bare := a.create(t, "/users", map[string]any{"email": "bare@example.com"})
	full := a.create(t, "/users", map[string]any{
		"email": "full@example.com", "first_name": "Anna", "company_id": company, "start_date": "2090-01-01",
		"end_date": "2091-01-01",
		"role_ids": []string{role}, "group_ids": []string{group},
	})
	registry := a.api.OpenAPI().Components.Schemas
	names := strings.NewReplacer(company, "{company}", group, "{group}", role, "{role}", bare, "{bare}", full, "{full}")
	for path, schema := range map[string]string{
		"/users": "ListUser", "/users/" + bare: "User", "/users/" + full: "User", "/users/" + full +
			"?as_of=2090-01-01": "User",
		"/users/" + full + "/history": "ListHistoryEntry", "/companies": "ListCompany", "/companies/" +
			company: "Company",
		"/roles": "ListRole", "/roles/" + role: "Role", "/groups": "ListGroup", "/groups/" + group: "Group",
		"/groups/" + group + "/history": "ListHistoryEntry",
		"/groups/" + group + "/members": "ListMember", "/modules": "ListModule", "/modules/users": "Module",
		"/modules/users/history":                              "ListHistoryEntry",
		"/users/" + full + "/access":                          "AccountAccess",
		"/users/" + bare + "/access?module=users&action=view": "AccountAccess", "/audit/access": "ListAccessHolder",
		"/projections": "ListStatus", "/sessions/current": "CurrentSession", "/users?limit=0": "Problem",
		"/users/" + company: "Problem",
	} {
		t.Run(names.Replace(path), func(t *testing.T) {
			answer := a.call(t, a.admin, http.MethodGet, path, nil)
			var findings huma.ValidateResult
			huma.Validate(registry, registry.SchemaFromRef(schemaPrefix+schema), huma.NewPathBuffer(nil, 0),
				huma.ModeReadFromServer, any(answer.json), &findings)
			if len(findings.Errors) != 0 {
				t.Errorf("%s: got %v, want nothing", answer, findings.Errors)
			}
		})
	}
}

// The page works offline: it loads nothing but its own style, and its policy allows nothing else.
func TestTheReadablePage(t *testing.T) {
	t.Parallel()
	a := startAPI(t)
	page := a.request(t, "", http.MethodGet, "/docs", nil)
	if page.status != http.StatusOK {
		t.Fatalf("page.status = %v, want %v", page.status, http.StatusOK)
	}
	if got := page.header.Get("Content-Security-Policy"); !strings.Contains(got,
		"default-src 'none'; style-src 'self'") {
		t.Errorf(`%q lacks "default-src 'none'; style-src 'self'"`, got)
	}
	for _, o := range a.routes {
		if got := string(page.body); !strings.Contains(got, `id="`+o.id+`"`) {
			t.Errorf("%q lacks %q", got, `id="`+o.id+`"`)
		}
	}
	root, err := html.Parse(strings.NewReader(string(page.body)))
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	var links []string
	for node := range root.Descendants() {
		if got := []string{"script", "img", "iframe"}; slices.Contains(got, node.Data) {
			t.Errorf("%v contains %v", got, node.Data)
		}
		for _, attribute := range node.Attr {
			switch attribute.Key {
			case "id":
				if ids[attribute.Val] {
					t.Errorf("%s stands twice", attribute.Val)
				}
				ids[attribute.Val] = true
			case "href":
				links = append(links, attribute.Val)
			case "style", "src":
				t.Errorf("%s=%q needs what the policy forbids", attribute.Key, attribute.Val)
			}
		}
	}
	for _, link := range links {
		if anchor, inside := strings.CutPrefix(link, "#"); inside {
			if !ids[strings.ReplaceAll(anchor, "%20", " ")] {
				t.Errorf("%s leads nowhere", link)
			}
			continue
		}
		if got := a.request(t, "", http.MethodGet, link, nil).status; got != http.StatusOK {
			t.Errorf("%s: got %v, want %v", link, got, http.StatusOK)
		}
	}
}

func TestHealthAndMetrics(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create(t, "/companies", map[string]any{"name": "Nova"})
	if got := a.call(t, a.admin, http.MethodGet, "/companies/01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11",
		nil).status; got != http.StatusNotFound {
		t.Errorf("got %v, want %v", got, http.StatusNotFound)
	}
	a.request(t, "", "BREW", "/coffee", nil)

	if got := a.request(t, "", http.MethodGet, "/healthz", nil).status; got != http.StatusOK {
		t.Errorf(`a.request(t, "", http.MethodGet, "/healthz", nil).status = %v, want %v`, got, http.StatusOK)
	}
	ready := a.request(t, "", http.MethodGet, "/readyz", nil)
	if ready.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", ready, ready.status, http.StatusOK)
	}
	if got := ready.text("status"); got != "ready" {
		t.Errorf(`status = %q, want "ready"`, got)
	}
	parts := partsOf(ready)
	for _, part := range []string{"event_store", "database", "projection_users", "projection_history"} {
		if parts[part]["ok"] != true {
			t.Errorf("%s: got %v, want true", part, parts[part]["ok"])
		}
	}
	if got := a.request(t, "", http.MethodHead, "/readyz", nil).status; got != http.StatusOK {
		t.Errorf(`a.request(t, "", http.MethodHead, "/readyz", nil).status = %v, want %v`, got, http.StatusOK)
	}

	projections := a.call(t, a.admin, http.MethodGet, "/projections", nil)
	if projections.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", projections, projections.status, http.StatusOK)
	}
	if got := projections.items(); len(got) == 0 {
		t.Fatalf("projections.items() = %v, want something", got)
	}
	for _, field := range []string{"name", "position", "lag_events", "lag_ms", "state", "error"} {
		if _, found := projections.items()[0][field]; !found {
			t.Errorf("%v lacks %v", projections.items()[0], field)
		}
	}

	metrics := a.metricsPage(t)
	for _, line := range []string{
		`secboard_http_request_duration_seconds_count{method="POST",route="/api/v1/companies",status="2xx"} 1`,
		`secboard_http_request_duration_seconds_count{method="GET",route="/api/v1/companies/:id",status="4xx"} 1`,
		`secboard_http_request_duration_seconds_count{method="other",route="unmatched",status="4xx"} 1`,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("%q lacks %q", metrics, line)
		}
	}
	if strings.Contains(metrics, "01983c1c") {
		t.Errorf(`no ids in labels: %q contains "01983c1c"`, metrics)
	}

	a.PingStore = func(context.Context) error { return errors.New("dial tcp 10.0.0.1: secret detail") }
	down := a.request(t, "", http.MethodGet, "/readyz", nil)
	if down.status != http.StatusServiceUnavailable {
		t.Errorf("down.status = %v, want %v", down.status, http.StatusServiceUnavailable)
	}
	if got := partsOf(down)["event_store"]["ok"]; got != false {
		t.Errorf(`partsOf(down)["event_store"]["ok"] = %v, want false`, got)
	}
	if got := partsOf(down)["database"]["ok"]; got != true {
		t.Errorf(`partsOf(down)["database"]["ok"] = %v, want true`, got)
	}
	if got := string(down.body); strings.Contains(got, "secret") {
		t.Errorf(`%q contains "secret"`, got)
	}
}

func partsOf(ready answered) map[string]map[string]any {
	parts := map[string]map[string]any{}
	list, _ := ready.json["parts"].([]any)
	for _, item := range list {
		part, _ := item.(map[string]any)
		name, _ := part["name"].(string)
		parts[name] = part
	}
	return parts
}

// The database is away: said quickly, with a reason, and over by itself.
func TestTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.wire.cut()
	for name, answer := range map[string]answered{
		"a query": a.call(t, a.admin, http.MethodGet, "/users", nil),
		"a change": a.call(t, a.admin, http.MethodPost, "/companies", map[string]any{"name": "Nova"},
			with{"Idempotency-Key", "k"}),
		"a sign-in": a.signInAs(t, adminEmail, adminPassword),
	} {
		t.Run(name, func(t *testing.T) {
			if answer.status != http.StatusServiceUnavailable {
				t.Errorf("%v: got %v, want %v", answer, answer.status, http.StatusServiceUnavailable)
			}
			if got := answer.text("code"); got != "unavailable" {
				t.Errorf(`code = %q, want "unavailable"`, got)
			}
			if got := answer.header.Get("Retry-After"); got == "" {
				t.Errorf("Retry-After = %q, want something", got)
			}
			if got := string(answer.body); strings.Contains(got, "wire") {
				t.Errorf(`%q contains "wire"`, got)
			}
		})
	}
	down := a.request(t, "", http.MethodGet, "/readyz", nil)
	if down.status != http.StatusServiceUnavailable {
		t.Errorf("down.status = %v, want %v", down.status, http.StatusServiceUnavailable)
	}
	if got := partsOf(down)["database"]["ok"]; got != false {
		t.Errorf(`partsOf(down)["database"]["ok"] = %v, want false`, got)
	}
	if got := partsOf(down)["event_store"]["ok"]; got != true {
		t.Errorf(`partsOf(down)["event_store"]["ok"] = %v, want true`, got)
	}
	if got := a.request(t, "", http.MethodGet, "/healthz", nil).status; got != http.StatusOK {
		t.Errorf("the process itself is well: got %v, want %v", got, http.StatusOK)
	}

	a.wire.mend()
	pausetest.Until(t, "commands are carried out again", func() bool {
		created, err := a.send(t.Context(), a.admin, http.MethodPost, basePath+"/companies",
			map[string]any{"name": "Nova"}, with{"Idempotency-Key", "k"})
		return err == nil && (created.status == http.StatusCreated || created.status == http.StatusAccepted)
	})
	pausetest.Until(t, "the instance is ready again", func() bool {
		ready, err := a.send(t.Context(), "", http.MethodGet, "/readyz", nil)
		return err == nil && ready.text("status") == "ready"
	})
}
