package httpapi

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/secboard/secboard/httpapi/sessions"
	"github.com/secboard/secboard/projections"
)

type endOwnSessionRequest struct {
	ID uuid.UUID `path:"session_id" format:"uuid"`
}

// addOwnSessions adds what people do about their own sessions. Ending one is signing out of it.
func (s *server) addOwnSessions() {
	const path = "/me/sessions"
	register(s, operation{
		method: http.MethodGet, path: path, id: "list-own-sessions", tag: ownTag, required: signedIn,
		summary: "Your sessions, newest first",
	}, func(ctx context.Context, _ *struct{ QueryHeaders }) (*list[listedSession], error) {
		return s.listSessionsOf(ctx, infoOf(ctx).access.UserID)
	})
	register(s, operation{
		method: http.MethodDelete, path: path, id: "end-own-other-sessions", tag: ownTag, status: http.StatusNoContent,
		required: signedIn, summary: "Sign out everywhere else", description: "The current session continues.",
	}, func(ctx context.Context, _ *struct{}) (*settled, error) {
		current := infoOf(ctx).session.ID
		return s.endOwnSessions(ctx, func(session sessions.Session) bool { return session.ID != current })
	})
	register(s, operation{
		method: http.MethodDelete, path: path + "/{session_id}", id: "end-own-session", tag: ownTag,
		status: http.StatusNoContent, required: signedIn, summary: "Sign out of one of your sessions",
	}, func(ctx context.Context, in *endOwnSessionRequest) (*settled, error) {
		answered, err := s.endOwnSessions(ctx, func(session sessions.Session) bool { return session.ID == in.ID })
		if err == nil && answered.Position == "" {
			err = projections.ErrNotFound
		}
		return answered, err
	})
}

// endOwnSessions ends those of the caller's sessions that are chosen. The position is empty if there were none.
func (s *server) endOwnSessions(ctx context.Context, chosen func(sessions.Session) bool) (*settled, error) {
	own, answered := infoOf(ctx).access.UserID, &settled{}
	alive, err := s.sessionsOf(ctx, own)
	if err != nil {
		return nil, err
	}
	for _, session := range alive {
		if !chosen(session) {
			continue
		}
		// First what counts: should the log be away, the session has ended all the same.
		ended, err := s.sessions.End(ctx, session.ID)
		if err != nil {
			return nil, err
		}
		if !ended { // by another request meanwhile
			continue
		}
		result, err := s.Commands.SignOut(ctx, s.caller(ctx), own, session.ID)
		if err != nil {
			return nil, err
		}
		answered.Position = s.settle(ctx, result)
	}
	return answered, nil
}
