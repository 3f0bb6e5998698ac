package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/eventstore"
)

// An administrator is told in one answer why somebody can't get in, who made it so, and what mends it.
func TestWhyCantSheSignIn(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	const email = "olena@example.com"
	id := a.create(t, "/users", map[string]any{"email": email})
	path := "/users/" + id
	check := func(query string) (verdict string, blocked map[string]map[string]any, answer answered) {
		answer = a.call(t, a.admin, http.MethodGet, path+"/sign-in-check"+query, nil)
		if answer.status != http.StatusOK {
			t.Fatalf("%v: got %v, want %v", answer, answer.status, http.StatusOK)
		}
		var codes []string
		blocked = map[string]map[string]any{}
		for _, item := range answer.json["checks"].([]any) {
			c := item.(map[string]any)
			codes = append(codes, c["code"].(string))
			if c["ok"] == false || c["fix"] != nil {
				blocked[c["code"].(string)] = c
			}
		}
		if diff := cmp.Diff([]string{"email_known", "active", "start_date", "end_date", "directory_account",
			"has_password_or_directory", "locked_out", "two_factor"}, codes); diff != "" {
			t.Errorf("codes (-want +got):\n%s", diff)
		}
		return answer.text("verdict"), blocked, answer
	}

	verdict, blocked, _ := check("")
	if verdict != "refused" {
		t.Errorf(`verdict = %q, want "refused"`, verdict)
	}
	if got := fmt.Sprint(blocked["has_password_or_directory"]["fix"]); !strings.Contains(got, "/password-resets") {
		t.Errorf(`%q lacks "/password-resets"`, got)
	}

	owner := commands.Caller{
		Actor: eventstore.Actor{Kind: eventstore.ActorUser, ID: id}, CommandID: uuid.Must(uuid.NewV7()),
	}
	set, err := a.Commands.ChangeOwnPassword(t.Context(), owner, uuid.MustParse(id), "", adminPassword)
	if err != nil {
		t.Fatal(err)
	}
	a.catchUp(t, set.Position)
	verdict, _, answer := check("")
	if verdict != "allowed" {
		t.Errorf(`%v: got %q, want "allowed"`, answer, verdict)
	}

	open := time.Now().UTC().Format(time.RFC3339Nano)
	for range 5 {
		if got := a.signInAs(t, email, "not that pass phrase").status; got != http.StatusUnauthorized {
			t.Errorf(`a.signInAs(t, email, "not that pass phrase").status = %v, want %v`, got, http.StatusUnauthorized)
		}
	}
	a.catchUp(t, a.head(t))
	verdict, blocked, answer = check("")
	if verdict != "allowed" {
		t.Errorf(`from elsewhere: %v: got %q, want "allowed"`, answer, verdict)
	}
	if got := fmt.Sprint(blocked["locked_out"]["detail"]); !strings.Contains(got,
		"only attempts from 127.0.0.1 until") {
		t.Errorf(`%q lacks "only attempts from 127.0.0.1 until"`, got)
	}
	if blocked["locked_out"]["fix"] != "POST /users/"+id+"/unlock" {
		t.Errorf(`locked_out["fix"] = %q, want %q`, blocked["locked_out"]["fix"], "POST /users/"+id+"/unlock")
	}
	if got := fmt.Sprint(answer.json["last_attempt"].(map[string]any)["summary"]); !strings.Contains(got,
		"wrong_password") {
		t.Errorf(`the true reason: %q lacks "wrong_password"`, got)
	}
	a.ahead.Store(int64(20 * time.Minute))
	verdict, _, answer = check("")
	if verdict != "allowed" {
		t.Errorf(`the lockout opened by itself: %s: got %q, want "allowed"`, answer, verdict)
	}

	required := a.call(t, a.admin, http.MethodPatch, path, map[string]any{"require_two_factor": true})
	if required.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", required, required.status, http.StatusOK)
	}
	verdict, _, _ = check("")
	if verdict != "two_factor_setup" {
		t.Errorf(`verdict = %q, want "two_factor_setup"`, verdict)
	}

	ended := a.call(t, a.admin, http.MethodPatch, path,
		map[string]any{"start_date": "2020-01-01", "end_date": "2021-12-31"})
	if ended.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", ended, ended.status, http.StatusOK)
	}
	closed := a.call(t, a.admin, http.MethodPost, path+"/deactivate", map[string]any{"reason": "left the company"})
	if closed.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", closed, closed.status, http.StatusOK)
	}
	verdict, blocked, answer = check("")
	if verdict != "refused" {
		t.Errorf(`verdict = %q, want "refused"`, verdict)
	}
	if got := answer.text("reason"); !strings.Contains(got, "left the company") {
		t.Errorf(`the first that blocks is the reason: %q lacks "left the company"`, got)
	}
	if got := answer.text("reason"); !strings.Contains(got, adminEmail) {
		t.Errorf("and who made it so: %q lacks %q", got, adminEmail)
	}
	if got := blocked["active"]["actor"].(map[string]any)["id"]; got != a.adminID.String() {
		t.Errorf(`active["actor"].(map[string]any)["id"] = %q, want %q`, got, a.adminID.String())
	}
	if got := fmt.Sprint(blocked["end_date"]["detail"]); !strings.Contains(got, "2021-12-31") {
		t.Errorf(`%q lacks "2021-12-31"`, got)
	}
	history := a.call(t, a.admin, http.MethodGet, path+"/history", nil).items()
	if diff := cmp.Diff(history[0]["id"], blocked["active"]["event_id"]); diff != "" {
		t.Errorf("active[\"event_id\"] (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(history[1]["id"], blocked["end_date"]["event_id"]); diff != "" {
		t.Errorf("end_date[\"event_id\"] (-want +got):\n%s", diff)
	}

	verdict, _, answer = check("?as_of=" + open)
	if verdict != "allowed" {
		t.Errorf(`as it was: %s: got %q, want "allowed"`, answer, verdict)
	}
	before := a.call(t, a.admin, http.MethodGet, path+"/sign-in-check?as_of=2020-01-01", nil)
	if before.status != http.StatusNotFound {
		t.Errorf("%v: got %v, want %v", before, before.status, http.StatusNotFound)
	}
	_, clerk := a.person(t, "clerk@example.com", without("audit", "view"))
	if got := a.call(t, clerk, http.MethodGet, path+"/sign-in-check", nil).status; got != http.StatusOK {
		t.Errorf("got %v, want %v", got, http.StatusOK)
	}
	if got := a.call(t, clerk, http.MethodGet, path+"/sign-in-check?as_of="+open,
		nil).status; got != http.StatusForbidden {
		t.Errorf("got %v, want %v", got, http.StatusForbidden)
	}
}

