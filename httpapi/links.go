package httpapi

import (
	"context"
	"net/http"
	"slices"
	"time"

	"golang.org/x/text/language"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/pause"
)

// ByToken names a link by its token.
type ByToken struct {
	Token string `path:"token" maxLength:"200" doc:"Token of the link"`
}

// LinkHeaders are those of a request for a link.
type LinkHeaders struct {
	Language string `header:"Accept-Language" doc:"Language of the mail if the account has none: en, uk or ru"`
}

type askForResetRequest struct {
	LinkHeaders
	Body struct {
		Email string `json:"email" maxLength:"254" example:"olena.kovalenko@example.com"`
	}
}

type useResetRequest struct {
	ByToken
	Body struct {
		NewPassword string `json:"new_password" maxLength:"1024" writeOnly:"true" doc:"At least 12 characters; neither the e-mail address nor a common password"`
	}
}

type askForFirstLoginRequest struct {
	LinkHeaders
	Body struct {
		Email           string `json:"email" maxLength:"254" example:"olena.kovalenko@example.com"`
		CabinetPassword string `json:"cabinet_password" maxLength:"1024" writeOnly:"true" doc:"Cabinet password of the company"`
	}
}

type useFirstLoginRequest struct {
	ByToken
}

const maxLinkBody = 16 << 10

// addLinks adds the links for those who have no password or forgot it.
func (s *server) addLinks() {
	const tag = "Signing in"
	const asking = " The answer is the same whether the account exists or not. After 5 requests for one account " +
		"within 15 minutes, further ones send nothing; too many from one network address are refused with 429."
	register(s, operation{
		method: http.MethodPost, path: "/password-resets", id: "ask-for-password-reset", tag: tag,
		status: http.StatusAccepted, required: anybody,
		maxBody: maxLinkBody, errors: []int{http.StatusTooManyRequests}, summary: "Ask for a password reset link",
		description: "Mails a link that is valid for one hour and works once." + asking,
	}, func(ctx context.Context, in *askForResetRequest) (*struct{}, error) {
		return nil, s.askForReset(ctx, in.Body.Email, languageOf(in.Language))
	})
	s.registerLinkCheck("/password-resets/{token}", "check-password-reset", "a reset", s.Commands.ResetLinkUsable)
	register(s, operation{
		method: http.MethodPost, path: "/password-resets/{token}", id: "use-password-reset", tag: tag,
		status: http.StatusNoContent, required: anybody,
		maxBody: maxLinkBody, errors: []int{http.StatusTooManyRequests}, summary: "Set a password with a reset link",
		description: "Ends all sessions of the account. A link that is wrong, used or expired is refused with 422 " +
			"`invalid_link`; a weak password doesn't use the link up.",
	}, func(ctx context.Context, in *useResetRequest) (*struct{}, error) {
		return nil, s.useReset(ctx, in.Token, in.Body.NewPassword)
	})
	register(s, operation{
		method: http.MethodPost, path: "/first-logins", id: "ask-for-first-login", tag: tag,
		status: http.StatusAccepted, required: anybody,
		maxBody: maxLinkBody, errors: []int{http.StatusTooManyRequests}, summary: "Ask for a first-login link",
		description: "For an account without a password: if the cabinet password is that of the account's company, " +
			"mails a link that signs in once." + asking,
	}, func(ctx context.Context, in *askForFirstLoginRequest) (*struct{}, error) {
		return nil, s.askForFirstLogin(ctx, in.Body.Email, in.Body.CabinetPassword, languageOf(in.Language))
	})
	s.registerLinkCheck("/first-logins/{token}", "check-first-login", "a first-login", s.Commands.FirstLoginUsable)
	registerEntry(s, operation{
		method: http.MethodPost, path: "/first-logins/{token}", id: "use-first-login",
		summary: "Sign in with a first-login link",
		description: "Works once; then set a password with `PUT /me/password`. A link that is wrong, used or " +
			"expired is refused with 422 `invalid_link`.",
	}, func(ctx context.Context, in *useFirstLoginRequest) (*entryAnswer, error) {
		outcome, err := s.useFirstLogin(ctx, in.Token)
		if err != nil {
			return nil, err
		}
		return s.answerSignIn(ctx, outcome)
	})
}

// registerLinkCheck adds the question whether a link still works. Mail filters open links too, so asking uses none up.
func (s *server) registerLinkCheck(path, id, kind string, usable func(context.Context, string) (bool, error)) {
	register(s, operation{
		method: http.MethodGet, path: path, id: id, tag: "Signing in", status: http.StatusNoContent, required: anybody,
		summary: "Check whether " + kind + " link works",
		description: "It isn't used up by that. A link that is wrong, used or expired is refused with 422 " +
			"`invalid_link`.",
	}, func(ctx context.Context, in *ByToken) (*struct{}, error) {
		works, err := usable(ctx, in.Token)
		if err == nil && !works {
			err = user.ErrLink
		}
		return nil, err
	})
}

// linkAnswerTime is how long the answer to a request for a link takes, or a multiple of it. What is done for an account
// that there is takes some milliseconds longer than for one that there isn't, and nobody may learn that.
const linkAnswerTime = 250 * time.Millisecond

// askForReset asks for a link for whoever has the address. It tells nothing about whether anybody has.
func (s *server) askForReset(ctx context.Context, email, language string) error {
	return s.askForLink(ctx, email, func() error {
		return s.Commands.RequestPasswordReset(ctx, s.caller(ctx), email, language)
	})
}

// askForFirstLogin is askForReset for a first-login link.
func (s *server) askForFirstLogin(ctx context.Context, email, cabinetPassword, language string) error {
	return s.askForLink(ctx, email, func() error {
		return s.Commands.RequestFirstLogin(ctx, s.caller(ctx), email, cabinetPassword, language)
	})
}

func (s *server) askForLink(ctx context.Context, email string, ask func() error) error {
	started := time.Now()
	over, err := s.tooManyLinks(ctx, email)
	if err != nil {
		return err
	}
	if !over {
		if err := ask(); err != nil {
			return err
		}
	}
	if !pause.For(ctx, linkAnswerTime-time.Since(started)%linkAnswerTime) {
		return ctx.Err()
	}
	return nil
}

// tooManyLinks counts a request for a link. For one address on the network too many are an error, for one account they
// are only not carried out.
func (s *server) tooManyLinks(ctx context.Context, email string) (bool, error) {
	s.cleaning.clean(ctx, s)
	over, err := s.count(ctx, linkRate, email)
	if err != nil {
		return false, err
	}
	if over.address {
		return true, over.refusal()
	}
	return over.account, nil
}

// useReset sets a password by a link and ends all sessions of its account.
func (s *server) useReset(ctx context.Context, token, password string) error {
	if err := s.limitSignIns(ctx, token); err != nil {
		return err
	}
	result, err := s.Commands.UseResetLink(ctx, s.caller(ctx), token, password)
	if err != nil {
		return err
	}
	s.settle(ctx, result)
	return nil
}

// useFirstLogin lets somebody in by a link.
func (s *server) useFirstLogin(ctx context.Context, token string) (commands.SignedIn, error) {
	if err := s.limitSignIns(ctx, token); err != nil {
		return commands.SignedIn{}, err
	}
	return s.Commands.UseFirstLogin(ctx, s.caller(ctx), token)
}

// languageOf is the first of our languages that a browser accepts, "" without one.
func languageOf(accepted string) string {
	wanted, _, err := language.ParseAcceptLanguage(accepted) // sorted by preference
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
