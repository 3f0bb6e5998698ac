package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/user"
)

// servers stand in for directory servers, by the name of their connection.
type servers struct {
	mu     sync.Mutex
	people map[string][]directory.Entry // of a connection
	down   map[string]bool
	asked  []string // "connection e-mail" of each sign-in
	bound  string   // the bind password that came last
}

// The password of everybody in servers.
const directoryPassword = `p@ss%2F"ü&=+`

var errDown = errors.New("connection refused")

func (s *servers) SignIn(_ context.Context, server directory.Server, email, password string) (directory.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.HasSuffix(email, "@nobody.invalid") { // of every refusal, so that it looks like all others
		s.asked = append(s.asked, server.Name+" "+email)
	}
	s.bound = server.BindPassword
	if s.down[server.Name] {
		return directory.Entry{}, errDown
	}
	for _, entry := range s.people[server.Name] {
		if user.NormalizeEmail(entry.Email) != user.NormalizeEmail(email) {
			continue
		}
		if password != directoryPassword {
			return entry, &directory.Refused{Reason: directory.WrongPassword}
		}
		if reason := entry.Refusal(); reason != "" {
			return entry, &directory.Refused{Reason: reason}
		}
		return entry, nil
	}
	return directory.Entry{}, &directory.Refused{Reason: directory.Unknown}
}

func (s *servers) Test(ctx context.Context, server directory.Server,
	email, _ string) ([]directory.Step, *directory.Entry, error) {
	entry, err := s.SignIn(ctx, server, email, directoryPassword)
	if err != nil {
		//nolint:nilerr // what is wrong is for the administrator
		return []directory.Step{{Step: "search", Detail: err.Error()}}, nil, nil
	}
	return []directory.Step{{Step: "search", OK: true}}, &entry, nil
}

func (s *servers) Entries(_ context.Context, server directory.Server) iter.Seq2[directory.Entry, error] {
	s.mu.Lock()
	defer s.mu.Unlock()
	people, down := slices.Clone(s.people[server.Name]), s.down[server.Name]
	return func(yield func(directory.Entry, error) bool) {
		for _, entry := range people {
			if !yield(entry, nil) {
				return
			}
		}
		if down {
			yield(directory.Entry{}, errDown) // cut in the middle
		}
	}
}

// put replaces the people of a connection.
func (s *servers) put(connection string, people ...directory.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.people[connection] = people
}

func (s *servers) isDown(connection string, down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down[connection] = down
}

func (s *servers) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.asked = nil }()
	return s.asked
}

func newServers() *servers {
	return &servers{people: map[string][]directory.Entry{}, down: map[string]bool{}}
}

// withDirectory is an API whose directories are servers.
func withDirectory(t *testing.T) (*api, *servers) {
	t.Helper()
	s := newServers()
	return newAPI(t, func(o *Options) { o.Commands.Directory = s }), s
}

// connect makes a connection and gives its id.
func (a *api) connect(t *testing.T, name string, more map[string]any) string {
	t.Helper()
	body := map[string]any{"name": name, "urls": []string{"ldaps://dc.example.com"}, "base_dn": "DC=example,DC=com"}
	for field, value := range more {
		body[field] = value
	}
	return a.create(t, "/directories", body)
}

// accountOf gives the account with an e-mail address.
func (a *api) accountOf(t *testing.T, email string) map[string]any {
	t.Helper()
	for _, account := range a.call(t, a.admin, http.MethodGet, "/users?query="+email, nil).items() {
		if account["email"] == email {
			return account
		}
	}
	t.Fatal("there is no account " + email)
	return nil
}

// directoryCheckOf is the part of the sign-in check that is about the directory, after all that was recorded.
func (a *api) directoryCheckOf(t *testing.T, id string) map[string]any {
	t.Helper()
	a.catchUp(t, a.head(t))
	answer := a.call(t, a.admin, http.MethodGet, "/users/"+id+"/sign-in-check", nil)
	if answer.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", answer, answer.status, http.StatusOK)
	}
	for _, check := range answer.json["checks"].([]any) {
		if c := check.(map[string]any); c["code"] == "directory_account" {
			return c
		}
	}
	t.Fatal("there is no check directory_account")
	return nil
}

