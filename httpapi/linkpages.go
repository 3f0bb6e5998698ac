package httpapi

import (
	"context"
	"errors"
	"net/http"
	"unicode/utf8"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/httpapi/sessions"
	"github.com/secboard/secboard/projections"
)

func emailField(v *visit, wrong bool) pageField {
	return pageField{
		Name: "email", Label: v.t.Email, Type: "email", Autocomplete: "username", Value: v.field("email"), Wrong: wrong,
	}
}

func showAskReset(_ context.Context, v *visit) (page, error) {
	return page{Title: v.t.AskReset, Text: v.t.AskResetText, Fields: []pageField{emailField(v, false)},
		Submit: v.t.SendLink}, nil
}

func (s *server) sentAskReset(ctx context.Context, v *visit) (page, error) {
	if domain.EmailProblem(v.field("email")) != "" {
		again, err := showAskReset(ctx, v)
		again.Status, again.Error, again.Fields[0].Wrong = http.StatusUnprocessableEntity, v.t.BadEmail, true
		return again, err
	}
	return linkSent(v), s.askForReset(ctx, v.field("email"), v.lang)
}

// linkSent is the answer whether there is such an account or not.
func linkSent(v *visit) page {
	return page{Title: v.t.LinkSent, Text: v.t.LinkSentText, Announce: true}
}

// openedReset shows the form for a new password, if the link still works.
func (s *server) openedReset(ctx context.Context, v *visit) (page, error) {
	usable, err := s.Commands.ResetLinkUsable(ctx, v.token)
	if !usable || err != nil {
		return deadLink(v), err
	}
	return passwordForm(v, ""), nil
}

func passwordForm(v *visit, problem string) page {
	form := page{Title: v.t.SetPassword, Text: v.t.SetPasswordText, Error: problem, Submit: v.t.SavePassword,
		Fields: []pageField{
			{Name: "new_password", Label: v.t.NewPassword, Type: "password", Autocomplete: "new-password",
				Hint: v.t.PasswordHint, Wrong: problem != ""},
			{Name: "repeat_password", Label: v.t.RepeatPassword, Type: "password", Autocomplete: "new-password",
				Wrong: problem != ""},
		}}
	if problem != "" {
		form.Status = http.StatusUnprocessableEntity
	}
	return form
}

// newPassword reads what was typed in, or says what is wrong with it.
func newPassword(v *visit) (password, problem string) {
	password = v.field("new_password")
	switch {
	case password == "":
		return "", v.t.Missing
	case utf8.RuneCountInString(password) < 12:
		return "", v.t.TooShort
	case len(password) > 1024:
		return "", v.t.TooLong
	case password != v.field("repeat_password"):
		return "", v.t.Differs
	}
	return password, ""
}

// refusedPassword shows the form again when the account can't have that password; it has the right length.
func refusedPassword(v *visit, err error) (page, error) {
	if _, weak := errors.AsType[*domain.Invalid](err); weak {
		return passwordForm(v, v.t.TooWeak), nil
	}
	return page{}, err
}

func (s *server) sentReset(ctx context.Context, v *visit) (page, error) {
	password, problem := newPassword(v)
	if problem != "" {
		return passwordForm(v, problem), nil
	}
	if err := s.useReset(ctx, v.token, password); err != nil {
		return refusedPassword(v, err)
	}
	return page{Title: v.t.PasswordSet, Text: v.t.PasswordChangedText, Announce: true}, nil
}

func showAskFirstLogin(_ context.Context, v *visit) (page, error) {
	return page{Title: v.t.AskFirstLogin, Text: v.t.AskFirstLoginText, Submit: v.t.SendLink, Fields: []pageField{
		emailField(v, false),
		{Name: "cabinet_password", Label: v.t.CabinetPassword, Type: "password", Autocomplete: "off",
			Hint: v.t.CabinetHint},
	}}, nil
}

func (s *server) sentAskFirstLogin(ctx context.Context, v *visit) (page, error) {
	again, err := showAskFirstLogin(ctx, v)
	again.Status = http.StatusUnprocessableEntity
	switch {
	case err != nil:
		return page{}, err
	case domain.EmailProblem(v.field("email")) != "":
		again.Error, again.Fields[0].Wrong = v.t.BadEmail, true
		return again, nil
	case v.field("cabinet_password") == "" || len(v.field("cabinet_password")) > 1024:
		again.Error, again.Fields[1].Wrong = v.t.Missing, true
		return again, nil
	}
	return linkSent(v), s.askForFirstLogin(ctx, v.field("email"), v.field("cabinet_password"), v.lang)
}

// openedFirstLogin asks for a click: opening the page by itself does not use the link up.
func (s *server) openedFirstLogin(ctx context.Context, v *visit) (page, error) {
	usable, err := s.Commands.FirstLoginUsable(ctx, v.token)
	if !usable || err != nil {
		return deadLink(v), err
	}
	return page{Title: v.t.FirstLogin, Text: v.t.FirstLoginText, Submit: v.t.SignIn}, nil
}

