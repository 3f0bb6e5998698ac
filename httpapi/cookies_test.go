package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/secboard/secboard/commands"
)

// cookieOf is the session cookie that an answer sets.
func cookieOf(t *testing.T, answer answered) *http.Cookie {
	t.Helper()
	cookies := (&http.Response{Header: answer.header}).Cookies()
	if len(cookies) != 1 {
		t.Fatalf("%v: got has %d elements, want 1: %v", answer, len(cookies), cookies)
	}
	if cookies[0].Name != "secboard_session" {
		t.Fatalf(`cookies[0].Name = %q, want "secboard_session"`, cookies[0].Name)
	}
	return cookies[0]
}

func TestSessionsInACookie(t *testing.T) {
	t.Parallel()
	a := newAPI(t, trusting("127.0.0.0/8"), func(o *Options) {
		o.TrustedOrigins = []string{"https://portal.example.com"}
	})
	a.account(t, annasEmail, annasPassword)
	signIn := map[string]any{"email": annasEmail, "password": annasPassword}
	in := a.call(t, "", http.MethodPost, "/sessions", signIn)
	if in.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", in, in.status, http.StatusCreated)
	}
	cookie := cookieOf(t, in)
	if cookie.Value != in.text("token") {
		t.Errorf("cookie.Value = %q, want %q", cookie.Value, in.text("token"))
	}
	if !cookie.HttpOnly {
		t.Error("not cookie.HttpOnly")
	}
	if cookie.SameSite != http.SameSiteLaxMode {
		t.Errorf("cookie.SameSite = %v, want %v", cookie.SameSite, http.SameSiteLaxMode)
	}
	if cookie.Path != "/" {
		t.Errorf(`cookie.Path = %q, want "/"`, cookie.Path)
	}
	if whole := 12 * 3600; cookie.MaxAge > whole || cookie.MaxAge < whole-60 {
		t.Errorf("the cookie lasts for %d s, want about %d", cookie.MaxAge, whole)
	}
	if cookie.Secure {
		t.Error("over http")
	}
	overHTTPS := a.call(t, "", http.MethodPost, "/sessions", signIn, with{"X-Forwarded-Proto", "https"})
	if !cookieOf(t, overHTTPS).Secure {
		t.Error("not cookieOf(t, overHTTPS).Secure")
	}

	withCookie := with{"Cookie", "other=1; secboard_session=" + cookie.Value}
	current := a.call(t, "", http.MethodGet, "/sessions/current", nil, withCookie)
	if current.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", current, current.status, http.StatusOK)
	}
	csrf := with{"X-CSRF-Token", current.text("csrf_token")}
	if csrf.value == "" {
		t.Fatalf("csrf.value = %q, want something", csrf.value)
	}
	otherToken := a.call(t, overHTTPS.text("token"), http.MethodGet, "/sessions/current", nil).text("csrf_token")
	if otherToken == csrf.value {
		t.Errorf("each session has its own: got %q, want anything but %q", otherToken, csrf.value)
	}

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
		"from a trusted site": {
			[]with{csrf, {"Origin", "https://portal.example.com"}, {"Sec-Fetch-Site", "cross-site"}}, 200,
		},
		"from another site":              {[]with{csrf, {"Origin", "https://evil.example.net"}}, 403},
		"another site by Sec-Fetch-Site": {[]with{csrf, {"Sec-Fetch-Site", "cross-site"}}, 403},
		"from another port":              {[]with{csrf, {"Origin", "http://127.0.0.1:1"}}, 403},
		"from nowhere":                   {[]with{csrf, {"Origin", "null"}}, 403},
		"another site by Referer":        {[]with{csrf, {"Referer", "https://evil.example.net/page"}}, 403},
		"this site by Referer":           {[]with{csrf, {"Referer", a.url + "/page"}}, 200},
		"a Referer that is none":         {[]with{csrf, {"Referer", "::"}}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			answer := a.call(t, "", http.MethodPatch, "/me", change, append(c.headers, withCookie)...)
			if answer.status != c.status {
				t.Errorf("%s: got %v, want %v", answer, answer.status, c.status)
			}
			if c.status == http.StatusForbidden {
				if got := answer.text("code"); got != "csrf_failed" {
					t.Errorf(`got %q, want "csrf_failed"`, got)
				}
			}
		})
	}
	for method, path := range map[string]string{
		http.MethodPut: "/me/photo", http.MethodPost: "/me/two-factor", http.MethodDelete: "/sessions/current",
	} {
		t.Run(method, func(t *testing.T) {
			if got := a.call(t, "", method, path, nil, withCookie).text("code"); got != "csrf_failed" {
				t.Errorf(`got %q, want "csrf_failed"`, got)
			}
		})
	}
	bearer := a.call(t, cookie.Value, http.MethodPatch, "/me", change, with{"Origin", "https://evil.example.net"},
		withCookie)
	if bearer.status != http.StatusOK {
		t.Errorf("with Bearer nothing else is needed: %s: got %v, want %v", bearer, bearer.status, http.StatusOK)
	}
	foreign := a.call(t, "", http.MethodPost, "/sessions", signIn, with{"Origin", "https://evil.example.net"})
	if got := foreign.text("code"); got != "csrf_failed" {
		t.Errorf(`no page of another site signs a browser in: got %q, want "csrf_failed"`, got)
	}

	out := a.call(t, "", http.MethodDelete, "/sessions/current", nil, withCookie, csrf)
	if out.status != http.StatusNoContent {
		t.Fatalf("%v: got %v, want %v", out, out.status, http.StatusNoContent)
	}
	if got := cookieOf(t, out).MaxAge; got >= 0 {
		t.Errorf("cookieOf(t, out).MaxAge = %v", got)
	}
	if got := a.call(t, "", http.MethodGet, "/me", nil, withCookie).status; got != http.StatusUnauthorized {
		t.Errorf(`a.call(t, "", http.MethodGet, "/me", nil, withCookie).status = %v, want %v`, got,
			http.StatusUnauthorized)
	}
	a.catchUp(t, a.head(t))
	if got := strings.Join(a.summaries(t, current.json["user"].(map[string]any)["id"].(string)),
		"\n"); !strings.Contains(got, "signed out  (anna@example.com)") {
		t.Errorf(`%q lacks "signed out  (anna@example.com)"`, got)
	}
}

