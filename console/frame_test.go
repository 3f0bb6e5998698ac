package console

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// htmx.org 2.0.11 of npm, dist/htmx.min.js. For another version: npm pack htmx.org@<version>, and its checksum here.
const htmxSHA256 = "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"

func TestHTMXIsTheOneThatWasChosen(t *testing.T) {
	t.Parallel()
	content, err := staticFiles.ReadFile("static/htmx.min.js")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	if got := hex.EncodeToString(sum[:]); got != htmxSHA256 {
		t.Errorf("static/htmx.min.js has the checksum %s, want %s", got, htmxSHA256)
	}
}

func TestPagesAllowNothingInlineAndNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	admin := s.admin(t)
	for _, page := range []*shown{
		s.visitor(t).open("/sign-in"), s.visitor(t).open("/password_reset/"), s.visitor(t).open("/first_login/made-up"),
		admin.open("/"), admin.open("/me"), admin.open("/me/settings"), admin.open("/me/access"),
		admin.open("/nothing"),
	} {
		if got := page.header.Get("Content-Security-Policy"); got != contentSecurityPolicy {
			t.Errorf("%s: Content-Security-Policy = %q", page.path(), got)
		}
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"X-Content-Type-Options": "nosniff", "Content-Type": "text/html; charset=utf-8",
		} {
			if got := page.header.Get(name); got != want {
				t.Errorf("%s: %s = %q, want %q", page.path(), name, got, want)
			}
		}
		for _, n := range page.all(func(*html.Node) bool { return true }) {
			for _, a := range n.Attr {
				inline := a.Key == "style" || strings.HasPrefix(a.Key, "on")
				link := a.Key == "href" || a.Key == "src" || a.Key == "action"
				if inline || link && a.Val != "" && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") {
					t.Errorf("%s: <%s %s=%q>", page.path(), n.Data, a.Key, a.Val)
				}
			}
			if n.Data == "style" || n.Data == "script" && attribute(n, "src") == "" {
				t.Errorf("%s has an inline %s", page.path(), n.Data)
			}
		}
	}
}

func TestFilesAreKeptForEver(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	door := s.visitor(t).open("/sign-in")
	for _, n := range door.all(func(n *html.Node) bool { return n.Data == "link" || n.Data == "script" }) {
		address := attribute(n, "href") + attribute(n, "src")
		file := door.v.open(address)
		if file.status != http.StatusOK || !strings.Contains(file.header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", address, file.status, file.header)
		}
	}
	if got := door.v.open("/console/console.000000000000.css").status; got != http.StatusNotFound {
		t.Errorf("a file that there is not: got %d, want 404", got)
	}
}

func TestTheLanguageIsChosenAndRemembered(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	v := s.visitor(t)
	v.lang = "de, ru;q=0.5, en;q=0.1"
	v.open("/sign-in").is(http.StatusOK, "Войти").send("Українська").is(http.StatusOK, "Увійти")
	v.open("/password_reset/").is(http.StatusOK, "Відновлення пароля")
	v.open("/sign-in?lang=en").is(http.StatusOK, "Sign in")
	v.open("/sign-in").is(http.StatusOK, "Sign in").
		send("Sign in", "email", adminEmail, "password", adminPassword).is(http.StatusOK, "Home").
		send("Українська").is(http.StatusOK, "Головна")

	t.Log("it is the person's from then on, in other browsers too")
	s.signedIn(t, adminEmail).open("/me").is(http.StatusOK, "Особистий кабінет")
}

func TestTheLookIsRemembered(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	v := s.admin(t)
	theme := func(p *shown) string {
		return attribute(p.find(func(n *html.Node) bool { return n.Data == "html" }), "data-theme")
	}
	settings := v.open("/me/settings")
	dark := settings.sendForm(settings.find(func(n *html.Node) bool {
		return n.Data == "form" && attribute(n, "action") == "/preferences" && strings.Contains(textOf(n), "Look")
	}), settings.find(func(n *html.Node) bool { return n.Data == "button" && textOf(n) == "Save" }),
		[]string{"theme", "dark"})
	if got := theme(dark); got != "dark" {
		t.Errorf("the look is %q, want dark", got)
	}
	if got := theme(v.open("/me")); got != "dark" {
		t.Errorf("the look of the next page is %q, want dark", got)
	}
}

func TestWhatGoesWrongHasAPage(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	v := s.admin(t)
	v.open("/nothing").is(http.StatusNotFound, "Not found")
	s.visitor(t).open("/nothing").is(http.StatusNotFound, "Not found")

	t.Log("a page never shows less than what the person has saved")
	address, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	v.client.Jar.SetCookies(address, []*http.Cookie{{Name: positionCookie, Value: "999999999", Path: "/"}})
	behind := v.open("/me").is(http.StatusServiceUnavailable, "Not up to date").has("Try again")
	if got := behind.header.Get("Refresh"); got != "10" {
		t.Errorf("Refresh = %q, want 10", got)
	}
}
