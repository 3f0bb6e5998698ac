package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/secboard/secboard/commands"
)

// cookieOf is the session cookie that an answer sets.
func cookieOf(t *testing.T, answer answered) *http.Cookie {
	t.Helper()
	cookies := (&http.Response{Header: answer.header}).Cookies()
	require.Len(t, cookies, 1, answer)
	require.Equal(t, "secboard_session", cookies[0].Name)
	return cookies[0]
}

func TestSessionsInACookie(t *testing.T) {
	t.Parallel()
	a := newAPI(t, trusting("127.0.0.0/8"), func(o *Options) { o.TrustedOrigins = []string{"https://portal.example.com"} })
	a.account(t, annasEmail, annasPassword)
	signIn := map[string]any{"email": annasEmail, "password": annasPassword}
	in := a.call(t, "", http.MethodPost, "/sessions", signIn)
	require.Equal(t, http.StatusCreated, in.status, in)
	cookie := cookieOf(t, in)
	assert.Equal(t, in.text("token"), cookie.Value)
	assert.True(t, cookie.HttpOnly)
	assert.Equal(t, http.SameSiteLaxMode, cookie.SameSite)
	assert.Equal(t, "/", cookie.Path)
	assert.InDelta(t, 12*3600, cookie.MaxAge, 60)
	assert.False(t, cookie.Secure, "over http")
	overHTTPS := a.call(t, "", http.MethodPost, "/sessions", signIn, with{"X-Forwarded-Proto", "https"})
	assert.True(t, cookieOf(t, overHTTPS).Secure)

	withCookie := with{"Cookie", "other=1; secboard_session=" + cookie.Value}
	current := a.call(t, "", http.MethodGet, "/sessions/current", nil, withCookie)
	require.Equal(t, http.StatusOK, current.status, current)
	csrf := with{"X-CSRF-Token", current.text("csrf_token")}
	require.NotEmpty(t, csrf.value)
	otherToken := a.call(t, overHTTPS.text("token"), http.MethodGet, "/sessions/current", nil).text("csrf_token")
	assert.NotEqual(t, csrf.value, otherToken, "each session has its own")

	change := map[string]any{"phone": "1"}
	for name, c := range map[string]struct {
		headers []with
		status  int
	}{
		"no token":                         {nil, 403},
		"a made-up token":                  {[]with{{"X-CSRF-Token", "x"}}, 403},
		"the token of another session":     {[]with{{"X-CSRF-Token", otherToken}}, 403},
		"the token":                        {[]with{csrf}, 200},
		"from this site":                   {[]with{csrf, {"Origin", a.url}}, 200},
		"from this site by Sec-Fetch-Site": {[]with{csrf, {"Sec-Fetch-Site", "same-origin"}}, 200},
		"from a trusted site":              {[]with{csrf, {"Origin", "https://portal.example.com"}, {"Sec-Fetch-Site", "cross-site"}}, 200},
		"from another site":                {[]with{csrf, {"Origin", "https://evil.example.net"}}, 403},
		"another site by Sec-Fetch-Site":   {[]with{csrf, {"Sec-Fetch-Site", "cross-site"}}, 403},
		"from another port":                {[]with{csrf, {"Origin", "http://127.0.0.1:1"}}, 403},
		"from nowhere":                     {[]with{csrf, {"Origin", "null"}}, 403},
		"another site by Referer":          {[]with{csrf, {"Referer", "https://evil.example.net/page"}}, 403},
		"this site by Referer":             {[]with{csrf, {"Referer", a.url + "/page"}}, 200},
		"a Referer that is none":           {[]with{csrf, {"Referer", "::"}}, 403},
	} {
		answer := a.call(t, "", http.MethodPatch, "/me", change, append(c.headers, withCookie)...)
		assert.Equal(t, c.status, answer.status, "%s: %s", name, answer)
		if c.status == http.StatusForbidden {
			assert.Equal(t, "csrf_failed", answer.text("code"), name)
		}
	}
	for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodDelete} {
		path := map[string]string{http.MethodPut: "/me/photo", http.MethodPost: "/me/two-factor", http.MethodDelete: "/sessions/current"}[method]
		assert.Equal(t, "csrf_failed", a.call(t, "", method, path, nil, withCookie).text("code"), method)
	}
	bearer := a.call(t, cookie.Value, http.MethodPatch, "/me", change, with{"Origin", "https://evil.example.net"}, withCookie)
	assert.Equal(t, http.StatusOK, bearer.status, "with Bearer nothing else is needed: %s", bearer)
	foreign := a.call(t, "", http.MethodPost, "/sessions", signIn, with{"Origin", "https://evil.example.net"})
	assert.Equal(t, "csrf_failed", foreign.text("code"), "no page of another site signs a browser in")

	out := a.call(t, "", http.MethodDelete, "/sessions/current", nil, withCookie, csrf)
	require.Equal(t, http.StatusNoContent, out.status, out)
	assert.Negative(t, cookieOf(t, out).MaxAge)
	assert.Equal(t, http.StatusUnauthorized, a.call(t, "", http.MethodGet, "/me", nil, withCookie).status)
	a.catchUp(t, a.head(t))
	assert.Contains(t, strings.Join(a.summaries(t, current.json["user"].(map[string]any)["id"].(string)), "\n"), "signed out  (anna@example.com)")
}

