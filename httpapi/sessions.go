package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/httpapi/sessions"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/projections/engine"
)

// signInTimeout bounds a sign-in, for which several directories may be asked, each of which has a time-out of its own.
const signInTimeout = time.Minute

type credentials struct {
	Email    string `json:"email" maxLength:"254" example:"olena.kovalenko@example.com"`
	Password string `json:"password" maxLength:"1024" writeOnly:"true"`
}

type signInRequest struct {
	Body credentials
}

type secondFactor struct {
	Challenge  string `json:"challenge" maxLength:"200" doc:"From the answer to POST /sessions; valid for 5 minutes"`
	Code       string `json:"code,omitempty" maxLength:"20" example:"123456" writeOnly:"true" doc:"Code from the authenticator app"`
	BackupCode string `json:"backup_code,omitempty" maxLength:"40" example:"abcde-fghij" writeOnly:"true" doc:"Backup code, instead of code"`
}

// Resolve asks for one of the two codes.
func (b *secondFactor) Resolve(huma.Context) []error {
	var problems domain.Invalid
	switch {
	case b.Code == "" && b.BackupCode == "":
		problems.Add("code", domain.CodeRequired, "must be given, or backup_code")
	case b.Code != "" && b.BackupCode != "":
		problems.Add("backup_code", domain.CodeConflict, "must not be given together with code")
	}
	return findings(problems)
}

type secondFactorRequest struct {
	Body secondFactor
}

type newSession struct {
	Token     string           `json:"token" doc:"Token for Authorization: Bearer; shown only here"`
	ExpiresAt time.Time        `json:"expires_at" doc:"Latest end of the session; it ends earlier if it isn't used"`
	User      projections.User `json:"user"`
}

type nextStep struct {
	Next      string `json:"next" enum:"two_factor,two_factor_setup" doc:"two_factor: POST /sessions/two-factor with the challenge; two_factor_setup: the token belongs to a session that may only set up two-factor, set a first password, and sign out"`
	Challenge string `json:"challenge,omitempty" doc:"Present if next is two_factor"`
	Token     string `json:"token,omitempty" doc:"Present if next is two_factor_setup"`
}

// entry is one of the two bodies of an answer to somebody who signs in.
type entry struct {
	session *newSession
	next    *nextStep
}

// MarshalJSON writes the body that there is.
func (e entry) MarshalJSON() ([]byte, error) {
	if e.next != nil {
		return json.Marshal(e.next)
	}
	return json.Marshal(e.session)
}

// Schema is that of the session; registerEntry documents the other.
func (entry) Schema(registry huma.Registry) *huma.Schema {
	return registry.Schema(reflect.TypeFor[newSession](), true, "")
}

type entryAnswer struct {
	Status    int
	Location  string `header:"Location"`
	SetCookie string `header:"Set-Cookie" doc:"The token, for browsers"`
	Body      entry
}

type currentSession struct {
	CreatedAt   time.Time          `json:"created_at"`
	LastSeenAt  time.Time          `json:"last_seen_at" doc:"Accurate to the minute"`
	ExpiresAt   time.Time          `json:"expires_at"`
	Limited     bool               `json:"limited" doc:"Whether it may only set up two-factor"`
	CSRFToken   string             `json:"csrf_token" doc:"Value for X-CSRF-Token when the session cookie is used"`
	User        projections.User   `json:"user"`
	Site        siteOfSession      `json:"site"`
	Permissions domain.Permissions `json:"permissions" doc:"What the groups allow, be it for one company only; a superuser may do everything"`
	Granted     []grantedAction    `json:"granted" doc:"The same, each with the company that it is for"`
}

type currentSessionAnswer struct {
	Body currentSession
}

type signOutAnswer struct {
	SetCookie string `header:"Set-Cookie" doc:"Removes the cookie"`
}

// registerEntry adds an operation by which somebody signs in.
func registerEntry[I any](s *server, o operation, handler func(context.Context, *I) (*entryAnswer, error)) {
	o.tag, o.status, o.required, o.maxBody, o.timeout = "Signing in", http.StatusCreated, anybody, 16<<10, signInTimeout
	o.errors = append(o.errors, http.StatusTooManyRequests)
	register(s, o, handler)
	s.documented(o.method, o.path).Responses["200"] = &huma.Response{
		Description: "The credentials are right, but another step is needed",
		Content: map[string]*huma.MediaType{"application/json": {
			Schema: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[nextStep](), true, ""),
		}},
	}
}