func TestOriginsMustBeOrigins(t *testing.T) {
	t.Parallel()
	_, err := trustedOrigins([]string{"portal.example.com/page"})
	if err == nil || !strings.Contains(err.Error(), "portal.example.com/page") {
		t.Errorf(`%v does not say "portal.example.com/page"`, err)
	}
}

func TestHTTPSRedirect(t *testing.T) {
	t.Parallel()
	a := startAPI(t, trusting("10.0.0.0/8"), func(o *Options) {
		o.HTTPSRedirect, o.PublicURL = true, "https://secboard.example.com"
		o.AllowedHosts = []string{"secboard.example.com", "Other.example.com", "2001:db8::1"}
	})
	for name, c := range map[string]struct {
		remote, host, path string
		proto              []string
		status             int
		to                 string
	}{
		"http": {"198.51.100.1:1", "secboard.example.com:8080", "/api/v1/users?a=b%20c", nil, 308,
			"https://secboard.example.com/api/v1/users?a=b%20c"},
		"an IPv6 address": {
			"198.51.100.1:1", "[2001:db8::1]:8080", "/docs", nil, 308, "https://[2001:db8::1]/docs",
		},
		"another allowed host, as it is set up": {
			"198.51.100.1:1", "oTHER.example.com.:80", "/docs", nil, 308, "https://Other.example.com/docs",
		},
		"an unknown host": {"198.51.100.1:1", "evil.example.net", "/docs", nil, 421, ""},
		"http to a trusted proxy": {
			"10.0.0.1:1", "secboard.example.com", "/docs", []string{"http"}, 308, "https://secboard.example.com/docs",
		},
		"https to a trusted proxy":  {"10.0.0.1:1", "secboard.example.com", "/docs", []string{"https"}, 200, ""},
		"https to another proxy":    {"198.51.100.1:1", "secboard.example.com", "/docs", []string{"https"}, 400, ""},
		"a proxy that says nothing": {"10.0.0.1:1", "secboard.example.com", "/docs", nil, 400, ""},
		"proxies that disagree":     {"10.0.0.1:1", "secboard.example.com", "/docs", []string{"https, http"}, 400, ""},
		"a probe":                   {"198.51.100.1:1", "10.0.0.7", "/healthz", nil, 200, ""},
		"a path like a host": {"198.51.100.1:1", "secboard.example.com", "//evil.example.net/%2e%2e", nil, 308,
			"https://secboard.example.com//evil.example.net/%2e%2e"},
	} {
		t.Run(name, func(t *testing.T) {
			request := httptest.NewRequest(http.MethodGet, "http://x/", nil)
			request.RemoteAddr, request.Host, request.Header["X-Forwarded-Proto"] = c.remote, c.host, c.proto
			parsed, err := request.URL.Parse("http://x" + c.path)
			if err != nil {
				t.Fatal(err)
			}
			request.URL = parsed
			recorder := httptest.NewRecorder()
			a.engine.ServeHTTP(recorder, request)
			if recorder.Code != c.status {
				t.Errorf("%s: got %v, want %v", recorder.Body, recorder.Code, c.status)
			}
			if got := recorder.Header().Get("Location"); got != c.to {
				t.Errorf("got %q, want %q", got, c.to)
			}
			if c.status == http.StatusMisdirectedRequest {
				if got := recorder.Body.String(); !strings.Contains(got, "unknown_host") {
					t.Errorf(`%q lacks "unknown_host"`, got)
				}
			}
			if c.status == http.StatusBadRequest {
				if got := recorder.Body.String(); !strings.Contains(got, "https_unknown") {
					t.Errorf(`%q lacks "https_unknown"`, got)
				}
			}
		})
	}
}

