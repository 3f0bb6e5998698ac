package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/signin"
)

// sameOutside is what an answer tells, without what is different in every answer.
func sameOutside(answer answered) string {
	header := answer.header.Clone()
	for _, name := range []string{"Date", "X-Request-Id"} {
		header.Del(name)
	}
	delete(answer.json, "instance")
	return fmt.Sprint(answer.status, header, len(answer.body), answer.json)
}

// Whoever asks can't tell whether there is such an account, in which state it is, and what was wrong.
func TestAnswersTellNothingAboutAccounts(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.account(t, annasEmail, annasPassword)
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	set := a.call(t, a.admin, http.MethodPut, "/companies/"+company+"/cabinet-password",
		map[string]any{"password": "the cabinet of Nova"})
	if set.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", set, set.status, http.StatusOK)
	}
	a.create(t, "/users", map[string]any{"email": "fresh@example.com", "company_id": company})
	a.create(t, "/users", map[string]any{"email": "closed@example.com", "company_id": company, "active": false})
	people := []string{annasEmail, "fresh@example.com", "closed@example.com", "nobody@example.com", "not an address"}
	for path, c := range map[string]struct {
		status int
		body   map[string]any
	}{
		"/sessions":        {401, map[string]any{"password": "a wrong pass phrase"}},
		"/password-resets": {202, nil},
		"/first-logins":    {202, map[string]any{"cabinet_password": "the cabinet of Nova"}},
	} {
		t.Run(path, func(t *testing.T) {
			var first string
			for _, email := range people {
				t.Run(email, func(t *testing.T) {
					body := map[string]any{"email": email}
					for name, value := range c.body {
						body[name] = value
					}
					answer := a.call(t, "", http.MethodPost, path, body)
					if answer.status != c.status {
						t.Fatalf("%s: got %v, want %v", answer, answer.status, c.status)
					}
					if first == "" {
						first = sameOutside(answer)
					}
					if got := sameOutside(answer); got != first {
						t.Errorf("got %q, want %q", got, first)
					}
				})
			}
		})
	}
	for name, token := range map[string]string{"a letter": "x", "a UUID": uuid.NewString()} {
		for path, c := range map[string]struct {
			status int
			code   string
			body   any
		}{
			"/password-resets/" + token: {422, "invalid_link", map[string]any{"new_password": annasPassword}},
			"/first-logins/" + token:    {422, "invalid_link", nil},
			"/sessions/two-factor": {
				401, "invalid_credentials", map[string]any{"challenge": token, "code": "123456"},
			},
		} {
			t.Run(name+" at "+strings.TrimSuffix(path, "/"+token), func(t *testing.T) {
				answer := a.call(t, "", http.MethodPost, path, c.body)
				if answer.status != c.status {
					t.Errorf("%v: got %v, want %v", answer, answer.status, c.status)
				}
				if got := answer.text("code"); got != c.code {
					t.Errorf("code = %q, want %q", got, c.code)
				}
			})
		}
	}
}

