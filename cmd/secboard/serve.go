package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/demo"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/eventstore/node"
	"github.com/secboard/secboard/httpapi"
	"github.com/secboard/secboard/ldapclient"
	"github.com/secboard/secboard/migrations"
	"github.com/secboard/secboard/pause"
	"github.com/secboard/secboard/processes"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/projections/engine"
)

type serveCmd struct {
	Demo bool `help:"Fill an empty store with three companies, 200 people and five years of history."`
	httpSettings
	storeSettings
}

// Help is the end of the command's --help.
func (serveCmd) Help() string {
	return `Without SECBOARD_EVENTSTORE_URL and SECBOARD_DATABASE_URL the stores are embedded and live in the data directory, which one process at a time may use.

A first superuser is made at the first start from the variables SECBOARD_BOOTSTRAP_EMAIL and SECBOARD_BOOTSTRAP_PASSWORD, or by secboard superuser create.

Ctrl-C or SIGTERM ends it after the requests under way (at most 10 s); a second one at once.

Examples:

    secboard serve --demo
    SECBOARD_LISTEN=0.0.0.0:8080 SECBOARD_LOG_FORMAT=json secboard serve --config /etc/secboard.yaml
    SECBOARD_EVENTSTORE_URL=esdb://... SECBOARD_DATABASE_URL=postgres://... secboard serve`
}

// graceTime is how long requests under way may take to end at a stop.
const graceTime = 10 * time.Second

// Run carries the command out.
func (c *serveCmd) Run(ctx context.Context, p *program, app *kong.Kong) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	options, err := c.parse()
	if err != nil {
		return err
	}
	first, err := p.bootstrap()
	if err != nil {
		return err
	}
	logger := p.logger(c.LogFormat, slog.LevelInfo)
	slog.SetDefault(logger) // for packages that take no logger
	if unknown := p.unknownVariables(app.Model); len(unknown) > 0 {
		logger.Warn("these environment variables are no settings of secboard", "names", strings.Join(unknown, ", "))
	}

	everything := parts{log: true, database: true}
	st, err := p.claimData(ctx, &c.storeSettings, everything, "serve", false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	listener, err := listen(ctx, "SECBOARD_LISTEN", c.Listen)
	if err != nil {
		return err
	}
	st.onClose(func(context.Context) error { return ignoreClosed(listener.Close()) })
	if err := st.open(ctx, p, &c.storeSettings, everything, logger); err != nil {
		return err
	}
	if err := migrations.Up(ctx, st.pool); err != nil {
		return err
	}
	handler, err := st.handler(ctx, &c.storeSettings)
	if err != nil {
		return err
	}

	if err := st.checkLog(ctx); err != nil {
		return err
	}
	readModels := projections.NewReadModels(st.pool)
	handler.Lockout = lockoutOf(ctx, readModels, logger)
	handler.Directory, handler.DirectoryIndex = ldapclient.Client{}, readModels
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsScheduler)), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	runner := engine.NewRunner(projections.Set(), st.pool, st.log, logger, registry)
	if p.executable != "" {
		runner.CarryOut = p.rebuildApart(&c.storeSettings)
	}
	api, err := httpapi.New(httpapi.Options{
		Commands: handler, ReadModels: readModels, Runner: runner, Pool: st.pool, Security: readModels.Security,
		PingStore: st.log.Ping, Logger: logger, Registry: registry,
		AllowedHosts: c.AllowedHosts, TrustedProxies: options.trustedProxies, MaxBody: options.maxBody,
		TrustedOrigins: c.TrustedOrigins, HTTPSRedirect: c.HTTPSRedirect,
	})
	if err != nil {
		return err
	}
	background := newBackground()
	defer func() { err = errors.Join(err, background.end()) }() // after the requests under way, which may wait for the read models
	background.start("the projections", runner.Run)

	welcome, err := c.firstStart(ctx, handler, first)
	if err != nil {
		return err
	}
	st.awaitReadModels(ctx, runner)
	directories := processes.Directories{Pool: st.pool, Commands: handler, Logger: logger}
	background.start("the checks of directories", directories.Run)
	mail := c.mail(st, handler, readModels, listener.Addr())
	if err := mail.Begin(ctx); err != nil {
		return err
	}
	background.start("the sending of mail", mail.Run)
	server := &http.Server{
		Handler:           api,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       5 * time.Minute, // of the largest body on a slow line
		WriteTimeout:      6 * time.Minute, // begins with the request's header, so it covers reading and answering
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if err := st.announce(p, listener.Addr(), welcome); err != nil {
		return errors.Join(err, server.Close())
	}

	var failure error
	select {
	case <-ctx.Done():
		logger.Info("stopping: requests under way may end", "at_most", graceTime)
	case err := <-served:
		failure = fmt.Errorf("the HTTP server ended: %w", err)
	case <-background.ended():
	case failure = <-st.failed:
	case failure = <-watch(ctx, st.node):
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceTime)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		logger.Warn("some requests did not end in time and are cut", "error", err)
		failure = errors.Join(failure, server.Close())
	}
	return failure
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
			logger.Warn("the security settings can't be read: the default lockout counts", "error", err)
			return signin.DefaultPolicy
		}
		return security.Lockout()
	}
}

