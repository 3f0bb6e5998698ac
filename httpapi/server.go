// Package httpapi is the HTTP API: one file per resource on top of the commands and the read models, and around them
// signing in, permissions, problems, idempotency, health and metrics. The contract is the OpenAPI document that comes
// out of this code, at /openapi.json, readable at /docs.
package httpapi

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/httpapi/load"
	"github.com/secboard/secboard/httpapi/sessions"
	"github.com/secboard/secboard/mailing"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/projections/engine"
)

const basePath = "/api/v1"

// Options of the API. Commands to Pool must be given.
type Options struct {
	Commands   *commands.Handler
	ReadModels *projections.ReadModels
	Runner     *engine.Runner
	Pool       *pgxpool.Pool
	PingStore  func(context.Context) error // whether the event store answers, for /readyz; nil: reading a stream tells

	Logger   *slog.Logger         // nil: slog.Default()
	Registry *prometheus.Registry // for MetricsHandler; nil: a new one
	Now      func() time.Time     // nil: time.Now

	AllowedHosts   []string       // host names, without port, that requests may be addressed to; empty: all
	TrustedProxies []netip.Prefix // whose X-Forwarded-For and X-Forwarded-Proto count; empty: nobody's
	MaxBody        int64          // of any request, in bytes; 0: 100 MB. Most requests have a lower limit of their own

	// of other sites whose pages may act with the session cookie, such as https://portal.example.com
	TrustedOrigins []string
	HTTPSRedirect  bool // sends requests that came over http to https
	// under which people reach SecBoard, without a slash at the end; empty: the settings of the site say it
	PublicURL string

	// What an operator calls the settings behind TrustedProxies, AllowedHosts and TrustedOrigins, for problems and for
	// the checklist of a new installation. Problems leave out an empty one.
	ProxiesSetting, HostsSetting, OriginsSetting string

	MailTransport mailing.Transport // for test mails

	// Security gives the settings in force: how long sessions last. It is asked on each request. nil:
	// settings.DefaultSecurity.
	Security func(context.Context) (settings.Security, error)

	// Console makes the web console, which answers every path that is not the API's, from the API's handler, whose
	// client it is. nil: there is none.
	Console func(api http.Handler) (http.Handler, error)

	limits limits // zero: defaultLimits
}

type server struct {
	Options
	api        huma.API
	engine     *gin.Engine
	metrics    *metrics
	origins    *http.CrossOriginProtection
	routes     []operation // what register was called with, in order
	sessions   *sessions.Store
	cleaning   cleaning
	patience   time.Duration
	limiter    *load.Limiter
	rejections rejections
	testMails  *load.Waiting // by mail server
}

// New makes the API's handler. It fails on options that are missing.
func New(options Options) (http.Handler, error) {
	s, err := newServer(options)
	if err != nil {
		return nil, err
	}
	return s.engine, nil
}

