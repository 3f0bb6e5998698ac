package httpapi

import (
	"context"
	"crypto/rand"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/secrets"
)

// seenEvery is how often it is noted that a session is in use.
const seenEvery = time.Minute

type credentials struct {
	Email    string `json:"email" maxLength:"254" example:"olena.kovalenko@example.com"`
	Password string `json:"password" maxLength:"1024" writeOnly:"true"`
}

type signInRequest struct {
	Body credentials
}

type newSession struct {
	Token     string           `json:"token" doc:"For Authorization: Bearer; shown only here"`
	ExpiresAt time.Time        `json:"expires_at" doc:"When the session ends at the latest; earlier when it is not used"`
	User      projections.User `json:"user"`
}

type signInAnswer struct {
	Location string `header:"Location"`
	Body     newSession
}

type currentSession struct {
	CreatedAt   time.Time          `json:"created_at"`
	LastSeenAt  time.Time          `json:"last_seen_at" doc:"To the minute"`
	ExpiresAt   time.Time          `json:"expires_at"`
	User        projections.User   `json:"user"`
	Permissions domain.Permissions `json:"permissions" doc:"What the groups allow; a superuser may do everything"`
}

type currentSessionAnswer struct {
	Body currentSession
}

func (s *server) addSessions() {
	const tag = "Signing in"
	register(s, operation{
		method: http.MethodPost, path: "/sessions", id: "sign-in", tag: tag, status: http.StatusCreated, required: anybody,
		maxBody: 16 << 10, errors: []int{http.StatusUnauthorized, http.StatusTooManyRequests},
		summary: "Sign in", description: "Whatever is wrong, the answer is the same 401 `invalid_credentials`.",
		example: map[string]any{"email": "olena.kovalenko@example.com", "password": "correct horse battery staple"},
	}, s.signIn)
	register(s, operation{
		method: http.MethodGet, path: "/sessions/current", id: "current-session", tag: tag, required: signedIn, summary: "Who am I, and what may I do",
	}, func(ctx context.Context, _ *struct{ QueryHeaders }) (*currentSessionAnswer, error) {
		info := infoOf(ctx)
		account, err := s.ReadModels.User(ctx, info.access.UserID, s.Now())
		if err != nil {
			return nil, err
		}
		return &currentSessionAnswer{Body: currentSession{
			CreatedAt: info.session.CreatedAt, LastSeenAt: info.session.LastSeenAt, ExpiresAt: info.session.ExpiresAt,
			User: account, Permissions: info.access.Permissions,
		}}, nil
	})
	register(s, operation{
		method: http.MethodDelete, path: "/sessions/current", id: "sign-out", tag: tag, status: http.StatusNoContent, required: signedIn, summary: "Sign out",
	}, func(ctx context.Context, _ *struct{}) (*struct{}, error) {
		_, err := s.Pool.Exec(ctx, `DELETE FROM app.sessions WHERE id = $1`, infoOf(ctx).session.ID)
		return nil, err
	})
}

func invalidCredentials() error {
	return &refusal{
		status: http.StatusUnauthorized, code: "invalid_credentials",
		detail: "e-mail address and password don't fit together, or the account can't be used at this time",
	}
}

// signIn starts a session. The log decides, not the read models: an account made a moment ago can sign in, and one
// deactivated a moment ago can't.
func (s *server) signIn(ctx context.Context, in *signInRequest) (*signInAnswer, error) {
	if err := s.limitSignIns(ctx, in.Body.Email); err != nil {
		return nil, err
	}
	s.cleaning.sometimes(ctx, s)
	outcome, err := s.Commands.SignIn(ctx, s.caller(ctx), in.Body.Email, in.Body.Password)
	if err != nil {
		return nil, err
	}
	id, now := outcome.UserID, s.Now()
	token, session, err := s.startSession(ctx, id, now)
	if err != nil {
		return nil, err
	}
	signedIn, err := s.confirmSession(ctx, id)
	if err != nil {
		return nil, s.takeBack(ctx, session.ID, err)
	}
	return &signInAnswer{
		Location: basePath + "/sessions/current",
		Body:     newSession{Token: token, ExpiresAt: session.ExpiresAt, User: signedIn},
	}, nil
}

// mayEnter says whether an account can be used at a time.
func mayEnter(account user.State, now time.Time) bool {
	state, _ := projections.AccountState(account, "", now)
	return account.Exists && state == projections.StateActive
}

func (s *server) startSession(ctx context.Context, account uuid.UUID, now time.Time) (string, projections.Session, error) {
	random := make([]byte, 32)
	if _, err := rand.Read(random); err != nil {
		return "", projections.Session{}, err
	}
	token := secrets.TokenText(random)
	info := infoOf(ctx)
	session := projections.Session{ID: uuid.Must(uuid.NewV7()), UserID: account, CreatedAt: now, LastSeenAt: now, ExpiresAt: now.Add(s.SessionLength)}
	_, err := s.Pool.Exec(ctx, `
		INSERT INTO app.sessions (id, token_hash, user_id, created_at, last_seen_at, expires_at, ip, user_agent)
		VALUES ($1, $2, $3, $4, $4, $5, nullif($6, ''), nullif($7, ''))`,
		session.ID, secrets.TokenHash(token), account, now, session.ExpiresAt, info.ip, info.userAgent)
	return token, session, err
}

// confirmSession looks at the account again, now that the session is there. A deactivation in between is then seen
// here, if it was recorded first, or ends the session itself. It waits until the read models know the account.
func (s *server) confirmSession(ctx context.Context, id uuid.UUID) (projections.User, error) {
	events, err := s.Commands.Log.ReadStream(ctx, domain.StreamName(user.Kind, id))
	if err != nil {
		return projections.User{}, err
	}
	var account user.State
	var position eventstore.Position
	for _, recorded := range events {
		envelope := eventstore.Decode(recorded)
		if envelope.Err != nil {
			return projections.User{}, envelope.Err
		}
		account.Evolve(envelope.Event)
		position = recorded.Position
	}
	if !mayEnter(account, s.Now()) {
		return projections.User{}, invalidCredentials()
	}
	if err := s.waitFor(ctx, position); err != nil {
		return projections.User{}, err
	}
	return s.ReadModels.User(ctx, id, s.Now())
}

// takeBack ends a session whose token nobody gets. Should that fail, its random token is still known to nobody.
func (s *server) takeBack(ctx context.Context, session uuid.UUID, cause error) error {
	if _, err := s.Pool.Exec(context.WithoutCancel(ctx), `DELETE FROM app.sessions WHERE id = $1`, session); err != nil {
		s.Logger.WarnContext(ctx, "a session that nobody uses could not be removed", "session_id", session, "error", err)
	}
	return cause
}

// endSessions ends all sessions of an account.
func (s *server) endSessions(ctx context.Context, account uuid.UUID) error {
	_, err := s.Pool.Exec(ctx, `DELETE FROM app.sessions WHERE user_id = $1`, account)
	return err
}

// noteSeen keeps a session from ending as unused.
func (s *server) noteSeen(ctx context.Context, session projections.Session, now time.Time) error {
	if now.Sub(session.LastSeenAt) < seenEvery {
		return nil
	}
	_, err := s.Pool.Exec(ctx, `UPDATE app.sessions SET last_seen_at = $2 WHERE id = $1 AND last_seen_at < $2`, session.ID, now)
	return err
}
