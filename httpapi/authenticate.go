package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/secrets"
)

// permission is one action in one module.
type permission struct {
	module string
	action domain.Action
}

func (p permission) String() string { return p.module + "." + string(p.action) }

// requirement says who may call an operation. Its zero value is none, which register refuses.
type requirement struct {
	declared    bool
	public      bool // nobody has to be signed in
	permissions []permission
}

var (
	anybody  = requirement{declared: true, public: true}
	signedIn = requirement{declared: true}
)

// needs asks for an action in a module.
func needs(module string, action domain.Action) requirement {
	return requirement{declared: true, permissions: []permission{{module, action}}}
}

// and asks for one more action.
func (r requirement) and(module string, action domain.Action) requirement {
	r.permissions = append(r.permissions[:len(r.permissions):len(r.permissions)], permission{module, action})
	return r
}

// seesHistory is what reading how something was in the past takes, besides seeing it now.
func (r requirement) seesHistory() requirement { return r.and("audit", domain.View) }

// missing is the first permission that somebody lacks.
func (r requirement) missing(access projections.Access) (permission, bool) {
	if access.Superuser {
		return permission{}, false
	}
	for _, wanted := range r.permissions {
		if !access.Permissions.Allows(wanted.module, wanted.action) {
			return wanted, true
		}
	}
	return permission{}, false
}

// sessionCheckTimeout bounds the look-up of a session, so that an outage of the database is told quickly.
const sessionCheckTimeout = 3 * time.Second

// admit lets a request through to an operation when somebody is signed in who may call it.
func (s *server) admit(required requirement) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		if required.public {
			next(ctx)
			return
		}
		info := infoOf(ctx.Context())
		var err error
		if info.session, info.access, err = s.authenticate(ctx.Context(), bearer(ctx.Header("Authorization"))); err != nil {
			s.refuse(ctx, err)
			return
		}
		asked := required
		if ctx.Query("as_of") != "" {
			asked = required.seesHistory()
		}
		if wanted, lacking := asked.missing(info.access); lacking {
			s.refuse(ctx, domain.Refusef(domain.CodeForbidden, "you need the permission %s for this", wanted))
			return
		}
		next(ctx)
	}
}

// refuse ends a request of Huma with a problem.
func (s *server) refuse(ctx huma.Context, err error) {
	if writing := huma.WriteErr(s.api, ctx, http.StatusInternalServerError, "", err); writing != nil {
		s.Logger.DebugContext(ctx.Context(), "the client went away", "error", writing)
	}
}

// bearer takes the token out of an Authorization header.
func bearer(header string) string {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

func unauthenticated() error {
	return &refusal{
		status: http.StatusUnauthorized, code: "unauthenticated", headers: map[string]string{"WWW-Authenticate": `Bearer realm="secboard"`},
		detail: "nobody is signed in, or the session has ended: sign in with POST " + basePath + "/sessions and send Authorization: Bearer <token>",
	}
}

// authenticate finds who a token belongs to and what that person may do. The account's state counts at this moment: who
// was deactivated, or whose last day has passed, is nobody.
func (s *server) authenticate(ctx context.Context, token string) (projections.Session, projections.Access, error) {
	if token == "" || len(token) > 200 {
		return projections.Session{}, projections.Access{}, unauthenticated()
	}
	ctx, cancel := context.WithTimeout(ctx, sessionCheckTimeout)
	defer cancel()
	now := s.Now()
	session, access, err := s.ReadModels.AccessOfSession(ctx, secrets.TokenHash(token), now)
	if errors.Is(err, projections.ErrNotFound) {
		return session, access, unauthenticated()
	}
	if err != nil {
		return session, access, err
	}
	if access.State != projections.StateActive || !now.Before(session.ExpiresAt) || now.Sub(session.LastSeenAt) > s.SessionIdle {
		return projections.Session{}, projections.Access{}, unauthenticated()
	}
	return session, access, s.noteSeen(ctx, session, now)
}

// caller is who asks, for a command.
func (s *server) caller(ctx context.Context) commands.Caller {
	info := infoOf(ctx)
	return commands.Caller{
		Actor:   eventstore.Actor{Kind: eventstore.ActorUser, ID: info.access.UserID.String()},
		Session: info.session.ID.String(), IP: info.ip, UserAgent: info.userAgent,
		CommandID: info.command, CorrelationID: info.correlation, CausationID: uuid.Nil,
		Superuser: info.access.Superuser, Permissions: info.access.Permissions,
	}
}