// Entries that are disabled or gone close their accounts without a sign-in, but not too many of them without
// confirmation.
func TestCheckingTheAccountsOfADirectory(t *testing.T) {
	t.Parallel()
	a, servers := withDirectory(t)
	id := a.connect(t, "AD", map[string]any{"check_limit_percent": 50})
	var people []directory.Entry
	tokens := map[string]string{}
	for _, name := range []string{"ada", "bob", "cleo", "dan"} {
		people = append(people, directory.Entry{DN: "CN=" + name, GUID: name, Email: name + "@example.com"})
	}
	servers.put("AD", people...)
	for _, entry := range people {
		in := a.signInAs(t, entry.Email, directoryPassword)
		if in.status != http.StatusCreated {
			t.Fatalf("%v: got %v, want %v", in, in.status, http.StatusCreated)
		}
		tokens[entry.Email] = in.text("token")
	}
	a.catchUp(t, a.head(t))
	check := func(method string, body any) answered {
		answer := a.call(t, a.admin, method, "/directories/"+id+"/check", body)
		a.catchUp(t, a.head(t))
		return answer
	}
	stateOf := func(email string) string { return a.accountOf(t, email)["state"].(string) }

	people[0].Disabled = true
	servers.put("AD", people[0], people[2], people[3])
	shown := check(http.MethodGet, nil)
	if shown.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", shown, shown.status, http.StatusOK)
	}
	reasons := map[any]any{}
	for _, change := range shown.json["changes"].([]any) {
		reasons[change.(map[string]any)["email"]] = change.(map[string]any)["reason"]
	}
	if diff := gocmp.Diff(map[any]any{"ada@example.com": "disabled", "bob@example.com": "vanished"},
		reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	if got := stateOf("ada@example.com"); got != "active" {
		t.Errorf(`showing changes nothing: got %q, want "active"`, got)
	}

	done := check(http.MethodPost, nil)
	if done.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", done, done.status, http.StatusOK)
	}
	if done.json["applied"] != true {
		t.Errorf("%v: got %v, want true", done, done.json["applied"])
	}
	for _, email := range []string{"ada@example.com", "bob@example.com"} {
		t.Run(email, func(t *testing.T) {
			if got := stateOf(email); got != "directory_disabled" {
				t.Errorf(`stateOf(email) = %q, want "directory_disabled"`, got)
			}
			if got := a.call(t, tokens[email], http.MethodGet, "/me", nil).status; got != http.StatusUnauthorized {
				t.Errorf("its session has ended: got %v, want %v", got, http.StatusUnauthorized)
			}
		})
	}
	if got := a.call(t, a.admin, http.MethodGet, "/users?state=directory_disabled", nil).items(); len(got) != 2 {
		t.Errorf("the list has %d elements, want 2: %v", len(got), got)
	}
	bob := a.accountOf(t, "bob@example.com")["id"].(string)
	explained := a.directoryCheckOf(t, bob)
	if got := fmt.Sprint(explained["detail"]); !strings.Contains(got, "no longer exists") {
		t.Errorf(`%q lacks "no longer exists"`, got)
	}
	if explained["event_id"] == nil {
		t.Errorf("event_id = %v, want something", explained["event_id"])
	}
	if got := explained["actor"].(map[string]any)["name"]; got != "AD" {
		t.Errorf(`actor.(map[string]any)["name"] = %q, want "AD"`, got)
	}

	people[0].Disabled = false
	servers.put("AD", people...)
	if got := a.signInAs(t, "ada@example.com", directoryPassword).status; got != http.StatusCreated {
		t.Fatalf("a sign-in opens it again: got %v, want %v", got, http.StatusCreated)
	}
	if got := a.call(t, tokens["ada@example.com"], http.MethodGet, "/me", nil).status; got != http.StatusUnauthorized {
		t.Errorf("but no former session: got %v, want %v", got, http.StatusUnauthorized)
	}
	check(http.MethodPost, nil)
	if got := stateOf("bob@example.com"); got != "active" {
		t.Errorf(`and so does a check: got %q, want "active"`, got)
	}

	t.Log("an outage in the middle changes nothing")
	servers.put("AD", people[0])
	servers.isDown("AD", true)
	if got := check(http.MethodPost, nil).status; got != http.StatusServiceUnavailable {
		t.Errorf("check(http.MethodPost, nil).status = %v, want %v", got, http.StatusServiceUnavailable)
	}
	if got := stateOf("bob@example.com"); got != "active" {
		t.Errorf(`stateOf("bob@example.com") = %q, want "active"`, got)
	}
	servers.isDown("AD", false)

	t.Log("too many at once wait for somebody")
	for range 2 {
		stopped := check(http.MethodPost, nil)
		if stopped.status != http.StatusOK {
			t.Fatalf("%v: got %v, want %v", stopped, stopped.status, http.StatusOK)
		}
		if stopped.json["applied"] != false {
			t.Errorf("applied = %v, want false", stopped.json["applied"])
		}
		if got := fmt.Sprint(stopped.json["stopped"]); !strings.Contains(got, "check_limit_percent") {
			t.Errorf(`%q lacks "check_limit_percent"`, got)
		}
	}
	if got := stateOf("bob@example.com"); got != "active" {
		t.Errorf(`stateOf("bob@example.com") = %q, want "active"`, got)
	}
	if got := fmt.Sprint(a.call(t, a.admin, http.MethodGet, "/directories/"+id,
		nil).json["check_stopped"]); !strings.Contains(got, "3 of 4 accounts") {
		t.Errorf(`%q lacks "3 of 4 accounts"`, got)
	}
	history := a.call(t, a.admin, http.MethodGet, "/directories/"+id+"/history?type=directory.check", nil).items()
	if len(history) != 1 {
		t.Errorf("it is written down once: got has %d elements, want 1: %v", len(history), history)
	}
	confirmed := check(http.MethodPost, map[string]any{"confirm": true})
	if confirmed.json["applied"] != true {
		t.Errorf("%v: got %v, want true", confirmed, confirmed.json["applied"])
	}
	if got := stateOf("bob@example.com"); got != "directory_disabled" {
		t.Errorf(`stateOf("bob@example.com") = %q, want "directory_disabled"`, got)
	}
	if got := a.call(t, a.admin, http.MethodGet, "/directories/"+id, nil).json["check_stopped"]; got != nil {
		t.Errorf("got %v, want nil", got)
	}
	servers.put("AD")
	if got := fmt.Sprint(check(http.MethodPost, nil).json["stopped"]); !strings.Contains(got, "no entries at all") {
		t.Errorf(`%q lacks "no entries at all"`, got)
	}
}