func TestAResetLinkEndsAllSessions(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.account(t, annasEmail, annasPassword)
	token := a.signInAs(t, annasEmail, annasPassword).text("token")
	if got := a.call(t, "", http.MethodPost, "/password-resets", map[string]any{"email": " ANNA@example.com"},
		with{"Accept-Language", "de, uk;q=0.8, en;q=0.5"}).status; got != http.StatusAccepted {
		t.Fatalf("got %v, want %v", got, http.StatusAccepted)
	}
	link := a.linkToken(t, id, signin.ResetLinkRequested{}.EventType())
	events, err := a.Commands.Log.ReadStream(t.Context(), domain.StreamName(signin.Kind, id))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(events[len(events)-1].Data); !strings.Contains(got, `"language":"uk"`) {
		t.Errorf("%q lacks %q", got, `"language":"uk"`)
	}
	use := func(password string) answered {
		return a.call(t, "", http.MethodPost, "/password-resets/"+link, map[string]any{"new_password": password})
	}
	weak := use("short")
	if diff := cmp.Diff(map[string]string{"new_password": "weak_password"}, weak.wrong()); diff != "" {
		t.Errorf("%v (-want +got):\n%s", weak, diff)
	}
	if got := a.call(t, token, http.MethodGet, "/me", nil).status; got != http.StatusOK {
		t.Errorf("nothing has happened yet: got %v, want %v", got, http.StatusOK)
	}
	const changed = "the second pass phrase of anna"
	if got := use(changed).status; got != http.StatusNoContent {
		t.Fatalf("use(changed).status = %v, want %v", got, http.StatusNoContent)
	}
	if got := a.call(t, token, http.MethodGet, "/me", nil).status; got != http.StatusUnauthorized {
		t.Errorf(`a.call(t, token, http.MethodGet, "/me", nil).status = %v, want %v`, got, http.StatusUnauthorized)
	}
	if got := use(changed).text("code"); got != "invalid_link" {
		t.Errorf(`once: got %q, want "invalid_link"`, got)
	}
	if got := a.signInAs(t, annasEmail, annasPassword).status; got != http.StatusUnauthorized {
		t.Errorf("a.signInAs(t, annasEmail, annasPassword).status = %v, want %v", got, http.StatusUnauthorized)
	}
	if got := a.signInAs(t, annasEmail, changed).status; got != http.StatusCreated {
		t.Errorf("a.signInAs(t, annasEmail, changed).status = %v, want %v", got, http.StatusCreated)
	}
	for _, secret := range []string{link, changed} {
		if got := a.log.String(); strings.Contains(got, secret) {
			t.Errorf("%q contains %q", got, secret)
		}
	}
}

func TestAskingForLinksIsLimited(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.account(t, annasEmail, annasPassword)
	ask := func(email string) int {
		return a.call(t, "", http.MethodPost, "/password-resets", map[string]any{"email": email}).status
	}
	for range linksPerAccount + 1 {
		if got := ask(annasEmail); got != http.StatusAccepted {
			t.Errorf("ask(annasEmail) = %v, want %v", got, http.StatusAccepted)
		}
		if got := ask("nobody@example.com"); got != http.StatusAccepted {
			t.Errorf(`ask("nobody@example.com") = %v, want %v`, got, http.StatusAccepted)
		}
	}
	asked := func() int {
		a.catchUp(t, a.head(t))
		return a.count(t, `SELECT count(*) FROM history
			WHERE subject_id = $1 AND type = 'signin.reset_link_requested' AND data ? 'expires_at'`, id.String())
	}
	if got := asked(); got != linksPerAccount {
		t.Errorf("the further ones send nothing: got %v, want %v", got, linksPerAccount)
	}
	a.ahead.Add(int64(linkWindow))
	if got := ask(annasEmail); got != http.StatusAccepted {
		t.Errorf("ask(annasEmail) = %v, want %v", got, http.StatusAccepted)
	}
	if got := asked(); got != linksPerAccount+1 {
		t.Errorf("asked() = %v, want %v", got, linksPerAccount+1)
	}

	_, err := a.pool.Exec(t.Context(), `UPDATE app.rate_limits SET count = $1 WHERE key LIKE 'address-%'`,
		linksFromAddress)
	if err != nil {
		t.Fatal(err)
	}
	limited := a.call(t, "", http.MethodPost, "/first-logins",
		map[string]any{"email": "somebody@example.com", "cabinet_password": "x"})
	if limited.status != http.StatusTooManyRequests {
		t.Errorf("%v: got %v, want %v", limited, limited.status, http.StatusTooManyRequests)
	}
	if got := limited.header.Get("Retry-After"); got == "" {
		t.Errorf("Retry-After = %q, want something", got)
	}
}

