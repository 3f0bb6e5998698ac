package main

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/console"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/httpapi"
	"github.com/secboard/secboard/httpapi/load"
	"github.com/secboard/secboard/instance"
	"github.com/secboard/secboard/ldapclient"
	"github.com/secboard/secboard/mailing"
	"github.com/secboard/secboard/processes"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/projections/engine"
	"github.com/secboard/secboard/secrets"
	"github.com/secboard/secboard/targets"
)

// application is all that serve runs on its stores. Which adapters, decorators and processes it consists of is decided
// in this file alone.
type application struct {
	commands    *commands.Handler
	projections *engine.Runner
	api         http.Handler
	metrics     http.Handler
	directories processes.Directories
	approvals   processes.Approvals
	mail        *processes.Mail
}

// wire puts the application together. address is where it will listen.
func (c *serveCmd) wire(ctx context.Context, p *program, st *instance.Stores, options httpOptions, address net.Addr,
	logger *slog.Logger) (*application, error) {
	handler, err := st.Handler(ctx)
	if err != nil {
		return nil, err
	}
	readModels := projections.NewReadModels(st.Pool)
	handler.Lockout = lockoutOf(ctx, readModels, logger)
	registry := prometheus.NewRegistry()
	// Requests and processes share this handler, with everything that stands around it.
	handler.Log = newCountedLog(handler.Log, registry)
	handler.Directory = load.NewDirectory(ldapclient.Client{Targets: options.targets})
	handler.DirectoryIndex = readModels
	handler.Pause = load.Pause(handler.Pause)
	registry.MustRegister(
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsScheduler)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	runner := engine.NewRunner(projections.Set(), st.Pool, st.Log, logger, registry)
	if p.executable != "" {
		runner.CarryOut = p.rebuildProcess(&c.storeSettings).CarryOut
	}
	api, err := httpapi.New(httpapi.Options{
		Commands: handler, ReadModels: readModels, Runner: runner, Pool: st.Pool, Security: readModels.Security,
		PingStore: st.Log.Ping, Logger: logger, Registry: registry,
		AllowedHosts: c.AllowedHosts, TrustedProxies: options.trustedProxies, MaxBody: options.maxBody,
		TrustedOrigins: c.TrustedOrigins, HTTPSRedirect: c.HTTPSRedirect, PublicURL: c.PublicURL,
		MailTransport:  mailing.Transport{Targets: options.targets},
		ProxiesSetting: settingProxies, HostsSetting: settingHosts, OriginsSetting: settingOrigins,
		Console: func(api http.Handler) (http.Handler, error) { return console.New(console.Options{API: api}) },
	})
	if err != nil {
		return nil, err
	}
	return &application{
		commands: handler, projections: runner, api: api, metrics: httpapi.MetricsHandler(registry),
		directories: processes.Directories{Pool: st.Pool, Commands: handler, Logger: logger},
		approvals:   processes.Approvals{Commands: handler, Expired: readModels.ExpiredApprovals, Logger: logger},
		mail:        c.mail(st, handler, readModels, options.targets, address, logger),
	}, nil
}

// mail is the process that sends mail. In the demo, which has no mail account, links are shown in the log: whoever
// reads the log can use them.
func (c *serveCmd) mail(st *instance.Stores, handler *commands.Handler, readModels *projections.ReadModels,
	allowed targets.Policy, address net.Addr, logger *slog.Logger) *processes.Mail {
	mail := &processes.Mail{
		Pool: st.Pool, Commands: handler, Due: readModels.DueMail, Superusers: readModels.Superusers,
		Logger:    logger,
		Transport: mailing.Transport{Targets: allowed},
		BaseURL: func(ctx context.Context) (string, error) {
			if c.PublicURL != "" {
				return c.PublicURL, nil
			}
			site, err := handler.SiteSettings(ctx)
			return cmp.Or(site.URL(), "http://"+reachable(address)), err
		},
	}
	if c.Demo {
		mail.ShowLink = func(ctx context.Context, feature, to, url string) {
			logger.InfoContext(ctx, "demo: a mail with this link would be sent", "feature", feature, "to", to, "url",
				url)
		}
	}
	return mail
}

// lockoutOf gives the lockout policy of the security settings. Without a database the last known one counts, and at the
// very start the default: nobody is let in more easily.
func lockoutOf(ctx context.Context, readModels *projections.ReadModels, logger *slog.Logger) func() signin.Policy {
	ctx = context.WithoutCancel(ctx)
	return func() signin.Policy {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		security, err := readModels.Security(ctx)
		if err != nil {
			logger.Warn("the security settings can't be read: the default lockout applies", "error", err)
			return signin.DefaultPolicy
		}
		return security.Lockout()
	}
}

// auditing is what commands that show the audit work with: read models, and a runner that brings them up to date.
func auditing(st *instance.Stores) (*projections.ReadModels, *engine.Runner) {
	return projections.NewReadModels(st.Pool),
		engine.NewRunner(projections.Set(), st.Pool, st.Log, slog.New(slog.DiscardHandler), nil)
}

// checking is a command handler that hashes no password: for checks, which change nothing.
func checking(st *instance.Stores, keys *secrets.Keyset, readModels *projections.ReadModels,
	allowed targets.Policy) *commands.Handler {
	handler := commands.New(st.Log, keys, nil)
	handler.Directory, handler.DirectoryIndex = ldapclient.Client{Targets: allowed}, readModels
	return handler
}

// rebuildProcess carries rebuilds out behind this process.
func (p *program) rebuildProcess(s *storeSettings) instance.RebuildProcess {
	return instance.RebuildProcess{Executable: p.executable, Settings: s.instance(), Env: p.env, Stderr: p.stderr}
}
