package httpapi

import (
	"context"
	"flag"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/signin"
)

var screenshots = flag.String("screenshots", "", "directory for pictures of the pages")

// browser is a tab of a real browser.
type browser struct {
	*testing.T
	ctx   context.Context
	url   string
	shots int
}

func openBrowser(t *testing.T, url string) *browser {
	t.Helper()
	names := []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"}
	if !slices.ContainsFunc(names, func(name string) bool { _, err := exec.LookPath(name); return err == nil }) {
		t.Fatal("the pages are tested in a real browser, and there is none here: apt-get install -y chromium " +
			"(scripts/setup does it)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.DisableGPU)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	return &browser{T: t, ctx: ctx, url: url}
}

func (b *browser) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.ctx, patience)
}

// open goes to a page and gives the status of the answer.
func (b *browser) open(path string) int { return b.load(chromedp.Navigate(b.url + path)) }

// send fills fields and sends the form.
func (b *browser) send(fields ...[2]string) int {
	b.Helper()
	ctx, cancel := b.within()
	defer cancel()
	for _, field := range fields {
		js[string](b, `document.getElementById("`+field[0]+`").value = ""`)
		if err := chromedp.Do(ctx, chromedp.SendKeys(chromedp.CSS("#"+field[0]), field[1])); err != nil {
			b.Fatal(err)
		}
	}
	return b.load(chromedp.Click(chromedp.CSS("button")))
}

func (b *browser) load(step chromedp.Action[chromedp.Void]) int {
	b.Helper()
	ctx, cancel := b.within()
	defer cancel()
	response, err := chromedp.RunResponse(ctx, step)
	if err != nil {
		b.Fatal(err)
	}
	b.look()
	return int(response.Status)
}

// js evaluates an expression.
func js[T any](b *browser, expression string) T {
	b.Helper()
	ctx, cancel := b.within()
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.Fatalf("%s: %v", expression, err)
	}
	return value
}

func (b *browser) heading() string { return js[string](b, `document.querySelector("h1").innerText`) }

func (b *browser) problem() string {
	return js[string](b, `(document.querySelector("[role=alert]") || {innerText: ""}).innerText`)
}

// look checks what every page must keep: the style is loaded, narrow screens need no scrolling to the side, every field
// has a label and what describes it.
func (b *browser) look() {
	b.Helper()
	ctx, cancel := b.within()
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(320, 640)); err != nil {
		b.Fatal(err)
	}
	if got := js[float64](b, `document.documentElement.scrollWidth`); got > 320.0 {
		b.Errorf("%s on a narrow screen: got %v, want at most 320.0", b.heading(), got)
	}
	if got := js[string](b, `getComputedStyle(document.querySelector("header")).display`); got != "flex" {
		b.Errorf(`the style: got %q, want "flex"`, got)
	}
	unlabelled := js[[]string](b, `[...document.querySelectorAll("input:not([type=hidden])")].filter(
		i => i.labels.length != 1 || (i.getAttribute("aria-describedby") || "").split(" ").some(
			id => id && !document.getElementById(id))).map(i => i.id)`)
	if len(unlabelled) != 0 {
		b.Errorf("fields without a label: got %v, want nothing", unlabelled)
	}
	if got := js[float64](b, `document.scripts.length`); got != 0 {
		b.Errorf("js[float64](b, `document.scripts.length`) = %v, want nothing", got)
	}
	if *screenshots == "" {
		return
	}
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.Fatal(err)
	}
	b.shots++
	name := filepath.Join(*screenshots, js[string](b, `document.documentElement.lang`)+"-"+string(rune('a'+b.shots))+
		".png")
	if err := os.WriteFile(name, picture, 0o600); err != nil {
		b.Fatal(err)
	}
}

