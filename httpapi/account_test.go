package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/pquerna/otp/totp"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/httpapi/sessions"
	"github.com/secboard/secboard/pause/pausetest"
)

const (
	annasEmail    = "anna@example.com"
	annasPassword = "the first pass phrase of anna"
)

// startSession opens a session for tests about something else than signing in.
func (a *api) startSession(ctx context.Context, account uuid.UUID, _ time.Time) (string, sessions.Session, error) {
	events, err := a.Commands.Log.ReadStream(ctx, domain.StreamName(user.Kind, account))
	if err != nil {
		return "", sessions.Session{}, err
	}
	groups := map[uuid.UUID]eventstore.Revision{}
	for _, event := range events {
		if joined, ok := eventstore.Decode(event).Event.(user.GroupJoined); ok {
			newest, err := a.Commands.Log.ReadNewest(ctx, domain.StreamName(group.Kind, joined.GroupID), 1)
			if err != nil {
				return "", sessions.Session{}, err
			}
			groups[joined.GroupID] = newest[0].Revision
		}
	}
	return a.openSession(ctx, commands.SignedIn{
		UserID: account, Session: uuid.Must(uuid.NewV7()), Revision: eventstore.Revision(len(events) - 1),
		Groups: groups,
	}, sessions.Full)
}

// account makes an account with a password.
func (a *api) account(t testing.TB, email, password string) uuid.UUID {
	t.Helper()
	result, err := a.Commands.CreateSuperuser(t.Context(), commands.Operator(), email, password)
	if err != nil {
		t.Fatal(err)
	}
	id := uuid.MustParse(result.ID)
	no := false
	result, err = a.Commands.ChangeUser(t.Context(), commands.Operator(), id,
		commands.ChangeUser{Patch: user.Patch{Superuser: &no}})
	if err != nil {
		t.Fatal(err)
	}
	a.catchUp(t, result.Position)
	return id
}

// linkToken gives the token of the newest link of a kind that was asked for, as the mail has it.
func (a *api) linkToken(t testing.TB, account uuid.UUID, kind string) string {
	t.Helper()
	events, err := a.Commands.Log.ReadStream(t.Context(), domain.StreamName(signin.Kind, account))
	if err != nil {
		t.Fatal(err)
	}
	for i := len(events) - 1; i >= 0; i-- {
		if events[i].Type != kind {
			continue
		}
		var data struct{ Link uuid.UUID }
		if err := json.Unmarshal(events[i].Data, &data); err != nil {
			t.Fatal(err)
		}
		make := a.Commands.ResetToken
		if kind == (signin.FirstLoginRequested{}).EventType() {
			make = a.Commands.FirstLoginToken
		}
		token, err := make(account, data.Link)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	t.Fatal("nobody asked for a link")
	return ""
}

func (a *api) code(t testing.TB, secret string) string {
	t.Helper()
	code, err := totp.GenerateCode(secret, a.Now())
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// enroll sets up two-factor in a session.
func (a *api) enroll(t testing.TB, token string) (secret string, codes []string) {
	t.Helper()
	device := a.call(t, token, http.MethodPost, "/me/two-factor", nil)
	if device.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", device, device.status, http.StatusOK)
	}
	confirmed := a.call(t, token, http.MethodPost, "/me/two-factor/confirm",
		map[string]any{"code": a.code(t, device.text("secret"))})
	if confirmed.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", confirmed, confirmed.status, http.StatusOK)
	}
	for _, code := range confirmed.json["backup_codes"].([]any) {
		codes = append(codes, code.(string))
	}
	if len(codes) != 10 {
		t.Fatalf("codes has %d elements, want 10: %v", len(codes), codes)
	}
	a.ahead.Add(int64(time.Minute)) // the code that confirmed the device does not sign in too
	return device.text("secret"), codes
}

// summaries are what an account's history tells, oldest first.
func (a *api) summaries(t testing.TB, id string) (lines []string) {
	t.Helper()
	history := a.call(t, a.admin, http.MethodGet, "/users/"+id+"/history?limit=200&include=sign_ins", nil)
	if history.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", history, history.status, http.StatusOK)
	}
	for _, entry := range history.items() {
		actor := entry["actor"].(map[string]any)
		lines = append([]string{
			entry["at"].(string)[:19] + "  " + entry["summary"].(string) + "  (" + text(actor["name"]) + ")",
		}, lines...)
	}
	return lines
}

func text(value any) string { text, _ := value.(string); return text }

