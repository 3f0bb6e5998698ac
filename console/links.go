package console

import (
	"net/http"
	"net/url"
	"unicode/utf8"

	"github.com/secboard/secboard/domain"
)

// The addresses that mails name.
const (
	resetPage      = "/password_reset/"
	firstLoginPage = "/first_login/"
	passwordPage   = firstLoginPage + "password"
)

// addLinks adds the pages behind the links in mails. Opening one never uses a link up: mail filters open them too.
func (c *Console) addLinks() {
	for _, path := range []string{resetPage, firstLoginPage} {
		c.mux.Handle("GET "+path[:len(path)-1], http.RedirectHandler(path, http.StatusPermanentRedirect))
	}
	for pattern, handle := range map[string]func(*visit) error{
		"GET " + resetPage + "{$}":           (*visit).openResetRequest,
		"POST " + resetPage + "{$}":          (*visit).askReset,
		"GET " + resetPage + "{token}":       (*visit).openReset,
		"POST " + resetPage + "{token}":      (*visit).sendReset,
		"GET " + firstLoginPage + "{$}":      (*visit).openFirstLoginRequest,
		"POST " + firstLoginPage + "{$}":     (*visit).askFirstLogin,
		"GET " + firstLoginPage + "{token}":  (*visit).openFirstLogin,
		"POST " + firstLoginPage + "{token}": (*visit).sendFirstLogin,
	} {
		c.mux.Handle(pattern, c.handler(door, handle))
	}
	c.mux.Handle("GET "+passwordPage, c.handler(limited, (*visit).openPassword))
	c.mux.Handle("POST "+passwordPage, c.handler(limited, (*visit).sendPassword))
}

// linkForm is what the pages about links show.
type linkForm struct {
	Email string
	Again string // where to ask for a new link
	Reset bool   // a password is reset, not set for the first time
}

func (v *visit) openResetRequest() error { return v.show("reset-ask.html", linkForm{}) }

func (v *visit) openFirstLoginRequest() error { return v.show("first-login-ask.html", linkForm{}) }

func (v *visit) askReset() error {
	form := linkForm{Email: v.field("email")}
	return v.askLink("reset-ask.html", "/password-resets", form, map[string]string{"email": form.Email})
}

func (v *visit) askFirstLogin() error {
	form := linkForm{Email: v.field("email")}
	return v.askLink("first-login-ask.html", "/first-logins", form,
		map[string]string{"email": form.Email, "cabinet_password": v.r.PostForm.Get("cabinet_password")})
}

// askLink asks for a link. The answer is the same whether there is such an account or not.
func (v *visit) askLink(page, path string, form linkForm, body map[string]string) error {
	wrong := formErrors{}
	if domain.EmailProblem(form.Email) != "" {
		wrong["email"] = v.texts.text("wrong.email")
	}
	if password, asked := body["cabinet_password"]; asked && password == "" {
		wrong["cabinet_password"] = v.texts.text("wrong.required")
	}
	if len(wrong) > 0 {
		return v.showWrong(page, form, wrong)
	}
	v.leaveOldSession()
	if _, err := v.call(http.MethodPost, path, body); err != nil {
		return err
	}
	return v.show("link-sent.html", form)
}

// deadLink is the page of a link that works no more.
func (v *visit) deadLink(again string, err error) error {
	if codeOf(err) != domain.CodeInvalidLink {
		return err
	}
	return v.showWith(http.StatusGone, "link-dead.html", linkForm{Again: again}, nil)
}

// tokenPath is the API's path for the link of this address.
func (v *visit) tokenPath(path string) string { return path + url.PathEscape(v.r.PathValue("token")) }

func (v *visit) openReset() error {
	if _, err := v.call(http.MethodGet, v.tokenPath("/password-resets/"), nil); err != nil {
		return v.deadLink(resetPage, err)
	}
	return v.show("password.html", linkForm{Reset: true})
}

// newPassword reads the new password, and says what is wrong with it that the API would say of each language the same.
func (v *visit) newPassword() (string, formErrors) {
	password := v.r.PostForm.Get("new_password")
	switch {
	case password == "":
		return "", formErrors{"new_password": v.texts.text("wrong.required")}
	case utf8.RuneCountInString(password) < 12:
		return "", formErrors{"new_password": v.texts.text("wrong.new_password.too_short")}
	case password != v.r.PostForm.Get("repeat_password"):
		return "", formErrors{"repeat_password": v.texts.text("wrong.repeat_password")}
	}
	return password, nil
}

func (v *visit) sendReset() error {
	password, wrong := v.newPassword()
	if wrong != nil {
		return v.showWrong("password.html", linkForm{Reset: true}, wrong)
	}
	v.leaveOldSession()
	_, err := v.call(http.MethodPost, v.tokenPath("/password-resets/"), map[string]string{"new_password": password})
	if err == nil {
		return v.show("password-set.html", nil)
	}
	if codeOf(err) == domain.CodeInvalidLink {
		return v.deadLink(resetPage, err)
	}
	if wrong, ok := v.wrong(err); ok {
		return v.showWrong("password.html", linkForm{Reset: true}, wrong)
	}
	return err
}

func (v *visit) openFirstLogin() error {
	if _, err := v.call(http.MethodGet, v.tokenPath("/first-logins/"), nil); err != nil {
		return v.deadLink(firstLoginPage, err)
	}
	return v.show("first-login.html", nil)
}

func (v *visit) sendFirstLogin() error {
	v.leaveOldSession()
	answered, err := v.call(http.MethodPost, v.tokenPath("/first-logins/"), nil)
	if codeOf(err) == domain.CodeInvalidLink {
		return v.deadLink(firstLoginPage, err)
	}
	if err != nil {
		return v.refusedEntry("link-dead.html", entryForm{}, err)
	}
	next, err := decode[step](answered)
	if err != nil {
		return err
	}
	if next.Next == "two_factor" {
		return v.show("signin-code.html", entryForm{Challenge: next.Challenge, Next: passwordPage})
	}
	v.passCookies(answered)
	return v.goTo(passwordPage, "")
}

// openPassword lets somebody who came by a first-login link set the first password.
func (v *visit) openPassword() error {
	if v.session.User.HasPassword {
		return v.goTo(settingsPage, "")
	}
	return v.show("password.html", linkForm{})
}

func (v *visit) sendPassword() error {
	password, wrong := v.newPassword()
	if wrong != nil {
		return v.showWrong("password.html", linkForm{}, wrong)
	}
	_, err := v.call(http.MethodPut, "/me/password", map[string]string{"new_password": password})
	if err != nil {
		if wrong, ok := v.wrong(err); ok {
			return v.showWrong("password.html", linkForm{}, wrong)
		}
		return err
	}
	if v.session.Limited || v.session.User.mustSetUp() {
		return v.startSetup()
	}
	return v.goTo("/", "done.password_set")
}
