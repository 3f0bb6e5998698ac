package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
)

var update = flag.Bool("update", false, "write testdata/openapi.json anew")

// The document is the contract: a change of it is a change of the code and of testdata/openapi.json.
func TestTheOpenAPIDocument(t *testing.T) {
	t.Parallel()
	a := startAPI(t)
	served := a.request(t, "", http.MethodGet, "/openapi.json", nil)
	require.Equal(t, http.StatusOK, served.status)
	const golden = "testdata/openapi.json"
	if *update {
		require.NoError(t, os.WriteFile(golden, append(served.body, '\n'), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(served.body)+"\n", "go test ./httpapi -run OpenAPI -update writes it anew")

	var document struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			Summary   string         `json:"summary"`
			Tags      []string       `json:"tags"`
			Security  []any          `json:"security"`
			Responses map[string]any `json:"responses"`
		} `json:"paths"`
	}
	require.NoError(t, json.Unmarshal(served.body, &document))
	assert.True(t, strings.HasPrefix(document.OpenAPI, "3.1"), document.OpenAPI)
	for _, o := range a.routes {
		documented := document.Paths[basePath+o.path][strings.ToLower(o.method)]
		assert.NotEmpty(t, documented.Summary, o.path)
		assert.NotEmpty(t, documented.Tags, o.path)
		assert.Equal(t, !o.required.public, len(documented.Security) > 0, o.path)
		assert.Contains(t, documented.Responses, "503", o.path)
	}
}

// What is answered is what the document says, with every field there and of its type.
func TestAnswersAreAsDocumented(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	group := a.create(t, "/groups", map[string]any{"name": "Analysts", "permissions": map[string]any{"users": map[string]any{"view": true}}})
	role := a.create(t, "/roles", map[string]any{"name": "Analyst"})
	bare := a.create(t, "/users", map[string]any{"email": "bare@example.com"})
	full := a.create(t, "/users", map[string]any{
		"email": "full@example.com", "first_name": "Anna", "company_id": company, "start_date": "2090-01-01", "end_date": "2091-01-01",
		"role_ids": []string{role}, "group_ids": []string{group},
	})
	registry := a.api.OpenAPI().Components.Schemas
	for path, schema := range map[string]string{
		"/users": "ListUser", "/users/" + bare: "User", "/users/" + full: "User", "/users/" + full + "?as_of=2090-01-01": "User",
		"/users/" + full + "/history": "ListHistoryEntry", "/companies": "ListCompany", "/companies/" + company: "Company",
		"/roles": "ListRole", "/roles/" + role: "Role", "/groups": "ListGroup", "/groups/" + group: "Group", "/groups/" + group + "/history": "ListHistoryEntry",
		"/groups/" + group + "/members": "ListMember", "/modules": "ListModule", "/modules/users": "Module", "/modules/users/history": "ListHistoryEntry",
		"/users/" + full + "/access": "AccountAccess", "/users/" + bare + "/access?module=users&action=view": "AccountAccess", "/audit/access": "ListAccessHolder",
		"/projections": "ListStatus", "/sessions/current": "CurrentSession", "/users?limit=0": "Problem", "/users/" + company: "Problem",
	} {
		answer := a.call(t, a.admin, http.MethodGet, path, nil)
		var findings huma.ValidateResult
		huma.Validate(registry, registry.SchemaFromRef(schemaPrefix+schema), huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, any(answer.json), &findings)
		assert.Empty(t, findings.Errors, "%s: %s", path, answer)
	}
}

