package httpapi

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/pause/pausetest"
)

var updateMatrix = flag.Bool("update-matrix", false, "write the table of who may do what")

// matrixFile says for each operation which single permission is enough: of a group for everything, of a group of the
// company that the subject belongs to, and of a group of another company. Whoever has any other one is refused.
const matrixFile = "testdata/rights.txt"

// scopes are for whom a permission holds.
var scopes = []string{"everything", "own company", "other company"}

// matrix is an installation with something of each kind, as far as possible of one company, and with people who have
// one permission each.
type matrix struct {
	*api
	path   *strings.Replacer
	tokens map[string]map[permission]string // by scope
}

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	m := &matrix{api: newAPI(t), tokens: map[string]map[permission]string{}}
	companies := map[string]string{
		"everything": "", "own company": m.create(t, "/companies", map[string]any{"name": "Acme"}),
		"other company": m.create(t, "/companies", map[string]any{"name": "Nova"}),
	}
	own := companies["own company"]
	m.create(t, "/companies", map[string]any{"name": "Third"})
	subject := m.create(t, "/users", map[string]any{"email": "subject@example.com", "company_id": own})
	group := m.create(t, "/groups", map[string]any{"name": "Subjects", "company_id": own})
	role := m.create(t, "/roles", map[string]any{"name": "Analyst"})
	directory := m.create(t, "/directories", map[string]any{
		"name": "AD", "company_id": own, "urls": []string{"ldaps://127.0.0.1:1"}, "base_dn": "DC=acme",
	})
	server := m.create(t, "/mail/servers", map[string]any{"name": "Office", "host": "127.0.0.1", "port": 1})
	account := m.create(t, "/mail/accounts", map[string]any{"server_id": server, "address": "acme@example.com"})
	if got := m.call(t, m.admin, http.MethodPut, "/modules/risks",
		map[string]any{"name": "Risks"}); got.status >= http.StatusBadRequest {
		t.Fatal(got)
	}
	_, desk := m.person(t, "desk@example.com", domain.Permissions{"users": {Edit: true}})
	proposed := m.call(t, desk, http.MethodPost, "/approvals",
		map[string]any{"operation": "unlock-user", "subject_id": subject, "reason": "asked by phone"})
	if proposed.status != http.StatusCreated {
		t.Fatal(proposed)
	}
	m.path = strings.NewReplacer("/approvals/{id}", "/approvals/"+proposed.text("id"),
		"/directories/{id}", "/directories/"+directory, "/mail/servers/{id}", "/mail/servers/"+server,
		"/mail/accounts/{id}", "/mail/accounts/"+account, "/users/{id}", "/users/"+subject, "/groups/{id}",
		"/groups/"+group,
		"/companies/{id}", "/companies/"+own, "/roles/{id}", "/roles/"+role, "{role_id}", role, "{group_id}", group,
		"{id}", uuid.NewString(), "{key}", "risks", "{token}", "made-up", "{feature}", "password_reset")
	var everyone []permission
	for _, module := range domain.OwnModules {
		for _, action := range domain.AllActions {
			everyone = append(everyone, permission{module, action})
		}
	}
	var made sync.Mutex
	var all sync.WaitGroup
	for scope, company := range companies {
		m.tokens[scope] = map[permission]string{}
		for _, p := range everyone {
			all.Go(func() {
				name := scope + " " + p.String()
				details := map[string]any{
					"name": name, "permissions": map[string]any{p.module: map[string]any{string(p.action): true}},
				}
				person := map[string]any{"email": strings.ReplaceAll(name, " ", ".") + "@example.com"}
				if company != "" {
					details["company_id"], person["company_id"] = company, company
				}
				person["group_ids"] = []string{m.create(t, "/groups", details)}
				id := uuid.MustParse(m.create(t, "/users", person))
				token, _, err := m.startSession(t.Context(), id, m.Now())
				if err != nil {
					t.Error(err)
				}
				made.Lock()
				defer made.Unlock()
				m.tokens[scope][p] = token
			})
		}
		all.Wait()
	}
	return m
}

// bodies are what operations take that would not come to look at their subject without it.
var bodies = map[string]map[string]any{
	"reset-two-factor":         {"reason": "lost phone"},
	"unlink-user-directory":    {"reason": "a new entry"},
	"set-cabinet-password":     {"password": "the cabinet of Acme"},
	"set-default-mail-account": {"mail_account_id": nil},
	"test-directory":           {},
	"set-mail-route":           {"mail_account_id": nil},
}

// gets says whether somebody with one permission gets beyond what refuses the wrong person. No command changes
// anything: none of them is meant for the revision that is named.
func (m *matrix) gets(t *testing.T, o operation, token string) bool {
	t.Helper()
	var body any
	if o.method == http.MethodPatch {
		body = map[string]any{}
	}
	if given, ok := bodies[o.id]; ok {
		body = given
	}
	var got answered
	pausetest.Until(t, "the read models stay behind", func() bool {
		got = m.call(t, token, o.method, m.path.Replace(o.path), body, with{"If-Match", `"99999"`})
		return got.text("code") != "behind" // on a busy machine: a client comes again
	})
	switch {
	case got.status == http.StatusUnauthorized:
		t.Errorf("%s: %v", o.id, got)
	case got.status >= http.StatusInternalServerError:
		t.Errorf("%s: %v", o.id, got)
	}
	return got.status != http.StatusForbidden && got.status != http.StatusNotFound
}

// Each operation, tried by everybody who has just one permission, for everything or for one company, lets those in that
// the table says, and nobody else.
func TestEveryOperationByEverySinglePermission(t *testing.T) {
	t.Parallel()
	m := newMatrix(t)
	lines := make([]string, len(m.routes))
	var all sync.WaitGroup
	atOnce := make(chan struct{}, 2)
	for i, o := range m.routes {
		if o.required.public || o.id == "sign-out" {
			continue
		}
		all.Go(func() {
			atOnce <- struct{}{}
			defer func() { <-atOnce }()
			lines[i] = fmt.Sprintf("%-36s", o.id)
			for _, scope := range scopes {
				var in []string
				for p, token := range m.tokens[scope] {
					if m.gets(t, o, token) {
						in = append(in, p.String())
					}
				}
				slices.Sort(in)
				said := strings.Join(in, ", ")
				switch len(in) {
				case 0:
					said = "nobody"
				case len(m.tokens[scope]):
					said = "everybody"
				}
				lines[i] += " | " + scope + ": " + said
			}
			lines[i] += "\n"
		})
	}
	all.Wait()
	got := strings.Join(lines, "")
	if *updateMatrix {
		if err := os.WriteFile(matrixFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(matrixFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s says otherwise; if it is meant so: go test ./httpapi -run SinglePermission -update-matrix\n%s",
			matrixFile, diff)
	}
}
