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
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
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
		t.Fatal("the pages are tested in a real browser, and there is none here: apt-get install -y chromium (scripts/setup does it)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.DisableGPU)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx), "start the browser")
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
		require.NoError(b, chromedp.Do(ctx, chromedp.SendKeys(chromedp.CSS("#"+field[0]), field[1])))
	}
	return b.load(chromedp.Click(chromedp.CSS("button")))
}

func (b *browser) load(step chromedp.Action[chromedp.Void]) int {
	b.Helper()
	ctx, cancel := b.within()
	defer cancel()
	response, err := chromedp.RunResponse(ctx, step)
	require.NoError(b, err)
	b.look()
	return int(response.Status)
}

// js evaluates an expression.
func js[T any](b *browser, expression string) T {
	b.Helper()
	ctx, cancel := b.within()
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(b, err, expression)
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
	require.NoError(b, chromedp.Do(ctx, chromedp.EmulateViewport(320, 640)))
	assert.LessOrEqual(b, js[float64](b, `document.documentElement.scrollWidth`), 320.0, "%s on a narrow screen", b.heading())
	assert.Equal(b, "flex", js[string](b, `getComputedStyle(document.querySelector("header")).display`), "the style")
	assert.Empty(b, js[[]string](b, `[...document.querySelectorAll("input:not([type=hidden])")].filter(i => i.labels.length != 1 ||
		(i.getAttribute("aria-describedby") || "").split(" ").some(id => id && !document.getElementById(id))).map(i => i.id)`), "fields without a label")
	assert.Zero(b, js[float64](b, `document.scripts.length`))
	if *screenshots == "" {
		return
	}
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	require.NoError(b, err)
	b.shots++
	name := filepath.Join(*screenshots, js[string](b, `document.documentElement.lang`)+"-"+string(rune('a'+b.shots))+".png")
	require.NoError(b, os.WriteFile(name, picture, 0o600))
}

// In a real browser, in each language: the first login with a cabinet password, an own password, and a forgotten one.
func TestPagesInABrowser(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	company := a.create(t, "/companies", map[string]any{"name": "Nova"})
	const cabinet = "the cabinet of Nova"
	set := a.call(t, a.admin, http.MethodPut, "/companies/"+company+"/cabinet-password", map[string]any{"password": cabinet})
	require.Equal(t, http.StatusOK, set.status, set)
	b := openBrowser(t, a.url)
	for _, lang := range domain.Languages {
		b.shots = 0
		say := textsOf[lang]
		email := lang + "@example.com"
		id := uuid.MustParse(a.create(t, "/users", map[string]any{"email": email, "company_id": company}))
		query := "?lang=" + lang

		require.Equal(t, http.StatusOK, b.open("/first_login"+query))
		if lang != "en" {
			require.Equal(t, http.StatusOK, b.open("/first_login/"+query))
		}
		assert.Equal(t, lang, js[string](b, `document.documentElement.lang`))
		assert.Equal(t, say.AskFirstLogin, b.heading())
		assert.Equal(t, http.StatusUnprocessableEntity, b.send([2]string{"email", "no address"}, [2]string{"cabinet_password", cabinet}))
		assert.Equal(t, say.BadEmail, b.problem())
		require.Equal(t, http.StatusOK, b.send([2]string{"email", email}, [2]string{"cabinet_password", cabinet}))
		assert.Equal(t, say.LinkSent, b.heading())

		link := "/first_login/" + a.linkToken(t, id, user.FirstLoginRequested{}.EventType()) + query
		for range 2 { // opening it does not use it up
			require.Equal(t, http.StatusOK, b.open(link))
			assert.Equal(t, say.FirstLogin, b.heading())
		}
		require.Equal(t, http.StatusOK, b.send())
		assert.Equal(t, say.SetPassword, b.heading())
		assert.Equal(t, "/first_login/password"+query, js[string](b, `location.pathname + location.search`))
		for problem, passwords := range map[string][2]string{
			say.Missing: {"", ""}, say.TooShort: {"short", "short"}, say.Differs: {annasPassword, annasPassword + "x"}, say.TooWeak: {"password1234", "password1234"},
		} {
			assert.Equal(t, http.StatusUnprocessableEntity, b.send([2]string{"new_password", passwords[0]}, [2]string{"repeat_password", passwords[1]}))
			assert.Equal(t, problem, b.problem())
		}
		require.Equal(t, http.StatusOK, b.send([2]string{"new_password", annasPassword}, [2]string{"repeat_password", annasPassword}))
		assert.Equal(t, say.PasswordSet, b.heading())
		assert.Equal(t, http.StatusCreated, a.signInAs(t, email, annasPassword).status)
		assert.Equal(t, http.StatusGone, b.open(link))
		assert.Equal(t, say.DeadLink, b.heading())
		assert.Equal(t, http.StatusConflict, b.open("/first_login/password"+query), "there is a password already")

		require.Equal(t, http.StatusOK, b.open("/password_reset/"+query))
		assert.Equal(t, http.StatusUnprocessableEntity, b.send([2]string{"email", ""}))
		assert.Equal(t, say.BadEmail, b.problem())
		require.Equal(t, http.StatusOK, b.send([2]string{"email", email}))
		assert.Equal(t, say.LinkSent, b.heading())
		link = "/password_reset/" + a.linkToken(t, id, user.PasswordResetRequested{}.EventType()) + query
		require.Equal(t, http.StatusOK, b.open(link))
		require.Equal(t, http.StatusOK, b.send([2]string{"new_password", adminPassword}, [2]string{"repeat_password", adminPassword}))
		assert.Equal(t, say.PasswordSet, b.heading())
		assert.Equal(t, http.StatusCreated, a.signInAs(t, email, adminPassword).status)
		assert.Equal(t, http.StatusGone, b.open(link))
		assert.Equal(t, http.StatusUnauthorized, b.open("/first_login/password"+query), "the reset ended the session")
	}
}