// From the first day to the last of an account that has to use two-factor, and what its history says in the end.
func TestTheLifeOfAnAccount(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	const cabinet = "the cabinet of Nova"
	set := a.call(t, a.admin, http.MethodPut, "/companies/"+company+"/cabinet-password",
		map[string]any{"password": cabinet})
	if set.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", set, set.status, http.StatusOK)
	}
	created := a.call(t, a.admin, http.MethodPost, "/users", map[string]any{
		"email": annasEmail, "first_name": "Anna", "last_name": "Koval", "company_id": company,
		"require_two_factor": true,
	})
	if created.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", created, created.status, http.StatusCreated)
	}
	id := created.text("id")
	account := uuid.MustParse(id)
	expect := func(status int, answer answered) answered {
		t.Helper()
		if answer.status != status {
			t.Fatalf("%v: got %v, want %v", answer, answer.status, status)
		}
		return answer
	}
	post := func(token, path string, body map[string]any) answered {
		t.Helper()
		return a.call(t, token, http.MethodPost, path, body)
	}
	alive := func(token string) int { return a.call(t, token, http.MethodGet, "/me", nil).status }

	t.Log("first login")
	expect(202, post("", "/first-logins", map[string]any{"email": annasEmail, "cabinet_password": cabinet}))
	first := expect(200,
		post("", "/first-logins/"+a.linkToken(t, account, signin.FirstLoginRequested{}.EventType()), nil))
	if got := first.text("next"); got != "two_factor_setup" {
		t.Fatalf(`next = %q, want "two_factor_setup"`, got)
	}
	limited := first.text("token")
	if got := alive(limited); got != http.StatusForbidden {
		t.Errorf("alive(limited) = %v, want %v", got, http.StatusForbidden)
	}
	again := post("", "/first-logins/"+a.linkToken(t, account, signin.FirstLoginRequested{}.EventType()), nil)
	if again.status != http.StatusUnprocessableEntity {
		t.Errorf("the link works once: %s: got %v, want %v", again, again.status, http.StatusUnprocessableEntity)
	}
	if got := again.text("code"); got != "invalid_link" {
		t.Errorf(`code = %q, want "invalid_link"`, got)
	}
	if diff := cmp.Diff(map[string]string{"token": "invalid_link"}, again.wrong()); diff != "" {
		t.Errorf("again.wrong() (-want +got):\n%s", diff)
	}

	t.Log("own password, which such a session may set only once")
	expect(204, a.call(t, limited, http.MethodPut, "/me/password", map[string]any{"new_password": annasPassword}))
	second := a.call(t, limited, http.MethodPut, "/me/password",
		map[string]any{"current_password": annasPassword, "new_password": annasPassword + "!"})
	if got := second.text("code"); got != "two_factor_setup_required" {
		t.Errorf(`%v: got %q, want "two_factor_setup_required"`, second, got)
	}

	t.Log("forced set-up, after which the same session may do everything")
	secret, codes := a.enroll(t, limited)
	if got := alive(limited); got != http.StatusOK {
		t.Errorf("alive(limited) = %v, want %v", got, http.StatusOK)
	}

	t.Log("sign-in with a code")
	signIn := func(factor map[string]any, password string) answered {
		t.Helper()
		asked := expect(200, a.signInAs(t, annasEmail, password))
		if got := asked.text("next"); got != "two_factor" {
			t.Fatalf(`%v: got %q, want "two_factor"`, asked, got)
		}
		factor["challenge"] = asked.text("challenge")
		return post("", "/sessions/two-factor", factor)
	}
	code := a.code(t, secret)
	atWork := expect(201, signIn(map[string]any{"code": code}, annasPassword)).text("token")
	if got := signIn(map[string]any{"code": code}, annasPassword).text("code"); got != "invalid_credentials" {
		t.Errorf(`a code works once: got %q, want "invalid_credentials"`, got)
	}

	t.Log("backup code")
	expect(201, signIn(map[string]any{"backup_code": codes[4]}, annasPassword))
	if got := signIn(map[string]any{"backup_code": codes[4]},
		annasPassword).text("code"); got != "invalid_credentials" {
		t.Errorf(`a backup code works once: got %q, want "invalid_credentials"`, got)
	}
	shown := expect(200, a.call(t, a.admin, http.MethodGet, "/users/"+id, nil))
	if diff := cmp.Diff(map[string]any{"required": true, "enrolled": true, "backup_codes_left": 9.0},
		shown.json["two_factor"]); diff != "" {
		t.Errorf("two_factor (-want +got):\n%s", diff)
	}
	if shown.json["last_sign_in_at"] == nil {
		t.Errorf("last_sign_in_at = %v, want something", shown.json["last_sign_in_at"])
	}

	t.Log("lost device, reset by an administrator: all sessions end")
	expect(422, post(a.admin, "/users/"+id+"/two-factor/reset", nil))
	reset := expect(200, post(a.admin, "/users/"+id+"/two-factor/reset", map[string]any{"reason": "lost phone"}))
	if diff := cmp.Diff(map[string]any{"required": true, "enrolled": false, "backup_codes_left": 0.0},
		reset.json["two_factor"]); diff != "" {
		t.Errorf("two_factor (-want +got):\n%s", diff)
	}
	if got := alive(atWork); got != http.StatusUnauthorized {
		t.Errorf("alive(atWork) = %v, want %v", got, http.StatusUnauthorized)
	}
	if got := alive(limited); got != http.StatusUnauthorized {
		t.Errorf("alive(limited) = %v, want %v", got, http.StatusUnauthorized)
	}

	t.Log("new device")
	asked := expect(200, a.signInAs(t, annasEmail, annasPassword))
	if got := asked.text("next"); got != "two_factor_setup" {
		t.Fatalf(`next = %q, want "two_factor_setup"`, got)
	}
	secret, _ = a.enroll(t, asked.text("token"))
	one := asked.text("token")
	two := expect(201, signIn(map[string]any{"code": a.code(t, secret)}, annasPassword)).text("token")

	t.Log("password change in one of two sessions: the other is dead on its next request")
	const changed = "the second pass phrase of anna"
	wrong := a.call(t, two, http.MethodPut, "/me/password",
		map[string]any{"current_password": "wrong", "new_password": changed})
	if diff := cmp.Diff(map[string]string{"current_password": "wrong_password"}, wrong.wrong()); diff != "" {
		t.Errorf("%v (-want +got):\n%s", wrong, diff)
	}
	if got := alive(one); got != http.StatusOK {
		t.Errorf("alive(one) = %v, want %v", got, http.StatusOK)
	}
	expect(204, a.call(t, two, http.MethodPut, "/me/password",
		map[string]any{"current_password": annasPassword, "new_password": changed}))
	if got := alive(one); got != http.StatusUnauthorized {
		t.Errorf("alive(one) = %v, want %v", got, http.StatusUnauthorized)
	}
	if got := alive(two); got != http.StatusOK {
		t.Errorf("alive(two) = %v, want %v", got, http.StatusOK)
	}
	if got := a.signInAs(t, annasEmail, annasPassword).text("code"); got != "invalid_credentials" {
		t.Errorf(`the former password: got %q, want "invalid_credentials"`, got)
	}

	t.Log("the end date passes: dead on the next request")
	today := domain.DateOf(a.Now())
	expect(200, a.call(t, a.admin, http.MethodPatch, "/users/"+id, map[string]any{"end_date": today.String()}))
	if got := alive(two); got != http.StatusOK {
		t.Errorf("alive(two) = %v, want %v", got, http.StatusOK)
	}
	midnight := today.Time().Add(24 * time.Hour)
	a.ahead.Add(int64(midnight.Sub(a.Now())))
	if got := alive(two); got != http.StatusUnauthorized {
		t.Errorf("alive(two) = %v, want %v", got, http.StatusUnauthorized)
	}
	if got := a.signInAs(t, annasEmail, changed).text("code"); got != "invalid_credentials" {
		t.Errorf(`code = %q, want "invalid_credentials"`, got)
	}

	var err error
	a.admin, _, err = a.startSession(t.Context(), a.adminID, a.Now()) // that of yesterday may have ended
	if err != nil {
		t.Fatal(err)
	}
	var history []string
	pausetest.Until(t, "the refusal stands in the history", func() bool { // it does not wait for the read models
		history = a.summaries(t, id)
		return strings.Contains(strings.Join(history, "\n"), "refused: expired")
	})
	t.Logf("the history:\n%s", strings.Join(history, "\n"))
	rest := history
	for _, step := range []string{
		"registered  (admin@example.com)", "first-login link requested  (somebody not signed in)",
		"first-login link used  (Anna Koval)",
		"signed in to set up two-factor (first_login)", "password set  (Anna Koval)",
		"two-factor setup started  (Anna Koval)", "two-factor device confirmed",
		"password accepted, second factor requested  (Anna Koval)", "signed in (code)", "refused: code_used",
		"signed in (backup_code)", "backup code used  (Anna Koval)",
		"refused: wrong_backup_code", "two-factor reset: lost phone  (admin@example.com)",
		"signed in to set up two-factor (password)",
		"two-factor setup started", "two-factor device confirmed", "signed in (code)",
		"refused: wrong_password  (Anna Koval)", "password set  (Anna Koval)",
		"refused: wrong_password  (somebody not signed in)", "access period", "refused: expired",
	} {
		at := -1
		for i, line := range rest {
			if strings.Contains(line, step) {
				at = i
				break
			}
		}
		if at < 0 {
			t.Errorf("%q is missing after the steps before it", step)
		} else {
			rest = rest[at+1:]
		}
	}
	for _, secret := range append(codes, secret, annasPassword, changed, cabinet, limited, one, two) {
		if got := a.log.String(); strings.Contains(got, secret) {
			t.Errorf("%q contains %q", got, secret)
		}
		if got := strings.Join(history, "\n"); strings.Contains(got, secret) {
			t.Errorf("%q contains %q", got, secret)
		}
	}
}

