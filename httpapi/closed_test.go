package httpapi

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/pause/pausetest"
)

// bad makes the read model users unable to take what revokes superuser from an account, and gives what ends that.
func (a *api) bad(t *testing.T, email string) (mend func()) {
	t.Helper()
	if strings.ContainsAny(email, `'\`) {
		t.Fatal(email)
	}
	if _, err := a.pool.Exec(t.Context(), "ALTER TABLE users ADD CONSTRAINT bad CHECK (superuser OR email <> '"+
		email+"')"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := a.pool.Exec(t.Context(), "ALTER TABLE users DROP CONSTRAINT bad"); err != nil {
			t.Fatal(err)
		}
	}
}

// locked holds the checkpoints, so that no read model moves, until what it gives is called.
func (a *api) locked(t *testing.T) (mend func()) {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), a.pool.Config().ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	// Somebody who wants to hold it for longer than SecBoard lets anybody.
	for _, statement := range []string{
		"SET idle_in_transaction_session_timeout = 0", "BEGIN", "SELECT * FROM checkpoints FOR UPDATE",
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { conn.Close(t.Context()) }) //nolint:errcheck // it ends with the test
	return func() {
		if _, err := conn.Exec(t.Context(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
	}
}

// While the read models stand still that rights are taken from, nobody gets anywhere with rights that were taken away.
func TestWhatTellsRightsStandsStill(t *testing.T) {
	t.Parallel()
	for name, still := range map[string]func(*api, *testing.T, string) (mend func()){
		"stopped at an event": (*api).bad,
		"locked":              func(a *api, t *testing.T, _ string) func() { return a.locked(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			const email = "second@example.com"
			boss, err := a.Commands.CreateSuperuser(t.Context(), commands.Operator(), email, adminPassword)
			if err != nil {
				t.Fatal(err)
			}
			a.catchUp(t, boss.Position)
			token := a.signInAs(t, email, adminPassword).text("token")
			if got := a.call(t, token, http.MethodGet, "/audit/events?limit=1", nil); got.status != http.StatusOK {
				t.Fatal(got)
			}

			mend := still(a, t, email)
			a.patience = 0
			revoked := a.call(t, a.admin, http.MethodPatch, "/users/"+boss.ID, map[string]any{"superuser": false})
			if revoked.status != http.StatusAccepted {
				t.Fatalf("not yet in the read models: %v", revoked)
			}
			pausetest.Until(t, "the read models stand still, and rights count on", func() bool {
				return a.call(t, token, http.MethodGet, "/audit/events?limit=1", nil).text("code") == "behind"
			})
			made := a.call(t, token, http.MethodPost, "/users",
				map[string]any{"email": "mine@example.com", "superuser": true})
			if made.status != http.StatusServiceUnavailable {
				t.Errorf("made a superuser: %v", made)
			}
			if answer := a.request(t, "", http.MethodGet, "/readyz",
				nil); answer.status != http.StatusServiceUnavailable {
				t.Errorf("ready: %v", answer)
			}
			if again := a.signInAs(t, email, adminPassword); again.text("code") != "behind" {
				t.Errorf("signed in anew: %v", again)
			}
			a.looksAndLeaves(t, a.admin, token)

			mend()
			a.patience = patience
			pausetest.Until(t, "it stays behind", func() bool {
				return a.request(t, "", http.MethodGet, "/readyz", nil).status == http.StatusOK
			})
			got := a.call(t, a.admin, http.MethodGet, "/users/"+boss.ID, nil)
			if got.status != http.StatusOK || got.json["superuser"] != false {
				t.Errorf("afterwards: %v", got)
			}
			anew := a.signInAs(t, email, adminPassword)
			if got := a.call(t, anew.text("token"), http.MethodGet, "/audit/events",
				nil); got.status != http.StatusForbidden {
				t.Errorf("no superuser any more: %v, after signing in: %v", got, anew)
			}
		})
	}
}

// looksAndLeaves says that while the read models stand still a superuser sees that they do, and may have them rebuilt;
// somebody who was one may not; and everybody may sign out.
func (a *api) looksAndLeaves(t *testing.T, superuser, former string) {
	t.Helper()
	if got := a.call(t, superuser, http.MethodGet, "/projections", nil); got.status != http.StatusOK {
		t.Errorf("a superuser looks: %v", got)
	}
	none := map[string]any{"names": []string{"none"}}
	if got := a.call(t, superuser, http.MethodPost, "/projections/rebuilds", none); got.text("code") != "invalid" {
		t.Errorf("a superuser mends: %v", got)
	}
	for _, path := range []string{"/projections", "/projections/rebuilds/" + uuid.NewString()} {
		if got := a.call(t, former, http.MethodGet, path, nil); got.text("code") != "forbidden" {
			t.Errorf("somebody who was a superuser looks at %s: %v", path, got)
		}
	}
	if got := a.call(t, former, http.MethodPost, "/projections/rebuilds", none); got.text("code") != "forbidden" {
		t.Errorf("somebody who was a superuser mends: %v", got)
	}
	if got := a.call(t, former, http.MethodDelete, "/sessions/current", nil); got.status != http.StatusNoContent {
		t.Errorf("signing out: %v", got)
	}
	if got := a.call(t, former, http.MethodGet, "/projections", nil); got.status != http.StatusUnauthorized {
		t.Errorf("signed out, but: %v", got)
	}
}

// Each read model that tells what may be seen closes what is seen when it stands still before a change of that.
func TestEachThatTellsRightsStandsStill(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		takesNoMore string
		change      func(*testing.T, *api) answered
	}{
		"users": {
			"ALTER TABLE users ADD CONSTRAINT bad CHECK (active)", func(t *testing.T, a *api) answered {
				id, _ := a.person(t, "clerk@example.com", nil)
				return a.call(t, a.admin, http.MethodPost, "/users/"+id.String()+"/deactivate", nil)
			},
		},
		"groups": {
			"ALTER TABLE groups ADD CONSTRAINT bad CHECK (permissions <> '{}')", func(t *testing.T, a *api) answered {
				view := map[string]any{"users": map[string]any{"view": true}}
				made := a.create(t, "/groups", map[string]any{"name": "Clerks", "permissions": view})
				return a.call(t, a.admin, http.MethodPatch, "/groups/"+made,
					map[string]any{"permissions": map[string]any{}})
			},
		},
		"history": { // from which is read how long sessions last
			"ALTER TABLE history ADD CONSTRAINT bad CHECK (kind <> 'settings')", func(t *testing.T, a *api) answered {
				return a.call(t, a.admin, http.MethodPatch, "/settings/security",
					map[string]any{"session_idle_minutes": 5})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			if _, err := a.pool.Exec(t.Context(), c.takesNoMore); err != nil {
				t.Fatal(err)
			}
			if changed := c.change(t, a); changed.status != http.StatusAccepted {
				t.Errorf("shown as before the change: %v", changed)
			}
			pausetest.Until(t, "what it told before the change counts on", func() bool {
				return a.call(t, a.admin, http.MethodGet, "/users?limit=1", nil).text("code") == "behind"
			})
			if answer := a.request(t, "", http.MethodGet, "/readyz",
				nil); answer.status != http.StatusServiceUnavailable {
				t.Errorf("ready: %v", answer)
			}
		})
	}
}

// What a row of Postgres says gives nobody a right to change anything.
func TestARowInPostgresIsNotBelieved(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id, token := a.person(t, "clerk@example.com", domain.Permissions{"users": {View: true, Add: true, Edit: true}})
	if _, err := a.pool.Exec(t.Context(), "UPDATE users SET superuser = true WHERE id = $1", id); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]badCall{
		"makes itself one": {method: http.MethodPatch, path: "/users/" + id.String(), body: `{"superuser": true}`},
		"makes another one": {
			method: http.MethodPost, path: "/users", body: `{"email": "mine@example.com", "superuser": true}`,
		},
		"changes the security settings": {
			method: http.MethodPatch, path: "/settings/security", body: `{"session_minutes": 600}`,
		},
		"changes the site": {method: http.MethodPatch, path: "/settings/site", body: `{"name": "Mine"}`},
		"makes a group": {
			method: http.MethodPost, path: "/groups",
			body: `{"name": "Mine", "permissions": {"audit": {"view": true}}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := a.call(t, token, call.method, call.path, call.body); got.text("code") != "forbidden" {
				t.Errorf("%v, want forbidden", got)
			}
		})
	}
}

