package httpapi

import (
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
)

func TestEveryTextOfThePagesStandsInEveryLanguage(t *testing.T) {
	t.Parallel()
	english := reflect.ValueOf(textsOf["en"])
	for _, lang := range domain.Languages {
		assert.NotEmpty(t, languageNames[lang])
		texts := reflect.ValueOf(textsOf[lang])
		for i := range texts.NumField() {
			name, text := texts.Type().Field(i).Name, texts.Field(i).String()
			assert.NotEmpty(t, text, "%s %s", lang, name)
			assert.Equal(t, lang == "en", text == english.Field(i).String(), "%s %s is not translated", lang, name)
		}
	}
}

// A page tells nothing to others: not to caches, not to other sites, not to the log, and takes forms of its own only.
func TestPagesKeepToThemselves(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.account(t, annasEmail, annasPassword)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar}
	get := func(path string, headers ...with) answered {
		return a.request(t, "", http.MethodGet, path, nil, headers...)
	}

	for path, status := range map[string]int{"/password_reset/": 200, "/first_login/": 200, "/password_reset/made-up": 410, "/first_login/made-up": 410} {
		shown := get(path)
		assert.Equal(t, status, shown.status, path)
		assert.Equal(t, pagePolicy, shown.header.Get("Content-Security-Policy"))
		assert.Equal(t, "no-referrer", shown.header.Get("Referrer-Policy"))
		assert.Equal(t, "no-store", shown.header.Get("Cache-Control"))
		assert.Equal(t, "text/html; charset=utf-8", shown.header.Get("Content-Type"))
		assert.NotContains(t, string(shown.body), "<script")
	}
	site := a.call(t, a.admin, http.MethodPatch, "/settings/site", map[string]any{"default_language": "uk", "name": "Nova <b>&"})
	require.Equal(t, http.StatusOK, site.status, site)
	for accepted, lang := range map[string]string{"": "uk", "de": "uk", "ru-RU,ru;q=0.9,en;q=0.8": "ru", "en-GB": "en"} {
		shown := get("/password_reset/", with{"Accept-Language", accepted})
		assert.Equal(t, lang, shown.header.Get("Content-Language"), accepted)
		assert.Contains(t, string(shown.body), "Nova &lt;b&gt;&amp;")
	}

	asked := a.call(t, "", http.MethodPost, "/password-resets", map[string]any{"email": annasEmail})
	require.Equal(t, http.StatusAccepted, asked.status, asked)
	token := a.linkToken(t, id, user.PasswordResetRequested{}.EventType())
	post := func(form url.Values, headers ...with) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url+"/password_reset/"+token+"?lang=en", strings.NewReader(form.Encode()))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for _, header := range headers {
			request.Header.Set(header.name, header.value)
		}
		return do(t, client, request)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+"/password_reset/"+token, nil)
	require.NoError(t, err)
	_, body := do(t, client, request)
	match := regexp.MustCompile(`name="form_token" value="([^"]+)"`).FindStringSubmatch(body)
	require.NotNil(t, match, body)
	form := url.Values{"form_token": match[1:], "new_password": {adminPassword}, "repeat_password": {adminPassword}}
	forged := url.Values{"form_token": {"x"}, "new_password": {adminPassword}, "repeat_password": {adminPassword}}

	status, body := post(forged)
	assert.Equal(t, http.StatusForbidden, status, body)
	status, body = post(form, with{"Sec-Fetch-Site", "cross-site"}, with{"Origin", "https://evil.example"})
	assert.Equal(t, http.StatusForbidden, status, body)
	status, body = post(form, with{"Origin", "https://evil.example"})
	assert.Equal(t, http.StatusForbidden, status, body)
	status, body = post(url.Values{"form_token": match[1:], "new_password": {strings.Repeat("x", maxPageBody)}})
	assert.Equal(t, http.StatusRequestEntityTooLarge, status, body)
	status, body = post(form, with{"Origin", "null"})
	assert.Equal(t, http.StatusOK, status, body)
	assert.Contains(t, body, textsOf["en"].PasswordSet)
	assert.Equal(t, http.StatusCreated, a.signInAs(t, annasEmail, adminPassword).status)

	assert.Equal(t, http.StatusUnauthorized, get("/first_login/password").status)
	assert.NotContains(t, a.log.String(), token)
	assert.Contains(t, a.log.String(), "/password_reset/:token")
	metrics := string(a.request(t, "", http.MethodGet, "/metrics", nil).body)
	assert.NotContains(t, metrics, token)
}

// An account that has a device but no password goes through the second factor; its backup code works once.
func TestFirstLoginPageAsksForTheSecondFactor(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	const cabinet, email = "the cabinet of Nova", "fresh@example.com"
	set := a.call(t, a.admin, http.MethodPut, "/companies/"+company+"/cabinet-password", map[string]any{"password": cabinet})
	require.Equal(t, http.StatusOK, set.status, set)
	id := uuid.MustParse(a.create(t, "/users", map[string]any{"email": email, "company_id": company}))
	sessionToken, _, err := a.startSession(t.Context(), id, a.Now())
	require.NoError(t, err)
	_, codes := a.enroll(t, sessionToken)

	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{Jar: jar}
	field := func(body, name string) string {
		match := regexp.MustCompile(`name="` + name + `" value="([^"]+)"`).FindStringSubmatch(body)
		require.NotNil(t, match, body)
		return match[1]
	}
	visit := func(path string, form url.Values) (int, string) {
		method := http.MethodPost
		if form == nil {
			method = http.MethodGet
		}
		request, err := http.NewRequestWithContext(t.Context(), method, a.url+path+"?lang=en", strings.NewReader(form.Encode()))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return do(t, client, request)
	}
	asked := a.call(t, "", http.MethodPost, "/first-logins", map[string]any{"email": email, "cabinet_password": cabinet})
	require.Equal(t, http.StatusAccepted, asked.status, asked)
	link := "/first_login/" + a.linkToken(t, id, user.FirstLoginRequested{}.EventType())
	_, body := visit(link, nil)
	form := url.Values{"form_token": {field(body, "form_token")}}
	status, body := visit(link, form)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, textsOf["en"].SecondFactor)
	form.Set("challenge", field(body, "challenge"))
	form.Set("code", "aaaaa-bbbbb")
	status, body = visit(codePage, form)
	assert.Equal(t, http.StatusUnauthorized, status, body)
	assert.Contains(t, body, textsOf["en"].BadCode)
	form.Set("code", codes[0])
	status, body = visit(codePage, form)
	assert.Equal(t, http.StatusOK, status, body)
	assert.Contains(t, body, textsOf["en"].SetPassword, "it leads on to the password")
}

func do(t *testing.T, client *http.Client, request *http.Request) (int, string) {
	t.Helper()
	response, err := client.Do(request)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, errors.Join(err, response.Body.Close()))
	return response.StatusCode, string(body)
}