// In a real browser, in each language: the first login with a cabinet password, an own password, and a forgotten one.
func TestPagesInABrowser(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	const cabinet = "the cabinet of Nova"
	set := a.call(t, a.admin, http.MethodPut, "/companies/"+company+"/cabinet-password",
		map[string]any{"password": cabinet})
	if set.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", set, set.status, http.StatusOK)
	}
	b := openBrowser(t, a.url)
	for _, lang := range domain.Languages {
		b.shots = 0
		say := textsOf[lang]
		email := lang + "@example.com"
		id := uuid.MustParse(a.create(t, "/users", map[string]any{"email": email, "company_id": company}))
		query := "?lang=" + lang

		if got := b.open("/first_login" + query); got != http.StatusOK {
			t.Fatalf(`b.open("/first_login"+query) = %v, want %v`, got, http.StatusOK)
		}
		if lang != "en" {
			if got := b.open("/first_login/" + query); got != http.StatusOK {
				t.Fatalf(`b.open("/first_login/"+query) = %v, want %v`, got, http.StatusOK)
			}
		}
		if got := js[string](b, `document.documentElement.lang`); got != lang {
			t.Errorf("js[string](b, `document.documentElement.lang`) = %q, want %q", got, lang)
		}
		if got := b.heading(); got != say.AskFirstLogin {
			t.Errorf("b.heading() = %q, want %q", got, say.AskFirstLogin)
		}
		if got := b.send([2]string{"email", "no address"},
			[2]string{"cabinet_password", cabinet}); got != http.StatusUnprocessableEntity {
			t.Errorf("got %v, want %v", got, http.StatusUnprocessableEntity)
		}
		if got := b.problem(); got != say.BadEmail {
			t.Errorf("b.problem() = %q, want %q", got, say.BadEmail)
		}
		if got := b.send([2]string{"email", email}, [2]string{"cabinet_password", cabinet}); got != http.StatusOK {
			t.Fatalf("got %v, want %v", got, http.StatusOK)
		}
		if got := b.heading(); got != say.LinkSent {
			t.Errorf("b.heading() = %q, want %q", got, say.LinkSent)
		}

		link := "/first_login/" + a.linkToken(t, id, signin.FirstLoginRequested{}.EventType()) + query
		for range 2 { // opening it does not use it up
			if got := b.open(link); got != http.StatusOK {
				t.Fatalf("b.open(link) = %v, want %v", got, http.StatusOK)
			}
			if got := b.heading(); got != say.FirstLogin {
				t.Errorf("b.heading() = %q, want %q", got, say.FirstLogin)
			}
		}
		if got := b.send(); got != http.StatusOK {
			t.Fatalf("b.send() = %v, want %v", got, http.StatusOK)
		}
		if got := b.heading(); got != say.SetPassword {
			t.Errorf("b.heading() = %q, want %q", got, say.SetPassword)
		}
		if got := js[string](b, `location.pathname + location.search`); got != "/first_login/password"+query {
			t.Errorf("js[string](b, `location.pathname + location.search`) = %q, want %q", got,
				"/first_login/password"+query)
		}
		for name, c := range map[string]struct{ password, repeated, problem string }{
			"missing": {"", "", say.Missing}, "too short": {"short", "short", say.TooShort},
			"repeated differently": {annasPassword, annasPassword + "x", say.Differs},
			"too weak":             {"password1234", "password1234", say.TooWeak},
		} {
			t.Run(name, func(t *testing.T) {
				if got := b.send([2]string{"new_password", c.password},
					[2]string{"repeat_password", c.repeated}); got != http.StatusUnprocessableEntity {
					t.Errorf("got %v, want %v", got, http.StatusUnprocessableEntity)
				}
				if got := b.problem(); got != c.problem {
					t.Errorf("b.problem() = %q, want %q", got, c.problem)
				}
			})
		}
		if got := b.send([2]string{"new_password", annasPassword},
			[2]string{"repeat_password", annasPassword}); got != http.StatusOK {
			t.Fatalf("got %v, want %v", got, http.StatusOK)
		}
		if got := b.heading(); got != say.PasswordSet {
			t.Errorf("b.heading() = %q, want %q", got, say.PasswordSet)
		}
		if got := a.signInAs(t, email, annasPassword).status; got != http.StatusCreated {
			t.Errorf("a.signInAs(t, email, annasPassword).status = %v, want %v", got, http.StatusCreated)
		}
		if got := b.open(link); got != http.StatusGone {
			t.Errorf("b.open(link) = %v, want %v", got, http.StatusGone)
		}
		if got := b.heading(); got != say.DeadLink {
			t.Errorf("b.heading() = %q, want %q", got, say.DeadLink)
		}
		if got := b.open("/first_login/password" + query); got != http.StatusConflict {
			t.Errorf("there is a password already: got %v, want %v", got, http.StatusConflict)
		}

		if got := b.open("/password_reset/" + query); got != http.StatusOK {
			t.Fatalf(`b.open("/password_reset/"+query) = %v, want %v`, got, http.StatusOK)
		}
		if got := b.send([2]string{"email", ""}); got != http.StatusUnprocessableEntity {
			t.Errorf(`b.send([2]string{"email", ""}) = %v, want %v`, got, http.StatusUnprocessableEntity)
		}
		if got := b.problem(); got != say.BadEmail {
			t.Errorf("b.problem() = %q, want %q", got, say.BadEmail)
		}
		if got := b.send([2]string{"email", email}); got != http.StatusOK {
			t.Fatalf(`b.send([2]string{"email", email}) = %v, want %v`, got, http.StatusOK)
		}
		if got := b.heading(); got != say.LinkSent {
			t.Errorf("b.heading() = %q, want %q", got, say.LinkSent)
		}
		link = "/password_reset/" + a.linkToken(t, id, signin.ResetLinkRequested{}.EventType()) + query
		if got := b.open(link); got != http.StatusOK {
			t.Fatalf("b.open(link) = %v, want %v", got, http.StatusOK)
		}
		if got := b.send([2]string{"new_password", adminPassword},
			[2]string{"repeat_password", adminPassword}); got != http.StatusOK {
			t.Fatalf("got %v, want %v", got, http.StatusOK)
		}
		if got := b.heading(); got != say.PasswordSet {
			t.Errorf("b.heading() = %q, want %q", got, say.PasswordSet)
		}
		if got := a.signInAs(t, email, adminPassword).status; got != http.StatusCreated {
			t.Errorf("a.signInAs(t, email, adminPassword).status = %v, want %v", got, http.StatusCreated)
		}
		if got := b.open(link); got != http.StatusGone {
			t.Errorf("b.open(link) = %v, want %v", got, http.StatusGone)
		}
		if got := b.open("/first_login/password" + query); got != http.StatusUnauthorized {
			t.Errorf("the reset ended the session: got %v, want %v", got, http.StatusUnauthorized)
		}
	}
}
