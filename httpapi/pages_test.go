package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/signin"
)

func TestEveryTextOfThePagesStandsInEveryLanguage(t *testing.T) {
	t.Parallel()
	english := reflect.ValueOf(textsOf["en"])
	for _, lang := range domain.Languages {
		if languageNames[lang] == "" {
			t.Errorf("languageNames[lang] = %q, want something", languageNames[lang])
		}
		texts := reflect.ValueOf(textsOf[lang])
		for i := range texts.NumField() {
			name, text := texts.Type().Field(i).Name, texts.Field(i).String()
			if text == "" {
				t.Errorf("%s %s: got %q, want something", lang, name, text)
			}
			if got := text == english.Field(i).String(); got != (lang == "en") {
				t.Errorf("%s %s is not translated: got %v, want %v", lang, name, got, (lang == "en"))
			}
		}
	}
}

// A page tells nothing to others: not to caches, not to other sites, not to the log, and takes forms of its own only.
func TestPagesKeepToThemselves(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	id := a.account(t, annasEmail, annasPassword)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	get := func(path string, headers ...with) answered {
		return a.request(t, "", http.MethodGet, path, nil, headers...)
	}

	for path, status := range map[string]int{
		"/password_reset/": 200, "/first_login/": 200, "/password_reset/made-up": 410, "/first_login/made-up": 410,
	} {
		t.Run(path, func(t *testing.T) {
			shown := get(path)
			if shown.status != status {
				t.Errorf("got %v, want %v", shown.status, status)
			}
			if got := shown.header.Get("Content-Security-Policy"); got != pagePolicy {
				t.Errorf("Content-Security-Policy = %q, want %q", got, pagePolicy)
			}
			if got := shown.header.Get("Referrer-Policy"); got != "no-referrer" {
				t.Errorf(`Referrer-Policy = %q, want "no-referrer"`, got)
			}
			if got := shown.header.Get("Cache-Control"); got != "no-store" {
				t.Errorf(`Cache-Control = %q, want "no-store"`, got)
			}
			if got := shown.header.Get("Content-Type"); got != "text/html; charset=utf-8" {
				t.Errorf(`Content-Type = %q, want "text/html; charset=utf-8"`, got)
			}
			if got := string(shown.body); strings.Contains(got, "<script") {
				t.Errorf(`%q contains "<script"`, got)
			}
		})
	}
	site := a.call(t, a.admin, http.MethodPatch, "/settings/site",
		map[string]any{"default_language": "uk", "name": "Nova <b>&"})
	if site.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", site, site.status, http.StatusOK)
	}
	for accepted, lang := range map[string]string{
		"": "uk", "de": "uk", "ru-RU,ru;q=0.9,en;q=0.8": "ru", "en-GB": "en",
	} {
		t.Run(fmt.Sprintf("accepting %q", accepted), func(t *testing.T) {
			shown := get("/password_reset/", with{"Accept-Language", accepted})
			if got := shown.header.Get("Content-Language"); got != lang {
				t.Errorf("got %q, want %q", got, lang)
			}
			if got := string(shown.body); !strings.Contains(got, "Nova &lt;b&gt;&amp;") {
				t.Errorf(`%q lacks "Nova &lt;b&gt;&amp;"`, got)
			}
		})
	}

	asked := a.call(t, "", http.MethodPost, "/password-resets", map[string]any{"email": annasEmail})
	if asked.status != http.StatusAccepted {
		t.Fatalf("%v: got %v, want %v", asked, asked.status, http.StatusAccepted)
	}
	token := a.linkToken(t, id, signin.ResetLinkRequested{}.EventType())
	post := func(form url.Values, headers ...with) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			a.url+"/password_reset/"+token+"?lang=en", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for _, header := range headers {
			request.Header.Set(header.name, header.value)
		}
		return do(t, client, request)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+"/password_reset/"+token, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, body := do(t, client, request)
	match := regexp.MustCompile(`name="form_token" value="([^"]+)"`).FindStringSubmatch(body)
	if match == nil {
		t.Fatalf("%s: got %v, want something", body, match)
	}
	form := url.Values{"form_token": match[1:], "new_password": {adminPassword}, "repeat_password": {adminPassword}}
	forged := url.Values{"form_token": {"x"}, "new_password": {adminPassword}, "repeat_password": {adminPassword}}

	status, body := post(forged)
	if status != http.StatusForbidden {
		t.Errorf("%s: got %v, want %v", body, status, http.StatusForbidden)
	}
	status, body = post(form, with{"Sec-Fetch-Site", "cross-site"}, with{"Origin", "https://evil.example"})
	if status != http.StatusForbidden {
		t.Errorf("%s: got %v, want %v", body, status, http.StatusForbidden)
	}
	status, body = post(form, with{"Origin", "https://evil.example"})
	if status != http.StatusForbidden {
		t.Errorf("%s: got %v, want %v", body, status, http.StatusForbidden)
	}
	status, body = post(url.Values{"form_token": match[1:], "new_password": {strings.Repeat("x", maxPageBody)}})
	if status != http.StatusRequestEntityTooLarge {
		t.Errorf("%s: got %v, want %v", body, status, http.StatusRequestEntityTooLarge)
	}
	status, body = post(form, with{"Origin", "null"})
	if status != http.StatusOK {
		t.Errorf("%s: got %v, want %v", body, status, http.StatusOK)
	}
	if !strings.Contains(body, textsOf["en"].PasswordSet) {
		t.Errorf("%q lacks %q", body, textsOf["en"].PasswordSet)
	}
	if got := a.signInAs(t, annasEmail, adminPassword).status; got != http.StatusCreated {
		t.Errorf("a.signInAs(t, annasEmail, adminPassword).status = %v, want %v", got, http.StatusCreated)
	}

	if got := get("/first_login/password").status; got != http.StatusUnauthorized {
		t.Errorf(`get("/first_login/password").status = %v, want %v`, got, http.StatusUnauthorized)
	}
	if got := a.log.String(); strings.Contains(got, token) {
		t.Errorf("%q contains %q", got, token)
	}
	if got := a.log.String(); !strings.Contains(got, "/password_reset/:token") {
		t.Errorf(`%q lacks "/password_reset/:token"`, got)
	}
	metrics := a.metricsPage(t)
	if strings.Contains(metrics, token) {
		t.Errorf("%q contains %q", metrics, token)
	}
}