func (s *server) addSessions() {
	const tag = "Signing in"
	registerEntry(s, operation{
		method: http.MethodPost, path: "/sessions", id: "sign-in", errors: []int{http.StatusUnauthorized},
		summary: "Sign in",
		description: "Whatever is wrong, the answer is the same 401 `invalid_credentials`; the true reason is in the " +
			"account's history.",
		example: map[string]any{"email": "olena.kovalenko@example.com", "password": "correct horse battery staple"},
	}, s.signIn)
	registerEntry(s, operation{
		method: http.MethodPost, path: "/sessions/two-factor", id: "sign-in-two-factor",
		errors: []int{http.StatusUnauthorized}, summary: "Sign in: the second factor",
		description: "Each code and each backup code works once.",
		example:     map[string]any{"challenge": "AZg8HCt6fB6dXi9qDJt-EQ…", "code": "123456"},
	}, s.signInWithSecondFactor)
	register(s, operation{
		method: http.MethodGet, path: "/sessions/current", id: "current-session", tag: tag,
		required: signedIn.evenLimited(), summary: "The current session: who you are and what you may do",
	}, s.currentSession)
	register(s, operation{
		method: http.MethodDelete, path: "/sessions/current", id: "sign-out", tag: tag, status: http.StatusNoContent,
		required: signedIn.evenLimited().evenBehind(), summary: "Sign out",
	}, func(ctx context.Context, _ *struct{}) (*signOutAnswer, error) {
		info := infoOf(ctx)
		// First what counts: should the log be away, the session has ended all the same.
		ended, err := s.sessions.End(ctx, info.session.ID)
		if ended { // by this request, of those that may have come at once
			_, err = s.Commands.SignOut(ctx, s.caller(ctx), info.access.UserID, info.session.ID)
		}
		return &signOutAnswer{SetCookie: noCookie(info)}, err
	})
}

func (s *server) currentSession(ctx context.Context, _ *struct{ QueryHeaders }) (*currentSessionAnswer, error) {
	info := infoOf(ctx)
	account, err := s.ReadModels.User(ctx, info.access.UserID, s.Now())
	if err != nil {
		return nil, err
	}
	csrf, err := s.csrfToken(info.session.ID)
	if err != nil {
		return nil, err
	}
	site, err := s.siteOf(ctx)
	if err != nil {
		return nil, err
	}
	return &currentSessionAnswer{Body: currentSession{
		CreatedAt: info.session.CreatedAt, LastSeenAt: info.session.LastSeenAt, ExpiresAt: info.session.ExpiresAt,
		Limited: info.session.Kind != sessions.Full, CSRFToken: csrf, User: account,
		Site:        site,
		Permissions: info.access.Granted.Anywhere(), Granted: grantedActions(info.access.Granted),
	}}, nil
}

// signIn starts a session. The log decides, not the read models: an account made a moment ago can sign in, and one
// deactivated a moment ago can't.
func (s *server) signIn(ctx context.Context, in *signInRequest) (*entryAnswer, error) {
	if err := s.limitSignIns(ctx, in.Body.Email); err != nil {
		return nil, err
	}
	s.cleaning.clean(ctx, s)
	outcome, err := s.Commands.SignIn(ctx, s.caller(ctx), in.Body.Email, in.Body.Password)
	if err != nil {
		return nil, err
	}
	return s.answerSignIn(ctx, outcome)
}

func (s *server) signInWithSecondFactor(ctx context.Context, in *secondFactorRequest) (*entryAnswer, error) {
	if err := s.limitSignIns(ctx, in.Body.Challenge); err != nil {
		return nil, err
	}
	finish, code := s.Commands.SignInWithCode, in.Body.Code
	if in.Body.BackupCode != "" {
		finish, code = s.Commands.SignInWithBackupCode, in.Body.BackupCode
	}
	outcome, err := finish(ctx, s.caller(ctx), in.Body.Challenge, code)
	if err != nil {
		return nil, err
	}
	return s.answerSignIn(ctx, outcome)
}