func TestDirectoriesAreSetUpWithCare(t *testing.T) {
	t.Parallel()
	a, servers := withDirectory(t)
	for name, c := range map[string]struct {
		body  map[string]any
		field string
		code  string
	}{
		"plain":      {map[string]any{"urls": []string{"ldap://dc.example.com"}}, "start_tls", "needs_tls"},
		"both":       {map[string]any{"start_tls": true}, "start_tls", "conflict"},
		"scheme":     {map[string]any{"urls": []string{"https://dc.example.com"}}, "urls.0", "scheme"},
		"credential": {map[string]any{"urls": []string{"ldaps://u:p@dc.example.com"}}, "urls.0", "url"},
		"none":       {map[string]any{"urls": []string{}}, "urls", "required"},
		"ca": {
			map[string]any{"ca_pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}, "ca_pem", "pem",
		},
		"filter":    {map[string]any{"user_filter": "(objectClass=user"}, "user_filter", "filter"},
		"base":      {map[string]any{"base_dn": "example.com"}, "base_dn", "dn"},
		"bind":      {map[string]any{"bind_dn": "CN=x"}, "bind_password", "required"},
		"attribute": {map[string]any{"attr_phone": "tele)(phone"}, "attr_phone", "attribute"},
		"timeout":   {map[string]any{"timeout_s": 0}, "timeout_s", "range"},
		"company":   {map[string]any{"company_id": uuid.NewString()}, "company_id", "unknown_company"},
	} {
		t.Run(name, func(t *testing.T) {
			body := map[string]any{
				"name": name, "urls": []string{"ldaps://dc.example.com"}, "base_dn": "DC=example,DC=com",
			}
			for field, value := range c.body {
				body[field] = value
			}
			refused := a.call(t, a.admin, http.MethodPost, "/directories", body)
			if refused.status != http.StatusUnprocessableEntity {
				t.Errorf("%s: got %v, want %v", refused, refused.status, http.StatusUnprocessableEntity)
			}
			if diff := gocmp.Diff(map[string]string{c.field: c.code}, refused.wrong()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}

	id := a.connect(t, "AD", map[string]any{"bind_dn": "reader@example.com", "bind_password": "hush hush"})
	path := "/directories/" + id
	before := time.Now().UTC().Format(time.RFC3339Nano)
	taken := a.call(t, a.admin, http.MethodPost, "/directories",
		map[string]any{"name": "AD", "urls": []string{"ldaps://x.example"}, "base_dn": "DC=x"})
	if got := taken.text("code"); got != "name_taken" {
		t.Errorf(`%v: got %q, want "name_taken"`, taken, got)
	}
	kept := a.call(t, a.admin, http.MethodDelete, path, nil)
	if kept.status != http.StatusMethodNotAllowed {
		t.Errorf("kept.status = %v, want %v", kept.status, http.StatusMethodNotAllowed)
	}
	if got := kept.text("code"); got != "history_is_kept" {
		t.Errorf(`code = %q, want "history_is_kept"`, got)
	}
	if got := kept.text("detail"); !strings.Contains(got, `PATCH /api/v1/directories/`+id+` {"enabled": false}`) {
		t.Errorf("%q lacks %q", got, `PATCH /api/v1/directories/`+id+` {"enabled": false}`)
	}

	_, clerk := a.person(t, "clerk@example.com",
		domain.Permissions{"directory": {View: true, Edit: true}, "audit": {View: true}})
	stolen := a.call(t, clerk, http.MethodPatch, path, map[string]any{"urls": []string{"ldaps://evil.example"}})
	if diff := gocmp.Diff(map[string]string{"bind_password": "required"}, stolen.wrong()); diff != "" {
		t.Errorf("the password goes to no other server unseen (-want +got):\n%s", diff)
	}
	changed := a.call(t, a.admin, http.MethodPatch, path,
		map[string]any{
			"urls": []string{"ldap://dc2.example.com"}, "start_tls": true, "attr_phone": nil, "name": "AD 2",
		})
	if changed.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", changed, changed.status, http.StatusOK)
	}
	if changed.json["attr_phone"] != nil {
		t.Errorf("attr_phone = %v, want nil", changed.json["attr_phone"])
	}
	if changed.json["has_bind_password"] != true {
		t.Errorf("has_bind_password = %v, want true", changed.json["has_bind_password"])
	}
	then := a.call(t, a.admin, http.MethodGet, path+"?as_of="+before, nil)
	if then.json["name"] != "AD" {
		t.Errorf(`%v: got %q, want "AD"`, then, then.json["name"])
	}
	if then.json["has_bind_password"] != true {
		t.Errorf("has_bind_password = %v, want true", then.json["has_bind_password"])
	}
	history := a.call(t, clerk, http.MethodGet, path+"/history", nil)
	if got := history.items(); len(got) != 4 {
		t.Errorf("%v: got has %d elements, want 4: %v", history, len(got), got)
	}
	for _, shown := range []answered{changed, then, history, a.call(t, a.admin, http.MethodGet, "/directories", nil)} {
		if got := string(shown.body); strings.Contains(got, "hush") {
			t.Errorf(`%q contains "hush"`, got)
		}
	}
	if got := a.count(t, `SELECT count(*) FROM history h WHERE h::text LIKE '%hush%'
		OR h::text LIKE '%aHVzaC%'`); got != 0 {
		t.Errorf("got %v, want nothing", got)
	}

	audited := a.call(t, a.admin, http.MethodGet, "/audit/events?type=directory.", nil)
	if got := audited.items(); len(got) == 0 {
		t.Fatalf("%v: got %v, want something", audited, got)
	}
	if diff := gocmp.Diff(map[string]any{"kind": "directory", "id": id, "name": "AD 2"},
		audited.items()[0]["subject"]); diff != "" {
		t.Errorf("audited.items()[0][\"subject\"] (-want +got):\n%s", diff)
	}

	a.create(t, "/groups", map[string]any{"name": "Risk"})
	servers.put("AD 2",
		directory.Entry{DN: "CN=x", GUID: "x", Email: "x@example.com", Groups: []string{"risk", "Risk", "Else"}})
	tried := a.call(t, a.admin, http.MethodPost, path+"/test", map[string]any{"email": "x@example.com"})
	if tried.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", tried, tried.status, http.StatusOK)
	}
	found := tried.json["found"].(map[string]any)
	if found["user_id"] != nil {
		t.Errorf("user_id = %v, want nil", found["user_id"])
	}
	whys := map[any]string{}
	for _, group := range found["groups"].([]any) {
		g := group.(map[string]any)
		whys[g["name"]] = cmp.Or(stringOf(g["why"]), "-")
	}
	if !strings.Contains(whys["risk"], "spelled differently") {
		t.Errorf(`%q lacks "spelled differently"`, whys["risk"])
	}
	if whys["Risk"] != "sync_groups is off" {
		t.Errorf(`Risk = %q, want "sync_groups is off"`, whys["Risk"])
	}
	if whys["Else"] != "-" {
		t.Errorf(`Else = %q, want "-"`, whys["Else"])
	}
}

func stringOf(value any) string { text, _ := value.(string); return text }