// The page works offline: it loads nothing but its own style, and its policy allows nothing else.
func TestTheReadablePage(t *testing.T) {
	t.Parallel()
	a := startAPI(t)
	page := a.request(t, "", http.MethodGet, "/docs", nil)
	require.Equal(t, http.StatusOK, page.status)
	assert.Contains(t, page.header.Get("Content-Security-Policy"), "default-src 'none'; style-src 'self'")
	for _, o := range a.routes {
		assert.Contains(t, string(page.body), `id="`+o.id+`"`)
	}
	root, err := html.Parse(strings.NewReader(string(page.body)))
	require.NoError(t, err)
	ids := map[string]bool{}
	var links []string
	for node := range root.Descendants() {
		assert.NotContains(t, []string{"script", "img", "iframe"}, node.Data)
		for _, attribute := range node.Attr {
			switch attribute.Key {
			case "id":
				assert.False(t, ids[attribute.Val], "%s stands twice", attribute.Val)
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
			assert.True(t, ids[strings.ReplaceAll(anchor, "%20", " ")], "%s leads nowhere", link)
			continue
		}
		assert.Equal(t, http.StatusOK, a.request(t, "", http.MethodGet, link, nil).status, link)
	}
}

func TestHealthAndMetrics(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.create(t, "/companies", map[string]any{"name": "Nova"})
	assert.Equal(t, http.StatusNotFound, a.call(t, a.admin, http.MethodGet, "/companies/01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11", nil).status)
	a.request(t, "", "BREW", "/coffee", nil)

	assert.Equal(t, http.StatusOK, a.request(t, "", http.MethodGet, "/healthz", nil).status)
	ready := a.request(t, "", http.MethodGet, "/readyz", nil)
	require.Equal(t, http.StatusOK, ready.status, ready)
	assert.Equal(t, "ready", ready.text("status"))
	parts := partsOf(ready)
	for _, part := range []string{"event_store", "database", "projection_users", "projection_history"} {
		assert.Equal(t, true, parts[part]["ok"], part)
	}
	assert.Equal(t, http.StatusOK, a.request(t, "", http.MethodHead, "/readyz", nil).status)

	projections := a.call(t, a.admin, http.MethodGet, "/projections", nil)
	require.Equal(t, http.StatusOK, projections.status, projections)
	require.NotEmpty(t, projections.items())
	for _, field := range []string{"name", "position", "lag_events", "lag_ms", "state", "error"} {
		assert.Contains(t, projections.items()[0], field)
	}

	metrics := string(a.request(t, "", http.MethodGet, "/metrics", nil).body)
	for _, line := range []string{
		`secboard_http_request_duration_seconds_count{method="POST",route="/api/v1/companies",status="2xx"} 1`,
		`secboard_http_request_duration_seconds_count{method="GET",route="/api/v1/companies/:id",status="4xx"} 1`,
		`secboard_http_request_duration_seconds_count{method="other",route="unmatched",status="4xx"} 1`,
	} {
		assert.Contains(t, metrics, line)
	}
	assert.NotContains(t, metrics, "01983c1c", "no ids in labels")

	a.PingStore = func(context.Context) error { return errors.New("dial tcp 10.0.0.1: secret detail") }
	down := a.request(t, "", http.MethodGet, "/readyz", nil)
	assert.Equal(t, http.StatusServiceUnavailable, down.status)
	assert.Equal(t, false, partsOf(down)["event_store"]["ok"])
	assert.Equal(t, true, partsOf(down)["database"]["ok"])
	assert.NotContains(t, string(down.body), "secret")
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
	for _, call := range []answered{
		a.call(t, a.admin, http.MethodGet, "/users", nil),
		a.call(t, a.admin, http.MethodPost, "/companies", map[string]any{"name": "Nova"}, with{"Idempotency-Key", "k"}),
		a.signInAs(t, adminEmail, adminPassword),
	} {
		assert.Equal(t, http.StatusServiceUnavailable, call.status, call)
		assert.Equal(t, "unavailable", call.text("code"))
		assert.NotEmpty(t, call.header.Get("Retry-After"))
		assert.NotContains(t, string(call.body), "wire")
	}
	down := a.request(t, "", http.MethodGet, "/readyz", nil)
	assert.Equal(t, http.StatusServiceUnavailable, down.status)
	assert.Equal(t, false, partsOf(down)["database"]["ok"])
	assert.Equal(t, true, partsOf(down)["event_store"]["ok"])
	assert.Equal(t, http.StatusOK, a.request(t, "", http.MethodGet, "/healthz", nil).status, "the process itself is well")

	a.wire.mend()
	assert.EventuallyWithT(t, func(c *assert.CollectT) {
		created, err := a.send(t.Context(), a.admin, http.MethodPost, basePath+"/companies", map[string]any{"name": "Nova"}, with{"Idempotency-Key", "k"})
		assert.NoError(c, err)
		assert.Contains(c, []int{http.StatusCreated, http.StatusAccepted}, created.status)
	}, patience, 50*time.Millisecond)
	assert.EventuallyWithT(t, func(c *assert.CollectT) {
		ready, err := a.send(t.Context(), "", http.MethodGet, "/readyz", nil)
		assert.NoError(c, err)
		assert.Equal(c, "ready", ready.text("status"))
	}, patience, 50*time.Millisecond)
}