// answerSignIn answers somebody who was let in: with a session, or with what is still to be done.
func (s *server) answerSignIn(ctx context.Context, outcome commands.SignedIn) (*entryAnswer, error) {
	if outcome.Next == commands.NextTwoFactor {
		return &entryAnswer{
			Status: http.StatusOK, Body: entry{next: &nextStep{Next: outcome.Next, Challenge: outcome.Challenge}},
		}, nil
	}
	kind := sessions.Full
	if outcome.Next == commands.NextTwoFactorSetup {
		kind = sessions.TwoFactorSetupOnly
	}
	token, session, err := s.openSession(ctx, outcome, kind)
	if err != nil {
		return nil, err
	}
	account, err := s.confirmSession(ctx, token, outcome)
	if err != nil {
		return nil, s.discardSession(ctx, session.ID, err)
	}
	answered := &entryAnswer{
		Status: http.StatusCreated, Location: basePath + "/sessions/current",
		SetCookie: s.cookieFor(infoOf(ctx), token, session.ExpiresAt),
		Body:      entry{session: &newSession{Token: token, ExpiresAt: session.ExpiresAt, User: account}},
	}
	if kind == sessions.TwoFactorSetupOnly {
		answered.Status, answered.Body = http.StatusOK, entry{next: &nextStep{Next: outcome.Next, Token: token}}
	}
	return answered, nil
}

// openSession stores a session and gives its token.
func (s *server) openSession(ctx context.Context, outcome commands.SignedIn,
	kind sessions.Kind) (string, sessions.Session, error) {
	security, err := s.Security(ctx)
	if err != nil {
		return "", sessions.Session{}, err
	}
	now, info := s.Now(), infoOf(ctx)
	session := sessions.Session{
		ID: outcome.Session, UserID: outcome.UserID, Kind: kind, CreatedAt: now, LastSeenAt: now,
		ExpiresAt: now.Add(sessions.Length(security)),
		IP:        info.ip, UserAgent: info.userAgent,
	}
	token, err := s.sessions.Open(ctx, session,
		sessions.Revisions{Account: outcome.Revision, Groups: outcome.Groups})
	return token, session, err
}

// confirmSession looks at the account again, now that the session is there, and the read models have all that was
// recorded until it was let in. What ends its sessions and was recorded meanwhile ends this one too.
func (s *server) confirmSession(ctx context.Context, token string,
	outcome commands.SignedIn) (projections.User, error) {
	if err := s.waitFor(ctx, outcome.Position); err != nil {
		return projections.User{}, err
	}
	_, access, err := s.sessions.Find(ctx, token, s.Now())
	if errors.Is(err, sessions.ErrNone) || err == nil && !access.Usable() {
		return projections.User{}, commands.ErrCredentials
	}
	if err != nil {
		return projections.User{}, err
	}
	account, err := s.ReadModels.User(ctx, outcome.UserID, s.Now())
	if err == nil && account.Revision < outcome.Revision {
		err = fmt.Errorf("%w: the account is not shown as it is now", engine.ErrBehind)
	}
	return account, err
}

// discardSession ends a session whose token nobody gets. Should that fail, its random token is still known to nobody.
func (s *server) discardSession(ctx context.Context, session uuid.UUID, cause error) error {
	if _, err := s.sessions.End(context.WithoutCancel(ctx), session); err != nil {
		s.Logger.WarnContext(ctx, "an unused session could not be removed", "session_id", session, "error",
			err)
	}
	return cause
}

// endSessionsOf removes the sessions that a command ended, also for a client that has gone away. It makes them end at
// once; should it fail, they end as soon as the read model has the event (sessions.Store.Find).
func (s *server) endSessionsOf(ctx context.Context, result commands.Result) {
	if !result.EndsSessions {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.session)
	defer cancel()
	account, err := uuid.Parse(cmp.Or(result.Account, result.ID))
	if err == nil {
		err = s.sessions.EndOthers(ctx, account, result.KeptSession)
	}
	if err != nil {
		s.Logger.WarnContext(ctx, "sessions that have ended could not be removed yet", "user_id", result.ID, "error",
			err)
	}
}