// Where any host may be asked for, a redirect still leads only to one that somebody set up.
func TestHTTPSRedirectsLeadToNoOtherHost(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(o *Options) { o.HostsSetting = "HOSTS" })
	site := a.call(t, a.admin, http.MethodPatch, "/settings/site", map[string]any{"domain": "site.example.com:8443"})
	if site.status != http.StatusOK {
		t.Fatal(site)
	}
	for name, c := range map[string]struct {
		public, host string
		status       int
		to           string
	}{
		"the domain of the site": {"", "site.example.com", 308, "https://site.example.com:8443/docs?x=y"},
		"the public address": {
			"https://public.example.com", "public.example.com:80", 308,
			"https://public.example.com/docs?x=y",
		},
		"with its port": {
			"https://public.example.com:444", "public.example.com", 308,
			"https://public.example.com:444/docs?x=y",
		},
		"a public address of http": {
			"http://public.example.com:8080", "public.example.com:8080", 308,
			"https://public.example.com/docs?x=y",
		},
		"another host":                 {"https://public.example.com", "evil.example.net", 421, ""},
		"a host that begins like ours": {"", "site.example.com.evil.example.net", 421, ""},
		"a host that ends like ours":   {"", "evil-site.example.com", 421, ""},
		"a user in front":              {"", "site.example.com@evil.example.net", 421, ""},
		"an address":                   {"", "127.0.0.1:8080", 421, ""},
		"none":                         {"", "", 421, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a.HTTPSRedirect, a.PublicURL = true, c.public
			request := httptest.NewRequest(http.MethodGet, "http://x/docs?x=y", nil)
			request.Host = c.host
			recorder := httptest.NewRecorder()
			a.engine.ServeHTTP(recorder, request)
			if got := recorder.Header().Get("Location"); recorder.Code != c.status || got != c.to {
				t.Errorf("got %d to %q, want %d to %q: %s", recorder.Code, got, c.status, c.to, recorder.Body)
			}
			if c.status == 421 && (!strings.Contains(recorder.Body.String(), `"unknown_host"`) ||
				!strings.Contains(recorder.Body.String(), "(HOSTS)")) {
				t.Errorf("the refusal says %s", recorder.Body)
			}
		})
	}
}

// A session that may only set up two-factor reaches nothing else.
func TestALimitedSessionReachesNothingElse(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	result, err := a.Commands.CreateSuperuser(t.Context(), commands.Operator(), annasEmail, annasPassword)
	if err != nil {
		t.Fatal(err)
	}
	a.catchUp(t, result.Position)
	required := a.call(t, a.admin, http.MethodPatch, "/users/"+result.ID, map[string]any{"require_two_factor": true})
	if required.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", required, required.status, http.StatusOK)
	}
	in := a.signInAs(t, annasEmail, annasPassword)
	if in.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", in, in.status, http.StatusOK)
	}
	if got := in.text("next"); got != "two_factor_setup" {
		t.Fatalf(`next = %q, want "two_factor_setup"`, got)
	}
	if _, found := in.json["user"]; found {
		t.Fatalf("%v contains user", in.json)
	}
	token := in.text("token")
	if got := cookieOf(t, in).Value; got != token {
		t.Errorf("cookieOf(t, in).Value = %q, want %q", got, token)
	}

	path := strings.NewReplacer("{id}", result.ID, "{role_id}", result.ID, "{group_id}", result.ID, "{key}", "users",
		"{token}", "x")
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
		if answer.status != http.StatusForbidden {
			t.Errorf("%s: got %v, want %v", o.id, answer.status, http.StatusForbidden)
		}
	}
	if diff := cmp.Diff([]string{"current-session", "change-own-password", "prepare-two-factor", "confirm-two-factor"},
		allowed, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("allowed (-want +got):\n%s", diff)
	}
	refused := a.call(t, token, http.MethodPut, "/me/password",
		map[string]any{"current_password": annasPassword, "new_password": "a quite new pass phrase"})
	if got := refused.text("code"); got != "two_factor_setup_required" {
		t.Errorf(`it has a password: %s: got %q, want "two_factor_setup_required"`, refused, got)
	}
	if got := a.call(t, token, http.MethodGet, "/sessions/current", nil).json["limited"]; got != true {
		t.Errorf("got %v, want true", got)
	}
	out := a.call(t, token, http.MethodDelete, "/sessions/current", nil)
	if out.status != http.StatusNoContent {
		t.Errorf("%v: got %v, want %v", out, out.status, http.StatusNoContent)
	}
	if got := a.log.String(); strings.Contains(got, token) {
		t.Errorf("%q contains %q", got, token)
	}
}
