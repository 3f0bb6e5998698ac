package console

import (
	"bytes"
	"errors"
	"image/png"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pquerna/otp"

	"github.com/secboard/secboard/domain"
)

const (
	signInPage = "/sign-in"
	codePage   = "/sign-in/code"
	setupPage  = "/two-factor"

	// deviceCookie holds the address of a new device, with its secret, until it is confirmed: the API shows it once.
	deviceCookie = "secboard_device"
	deviceTime   = 30 * time.Minute
)

// addSignIn adds the pages by which people come in and go.
func (c *Console) addSignIn() {
	c.mux.Handle("GET "+signInPage, c.handler(door, (*visit).openSignIn))
	c.mux.Handle("POST "+signInPage, c.handler(door, (*visit).sendSignIn))
	c.mux.Handle("GET "+codePage, c.handler(door, func(v *visit) error { return v.goTo(signInPage, "") }))
	c.mux.Handle("POST "+codePage, c.handler(door, (*visit).sendCode))
	c.mux.Handle("POST /sign-out", c.handler(limited, (*visit).signOut))
	c.mux.Handle("GET "+setupPage, c.handler(limited, (*visit).openSetup))
	c.mux.Handle("POST "+setupPage, c.handler(limited, (*visit).startSetup))
	c.mux.Handle("POST "+setupPage+"/confirm", c.handler(limited, (*visit).confirmSetup))
	c.mux.Handle("GET "+setupPage+"/qr.png", c.handler(limited, (*visit).setupPicture))
	c.mux.Handle("POST "+setupPage+"/backup-codes.txt", c.handler(limited, (*visit).saveCodes))
}

// entryForm is what the pages at the door show.
type entryForm struct {
	Email     string
	Challenge string
	Next      string // where to go afterwards
	Ended     bool   // the session has ended
	Left      bool   // the person signed out
	Sent      bool   // what was typed was sent, and is not kept
}

func (v *visit) openSignIn() error {
	next := localPath(v.query("next"))
	if v.session != nil {
		return v.goTo(next, "")
	}
	return v.show("signin.html", entryForm{Next: next, Left: v.query("left") != ""})
}

// showEnded asks somebody to sign in who has to, and returns them to where they wanted to go.
func (v *visit) showEnded() error {
	if isSafe(v.r.Method) && !v.ended {
		target := signInPage
		if v.r.URL.Path != "/" {
			target += "?next=" + url.QueryEscape(v.r.URL.RequestURI())
		}
		http.Redirect(v.w, v.r, target, http.StatusSeeOther)
		return nil
	}
	form := entryForm{Ended: true, Next: v.r.URL.RequestURI()}
	if !isSafe(v.r.Method) {
		form.Next, form.Sent = localPath(refererPath(v.r)), true
	}
	v.session = nil
	v.setCookie(sessionCookie, "", -time.Second)
	return v.showWith(http.StatusUnauthorized, "signin.html", form, nil)
}

// refererPath is the page from which a form was sent, where the browser says so.
func refererPath(r *http.Request) string {
	from, err := url.Parse(r.Header.Get("Referer"))
	if err != nil || from.Host != r.Host {
		return "/"
	}
	return from.RequestURI()
}

// step is what follows right credentials: the API's answer to whoever signs in.
type step struct {
	Next      string `json:"next"`
	Challenge string `json:"challenge"`
	Token     string `json:"token"`
}

func (v *visit) sendSignIn() error {
	form := entryForm{Email: v.field("email"), Next: localPath(v.field("next"))}
	v.leaveOldSession()
	answered, err := v.call(http.MethodPost, "/sessions",
		map[string]string{"email": form.Email, "password": v.r.PostForm.Get("password")})
	if err != nil {
		return v.refusedEntry("signin.html", form, err)
	}
	return v.enter(answered, form)
}

// leaveOldSession makes the API see somebody who is not signed in.
func (v *visit) leaveOldSession() { v.token, v.session = "", nil }

// refusedEntry shows a form at the door again, with the API's one answer to all that is wrong.
func (v *visit) refusedEntry(page string, form entryForm, err error) error {
	refused, ok := errors.AsType[*problem](err)
	if !ok {
		return err
	}
	switch refused.Code {
	case domain.CodeInvalidCredentials, domain.CodeInvalid, domain.CodeRateLimited:
		code := refused.Code
		if code == domain.CodeInvalid {
			code = domain.CodeInvalidCredentials
		}
		return v.showWith(refused.Status, page, form, formErrors{"": v.texts.text("problem." + string(code))})
	}
	return err
}

// enter continues after right credentials: with the second factor, with setting it up, or inside.
func (v *visit) enter(answered *answer, form entryForm) error {
	next, err := decode[step](answered)
	if err != nil {
		return err
	}
	if next.Next == "two_factor" {
		form.Challenge = next.Challenge
		return v.show("signin-code.html", form)
	}
	v.passCookies(answered)
	v.setCookie(formCookie, "", -time.Second)
	if next.Next == "two_factor_setup" {
		v.token = next.Token
		if err := v.signedInAs(); err != nil {
			return err
		}
		return v.startSetup()
	}
	return v.goTo(form.Next, "")
}

// signedInAs finds out who has just signed in.
func (v *visit) signedInAs() error {
	found, err := get[session](v, "/sessions/current")
	if err == nil {
		v.session = &found
	}
	return err
}

