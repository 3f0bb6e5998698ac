package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	_ "embed" // the page and its style
	"errors"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/domain/user"
)

// The pages behind the links in mails. They need no script. Opening one never uses a link up: mail filters and previews
// open links too.
var (
	//go:embed pages/page.html
	pageSource string
	//go:embed pages/page.css
	pageStyle []byte

	pageTemplate = template.Must(template.New("page").Parse(pageSource))
)

const (
	pagePolicy  = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	formCookie  = "secboard_form" // its value is repeated in the form: a page of another site can't know it
	maxPageBody = 16 << 10

	resetPage      = "/password_reset/"
	firstLoginPage = "/first_login/"
	passwordPage   = firstLoginPage + "password"
	codePage       = firstLoginPage + "code"
)

// page is what the template shows.
type page struct {
	Status      int // of the answer; 0: 200
	Lang, Site  string
	Languages   []pageLanguage
	T           pageTexts
	Title, Text string
	Announce    bool   // to screen readers: the outcome of what was sent
	Error       string // what was wrong with what was sent
	Fields      []pageField
	Submit      string // of the button; without one there is no form
	Action      string // where the form goes; "": to the same page
	FormToken   string
	Challenge   string
	Link        *pageLink
	redirect    string
}

type pageLanguage struct {
	Code, Name string
	Current    bool
}

type pageField struct {
	Name, Label, Type, Autocomplete, Hint, Value string
	Wrong                                        bool
}

type pageLink struct{ Path, Text string }

// visit is a request for a page.
type visit struct {
	request *http.Request
	answer  http.Header
	token   string // of the link in the path
	lang    string
	t       pageTexts
}

// field is what was typed in.
func (v *visit) field(name string) string { return v.request.PostForm.Get(name) }

// addPages adds the pages.
func (s *server) addPages() {
	s.root("/pages/page.css", func(c *gin.Context) { c.Data(http.StatusOK, "text/css; charset=utf-8", pageStyle) })
	for _, path := range []string{resetPage, firstLoginPage} {
		s.root(strings.TrimSuffix(path, "/"), func(c *gin.Context) { c.Redirect(http.StatusPermanentRedirect, path) })
	}
	type handler = func(context.Context, *visit) (page, error)
	for _, p := range []struct {
		path         string
		opened, sent handler
	}{
		{resetPage, showAskReset, s.sentAskReset},
		{resetPage + ":token", s.openedReset, s.sentReset},
		{firstLoginPage, showAskFirstLogin, s.sentAskFirstLogin},
		{firstLoginPage + ":token", s.openedFirstLogin, s.sentFirstLogin},
		{passwordPage, s.openedPassword, s.sentPassword},
		{codePage, func(context.Context, *visit) (page, error) {
			return page{redirect: firstLoginPage}, nil
		}, s.sentCode},
	} {
		s.root(p.path, s.page(p.opened))
		s.engine.POST(p.path, s.page(func(ctx context.Context, v *visit) (page, error) {
			if err := s.readForm(v.request); err != nil {
				return page{}, err
			}
			return p.sent(ctx, v)
		}))
	}
}

