package httpapi

import (
	"net/http"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/signin"
)

// A session that was opened while its account could do less, or before its access ended, is no session any more.
func TestSessionsAreNeverOlderThanRights(t *testing.T) {
	t.Parallel()
	type change struct {
		method, path string // below the account, or the group
		body         map[string]any
	}
	viewers := map[string]any{"users": map[string]any{"view": true, "export": true}}
	for name, c := range map[string]struct {
		ofGroup bool
		changes []change
		ends    bool
	}{
		"made superuser": {false, []change{{http.MethodPatch, "", map[string]any{"superuser": true}}}, true},
		"the group allows more": {
			true, []change{{http.MethodPatch, "", map[string]any{"permissions": viewers}}}, true,
		},
		"the group allows less": {
			true, []change{{http.MethodPatch, "", map[string]any{"permissions": map[string]any{}}}}, false,
		},
		"the group's description": {
			true, []change{{http.MethodPatch, "", map[string]any{"description": "those who look"}}}, false,
		},
		"another name": {false, []change{{http.MethodPatch, "", map[string]any{"first_name": "Olha"}}}, false},
		"a last day, and none again": {
			false, []change{
				{http.MethodPatch, "", map[string]any{"end_date": "2020-01-01"}},
				{http.MethodPatch, "", map[string]any{"end_date": nil}},
			}, true,
		},
		"a first day, and none again": {
			false, []change{
				{http.MethodPatch, "", map[string]any{"start_date": "2120-01-01"}},
				{http.MethodPatch, "", map[string]any{"start_date": nil}},
			}, true,
		},
		"two-factor required": {
			false, []change{{http.MethodPatch, "", map[string]any{"require_two_factor": true}}}, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			id, token := a.person(t, "clerk@example.com", domain.Permissions{"users": {View: true}})
			path := "/users/" + id.String()
			if c.ofGroup {
				path = "/groups/" + a.call(t, a.admin, http.MethodGet, path, nil).json["group_ids"].([]any)[0].(string)
			}
			for _, step := range c.changes {
				got := a.call(t, a.admin, step.method, path+step.path, step.body)
				if got.status != http.StatusOK {
					t.Fatal(got)
				}
			}
			got := a.call(t, token, http.MethodGet, "/sessions/current", nil)
			if ended := got.status == http.StatusUnauthorized; ended != c.ends {
				t.Errorf("the session from before: %v", got)
			}
			listed := a.call(t, a.admin, http.MethodGet, "/users/"+id.String()+"/sessions", nil)
			if left := len(listed.items()); (left == 0) != c.ends {
				t.Errorf("%d sessions are shown", left)
			}
			anew, _, err := a.startSession(t.Context(), id, a.Now())
			if err != nil {
				t.Fatal(err)
			}
			if got := a.call(t, anew, http.MethodGet, "/sessions/current", nil); got.status != http.StatusOK {
				t.Errorf("after signing in anew: %v", got)
			}
		})
	}
}

// Whoever joins a group by an own change goes on in the session in which that was done, and in no other.
func TestJoiningAGroupKeepsOnlyTheOwnSession(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	group := a.create(t, "/groups", map[string]any{"name": "Clerks"})
	other, _, err := a.startSession(t.Context(), a.adminID, a.Now())
	if err != nil {
		t.Fatal(err)
	}
	joined := a.call(t, a.admin, http.MethodPatch, "/users/"+a.adminID.String(),
		map[string]any{"group_ids": []string{group}})
	if joined.status != http.StatusOK {
		t.Fatal(joined)
	}
	for token, want := range map[string]int{a.admin: http.StatusOK, other: http.StatusUnauthorized} {
		if got := a.call(t, token, http.MethodGet, "/sessions/current", nil); got.status != want {
			t.Errorf("%v, want %d", got, want)
		}
	}
}

// Signing out many times at once ends one session.
func TestSigningOutIsOneEvent(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id, token := a.person(t, "clerk@example.com", nil)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			got := a.call(t, token, http.MethodDelete, "/sessions/current", nil).status
			if got != http.StatusNoContent && got != http.StatusUnauthorized {
				t.Errorf("status %d", got)
			}
		})
	}
	all.Wait()
	events, err := a.Commands.Log.ReadStream(t.Context(), domain.StreamName(signin.Kind, id))
	if err != nil || len(events) != 1 || events[0].Type != (signin.SignedOut{}).EventType() {
		t.Errorf("%d events: %v", len(events), err)
	}
}

// Whoever may change addresses, and no more, gets hold of an account while it can do nothing; then it is given rights.
func TestAPasswordThatWasTakenOverOpensNoRights(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	_, editor := a.person(t, "editor@example.com", domain.Permissions{"users": {View: true, Edit: true}})
	viewers := a.create(t, "/groups",
		map[string]any{"name": "Viewers", "permissions": map[string]any{"audit": map[string]any{"view": true}}})
	id := a.create(t, "/users", map[string]any{"email": annasEmail})
	path := "/users/" + id
	patch := func(token string, body map[string]any) {
		t.Helper()
		if got := a.call(t, token, http.MethodPatch, path, body); got.status != http.StatusOK {
			t.Fatal(got)
		}
	}
	reset := func(email, password string) {
		t.Helper()
		asked := a.call(t, "", http.MethodPost, "/password-resets", map[string]any{"email": email})
		if asked.status != http.StatusAccepted {
			t.Fatal(asked)
		}
		link := a.linkToken(t, uuid.MustParse(id), signin.ResetLinkRequested{}.EventType())
		used := a.call(t, "", http.MethodPost, "/password-resets/"+link, map[string]any{"new_password": password})
		if used.status != http.StatusNoContent {
			t.Fatal(used)
		}
	}
	verdict := func() string {
		return a.call(t, a.admin, http.MethodGet, path+"/sign-in-check", nil).text("verdict")
	}
	patch(editor, map[string]any{"email": "attacker@example.com"})
	reset("attacker@example.com", "a pass phrase of the attacker")
	patch(editor, map[string]any{"email": annasEmail})
	before := a.signInAs(t, annasEmail, "a pass phrase of the attacker").text("token")
	if got := verdict(); before == "" || got != "allowed" {
		t.Fatalf("while there is nothing to gain: %s", got)
	}
	patch(a.admin, map[string]any{"group_ids": []string{viewers}})
	if got := a.call(t, before, http.MethodGet, "/audit/events", nil).status; got != http.StatusUnauthorized {
		t.Errorf("the session from before: %d", got)
	}
	if got := a.signInAs(t, annasEmail, "a pass phrase of the attacker"); got.text("code") != "invalid_credentials" {
		t.Errorf("the password that was taken over: %v", got)
	}
	if got := verdict(); got != "refused" {
		t.Errorf("the check says %s", got)
	}
	reset(annasEmail, annasPassword)
	if got := a.signInAs(t, annasEmail, annasPassword); got.text("token") == "" || verdict() != "allowed" {
		t.Errorf("the person, by a link: %v", got)
	}
}