func (v *visit) sendCode() error {
	form := entryForm{Next: localPath(v.field("next")), Challenge: v.field("challenge")}
	v.leaveOldSession()
	body := map[string]string{"challenge": form.Challenge, "code": strings.ReplaceAll(v.field("code"), " ", "")}
	if code := v.field("backup_code"); code != "" {
		body = map[string]string{"challenge": form.Challenge, "backup_code": code}
	}
	answered, err := v.call(http.MethodPost, "/sessions/two-factor", body)
	if err != nil {
		return v.refusedEntry("signin-code.html", form, err)
	}
	return v.enter(answered, form)
}

func (v *visit) signOut() error {
	answered, err := v.call(http.MethodDelete, "/sessions/current", nil)
	if err != nil && statusOf(err) != http.StatusUnauthorized {
		return err
	}
	v.passCookies(answered)
	v.setCookie(positionCookie, "", -time.Second)
	return v.goTo(signInPage+"?left=1", "")
}

// device is a new one for two-factor, which is not confirmed yet.
type device struct {
	Secret string `json:"secret"`
	URI    string `json:"otpauth_uri"`
}

// Groups are the secret's letters in groups of four, as people type them.
func (d device) Groups() string {
	var groups []string
	for i := 0; i < len(d.Secret); i += 4 {
		groups = append(groups, d.Secret[i:min(i+4, len(d.Secret))])
	}
	return strings.Join(groups, " ")
}

// startSetup makes a new device. Its address stays in the browser, because the API shows it only once.
func (v *visit) startSetup() error {
	answered, err := v.call(http.MethodPost, "/me/two-factor", nil)
	if err != nil {
		return v.refusedSetup(err)
	}
	prepared, err := decode[device](answered)
	if err != nil {
		return err
	}
	http.SetCookie(v.w, v.cookie(deviceCookie, url.QueryEscape(prepared.URI), setupPage, deviceTime))
	return v.goTo(setupPage, "")
}

// refusedSetup leads on who has a device already.
func (v *visit) refusedSetup(err error) error {
	if codeOf(err) == domain.CodeTwoFactorEnrolled {
		return v.goTo(settingsPage, "")
	}
	return err
}

// prepared is the device that is being set up.
func (v *visit) prepared() (device, *otp.Key, bool) {
	cookie, err := v.r.Cookie(deviceCookie)
	if err != nil {
		return device{}, nil, false
	}
	uri, err := url.QueryUnescape(cookie.Value)
	if err != nil {
		return device{}, nil, false
	}
	key, err := otp.NewKeyFromURL(uri)
	if err != nil || key.Secret() == "" || key.AccountName() != v.session.User.Email {
		return device{}, nil, false
	}
	return device{Secret: key.Secret(), URI: uri}, key, true
}

// setupForm is the page that sets up a device.
type setupForm struct {
	Device   device
	Ready    bool // there is a device to show
	Required bool
}

func (v *visit) setupForm() setupForm {
	found, _, ready := v.prepared()
	return setupForm{Device: found, Ready: ready, Required: v.session.User.RequireTwoFactor}
}

func (v *visit) openSetup() error {
	if v.session.User.TwoFactor.Enrolled && !v.session.Limited {
		if _, _, ready := v.prepared(); !ready {
			return v.goTo(settingsPage, "")
		}
	}
	return v.show("two-factor.html", v.setupForm())
}

// setupPicture is the QR code, at an address of its own: a page that is kept somewhere does not have it.
func (v *visit) setupPicture() error {
	_, key, ready := v.prepared()
	if !ready {
		return v.nothing()
	}
	picture, err := key.Image(352, 352)
	if err != nil {
		return err
	}
	var content bytes.Buffer
	if err := png.Encode(&content, picture); err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "image/png")
	v.w.Header().Set("Cache-Control", "no-store")
	return v.write(content.Bytes())
}

// newCodes are backup codes, which are shown only now.
type newCodes struct {
	Codes []string `json:"backup_codes"`
	Setup bool     // the last step of setting up a device
}

func (v *visit) confirmSetup() error {
	answered, err := v.call(http.MethodPost, "/me/two-factor/confirm",
		map[string]string{"code": strings.ReplaceAll(v.field("code"), " ", "")})
	if err != nil {
		if wrong, ok := v.wrong(err); ok {
			return v.showWrong("two-factor.html", v.setupForm(), wrong)
		}
		return err
	}
	codes, err := decode[newCodes](answered)
	if err != nil {
		return err
	}
	codes.Setup = true
	http.SetCookie(v.w, v.cookie(deviceCookie, "", setupPage, -time.Second))
	v.session.Limited = false
	return v.show("backup-codes.html", codes)
}

// saveCodes gives the codes that the page shows back as a file: they are kept nowhere on the server.
func (v *visit) saveCodes() error {
	var lines strings.Builder
	for _, code := range v.r.PostForm["backup_code"] {
		if len(code) > 40 || strings.ContainsAny(code, "\r\n") {
			return &problem{Status: http.StatusBadRequest, Code: domain.CodeMalformed}
		}
		lines.WriteString(code + "\n")
	}
	v.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	v.w.Header().Set("Content-Disposition", `attachment; filename="secboard-backup-codes.txt"`)
	return v.write([]byte(v.site.Name + " " + v.r.Host + " " + v.session.User.Email + "\n\n" + lines.String()))
}
