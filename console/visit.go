package console

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"

	"github.com/secboard/secboard/domain"
)

// Cookies of the console. The session's is the API's.
const (
	sessionCookie  = "secboard_session"
	formCookie     = "secboard_form"  // what forms of people repeat who are not signed in
	languageCookie = "secboard_lang"  // en, uk or ru
	themeCookie    = "secboard_theme" // dark or light; none: like the device
	positionCookie = "secboard_seen"  // what the next page must show at least
	noticeCookie   = "secboard_done"  // the text that the next page shows once
)

// visit is one request of one person.
type visit struct {
	*Console
	w       http.ResponseWriter
	r       *http.Request
	lang    string
	texts   *texts
	token   string // of the session
	session *session
	site    site
	ended   bool // there was a session, and it has ended

	newSecret string // of the form cookie that the answer sets
}

// site is what pages say about the installation.
type site struct {
	Name            string `json:"name"`
	DefaultLanguage string `json:"default_language"`
	TimeZone        string `json:"time_zone"`
	DefaultEmail    string `json:"default_email"`
}

// session is who is signed in and what they may do.
type session struct {
	Limited     bool               `json:"limited"`
	CSRFToken   string             `json:"csrf_token"`
	User        account            `json:"user"`
	Permissions domain.Permissions `json:"permissions"`
	Site        site               `json:"site"`
}

// audience says for whom a page is.
type audience int

const (
	people  audience = iota // who is signed in
	limited                 // also a session that may only set up two-factor
	door                    // everybody
)

// page adds a page for people who are signed in.
func (c *Console) page(pattern string, handle func(*visit) error) {
	c.mux.Handle(pattern, c.handler(people, handle))
}

func (c *Console) handler(who audience, handle func(*visit) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{Console: c, w: w, r: r, lang: languageOf(r, "")}
		v.texts = c.texts[cmp.Or(v.lang, "en")]
		v.headers()
		if err := v.serve(who, handle); err != nil {
			v.fail(err)
		}
	})
}

func (v *visit) headers() {
	header := v.w.Header()
	header.Set("Content-Security-Policy", contentSecurityPolicy)
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
}

// contentSecurityPolicy allows nothing inline and nothing from elsewhere.
const contentSecurityPolicy = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func (v *visit) serve(who audience, handle func(*visit) error) error {
	if err := v.begin(); err != nil {
		return err
	}
	if !isSafe(v.r.Method) {
		if err := v.readForm(); err != nil {
			return err
		}
	}
	switch {
	case who == door:
	case v.session == nil:
		return &problem{Status: http.StatusUnauthorized, Code: domain.CodeUnauthenticated}
	case v.session.Limited && who != limited:
		return &problem{Status: http.StatusForbidden, Code: domain.CodeTwoFactorSetupRequired}
	}
	return handle(v)
}

// begin finds out who is there, and in which language to speak.
func (v *visit) begin() error {
	if cookie, err := v.r.Cookie(sessionCookie); err == nil {
		v.token = cookie.Value
	}
	if v.token != "" {
		found, err := get[session](v, "/sessions/current")
		refused, isProblem := errors.AsType[*problem](err)
		switch {
		case err == nil:
			v.session, v.site = &found, found.Site
		case isProblem && refused.Status == http.StatusUnauthorized:
			v.token, v.ended = "", true
		default:
			return err
		}
	}
	if v.session == nil {
		var err error
		if v.site, err = get[site](v, "/site"); err != nil {
			return err
		}
	}
	own := ""
	if v.session != nil {
		own = v.session.User.Language
	}
	v.lang = cmp.Or(languageOf(v.r, own), v.site.DefaultLanguage)
	v.texts = v.Console.texts[v.lang]
	if chosen := v.r.URL.Query().Get("lang"); chosen == v.lang {
		v.setCookie(languageCookie, v.lang, 365*24*time.Hour)
	}
	if zone, err := time.LoadLocation(v.site.TimeZone); err == nil {
		v.zone.Store(zone)
	}
	return nil
}

// languageOf is the language that was chosen, else the person's own, else one that the browser accepts, else "".
func languageOf(r *http.Request, own string) string {
	chosen := r.URL.Query().Get("lang")
	kept := ""
	if cookie, err := r.Cookie(languageCookie); err == nil {
		kept = cookie.Value
	}
	for _, code := range []string{chosen, kept, own} {
		if slices.Contains(domain.Languages, code) {
			return code
		}
	}
	wanted, _, err := language.ParseAcceptLanguage(r.Header.Get("Accept-Language")) // sorted by preference
	if err != nil {
		return ""
	}
	for _, tag := range wanted {
		if base, _ := tag.Base(); slices.Contains(domain.Languages, base.String()) && tag != language.Und {
			return base.String()
		}
	}
	return ""
}

func isSafe(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// may says whether the person's permissions allow an action, be it in one company only. It decides what is shown; the
// API decides what is done.
func (v *visit) may(module string, action domain.Action) bool {
	return v.session != nil && (v.session.User.Superuser || v.session.Permissions.Allows(module, action))
}

// field is what was typed in, without spaces around it.
func (v *visit) field(name string) string { return strings.TrimSpace(v.r.PostForm.Get(name)) }

// query is a parameter of the address.
func (v *visit) query(name string) string { return v.r.URL.Query().Get(name) }

// setCookie sets a cookie of the console; a negative age removes it.
func (v *visit) setCookie(name, value string, age time.Duration) {
	http.SetCookie(v.w, v.cookie(name, value, "/", age))
}

func (v *visit) cookie(name, value, path string, age time.Duration) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: path, MaxAge: int(age.Seconds()), HttpOnly: true,
		SameSite: http.SameSiteLaxMode, Secure: v.w.Header().Get("Strict-Transport-Security") != ""}
}

// takeCookie gives a cookie's value and removes the cookie.
func (v *visit) takeCookie(name string) string {
	cookie, err := v.r.Cookie(name)
	if err != nil {
		return ""
	}
	v.setCookie(name, "", -time.Second)
	return cookie.Value
}

// context of the request.
func (v *visit) context() context.Context { return v.r.Context() }

// goTo continues at another address of ours after something was done. done is the key of the text that the next page
// says about it, "" for none; the values are its places.
func (v *visit) goTo(path, done string, values ...any) error {
	if done != "" {
		v.setCookie(noticeCookie, url.QueryEscape(v.texts.text(done, values...)), time.Minute)
	}
	http.Redirect(v.w, v.r, path, http.StatusSeeOther)
	return nil
}

// localPath is an address of this site that came with a request; what leads elsewhere becomes the home page.
func localPath(address string) string {
	parsed, err := url.Parse(address)
	if err != nil || parsed.IsAbs() || parsed.Host != "" || !strings.HasPrefix(address, "/") ||
		strings.HasPrefix(address, "//") || strings.ContainsAny(address, "\\\r\n\t") {
		return "/"
	}
	return address
}