// An account that has a device but no password goes through the second factor; its backup code works once.
func TestFirstLoginPageAsksForTheSecondFactor(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	const cabinet, email = "the cabinet of Nova", "fresh@example.com"
	set := a.call(t, a.admin, http.MethodPut, "/companies/"+company+"/cabinet-password",
		map[string]any{"password": cabinet})
	if set.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", set, set.status, http.StatusOK)
	}
	id := uuid.MustParse(a.create(t, "/users", map[string]any{"email": email, "company_id": company}))
	sessionToken, _, err := a.startSession(t.Context(), id, a.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, codes := a.enroll(t, sessionToken)

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	field := func(body, name string) string {
		match := regexp.MustCompile(`name="` + name + `" value="([^"]+)"`).FindStringSubmatch(body)
		if match == nil {
			t.Fatalf("%s: got %v, want something", body, match)
		}
		return match[1]
	}
	visit := func(path string, form url.Values) (int, string) {
		method := http.MethodPost
		if form == nil {
			method = http.MethodGet
		}
		request, err := http.NewRequestWithContext(t.Context(), method, a.url+path+"?lang=en",
			strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return do(t, client, request)
	}
	asked := a.call(t, "", http.MethodPost, "/first-logins",
		map[string]any{"email": email, "cabinet_password": cabinet})
	if asked.status != http.StatusAccepted {
		t.Fatalf("%v: got %v, want %v", asked, asked.status, http.StatusAccepted)
	}
	link := "/first_login/" + a.linkToken(t, id, signin.FirstLoginRequested{}.EventType())
	_, body := visit(link, nil)
	form := url.Values{"form_token": {field(body, "form_token")}}
	status, body := visit(link, form)
	if status != http.StatusOK {
		t.Fatalf("%s: got %v, want %v", body, status, http.StatusOK)
	}
	if !strings.Contains(body, textsOf["en"].SecondFactor) {
		t.Fatalf("%q lacks %q", body, textsOf["en"].SecondFactor)
	}
	form.Set("challenge", field(body, "challenge"))
	form.Set("code", "aaaaa-bbbbb")
	status, body = visit(codePage, form)
	if status != http.StatusUnauthorized {
		t.Errorf("%s: got %v, want %v", body, status, http.StatusUnauthorized)
	}
	if !strings.Contains(body, textsOf["en"].BadCode) {
		t.Errorf("%q lacks %q", body, textsOf["en"].BadCode)
	}
	form.Set("code", codes[0])
	status, body = visit(codePage, form)
	if status != http.StatusOK {
		t.Errorf("%s: got %v, want %v", body, status, http.StatusOK)
	}
	if !strings.Contains(body, textsOf["en"].SetPassword) {
		t.Errorf("it leads on to the password: %q lacks %q", body, textsOf["en"].SetPassword)
	}
}

func do(t *testing.T, client *http.Client, request *http.Request) (int, string) {
	t.Helper()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if errNow := errors.Join(err, response.Body.Close()); errNow != nil {
		t.Fatal(errNow)
	}
	return response.StatusCode, string(body)
}