// A request that arrives slowly is judged by what its sender may do when all of it has arrived.
func TestTheRightIsThatOfTheEndOfTheRequest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path, contentType, body string
		superuser               bool
		answered                func(*testing.T, answered)
	}{
		"a superuser by import": {
			"/users/import", "text/csv", "email,superuser\nmine@example.com,true\n", true, failedLine,
		},
		"an account by import": {"/users/import", "text/csv", "email\nmine@example.com\n", false, failedLine},
		"a superuser": {
			"/users", "application/json", `{"email": "mine@example.com", "superuser": true}`, true, refusedWhole,
		},
		"an account": {"/users", "application/json", `{"email": "mine@example.com"}`, false, refusedWhole},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			id, token := a.person(t, "clerk@example.com", domain.Permissions{"users": {View: true, Add: true}})
			if c.superuser {
				made, err := a.Commands.ChangeUser(t.Context(), commands.Operator(), id,
					commands.ChangeUser{Patch: user.Patch{Superuser: new(true)}})
				if err != nil {
					t.Fatal(err)
				}
				a.catchUp(t, made.Position)
				if token, _, err = a.startSession(t.Context(), id, a.Now()); err != nil {
					t.Fatal(err)
				}
			}
			slowly, rest := io.Pipe()
			admitted := make(chan struct{})
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				Got100Continue: func() { close(admitted) }, // comes when the body is first read, by the operation
			})
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+basePath+c.path, slowly)
			if err != nil {
				t.Fatal(err)
			}
			request.ContentLength = int64(len(c.body))
			request.Header.Set("Content-Type", c.contentType)
			request.Header.Set("Authorization", "Bearer "+token)
			request.Header.Set("Expect", "100-continue")
			client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
			t.Cleanup(client.CloseIdleConnections)
			answer := make(chan answered)
			go func() {
				defer close(answer)
				response, err := client.Do(request)
				if err != nil {
					t.Error(err)
					return
				}
				defer response.Body.Close() //nolint:errcheck // it has been read
				got := answered{status: response.StatusCode, header: response.Header}
				if got.body, err = io.ReadAll(response.Body); err != nil {
					t.Error(err)
				}
				if err := json.Unmarshal(got.body, &got.json); err != nil {
					t.Error(err)
				}
				answer <- got
			}()
			if _, err := io.WriteString(rest, c.body[:len(c.body)-1]); err != nil {
				t.Fatal(err)
			}
			<-admitted
			if _, err := a.Commands.DeactivateUser(t.Context(), commands.Operator(), id, ""); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(rest, c.body[len(c.body)-1:]); err != nil {
				t.Fatal(err)
			}
			c.answered(t, <-answer)
			if n := a.count(t, "SELECT count(*) FROM users WHERE email = 'mine@example.com'"); n != 0 {
				t.Error("the account was made")
			}
		})
	}
}

func failedLine(t *testing.T, got answered) {
	t.Helper()
	if got.json["created"] != 0.0 || got.json["failed"] != 1.0 {
		t.Errorf("%v, want a failed line", got)
	}
}

func refusedWhole(t *testing.T, got answered) {
	t.Helper()
	if got.status != http.StatusUnauthorized {
		t.Errorf("%v, want 401", got)
	}
}
