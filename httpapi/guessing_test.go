package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whoever signs in wrong again and again closes an account for nobody who is elsewhere, as the last superuser is.
func TestNobodyClosesTheLastSuperusersAccount(t *testing.T) {
	t.Parallel()
	a := newAPI(t, trusting("127.0.0.0/8"))
	a.givePassword(t)
	signIn := func(ip, password string) int {
		return a.call(t, "", http.MethodPost, "/sessions", map[string]any{"email": adminEmail, "password": password},
			with{"X-Forwarded-For", ip}).status
	}
	for range signInsPerAccount + 1 {
		signIn("198.51.100.1", "wrong")
	}
	if got := signIn("198.51.100.1", "wrong"); got != http.StatusTooManyRequests {
		t.Errorf("the network that guesses: %d", got)
	}
	if got := signIn("203.0.113.1", adminPassword); got != http.StatusCreated {
		t.Errorf("another network, with the right password: %d", got)
	}
}

func TestWrongCabinetPasswordsUseUpNoResetLinks(t *testing.T) {
	t.Parallel()
	a := newAPI(t, trusting("127.0.0.0/8"))
	id := a.account(t, annasEmail, annasPassword)
	for range linksPerAccount + 1 {
		if got := a.call(t, "", http.MethodPost, "/first-logins",
			map[string]any{"email": annasEmail, "cabinet_password": "wrong"},
			with{"X-Forwarded-For", "198.51.100.1"}).status; got != http.StatusAccepted {
			t.Errorf("status = %d", got)
		}
	}
	if got := a.call(t, "", http.MethodPost, "/password-resets", map[string]any{"email": annasEmail},
		with{"X-Forwarded-For", "203.0.113.1"}).status; got != http.StatusAccepted {
		t.Errorf("status = %d", got)
	}
	a.catchUp(t, a.head(t))
	if got := a.count(t, `SELECT count(*) FROM history WHERE subject_id = $1 AND
		type = 'signin.reset_link_requested' AND data ? 'expires_at'`, id.String()); got < 1 {
		t.Error("no link was sent to the owner")
	}
}

func TestPasswordsGuessedAtOnceInASessionAreFew(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.account(t, annasEmail, annasPassword)
	token := a.signInAs(t, annasEmail, annasPassword).text("token")
	change := func(current string) answered {
		return a.call(t, token, http.MethodPut, "/me/password",
			map[string]any{"current_password": current, "new_password": "quite another password"})
	}
	var all sync.WaitGroup
	for i := range 29 {
		all.Go(func() {
			if got := change("wrong " + strconv.Itoa(i)).status; got != http.StatusUnprocessableEntity {
				t.Errorf("status = %d", got)
			}
		})
	}
	all.Wait()
	if got := change(annasPassword); got.status != http.StatusUnprocessableEntity {
		t.Errorf("after 29 wrong ones the right one is checked: %v", got)
	}
}

func TestChangesOfTheOwnAccountAreLimited(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.account(t, annasEmail, annasPassword)
	token := a.signInAs(t, annasEmail, annasPassword).text("token")
	change := func(token, phone string) answered {
		return a.call(t, token, http.MethodPatch, "/me", map[string]any{"phone": phone})
	}
	if got := change(token, "1").status; got != http.StatusOK {
		t.Fatalf("status = %d", got)
	}
	if _, err := a.pool.Exec(t.Context(), `UPDATE app.rate_limits SET count = $1 WHERE key LIKE 'day-email-%'`,
		ownChanges); err != nil {
		t.Fatal(err)
	}
	limited := change(token, "2")
	if limited.status != http.StatusTooManyRequests || limited.text("code") != "rate_limited" ||
		limited.header.Get("Retry-After") == "" {
		t.Errorf("one too many: %v", limited)
	}
	for _, call := range []struct{ method, path string }{
		{http.MethodDelete, "/me/photo"}, {http.MethodPut, "/me/photo"}, {http.MethodPut, "/me/password"},
		{http.MethodPost, "/me/two-factor"}, {http.MethodPost, "/me/two-factor/backup-codes"},
	} {
		t.Run(call.method+" "+call.path, func(t *testing.T) {
			if got := a.call(t, token, call.method, call.path, map[string]any{}).status; got !=
				http.StatusTooManyRequests {
				t.Errorf("status = %d", got)
			}
		})
	}
	if got := change(a.admin, "3").status; got != http.StatusOK {
		t.Errorf("others may change theirs: status = %d", got)
	}
	if got := a.call(t, token, http.MethodGet, "/me", nil).status; got != http.StatusOK {
		t.Errorf("reading is not limited: status = %d", got)
	}
}

// While a directory is down, nothing tells an address with an account from one without: no text, header or status, and
// nothing in the log of the program, which more people read than the history.
func TestAnOutageOfADirectoryTellsNoAddress(t *testing.T) {
	t.Parallel()
	a := newAPI(t, trusting("127.0.0.0/8"))
	a.account(t, annasEmail, annasPassword)
	a.create(t, "/users", map[string]any{"email": "without-password@example.com"})
	a.connect(t, "AD", map[string]any{"urls": []string{"ldaps://127.0.0.1:1"}, "timeout_s": 30})
	changing := regexp.MustCompile(`(time|took|request_id|instance)"?[=:]"?[^ "]+`)
	ask := func(email string) string {
		began := a.log.Len()
		body, err := json.Marshal(map[string]any{"email": email, "password": "wrong"})
		if err != nil {
			t.Fatal(err)
		}
		request := httptest.NewRequest(http.MethodPost, basePath+"/sessions", bytes.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		recorder := httptest.NewRecorder()
		a.engine.ServeHTTP(recorder, request)
		recorder.Header().Del("X-Request-ID")
		if recorder.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: status %d", email, recorder.Code)
		}
		told := fmt.Sprint(recorder.Code, recorder.Header(), recorder.Body, a.log.String()[began:])
		return changing.ReplaceAllString(told, "$1")
	}
	want := ask("nobody@example.com")
	for _, email := range []string{"somebody@example.com", annasEmail, "without-password@example.com", adminEmail} {
		if diff := cmp.Diff(want, ask(email)); diff != "" {
			t.Errorf("%s is told from nobody (-want +got):\n%s", email, diff)
		}
	}
}
