package httpapi

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
		require.Equal(t, http.StatusOK, answer.status, answer)
		var codes []string
		blocked = map[string]map[string]any{}
		for _, item := range answer.json["checks"].([]any) {
			c := item.(map[string]any)
			codes = append(codes, c["code"].(string))
			if c["ok"] == false {
				blocked[c["code"].(string)] = c
			}
		}
		assert.Equal(t, []string{"email_known", "active", "start_date", "end_date", "directory_account", "has_password_or_directory", "locked_out", "two_factor"}, codes)
		return answer.text("verdict"), blocked, answer
	}

	verdict, blocked, _ := check("")
	assert.Equal(t, "refused", verdict)
	assert.Contains(t, blocked["has_password_or_directory"]["fix"], "/password-resets")

	set, err := a.Commands.ChangeOwnPassword(t.Context(), a.caller(t.Context()), uuid.MustParse(id), "", adminPassword)
	require.NoError(t, err)
	a.catchUp(t, set.Position)
	verdict, _, answer := check("")
	assert.Equal(t, "allowed", verdict, answer)

	open := time.Now().UTC().Format(time.RFC3339Nano)
	for range 5 {
		assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, email, "not that pass phrase").status)
	}
	a.catchUp(t, a.head(t))
	verdict, blocked, answer = check("")
	assert.Equal(t, "refused", verdict, answer)
	assert.Equal(t, "POST /users/"+id+"/unlock", blocked["locked_out"]["fix"])
	assert.Contains(t, answer.json["last_attempt"].(map[string]any)["summary"], "wrong_password", "the true reason")
	a.ahead.Store(int64(20 * time.Minute))
	verdict, _, answer = check("")
	assert.Equal(t, "allowed", verdict, "the lockout opened by itself: %s", answer)

	required := a.call(t, a.admin, http.MethodPatch, path, map[string]any{"require_two_factor": true})
	require.Equal(t, http.StatusOK, required.status, required)
	verdict, _, _ = check("")
	assert.Equal(t, "two_factor_setup", verdict)

	ended := a.call(t, a.admin, http.MethodPatch, path, map[string]any{"start_date": "2020-01-01", "end_date": "2021-12-31"})
	require.Equal(t, http.StatusOK, ended.status, ended)
	closed := a.call(t, a.admin, http.MethodPost, path+"/deactivate", map[string]any{"reason": "left the company"})
	require.Equal(t, http.StatusOK, closed.status, closed)
	verdict, blocked, answer = check("")
	assert.Equal(t, "refused", verdict)
	assert.Contains(t, answer.text("reason"), "left the company", "the first that blocks is the reason")
	assert.Contains(t, answer.text("reason"), adminEmail, "and who made it so")
	assert.Equal(t, a.adminID.String(), blocked["active"]["actor"].(map[string]any)["id"])
	assert.Contains(t, blocked["end_date"]["detail"], "2021-12-31")
	history := a.call(t, a.admin, http.MethodGet, path+"/history", nil).items()
	assert.Equal(t, history[0]["id"], blocked["active"]["event_id"])
	assert.Equal(t, history[1]["id"], blocked["end_date"]["event_id"])

	verdict, _, answer = check("?as_of=" + open)
	assert.Equal(t, "allowed", verdict, "as it was: %s", answer)
	before := a.call(t, a.admin, http.MethodGet, path+"/sign-in-check?as_of=2020-01-01", nil)
	assert.Equal(t, http.StatusNotFound, before.status, before)
	_, clerk := a.person(t, "clerk@example.com", without("audit", "view"))
	assert.Equal(t, http.StatusOK, a.call(t, clerk, http.MethodGet, path+"/sign-in-check", nil).status)
	assert.Equal(t, http.StatusForbidden, a.call(t, clerk, http.MethodGet, path+"/sign-in-check?as_of="+open, nil).status)
}

// A superuser is locked out address by address, so the check says that others are still open. A wrong code points at
// the device.
func TestSignInCheckOfASuperuserAndOfADevice(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.givePassword(t)
	for range 5 {
		assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, adminEmail, "not that pass phrase").status)
	}
	a.catchUp(t, a.head(t))
	cause := func(id uuid.UUID, code string) (map[string]any, answered) {
		answer := a.call(t, a.admin, http.MethodGet, "/users/"+id.String()+"/sign-in-check", nil)
		require.Equal(t, http.StatusOK, answer.status, answer)
		for _, item := range answer.json["checks"].([]any) {
			if c := item.(map[string]any); c["code"] == code {
				return c, answer
			}
		}
		require.Fail(t, "there is no check "+code)
		return nil, answer
	}
	locked, answer := cause(a.adminID, "locked_out")
	assert.Equal(t, "allowed", answer.text("verdict"), answer)
	assert.Contains(t, locked["detail"], "only attempts from 127.0.0.1 until")
	assert.Equal(t, "POST /users/"+a.adminID.String()+"/unlock", locked["fix"])

	anna := a.account(t, annasEmail, annasPassword)
	token := a.signInAs(t, annasEmail, annasPassword).text("token")
	a.enroll(t, token)
	device, answer := cause(anna, "two_factor")
	assert.Equal(t, "two_factor", answer.text("verdict"), answer)
	assert.Contains(t, device["detail"], "10 backup codes")
	assert.Nil(t, device["fix"])
	challenge := a.signInAs(t, annasEmail, annasPassword).text("challenge")
	refused := a.call(t, "", http.MethodPost, "/sessions/two-factor", map[string]any{"challenge": challenge, "code": "000000"})
	require.Equal(t, http.StatusUnauthorized, refused.status, refused)
	a.catchUp(t, a.head(t))
	device, _ = cause(anna, "two_factor")
	assert.Contains(t, device["fix"], "/two-factor/reset")
}
