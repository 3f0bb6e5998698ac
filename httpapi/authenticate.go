package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/httpapi/sessions"
	"github.com/secboard/secboard/projections"
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
	limited     bool // also in a session that may only set up two-factor
	own         bool // the permissions are not needed for the caller's own account, whose id is in the path
	superuser   bool // whatever the permissions, only superusers
	permissions []permission
	// companies says that a permission for one company is enough: the operation keeps to what that reaches.
	companies bool
	// behind says that it is possible, too, while the read models from which rights are taken stand still.
	behind bool
}

var (
	anybody       = requirement{declared: true, public: true}
	signedIn      = requirement{declared: true}
	superuserOnly = requirement{declared: true, superuser: true}
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

// evenLimited lets a session call it that may only set up two-factor.
func (r requirement) evenLimited() requirement {
	r.limited = true
	return r
}

// orOwnAccount lets everybody call it for their own account.
func (r requirement) orOwnAccount() requirement {
	r.own = true
	return r
}

// forCompanies lets those call it, too, whose permission holds for one company.
func (r requirement) forCompanies() requirement {
	r.companies = true
	return r
}

// evenBehind lets it be called while the read models stand still from which rights are taken; the log then says what
// the caller may do. It is for what mends them, and for signing out.
func (r requirement) evenBehind() requirement {
	r.behind = true
	return r
}

// seesHistory is what reading how something was in the past takes, besides seeing it now.
func (r requirement) seesHistory() requirement { return r.and("audit", domain.View) }

// admit lets a request through to an operation when somebody is signed in who may call it.
func (s *server) admit(required requirement) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		request := humagin.Unwrap(ctx).Request
		token, byCookie := tokenOf(request)
		if (byCookie || token == "") && !isSafe(request.Method) {
			if err := s.checkOrigin(request); err != nil {
				s.refuse(ctx, err)
				return
			}
		}
		if required.public {
			next(ctx)
			return
		}
		info := infoOf(ctx.Context())
		var err error
		if info.session, info.access, err = s.authenticate(ctx.Context(), token, required.behind); err != nil {
			s.refuse(ctx, err)
			return
		}
		info.by(info.access.UserID)
		ctx.SetHeader("X-Request-ID", info.id.String())
		if byCookie && !isSafe(request.Method) {
			if err := s.checkCSRFToken(info.session.ID, request.Header.Get("X-CSRF-Token")); err != nil {
				s.refuse(ctx, err)
				return
			}
		}
		if (info.session.Kind != sessions.Full || info.access.MustSetUpTwoFactor) && !required.limited {
			s.refuse(ctx, errSetupOnly)
			return
		}
		if required.superuser && !info.access.Superuser {
			s.refuse(ctx, domain.Refusef(domain.CodeForbidden, "only a superuser may do this"))
			return
		}
		asked := required
		if ctx.Query("as_of") != "" {
			asked = required.seesHistory()
		}
		isOwn := required.own && ctx.Param("id") == info.access.UserID.String()
		reached, lacking, ok := reachOf(info.access, asked.permissions)
		switch info.reach = reached; {
		case isOwn:
		case !ok:
			s.refuse(ctx, domain.Refusef(domain.CodeForbidden, "you need the permission %s for this", lacking))
			return
		case !reached.everywhere && !required.companies:
			s.refuse(ctx, onlyOwnCompany(asked.permissions[0]))
			return
		}
		next(ctx)
	}
}

// errSetupOnly refuses what a session may not do whose account has to set up two-factor first.
var errSetupOnly = domain.Refusef(domain.CodeTwoFactorSetupRequired,
	"an administrator requires two-factor for this account: set it up with POST "+basePath+
		"/me/two-factor and confirm it, then this session may do everything")

// refuse ends a request of Huma with a problem.
func (s *server) refuse(ctx huma.Context, err error) {
	if writing := huma.WriteErr(s.api, ctx, http.StatusInternalServerError, "", err); writing != nil {
		s.Logger.DebugContext(ctx.Context(), "the client went away", "error", writing)
	}
}

// tokenOf finds a session's token: in the Authorization header, else in the cookie.
func tokenOf(r *http.Request) (token string, byCookie bool) {
	if token := bearer(r.Header.Get("Authorization")); token != "" {
		return token, false
	}
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return "", false
	}
	return cookie.Value, true
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
		status: http.StatusUnauthorized, code: domain.CodeUnauthenticated,
		headers: map[string]string{"WWW-Authenticate": `Bearer realm="secboard"`},
		detail: "nobody is signed in, or the session has ended: sign in with POST " + basePath +
			"/sessions and send Authorization: Bearer <token>",
	}
}

// authenticate finds who a token belongs to and what that person may do. The account's state counts at this moment: who
// was deactivated, or whose last day has passed, is nobody. While the read models stand still, so is everybody, unless
// evenBehind.
func (s *server) authenticate(ctx context.Context, token string, evenBehind bool) (sessions.Session,
	projections.Access, error) {
	if token == "" || len(token) > 200 {
		return sessions.Session{}, projections.Access{}, unauthenticated()
	}
	limited, cancel := context.WithTimeout(ctx, s.limits.session)
	defer cancel()
	session, access, err := s.lookUp(limited, token, evenBehind)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", errDatabaseSilent, err)
	}
	return session, access, err
}

// rightsProjections are the read models from which rights are taken, and how long sessions last. While they are stopped
// or behind nobody is let in: who lost a right might still have it there.
var rightsProjections = []string{"users", "groups", "history"}

func (s *server) lookUp(ctx context.Context, token string, evenBehind bool) (sessions.Session, projections.Access,
	error) {
	behind := s.Runner.Fresh(rightsProjections...)
	if behind != nil && !evenBehind {
		return sessions.Session{}, projections.Access{}, behind
	}
	security, err := s.Security(ctx)
	if err != nil {
		return sessions.Session{}, projections.Access{}, err
	}
	now := s.Now()
	session, access, err := s.sessions.Find(ctx, token, now)
	if errors.Is(err, sessions.ErrNone) {
		return session, access, unauthenticated()
	}
	if err != nil {
		return session, access, err
	}
	if behind != nil {
		self := commands.Caller{Actor: eventstore.Actor{Kind: eventstore.ActorUser, ID: access.UserID.String()}}
		if access.Rights, err = s.Commands.RightsOf(ctx, self); err != nil {
			return session, access, err
		}
	}
	if !access.Usable() || !session.Alive(security, now) {
		return sessions.Session{}, projections.Access{}, unauthenticated()
	}
	return session, access, s.sessions.Touch(ctx, session, now)
}

// caller is who asks, for a command; somebody who is not signed in has no id.
func (s *server) caller(ctx context.Context) commands.Caller {
	info := infoOf(ctx)
	caller := commands.Caller{
		Actor: eventstore.Actor{Kind: eventstore.ActorUser}, IP: info.ip, UserAgent: info.userAgent,
		CommandID: info.command, CorrelationID: info.correlation, CausationID: uuid.Nil,
	}
	if info.access.UserID != uuid.Nil {
		caller.Actor.ID, caller.Session = info.access.UserID.String(), info.session.ID.String()
		caller.CausationID = info.session.ID // also the id of the sign-in's event
	}
	return caller
}