// mail makes the process that sends mail. In the demo, which has no mail account, links are shown in the log: whoever reads
// the log can use them.
func (c *serveCmd) mail(st *stores, handler *commands.Handler, readModels *projections.ReadModels, address net.Addr) *processes.Mail {
	mail := &processes.Mail{
		Pool: st.pool, Commands: handler, Due: readModels.DueMail, Logger: st.logger,
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
			st.logger.InfoContext(ctx, "demo: a mail with this link would be sent", "feature", feature, "to", to, "url", url)
		}
	}
	return mail
}

// listen opens a TCP port, which the named setting gave.
func listen(ctx context.Context, setting, address string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: the port of %s is taken by another program: stop that one, or choose another address; port 0 takes any that is free (%w)", setting, address, syscall.EADDRINUSE)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: this user may not listen on %s: choose a port from 1024 on", setting, address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s: this machine has no address %s: use one of its own, or 0.0.0.0 for all", setting, address)
	case err != nil:
		return nil, fmt.Errorf("%s: can't listen on %s: %w", setting, address, err)
	}
	return listener, nil
}

// ignoreClosed: the HTTP server closes its listener itself.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// firstStart makes the first superuser and the demo data where they are asked for, and says what to tell about it.
func (c *serveCmd) firstStart(ctx context.Context, h *commands.Handler, first bootstrap) (welcome []string, err error) {
	if first.email != "" {
		made, err := createBootstrap(ctx, h, first)
		if err != nil {
			return nil, err
		}
		if made {
			welcome = append(welcome, "Superuser:  "+first.email+", with the password of "+bootstrapPassword)
		}
	}
	if !c.Demo {
		return welcome, nil
	}
	outcome, err := demo.Load(ctx, h, time.Now())
	if err != nil {
		return nil, fmt.Errorf("the demo data is incomplete, the next start with --demo goes on with it: %w", err)
	}
	switch outcome.State {
	case demo.Filled:
		welcome = append(welcome, "Demo:       sign in as "+demo.AdminEmail+" with the password "+outcome.Password+" (shown only now)")
	case demo.Complete:
		welcome = append(welcome, "Demo:       sign in as "+demo.AdminEmail+" with the password shown at the first start; for a new one:",
			"            secboard superuser create --email "+demo.AdminEmail)
	case demo.Occupied:
		welcome = append(welcome, "Demo:       the store holds other data, so no demo data was added; choose an empty SECBOARD_DATA for it")
	case demo.Broken:
		welcome = append(welcome, "Demo:       an earlier start was interrupted while it filled the store, and the store was used since: the demo",
			"            data stays incomplete; choose an empty SECBOARD_DATA for a whole one")
	}
	return welcome, nil
}

// catchUpTime is how long a start waits for the read models.
const catchUpTime = 10 * time.Second

// awaitReadModels waits until the read models have the whole log, so that the first request after a start finds what was
// acknowledged before it. Postgres may have lost the newest of it in a crash, as that is read from the log again; and a
// first start has just written.
func (st *stores) awaitReadModels(ctx context.Context, runner *engine.Runner) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	for {
		statuses, err := runner.Status(ctx)
		behind := slices.ContainsFunc(statuses, func(s engine.Status) bool { return s.State == engine.StateCatchingUp })
		if err == nil && !behind {
			return
		}
		if !pause.For(ctx, 20*time.Millisecond) {
			st.logger.Warn("the read models are still behind; queries show older data until they have caught up", "error", err)
			return
		}
	}
}

// announce says where the API is: to people, and in the lock file to other commands.
func (st *stores) announce(p *program, address net.Addr, welcome []string) error {
	if st.lock != nil {
		if err := st.lock.say(holder{PID: os.Getpid(), Command: "serve", Address: address.String()}); err != nil {
			return fmt.Errorf("SECBOARD_DATA: %w", err)
		}
	}
	lines := []string{
		"SecBoard listens on http://" + reachable(address),
		"API:        http://" + reachable(address) + "/api/v1, described at /docs and /openapi.json",
		"Data:       " + st.whereData(),
	}
	if len(welcome) == 0 {
		welcome = []string{"Sign in:    POST /api/v1/sessions; `secboard superuser create` makes the first account"}
	}
	lines = append(lines, welcome...)
	return p.printf("%s\n", strings.Join(append(lines, "Stop with Ctrl-C."), "\n"))
}

func (st *stores) whereData() string {
	switch {
	case st.node != nil && st.local != nil:
		return st.dir.path
	case st.node != nil:
		return st.dir.path + " (events), database of SECBOARD_DATABASE_URL"
	case st.local != nil:
		return "event store of SECBOARD_EVENTSTORE_URL, " + st.dir.path + " (read models)"
	}
	return "event store of SECBOARD_EVENTSTORE_URL, database of SECBOARD_DATABASE_URL"
}

// reachable is an address that a person on this machine can use.
func reachable(address net.Addr) string {
	host, port, err := net.SplitHostPort(address.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return address.String()
}

// watch tells when the embedded event store, if there is one, takes no more appends. That does not heal by itself, so
// the process has to end and be started again.
func watch(ctx context.Context, store *node.Node) <-chan error {
	failed := make(chan error, 1)
	if store == nil {
		return failed
	}
	go func() {
		for pause.For(ctx, time.Second) {
			if err := store.Err(); err != nil {
				failed <- fmt.Errorf("the embedded event store failed: %w", err)
				return
			}
		}
	}()
	return failed
}
