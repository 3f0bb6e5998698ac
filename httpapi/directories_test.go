package httpapi

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
	s.asked, s.bound = append(s.asked, server.Name+" "+email), server.BindPassword
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

func (s *servers) Test(ctx context.Context, server directory.Server, email, _ string) ([]directory.Step, *directory.Entry, error) {
	entry, err := s.SignIn(ctx, server, email, directoryPassword)
	if err != nil {
		return []directory.Step{{Step: "search", Detail: err.Error()}}, nil, nil //nolint:nilerr // what is wrong is for the administrator
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
	require.Fail(t, "there is no account "+email)
	return nil
}

// directoryCheckOf is the part of the sign-in check that is about the directory, after all that was recorded.
func (a *api) directoryCheckOf(t *testing.T, id string) map[string]any {
	t.Helper()
	a.catchUp(t, a.head(t))
	answer := a.call(t, a.admin, http.MethodGet, "/users/"+id+"/sign-in-check", nil)
	require.Equal(t, http.StatusOK, answer.status, answer)
	for _, check := range answer.json["checks"].([]any) {
		if c := check.(map[string]any); c["code"] == "directory_account" {
			return c
		}
	}
	require.Fail(t, "there is no check directory_account")
	return nil
}

// Entries that are disabled or gone close their accounts without a sign-in, but not too many of them without confirmation.
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
		require.Equal(t, http.StatusCreated, in.status, in)
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
	require.Equal(t, http.StatusOK, shown.status, shown)
	reasons := map[any]any{}
	for _, change := range shown.json["changes"].([]any) {
		reasons[change.(map[string]any)["email"]] = change.(map[string]any)["reason"]
	}
	assert.Equal(t, map[any]any{"ada@example.com": "disabled", "bob@example.com": "vanished"}, reasons)
	assert.Equal(t, "active", stateOf("ada@example.com"), "showing changes nothing")

	done := check(http.MethodPost, nil)
	require.Equal(t, http.StatusOK, done.status, done)
	assert.Equal(t, true, done.json["applied"], done)
	for _, email := range []string{"ada@example.com", "bob@example.com"} {
		assert.Equal(t, "directory_disabled", stateOf(email))
		assert.Equal(t, http.StatusUnauthorized, a.call(t, tokens[email], http.MethodGet, "/me", nil).status, "its session has ended")
	}
	assert.Len(t, a.call(t, a.admin, http.MethodGet, "/users?state=directory_disabled", nil).items(), 2)
	bob := a.accountOf(t, "bob@example.com")["id"].(string)
	explained := a.directoryCheckOf(t, bob)
	assert.Contains(t, explained["detail"], "no longer there")
	assert.NotNil(t, explained["event_id"])
	assert.Equal(t, "AD", explained["actor"].(map[string]any)["name"])

	people[0].Disabled = false
	servers.put("AD", people...)
	require.Equal(t, http.StatusCreated, a.signInAs(t, "ada@example.com", directoryPassword).status, "a sign-in opens it again")
	assert.Equal(t, http.StatusUnauthorized, a.call(t, tokens["ada@example.com"], http.MethodGet, "/me", nil).status, "but no former session")
	check(http.MethodPost, nil)
	assert.Equal(t, "active", stateOf("bob@example.com"), "and so does a check")

	t.Log("an outage in the middle changes nothing")
	servers.put("AD", people[0])
	servers.isDown("AD", true)
	assert.Equal(t, http.StatusServiceUnavailable, check(http.MethodPost, nil).status)
	assert.Equal(t, "active", stateOf("bob@example.com"))
	servers.isDown("AD", false)

	t.Log("too many at once wait for somebody")
	for range 2 {
		stopped := check(http.MethodPost, nil)
		require.Equal(t, http.StatusOK, stopped.status, stopped)
		assert.Equal(t, false, stopped.json["applied"])
		assert.Contains(t, stopped.json["stopped"], "check_limit_percent")
	}
	assert.Equal(t, "active", stateOf("bob@example.com"))
	assert.Contains(t, a.call(t, a.admin, http.MethodGet, "/directories/"+id, nil).json["check_stopped"], "3 of 4 accounts")
	history := a.call(t, a.admin, http.MethodGet, "/directories/"+id+"/history?type=directory.check", nil).items()
	assert.Len(t, history, 1, "it is written down once")
	confirmed := check(http.MethodPost, map[string]any{"confirm": true})
	assert.Equal(t, true, confirmed.json["applied"], confirmed)
	assert.Equal(t, "directory_disabled", stateOf("bob@example.com"))
	assert.Nil(t, a.call(t, a.admin, http.MethodGet, "/directories/"+id, nil).json["check_stopped"])
	servers.put("AD")
	assert.Contains(t, check(http.MethodPost, nil).json["stopped"], "no entry at all")
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
		"ca":         {map[string]any{"ca_pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}, "ca_pem", "pem"},
		"filter":     {map[string]any{"user_filter": "(objectClass=user"}, "user_filter", "filter"},
		"base":       {map[string]any{"base_dn": "example.com"}, "base_dn", "dn"},
		"bind":       {map[string]any{"bind_dn": "CN=x"}, "bind_password", "required"},
		"attribute":  {map[string]any{"attr_phone": "tele)(phone"}, "attr_phone", "attribute"},
		"timeout":    {map[string]any{"timeout_s": 0}, "timeout_s", "range"},
		"company":    {map[string]any{"company_id": uuid.NewString()}, "company_id", "unknown_company"},
	} {
		body := map[string]any{"name": name, "urls": []string{"ldaps://dc.example.com"}, "base_dn": "DC=example,DC=com"}
		for field, value := range c.body {
			body[field] = value
		}
		refused := a.call(t, a.admin, http.MethodPost, "/directories", body)
		assert.Equal(t, http.StatusUnprocessableEntity, refused.status, "%s: %s", name, refused)
		assert.Equal(t, map[string]string{c.field: c.code}, refused.wrong(), name)
	}

	id := a.connect(t, "AD", map[string]any{"bind_dn": "reader@example.com", "bind_password": "hush hush"})
	path := "/directories/" + id
	before := time.Now().UTC().Format(time.RFC3339Nano)
	taken := a.call(t, a.admin, http.MethodPost, "/directories", map[string]any{"name": "AD", "urls": []string{"ldaps://x.example"}, "base_dn": "DC=x"})
	assert.Equal(t, "name_taken", taken.text("code"), taken)
	kept := a.call(t, a.admin, http.MethodDelete, path, nil)
	assert.Equal(t, http.StatusMethodNotAllowed, kept.status)
	assert.Equal(t, "history_is_kept", kept.text("code"))
	assert.Contains(t, kept.text("detail"), `PATCH /api/v1/directories/`+id+` {"enabled": false}`)

	_, clerk := a.person(t, "clerk@example.com", domain.Permissions{"directory": {View: true, Edit: true}, "audit": {View: true}})
	stolen := a.call(t, clerk, http.MethodPatch, path, map[string]any{"urls": []string{"ldaps://evil.example"}})
	assert.Equal(t, map[string]string{"bind_password": "required"}, stolen.wrong(), "the password goes to no other server unseen")
	changed := a.call(t, a.admin, http.MethodPatch, path, map[string]any{"urls": []string{"ldap://dc2.example.com"}, "start_tls": true, "attr_phone": nil, "name": "AD 2"})
	require.Equal(t, http.StatusOK, changed.status, changed)
	assert.Nil(t, changed.json["attr_phone"])
	assert.Equal(t, true, changed.json["has_bind_password"])
	then := a.call(t, a.admin, http.MethodGet, path+"?as_of="+before, nil)
	assert.Equal(t, "AD", then.json["name"], then)
	assert.Equal(t, true, then.json["has_bind_password"])
	history := a.call(t, clerk, http.MethodGet, path+"/history", nil)
	assert.Len(t, history.items(), 4, history)
	for _, shown := range []answered{changed, then, history, a.call(t, a.admin, http.MethodGet, "/directories", nil)} {
		assert.NotContains(t, string(shown.body), "hush")
	}
	assert.Zero(t, a.count(t, `SELECT count(*) FROM history h WHERE h::text LIKE '%hush%' OR h::text LIKE '%aHVzaC%'`))

	audited := a.call(t, a.admin, http.MethodGet, "/audit/events?type=directory.", nil)
	require.NotEmpty(t, audited.items(), audited)
	assert.Equal(t, map[string]any{"kind": "directory", "id": id, "name": "AD 2"}, audited.items()[0]["subject"])

	a.create(t, "/groups", map[string]any{"name": "Risk"})
	servers.put("AD 2", directory.Entry{DN: "CN=x", GUID: "x", Email: "x@example.com", Groups: []string{"risk", "Risk", "Else"}})
	tried := a.call(t, a.admin, http.MethodPost, path+"/test", map[string]any{"email": "x@example.com"})
	require.Equal(t, http.StatusOK, tried.status, tried)
	found := tried.json["found"].(map[string]any)
	assert.Nil(t, found["user_id"])
	whys := map[any]string{}
	for _, group := range found["groups"].([]any) {
		g := group.(map[string]any)
		whys[g["name"]] = cmp.Or(stringOf(g["why"]), "-")
	}
	assert.Contains(t, whys["risk"], "spelled differently")
	assert.Equal(t, "sync_groups is off", whys["Risk"])
	assert.Equal(t, "-", whys["Else"])
}

func stringOf(value any) string { text, _ := value.(string); return text }
