package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
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
	set := a.call(t, a.admin, http.MethodPut, "/companies/"+company+"/cabinet-password", map[string]any{"password": "the cabinet of Nova"})
	require.Equal(t, http.StatusOK, set.status, set)
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
		var first string
		for _, email := range people {
			body := map[string]any{"email": email}
			for name, value := range c.body {
				body[name] = value
			}
			answer := a.call(t, "", http.MethodPost, path, body)
			require.Equal(t, c.status, answer.status, "%s %s: %s", path, email, answer)
			if first == "" {
				first = sameOutside(answer)
			}
			assert.Equal(t, first, sameOutside(answer), "%s %s", path, email)
		}
	}
	for _, token := range []string{"x", uuid.NewString()} {
		for path, body := range map[string]any{"/password-resets/": map[string]any{"new_password": annasPassword}, "/first-logins/": nil} {
			answer := a.call(t, "", http.MethodPost, path+token, body)
			assert.Equal(t, http.StatusUnprocessableEntity, answer.status, answer)
			assert.Equal(t, "invalid_link", answer.text("code"))
		}
		challenged := a.call(t, "", http.MethodPost, "/sessions/two-factor", map[string]any{"challenge": token, "code": "123456"})
		assert.Equal(t, http.StatusUnauthorized, challenged.status, challenged)
		assert.Equal(t, "invalid_credentials", challenged.text("code"))
	}
}

func TestAResetLinkEndsAllSessions(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.account(t, annasEmail, annasPassword)
	token := a.signInAs(t, annasEmail, annasPassword).text("token")
	require.Equal(t, http.StatusAccepted, a.call(t, "", http.MethodPost, "/password-resets", map[string]any{"email": " ANNA@example.com"}, with{"Accept-Language", "de, uk;q=0.8, en;q=0.5"}).status)
	link := a.linkToken(t, id, user.PasswordResetRequested{}.EventType())
	events, err := a.Commands.Log.ReadStream(t.Context(), domain.StreamName(user.Kind, id))
	require.NoError(t, err)
	assert.Contains(t, string(events[len(events)-1].Data), `"language":"uk"`)
	use := func(password string) answered {
		return a.call(t, "", http.MethodPost, "/password-resets/"+link, map[string]any{"new_password": password})
	}
	weak := use("short")
	assert.Equal(t, map[string]string{"new_password": "weak_password"}, weak.wrong(), weak)
	assert.Equal(t, http.StatusOK, a.call(t, token, http.MethodGet, "/me", nil).status, "nothing has happened yet")
	const changed = "the second pass phrase of anna"
	require.Equal(t, http.StatusNoContent, use(changed).status)
	assert.Equal(t, http.StatusUnauthorized, a.call(t, token, http.MethodGet, "/me", nil).status)
	assert.Equal(t, "invalid_link", use(changed).text("code"), "once")
	assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, annasEmail, annasPassword).status)
	assert.Equal(t, http.StatusCreated, a.signInAs(t, annasEmail, changed).status)
	for _, secret := range []string{link, changed} {
		assert.NotContains(t, a.log.String(), secret)
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
		assert.Equal(t, http.StatusAccepted, ask(annasEmail))
		assert.Equal(t, http.StatusAccepted, ask("nobody@example.com"))
	}
	asked := func() int {
		a.catchUp(t, a.head(t))
		return a.count(t, `SELECT count(*) FROM history WHERE subject_id = $1 AND type = 'user.password_reset_requested'`, id.String())
	}
	assert.Equal(t, linksPerAccount, asked(), "the further ones send nothing")
	a.ahead.Add(int64(linkWindow))
	assert.Equal(t, http.StatusAccepted, ask(annasEmail))
	assert.Equal(t, linksPerAccount+1, asked())

	_, err := a.pool.Exec(t.Context(), `UPDATE app.rate_limits SET count = $1 WHERE key LIKE 'address-%'`, linksFromAddress)
	require.NoError(t, err)
	limited := a.call(t, "", http.MethodPost, "/first-logins", map[string]any{"email": "somebody@example.com", "cabinet_password": "x"})
	assert.Equal(t, http.StatusTooManyRequests, limited.status, limited)
	assert.NotEmpty(t, limited.header.Get("Retry-After"))
}

func TestLanguageOf(t *testing.T) {
	t.Parallel()
	for accepted, want := range map[string]string{
		"": "", "*": "", "uk-UA,uk;q=0.9,en;q=0.8": "uk", "de,ru;q=0.5": "ru", "en-GB": "en", "fr": "", "de, uk;q=0.8, en;q=0.9": "en", "not a language \x00": "",
	} {
		assert.Equal(t, want, languageOf(accepted), accepted)
	}
}

// The password is reset while somebody with the former one is being let in.
func TestAResetWinsAgainstASignInUnderWay(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.account(t, annasEmail, annasPassword)
	let, err := a.Commands.SignIn(t.Context(), a.caller(t.Context()), annasEmail, annasPassword)
	require.NoError(t, err)
	require.Equal(t, http.StatusAccepted, a.call(t, "", http.MethodPost, "/password-resets", map[string]any{"email": annasEmail}).status)
	reset := a.call(t, "", http.MethodPost, "/password-resets/"+a.linkToken(t, id, user.PasswordResetRequested{}.EventType()), map[string]any{"new_password": "another pass phrase"})
	require.Equal(t, http.StatusNoContent, reset.status, reset)
	_, err = a.enter(t.Context(), let)
	assert.ErrorContains(t, err, "invalid_credentials")
	assert.Zero(t, a.count(t, `SELECT count(*) FROM sessions WHERE user_id = $1`, id))
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
		require.Equal(b, status, answer.status, answer)
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