func TestLanguageOf(t *testing.T) {
	t.Parallel()
	for accepted, want := range map[string]string{
		"": "", "*": "", "uk-UA,uk;q=0.9,en;q=0.8": "uk", "de,ru;q=0.5": "ru", "en-GB": "en", "fr": "",
		"de, uk;q=0.8, en;q=0.9": "en", "not a language \x00": "",
	} {
		t.Run(fmt.Sprintf("%q", accepted), func(t *testing.T) {
			t.Parallel()
			if got := languageOf(accepted); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// The password is reset while somebody with the former one is being let in.
func TestAResetWinsAgainstASignInUnderWay(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.account(t, annasEmail, annasPassword)
	let, err := a.Commands.SignIn(t.Context(), a.caller(t.Context()), annasEmail, annasPassword)
	if err != nil {
		t.Fatal(err)
	}
	if got := a.call(t, "", http.MethodPost, "/password-resets",
		map[string]any{"email": annasEmail}).status; got != http.StatusAccepted {
		t.Fatalf("got %v, want %v", got, http.StatusAccepted)
	}
	reset := a.call(t, "", http.MethodPost, "/password-resets/"+
		a.linkToken(t, id, signin.ResetLinkRequested{}.EventType()),
		map[string]any{"new_password": "another pass phrase"})
	if reset.status != http.StatusNoContent {
		t.Fatalf("%v: got %v, want %v", reset, reset.status, http.StatusNoContent)
	}
	_, err = a.answerSignIn(t.Context(), let)
	if err == nil || !strings.Contains(err.Error(), "invalid_credentials") {
		t.Errorf(`%v does not say "invalid_credentials"`, err)
	}
	if got := a.count(t, `SELECT count(*) FROM sessions WHERE user_id = $1`, id); got != 0 {
		t.Errorf("got %v, want nothing", got)
	}
}

// benchmarkKnownAndUnknown asks in turn for an account that there is and for one that there isn't. The medians must not
// differ. In turn, because the machine is not equally busy all the time.
//
//	go test ./httpapi -run '^$' -bench UnknownAndKnown -benchtime 200x
func benchmarkKnownAndUnknown(b *testing.B, path string, status int, body map[string]any) {
	a := newAPI(b)
	a.account(b, annasEmail, annasPassword)
	took := map[string][]time.Duration{}
	ask := func(email string) {
		body["email"] = email
		started := time.Now()
		answer := a.call(b, "", http.MethodPost, path, body)
		took[email] = append(took[email], time.Since(started))
		if answer.status != status {
			b.Fatalf("%v: got %v, want %v", answer, answer.status, status)
		}
	}
	people := []string{annasEmail, "nobody@example.com"}
	for b.Loop() {
		for _, email := range people {
			ask(email)
		}
		slices.Reverse(people)
		a.ahead.Add(int64(20 * time.Minute)) // so that nothing is limited or locked out
	}
	median := func(email string) float64 {
		slices.Sort(took[email])
		return float64(took[email][len(took[email])/2].Microseconds()) / 1000
	}
	known, unknown := median(annasEmail), median("nobody@example.com")
	b.ReportMetric(known, "known-ms")
	b.ReportMetric(unknown, "unknown-ms")
	b.ReportMetric(100*(known-unknown)/unknown, "%differs")
}

func BenchmarkSignInUnknownAndKnown(b *testing.B) {
	benchmarkKnownAndUnknown(b, "/sessions", http.StatusUnauthorized, map[string]any{"password": "a wrong pass phrase"})
}

func BenchmarkPasswordResetUnknownAndKnown(b *testing.B) {
	benchmarkKnownAndUnknown(b, "/password-resets", http.StatusAccepted, map[string]any{})
}

func BenchmarkFirstLoginUnknownAndKnown(b *testing.B) {
	benchmarkKnownAndUnknown(b, "/first-logins", http.StatusAccepted, map[string]any{"cabinet_password": "x"})
}