// page makes a handler that answers with a page in the person's language.
func (s *server) page(show func(context.Context, *visit) (page, error)) gin.HandlerFunc {
	return func(c *gin.Context) {
		ctx, cancel := context.WithTimeout(c.Request.Context(), s.limits.request)
		defer cancel()
		c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxPageBody)
		site, err := s.ReadModels.Site(ctx)
		if err != nil {
			site.Name, site.DefaultLanguage = settings.DefaultSite.Name, settings.DefaultSite.DefaultLanguage
		}
		v := &visit{request: c.Request, answer: c.Writer.Header(), token: c.Param("token"),
			lang: pageLanguageOf(c.Request, site.DefaultLanguage)}
		v.t = textsOf[v.lang]
		var shown page
		if err == nil {
			shown, err = show(ctx, v)
		}
		if err != nil {
			shown = errorPage(ctx, v, err)
		}
		if shown.redirect != "" {
			c.Redirect(http.StatusSeeOther, shown.redirect+"?lang="+v.lang)
			return
		}
		shown.Lang, shown.T, shown.Site = v.lang, v.t, site.Name
		for _, code := range domain.Languages {
			shown.Languages = append(shown.Languages,
				pageLanguage{Code: code, Name: languageNames[code], Current: code == v.lang})
		}
		if shown.Submit != "" {
			shown.FormToken = formToken(c)
		}
		var content bytes.Buffer
		if err := pageTemplate.Execute(&content, shown); err != nil {
			writeProblem(c, err)
			return
		}
		c.Header("Content-Security-Policy", pagePolicy)
		c.Header("Content-Language", v.lang)
		c.Data(cmp.Or(shown.Status, http.StatusOK), "text/html; charset=utf-8", content.Bytes())
	}
}

// pageLanguageOf is the language that was chosen on the page, else the browser's, else the site's.
func pageLanguageOf(r *http.Request, site string) string {
	if chosen := r.URL.Query().Get("lang"); slices.Contains(domain.Languages, chosen) {
		return chosen
	}
	return cmp.Or(languageOf(r.Header.Get("Accept-Language")), site)
}

// formToken is the value of the form cookie, which is set where there is none.
func formToken(c *gin.Context) string {
	if cookie, err := c.Request.Cookie(formCookie); err == nil && len(cookie.Value) == len(rand.Text()) {
		return cookie.Value
	}
	token := rand.Text()
	http.SetCookie(c.Writer, &http.Cookie{
		Name: formCookie, Value: token, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: infoOf(c.Request.Context()).https,
	})
	return token
}

// readForm reads what was sent and makes sure that it comes from a form of ours. The Origin of a page without referrer
// is null, so where the browser does not send Sec-Fetch-Site, over plain http, the token alone decides.
func (s *server) readForm(r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return tooLarge
		}
		return &refusal{status: http.StatusBadRequest, code: domain.CodeMalformed, detail: "the form can't be read"}
	}
	cookie, err := r.Cookie(formCookie)
	if err != nil || cookie.Value == "" || !hmac.Equal([]byte(cookie.Value), []byte(r.PostForm.Get("form_token"))) {
		return csrfFailed("the form comes from a page of another site")
	}
	if r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == "null" {
		return nil
	}
	return s.checkOrigin(r)
}

// errorPage says what went wrong in the person's language; the log has the rest.
func errorPage(ctx context.Context, v *visit, err error) page {
	problem := describe(ctx, err, v.answer.Set)
	text := v.t.WentWrong
	switch {
	case problem.Code == domain.CodeCSRFFailed, problem.Status == http.StatusRequestEntityTooLarge,
		problem.Status == http.StatusBadRequest:
		text = v.t.FormExpired
	case errors.Is(err, user.ErrLink):
		return deadLink(v)
	case errors.Is(err, commands.ErrCredentials):
		text = v.t.CannotSignIn
	case problem.Status == http.StatusTooManyRequests:
		text = v.t.TooMany
	case problem.Status == http.StatusServiceUnavailable:
		text = v.t.Unavailable
	}
	again := firstLoginPage
	if strings.HasPrefix(v.request.URL.Path, resetPage) {
		again = resetPage
	}
	return page{Status: problem.Status, Title: v.t.Failed, Text: text, Announce: true, Link: &pageLink{
		again, v.t.AskAgain,
	}}
}

// deadLink is told whoever comes with a link that can't be used.
func deadLink(v *visit) page {
	again := firstLoginPage
	if strings.HasPrefix(v.request.URL.Path, resetPage) {
		again = resetPage
	}
	return page{Status: http.StatusGone, Title: v.t.DeadLink, Text: v.t.DeadLinkText, Link: &pageLink{
		again, v.t.AskAgain,
	}}
}