func TestOriginsMustBeOrigins(t *testing.T) {
	t.Parallel()
	_, err := trustedOrigins([]string{"portal.example.com/page"})
	assert.ErrorContains(t, err, "portal.example.com/page")
}

func TestHTTPSRedirect(t *testing.T) {
	t.Parallel()
	a := startAPI(t, trusting("10.0.0.0/8"), func(o *Options) { o.HTTPSRedirect = true })
	for name, c := range map[string]struct {
		remote, host, path string
		proto              []string
		status             int
		to                 string
	}{
		"http":                      {"198.51.100.1:1", "secboard.example.com:8080", "/api/v1/users?a=b%20c", nil, 308, "https://secboard.example.com/api/v1/users?a=b%20c"},
		"an IPv6 address":           {"198.51.100.1:1", "[2001:db8::1]:8080", "/docs", nil, 308, "https://[2001:db8::1]/docs"},
		"http to a trusted proxy":   {"10.0.0.1:1", "secboard.example.com", "/docs", []string{"http"}, 308, "https://secboard.example.com/docs"},
		"https to a trusted proxy":  {"10.0.0.1:1", "secboard.example.com", "/docs", []string{"https"}, 200, ""},
		"https to another proxy":    {"198.51.100.1:1", "secboard.example.com", "/docs", []string{"https"}, 400, ""},
		"a proxy that says nothing": {"10.0.0.1:1", "secboard.example.com", "/docs", nil, 400, ""},
		"proxies that disagree":     {"10.0.0.1:1", "secboard.example.com", "/docs", []string{"https, http"}, 400, ""},
		"a probe":                   {"198.51.100.1:1", "10.0.0.7", "/healthz", nil, 200, ""},
		"a path like a host":        {"198.51.100.1:1", "secboard.example.com", "//evil.example.net/%2e%2e", nil, 308, "https://secboard.example.com//evil.example.net/%2e%2e"},
	} {
		request := httptest.NewRequest(http.MethodGet, "http://x/", nil)
		request.RemoteAddr, request.Host, request.Header["X-Forwarded-Proto"] = c.remote, c.host, c.proto
		parsed, err := request.URL.Parse("http://x" + c.path)
		require.NoError(t, err)
		request.URL = parsed
		recorder := httptest.NewRecorder()
		a.engine.ServeHTTP(recorder, request)
		assert.Equal(t, c.status, recorder.Code, "%s: %s", name, recorder.Body)
		assert.Equal(t, c.to, recorder.Header().Get("Location"), name)
		if c.status == http.StatusBadRequest {
			assert.Contains(t, recorder.Body.String(), "https_unknown", name)
		}
	}
}

// A session that may only set up two-factor reaches nothing else.
func TestALimitedSessionReachesNothingElse(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	result, err := a.Commands.CreateSuperuser(t.Context(), commands.Operator(), annasEmail, annasPassword)
	require.NoError(t, err)
	a.catchUp(t, result.Position)
	required := a.call(t, a.admin, http.MethodPatch, "/users/"+result.ID, map[string]any{"require_two_factor": true})
	require.Equal(t, http.StatusOK, required.status, required)
	in := a.signInAs(t, annasEmail, annasPassword)
	require.Equal(t, http.StatusOK, in.status, in)
	require.Equal(t, "two_factor_setup", in.text("next"))
	require.NotContains(t, in.json, "user")
	token := in.text("token")
	assert.Equal(t, token, cookieOf(t, in).Value)

	path := strings.NewReplacer("{id}", result.ID, "{role_id}", result.ID, "{group_id}", result.ID, "{key}", "users", "{token}", "x")
	var allowed []string
	for _, o := range a.routes {
		if o.required.public || o.id == "sign-out" {
			continue
		}
		answer := a.call(t, token, o.method, path.Replace(o.path), nil)
		if answer.text("code") != "two_factor_setup_required" {
			allowed = append(allowed, o.id)
			continue
		}
		assert.Equal(t, http.StatusForbidden, answer.status, o.id)
	}
	assert.ElementsMatch(t, []string{"current-session", "change-own-password", "prepare-two-factor", "confirm-two-factor"}, allowed)
	refused := a.call(t, token, http.MethodPut, "/me/password", map[string]any{"current_password": annasPassword, "new_password": "a quite new pass phrase"})
	assert.Equal(t, "two_factor_setup_required", refused.text("code"), "it has a password: %s", refused)
	assert.Equal(t, true, a.call(t, token, http.MethodGet, "/sessions/current", nil).json["limited"])
	out := a.call(t, token, http.MethodDelete, "/sessions/current", nil)
	assert.Equal(t, http.StatusNoContent, out.status, out)
	assert.NotContains(t, a.log.String(), token)
}