// A superuser is locked out address by address, so the check says that others are still open. A wrong code points at
// the device.
func TestSignInCheckOfASuperuserAndOfADevice(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.givePassword(t)
	for range 5 {
		if got := a.signInAs(t, adminEmail, "not that pass phrase").status; got != http.StatusUnauthorized {
			t.Errorf(`a.signInAs(t, adminEmail, "not that pass phrase").status = %v, want %v`, got,
				http.StatusUnauthorized)
		}
	}
	a.catchUp(t, a.head(t))
	cause := func(id uuid.UUID, code string) (map[string]any, answered) {
		answer := a.call(t, a.admin, http.MethodGet, "/users/"+id.String()+"/sign-in-check", nil)
		if answer.status != http.StatusOK {
			t.Fatalf("%v: got %v, want %v", answer, answer.status, http.StatusOK)
		}
		for _, item := range answer.json["checks"].([]any) {
			if c := item.(map[string]any); c["code"] == code {
				return c, answer
			}
		}
		t.Fatal("there is no check " + code)
		return nil, answer
	}
	locked, answer := cause(a.adminID, "locked_out")
	if got := answer.text("verdict"); got != "allowed" {
		t.Errorf(`%v: got %q, want "allowed"`, answer, got)
	}
	if got := fmt.Sprint(locked["detail"]); !strings.Contains(got, "only attempts from 127.0.0.1 until") {
		t.Errorf(`%q lacks "only attempts from 127.0.0.1 until"`, got)
	}
	if locked["fix"] != "POST /users/"+a.adminID.String()+"/unlock" {
		t.Errorf("fix = %q, want %q", locked["fix"], "POST /users/"+a.adminID.String()+"/unlock")
	}

	anna := a.account(t, annasEmail, annasPassword)
	token := a.signInAs(t, annasEmail, annasPassword).text("token")
	a.enroll(t, token)
	device, answer := cause(anna, "two_factor")
	if got := answer.text("verdict"); got != "two_factor" {
		t.Errorf(`%v: got %q, want "two_factor"`, answer, got)
	}
	if got := fmt.Sprint(device["detail"]); !strings.Contains(got, "10 remaining backup codes") {
		t.Errorf(`%q lacks "10 remaining backup codes"`, got)
	}
	if device["fix"] != nil {
		t.Errorf("fix = %v, want nil", device["fix"])
	}
	challenge := a.signInAs(t, annasEmail, annasPassword).text("challenge")
	refused := a.call(t, "", http.MethodPost, "/sessions/two-factor",
		map[string]any{"challenge": challenge, "code": "000000"})
	if refused.status != http.StatusUnauthorized {
		t.Fatalf("%v: got %v, want %v", refused, refused.status, http.StatusUnauthorized)
	}
	a.catchUp(t, a.head(t))
	device, _ = cause(anna, "two_factor")
	if got := fmt.Sprint(device["fix"]); !strings.Contains(got, "/two-factor/reset") {
		t.Errorf(`%q lacks "/two-factor/reset"`, got)
	}
}