// What works once works once, however many ask at the same time.
func TestOneOfManyAtOnceSucceeds(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(o *Options) {
		o.Commands.Lockout = func() signin.Policy {
			return signin.Policy{Attempts: 1000, Within: time.Hour, For: time.Hour}
		}
	})
	account := a.account(t, annasEmail, annasPassword)
	secret, codes := a.enroll(t, a.signInAs(t, annasEmail, annasPassword).text("token"))
	if got := a.call(t, "", http.MethodPost, "/password-resets",
		map[string]any{"email": annasEmail}).status; got != http.StatusAccepted {
		t.Fatalf("got %v, want %v", got, http.StatusAccepted)
	}
	factor := func(field, value string) map[string]any {
		return map[string]any{"challenge": a.signInAs(t, annasEmail, annasPassword).text("challenge"), field: value}
	}
	// the code that confirmed the device is used up; so few attempts a minute are not slowed down
	a.ahead.Add(int64(2 * time.Minute))
	statuses := a.atOnce(t, 20, "/sessions/two-factor", factor("code", a.code(t, secret)))
	if diff := cmp.Diff(map[int]int{http.StatusCreated: 1, http.StatusUnauthorized: 19}, statuses); diff != "" {
		t.Errorf("code (-want +got):\n%s", diff)
	}
	a.ahead.Add(int64(2 * time.Minute))
	statuses = a.atOnce(t, 20, "/sessions/two-factor", factor("backup_code", codes[7]))
	if diff := cmp.Diff(map[int]int{http.StatusCreated: 1, http.StatusUnauthorized: 19}, statuses); diff != "" {
		t.Errorf("backup code (-want +got):\n%s", diff)
	}
	a.ahead.Add(int64(2 * time.Minute))
	link := "/password-resets/" + a.linkToken(t, account, signin.ResetLinkRequested{}.EventType())
	statuses = a.atOnce(t, 20, link, map[string]any{"new_password": "the second pass phrase of anna"})
	if diff := cmp.Diff(map[int]int{http.StatusNoContent: 1, http.StatusUnprocessableEntity: 19},
		statuses); diff != "" {
		t.Errorf("reset link (-want +got):\n%s", diff)
	}
}

// atOnce posts the same body so many times at the same moment and counts the statuses. Who is told to come again does
// so.
func (a *api) atOnce(t *testing.T, times int, path string, body map[string]any) map[int]int {
	t.Helper()
	statuses := make([]int, times)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range statuses {
		all.Go(func() {
			<-start
			answer := a.call(t, "", http.MethodPost, path, body)
			for ; answer.status == http.StatusServiceUnavailable; answer = a.call(t, "", http.MethodPost, path, body) {
				t.Log(answer)
			}
			statuses[i] = answer.status
		})
	}
	close(start)
	all.Wait()
	counted := map[int]int{}
	for _, status := range statuses {
		counted[status]++
	}
	return counted
}

// head is the position of the newest event.
func (a *api) head(t testing.TB) eventstore.Position {
	t.Helper()
	result, err := a.Commands.RegisterUser(t.Context(), commands.Operator(),
		commands.RegisterUser{Details: user.Details{Email: uuid.NewString() + "@example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	return result.Position
}