func (s *server) sentFirstLogin(ctx context.Context, v *visit) (page, error) {
	outcome, err := s.useFirstLogin(ctx, v.token)
	if err != nil {
		return page{}, err
	}
	return s.afterSignIn(ctx, v, outcome)
}

// afterSignIn continues with the second factor, or with the password.
func (s *server) afterSignIn(ctx context.Context, v *visit, outcome commands.SignedIn) (page, error) {
	answered, err := s.answerSignIn(ctx, outcome)
	if err != nil {
		return page{}, err
	}
	if outcome.Next == commands.NextTwoFactor {
		return codeForm(v, outcome.Challenge), nil
	}
	v.answer.Add("Set-Cookie", answered.SetCookie)
	return page{redirect: passwordPage}, nil
}

func codeForm(v *visit, challenge string) page {
	return page{
		Title: v.t.SecondFactor, Text: v.t.SecondFactorText, Submit: v.t.SignIn, Action: codePage, Challenge: challenge,
		Fields: []pageField{
			{Name: "code", Label: v.t.Code, Type: "text", Autocomplete: "one-time-code", Hint: v.t.CodeHint},
		},
	}
}

// sentCode takes a code of the app, which has digits only, or a backup code.
func (s *server) sentCode(ctx context.Context, v *visit) (page, error) {
	challenge, code := v.field("challenge"), v.field("code")
	if len(challenge) > 200 || len(code) > 40 {
		return page{}, commands.ErrCredentials
	}
	if err := s.limitSignIns(ctx, challenge); err != nil {
		return page{}, err
	}
	finish := s.Commands.SignInWithBackupCode
	if isNumber(code) {
		finish = s.Commands.SignInWithCode
	}
	outcome, err := finish(ctx, s.caller(ctx), challenge, code)
	if errors.Is(err, commands.ErrCredentials) {
		again := codeForm(v, challenge)
		again.Status, again.Error, again.Fields[0].Wrong = http.StatusUnauthorized, v.t.BadCode, true
		return again, nil
	}
	if err != nil {
		return page{}, err
	}
	return s.afterSignIn(ctx, v, outcome)
}

func isNumber(code string) bool {
	for _, r := range code {
		if (r < '0' || r > '9') && r != ' ' {
			return false
		}
	}
	return true
}

// openedPassword lets somebody who came by a first-login link set the first password.
func (s *server) openedPassword(ctx context.Context, v *visit) (page, error) {
	if instead, err := s.withoutPassword(ctx, v); instead != nil || err != nil {
		return pageOrEmpty(instead), err
	}
	return passwordForm(v, ""), nil
}

func (s *server) sentPassword(ctx context.Context, v *visit) (page, error) {
	if instead, err := s.withoutPassword(ctx, v); instead != nil || err != nil {
		return pageOrEmpty(instead), err
	}
	password, problem := newPassword(v)
	if problem != "" {
		return passwordForm(v, problem), nil
	}
	var request changePasswordRequest
	request.Body.NewPassword = password
	if _, err := s.changePassword(ctx, &request); err != nil {
		return refusedPassword(v, err)
	}
	done := page{Title: v.t.PasswordSet, Text: v.t.PasswordSetText, Announce: true}
	if infoOf(ctx).session.Kind != sessions.Full {
		done.Text += " " + v.t.SetupFollows
	}
	return done, nil
}

// withoutPassword finds out who is signed in by the cookie. It gives the page to show instead when nobody is, or when
// the account has a password.
func (s *server) withoutPassword(ctx context.Context, v *visit) (*page, error) {
	info := infoOf(ctx)
	cookie, err := v.request.Cookie(sessionCookie)
	if err != nil {
		cookie = &http.Cookie{}
	}
	info.session, info.access, err = s.authenticate(ctx, cookie.Value, false)
	if problem, _, _ := problemOf(err); err != nil && problem.Status == http.StatusUnauthorized {
		return &page{Status: http.StatusUnauthorized, Title: v.t.SignedOut, Text: v.t.SignedOutText, Link: &pageLink{
			firstLoginPage, v.t.AskAgain,
		}}, nil
	}
	if err != nil {
		return nil, err
	}
	var account projections.User
	if account, err = s.ReadModels.User(ctx, info.access.UserID, s.Now()); err != nil {
		return nil, err
	}
	if account.HasPassword {
		return &page{Status: http.StatusConflict, Title: v.t.HasPassword, Text: v.t.HasPasswordText, Link: &pageLink{
			resetPage, v.t.AskReset,
		}}, nil
	}
	return nil, nil
}

func pageOrEmpty(p *page) page {
	if p == nil {
		return page{}
	}
	return *p
}
