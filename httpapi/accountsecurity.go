package httpapi

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/httpapi/sessions"
	"github.com/secboard/secboard/projections"
)

// listedSession is a session as its owner and administrators see it.
type listedSession struct {
	ID         uuid.UUID `json:"id"`
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at" doc:"Accurate to the minute"`
	ExpiresAt  time.Time `json:"expires_at"`
	IP         *string   `json:"ip" doc:"Address from which it was started"`
	UserAgent  *string   `json:"user_agent" doc:"User agent that started it"`
	Limited    bool      `json:"limited" doc:"Whether it may only set up two-factor"`
	Current    bool      `json:"current" doc:"Whether it is the session of this request"`
}

type accountSessionsRequest struct {
	QueryHeaders
	ByID
}

type endSessionsRequest struct {
	CreateHeaders
	ByID
}

type unlockRequest struct {
	CreateHeaders
	ByID
}

// addAccountSecurity adds what an administrator does about the ways to sign in to an account.
func (s *server) addAccountSecurity() {
	const tag = "Accounts"
	register(s, operation{
		method: http.MethodGet, path: "/users/{id}/sessions", id: "list-user-sessions", tag: tag,
		required: needs("users", domain.View).forCompanies().orOwnAccount(),
		summary:  "Sessions of an account, newest first",
	}, s.listSessions)
	register(s, operation{
		method: http.MethodDelete, path: "/users/{id}/sessions", id: "end-user-sessions", tag: tag,
		status:   http.StatusNoContent,
		required: needs("users", domain.Edit).forCompanies().orOwnAccount(), summary: "End all sessions of an account",
		description: "They end at once; for your own account, this includes the current one. Only a superuser can " +
			"end a superuser's sessions.",
	}, s.endAccountSessions)
	registerActForReason(s, s.users(), "two-factor/reset", operation{
		id: "reset-two-factor", summary: "Reset two-factor after a lost device",
		example: map[string]any{"reason": "lost phone"},
		description: "The device and the backup codes stop working and all sessions end. A reason is required. If " +
			"two-factor is required, the next sign-in asks the person to set it up again.",
	}, s.Commands.ResetTwoFactor)
	registerCommand(s, operation{
		method: http.MethodPost, path: "/users/{id}/unlock", id: "unlock-user", tag: tag,
		required: needs("users", domain.Edit).forCompanies(),
		summary:  "End the lockouts after wrong passwords",
		description: "They also end by themselves, and with a password reset. The limit of wrong codes, 10 in " +
			"an hour, " +
			"stays.",
	}, s.unlock)
}

func (s *server) listSessions(ctx context.Context, in *accountSessionsRequest) (*list[listedSession], error) {
	if err := s.reachAccount(ctx, in.ID, Moment{}); err != nil {
		return nil, err
	}
	return s.listSessionsOf(ctx, in.ID)
}

func (s *server) listSessionsOf(ctx context.Context, account uuid.UUID) (*list[listedSession], error) {
	alive, err := s.sessionsOf(ctx, account)
	if err != nil {
		return nil, err
	}
	var items []listedSession
	for _, session := range alive {
		items = append(items, listedSession{
			ID: session.ID, CreatedAt: session.CreatedAt.UTC(), LastSeenAt: session.LastSeenAt.UTC(),
			ExpiresAt: session.ExpiresAt.UTC(),
			IP:        textOrNil(session.IP), UserAgent: textOrNil(session.UserAgent),
			Limited: session.Kind != sessions.Full, Current: session.ID == infoOf(ctx).session.ID,
		})
	}
	return listOf(projections.List[listedSession]{Items: items}, nil)
}

// sessionsOf gives the sessions of an account that have not ended, newest first.
func (s *server) sessionsOf(ctx context.Context, account uuid.UUID) ([]sessions.Session, error) {
	if _, err := s.ReadModels.User(ctx, account, s.Now()); err != nil {
		return nil, err
	}
	security, err := s.Security(ctx)
	if err != nil {
		return nil, err
	}
	stored, err := s.sessions.OfAccount(ctx, account)
	return slices.DeleteFunc(stored, func(session sessions.Session) bool { return !session.Alive(security, s.Now()) }),
		err
}

func textOrNil(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func (s *server) endAccountSessions(ctx context.Context, in *endSessionsRequest) (*settled, error) {
	if err := s.reachAccount(ctx, in.ID, Moment{}); err != nil {
		return nil, err
	}
	alive, err := s.sessionsOf(ctx, in.ID)
	if err != nil || len(alive) == 0 {
		return &settled{}, err
	}
	result, err := s.Commands.EndSessions(ctx, s.caller(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &settled{Position: s.settle(ctx, result)}, nil
}

func (s *server) unlock(ctx context.Context, in *unlockRequest) (*answer[projections.User], error) {
	result, err := s.Commands.Unlock(ctx, s.caller(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	// The lockout is recorded beside the account, whose own revision stays.
	account, err := s.ReadModels.User(ctx, in.ID, s.Now())
	if err != nil {
		return nil, err
	}
	result.Revision = account.Revision
	return s.users().changed(ctx, s, in.Prefer, result)
}