func newServer(options Options) (*server, error) {
	if options.Commands == nil || options.ReadModels == nil || options.Runner == nil || options.Pool == nil {
		return nil, errors.New("httpapi: Commands, ReadModels, Runner and Pool must be given")
	}
	s := &server{Options: options, sessions: sessions.NewStore(options.Pool), patience: defaultPatience,
		limiter: load.NewLimiter(), testMails: load.NewWaiting(load.MostTests)}
	s.MaxBody = cmp.Or(s.MaxBody, 100<<20)
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	if s.Registry == nil {
		s.Registry = prometheus.NewRegistry()
	}
	if s.limits == (limits{}) {
		s.limits = defaultLimits
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Security == nil {
		s.Security = func(context.Context) (settings.Security, error) { return settings.DefaultSecurity, nil }
	}
	var err error
	if s.origins, err = trustedOrigins(s.TrustedOrigins); err != nil {
		return nil, err
	}
	if s.metrics, err = newMetrics(s.Registry); err != nil {
		return nil, err
	}
	if s.PingStore == nil {
		s.PingStore = func(ctx context.Context) error {
			_, err := s.Commands.Log.ReadStream(ctx, "readiness-probe")
			return err
		}
	}
	s.routesOf()
	if err := s.addConsole(); err != nil {
		return nil, err
	}
	return s, s.addDocs()
}

// consoleRoute is the route of all pages of the console, in log and metrics.
const consoleRoute = "/console"

// addConsole answers paths that are not the API's.
func (s *server) addConsole() error {
	var console http.Handler
	if s.Console != nil {
		var err error
		if console, err = s.Console(s.engine); err != nil {
			return err
		}
	}
	s.engine.NoRoute(func(c *gin.Context) {
		if s.isForConsole(c) {
			c.Status(http.StatusOK) // unless it says otherwise: Gin took it for a 404
			console.ServeHTTP(c.Writer, c.Request)
			return
		}
		writeProblem(c, &refusal{status: http.StatusNotFound, code: domain.CodeNotFound, detail: "there is no such " +
			"path: /docs lists them all"})
	})
	return nil
}

// tags are the chapters of the document, in their order.
var tags = []*huma.Tag{
	{Name: "Signing in", Description: "Sessions, the second factor, and links for those who have no password or " +
		"forgot it."},
	{Name: "Own account", Description: "What everybody may do with their own account."},
	{Name: "Accounts", Description: "Who may use the platform."},
	{Name: "Companies", Description: "The tenants that accounts and groups belong to."},
	{Name: "Roles", Description: "What people are in their company, and which widgets of the executive view they " +
		"get."},
	{Name: "Groups", Description: "What their members may do, module by module."},
	{Name: "Approvals", Description: "Changes of accounts and groups that may do more than you: one person proposes, " +
		"another one confirms."},
	{Name: "Directories", Description: "Active Directory and other LDAP servers. People sign in with their " +
		"passwords there."},
	{Name: "Modules", Description: "The parts of the platform that permissions refer to."},
	{Name: "Mail", Description: "Servers and accounts that send mail, the mails and their outcome, and the contact " +
		"form."},
	{Name: "Audit", Description: "Who could do what, and the log of everything that happened. Reading it is itself " +
		"recorded."},
	{Name: "Settings", Description: "Name and address of the installation, its contact data, lockout and session " +
		"limits, and what is still to be set up."},
	{Name: "Operations", Description: "The state of the system itself."},
}

// routesOf builds the router.
func (s *server) routesOf() {
	gin.SetMode(gin.ReleaseMode)
	s.engine = gin.New()
	s.engine.HandleMethodNotAllowed = true
	s.engine.RedirectTrailingSlash = false
	s.engine.Use(s.begin, s.recoverPanics, s.limitWork, s.checkHost, s.redirectToHTTPS, s.checkRequest)
	s.engine.NoMethod(s.refuseMethod)

	s.api = humagin.New(s.engine, s.openAPIConfig())
	s.addUsers()
	s.addUserImport()
	s.addMemberships()
	s.addCompanies()
	s.addRoles()
	s.addGroups()
	s.addApprovals()
	s.addDirectories()
	s.addModules()
	s.addSite()
	s.addSessions()
	s.addLinks()
	s.addOwnAccount()
	s.addOwnSessions()
	s.addPhoto()
	s.addTwoFactor()
	s.addOverviews()
	s.addAccountSecurity()
	s.addSignInCheck()
	s.addAccess()
	s.addAudit()
	s.addSettings()
	s.addContact()
	s.addSetup()
	s.addMailServers()
	s.addMailAccounts()
	s.addMailMessages()
	s.addProjections()
	s.addRebuilds()

	s.addHealth()
}

// isForConsole says whether the console answers. Programs that ask for JSON get a problem for a wrong path.
func (s *server) isForConsole(c *gin.Context) bool {
	if s.Console == nil || c.FullPath() != "" || strings.HasPrefix(c.Request.URL.Path, basePath+"/") {
		return false
	}
	accepted := c.Request.Header.Get("Accept")
	return !strings.Contains(accepted, "json") || strings.Contains(accepted, "text/html")
}

// root adds a page outside the API that GET and HEAD may ask for.
func (s *server) root(path string, handler gin.HandlerFunc) {
	s.engine.Match([]string{http.MethodGet, http.MethodHead}, path, handler)
}

// insteadOfDelete says what to call instead of DELETE on a path; empty where there is nothing to delete.
func (s *server) insteadOfDelete(requested string) string {
	resources := strings.TrimPrefix(path.Dir(requested), basePath)
	if resources == "/directories" {
		return "PATCH " + requested + ` {"enabled": false}`
	}
	for _, action := range []string{"retire", "deactivate"} {
		if slices.ContainsFunc(s.routes, func(o operation) bool { return o.path == resources+"/{id}/"+action }) {
			return "POST " + requested + "/" + action
		}
	}
	return ""
}

// refuseMethod answers 405.
func (s *server) refuseMethod(c *gin.Context) {
	allowed := strings.Split(c.Writer.Header().Get("Allow"), ", ") // by Gin, in the order of registration
	slices.Sort(allowed)
	c.Header("Allow", strings.Join(allowed, ", "))
	if call := s.insteadOfDelete(c.Request.URL.Path); c.Request.Method == http.MethodDelete && call != "" {
		writeProblem(c, &refusal{
			status: http.StatusMethodNotAllowed, code: domain.CodeHistoryIsKept,
			detail: "nothing is ever deleted, so that its history stays: use " + call,
		})
		return
	}
	writeProblem(c, &refusal{
		status: http.StatusMethodNotAllowed, code: domain.CodeMethodNotAllowed,
		detail: c.Request.Method + " is not allowed here; allowed: " + c.Writer.Header().Get("Allow"),
	})
}
