package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/demo"
	"github.com/secboard/secboard/instance"
	"github.com/secboard/secboard/migrations"
)

type serveCmd struct {
	Demo bool `help:"Fill an empty store with three companies, 200 people and five years of history."`
	httpSettings
	targetSettings
	storeSettings
}

// Help is the end of the command's --help.
func (serveCmd) Help() string {
	return `Without SECBOARD_EVENTSTORE_URL and SECBOARD_DATABASE_URL the stores are embedded and live in the data
directory, which one process at a time may use.

A first superuser is created at the first start from the variables SECBOARD_BOOTSTRAP_EMAIL and
SECBOARD_BOOTSTRAP_PASSWORD, or by secboard superuser create.

Ctrl-C or SIGTERM stops it after the requests under way (at most 10 s); a second one stops it at once.

Examples:

    secboard serve --demo
    SECBOARD_LISTEN=0.0.0.0:8080 SECBOARD_LOG_FORMAT=json secboard serve --config /etc/secboard.yaml
    SECBOARD_EVENTSTORE_URL=esdb://... SECBOARD_DATABASE_URL=postgres://... secboard serve`
}

// graceTime is how long requests under way may take to end at a stop.
const graceTime = 10 * time.Second

// Run carries the command out.
func (c *serveCmd) Run(ctx context.Context, p *program, cli *kong.Kong) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	options, err := c.parse()
	if err != nil {
		return err
	}
	if options.targets, err = c.policy(); err != nil {
		return err
	}
	first, err := p.bootstrap()
	if err != nil {
		return err
	}
	logger := p.logger(c.LogFormat, slog.LevelInfo)
	slog.SetDefault(logger) // for packages that take no logger
	if unknown := p.unknownVariables(cli.Model); len(unknown) > 0 {
		logger.Warn("these environment variables are not settings of secboard and have no effect", "names",
			strings.Join(unknown, ", "))
	}

	if wide := options.wideProxies(); len(wide) > 0 {
		logger.Warn(settingProxies+" has networks in which there may be clients: each of them can claim any address, "+
			"and so get around limits and falsify histories; list the addresses of the proxies alone", "networks",
			strings.Join(wide, ", "))
	}

	st, err := instance.Claim(ctx, instance.Request{
		Settings: c.instance(), Parts: instance.Parts{Log: true, Database: true}, Command: "serve",
		Patience:  p.patience,
		StoreTime: p.storeTime, Logger: logger,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	listener, err := listen(ctx, "SECBOARD_LISTEN", c.Listen)
	if err != nil {
		return err
	}
	st.OnClose(func(context.Context) error { return ignoreClosed(listener.Close()) })
	metrics, err := c.listenForMetrics(ctx, logger)
	if err != nil {
		return err
	}
	if metrics != nil {
		st.OnClose(func(context.Context) error { return ignoreClosed(metrics.Close()) })
	}
	if err := st.Open(ctx); err != nil {
		return err
	}
	if err := migrations.Up(ctx, st.Pool); err != nil {
		return err
	}
	if err := st.CheckLog(ctx); err != nil {
		return err
	}
	app, err := c.wire(ctx, p, st, options, listener.Addr(), logger)
	if err != nil {
		return err
	}
	background := instance.NewBackground()
	// after the requests under way, which may wait for the read models
	defer func() { err = errors.Join(err, background.End()) }()
	background.Start("the projections", app.projections.Run)
	if metrics != nil {
		background.Start("the metrics", func(ctx context.Context) error {
			return serveMetrics(ctx, metrics, app.metrics, logger)
		})
	}

	welcome, err := c.firstStart(ctx, app.commands, first)
	if err != nil {
		return err
	}
	st.AwaitReadModels(ctx, app.projections)
	background.Start("the checks of directories", app.directories.Run)
	background.Start("the end of proposals", app.approvals.Run)
	if err := app.mail.Begin(ctx); err != nil {
		return err
	}
	background.Start("the sending of mail", app.mail.Run)
	server := &http.Server{
		Handler:           app.api,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       5 * time.Minute, // of the largest body on a slow line
		WriteTimeout:      6 * time.Minute, // begins with the request's header, so it covers reading and answering
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if err := announce(p, st, listener.Addr(), metrics, welcome); err != nil {
		return errors.Join(err, server.Close())
	}

	var failure error
	select {
	case <-ctx.Done():
		logger.Info("stopping: requests under way may end", "at_most", graceTime)
	case err := <-served:
		failure = fmt.Errorf("the HTTP server ended: %w", err)
	case <-background.Ended():
	case failure = <-st.Watch(ctx):
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceTime)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		logger.Warn("some requests did not end in time and are aborted", "error", err)
		failure = errors.Join(failure, server.Close())
	}
	return failure
}

// listen opens a TCP port, which the named setting gave.
func listen(ctx context.Context, setting, address string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: the port of %s is in use by another program: stop that one, or choose another "+
			"address; port 0 picks any free one (%w)", setting, address, syscall.EADDRINUSE)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: this user may not listen on %s: choose a port of 1024 or above", setting, address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s: this machine has no address %s: use one of its own, or 0.0.0.0 for all", setting,
			address)
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
		made, err := h.Bootstrap(ctx, first.email, first.password)
		if err != nil {
			return nil, fmt.Errorf("%s and %s: %w", bootstrapEmail, bootstrapPassword, err)
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
		return nil, fmt.Errorf("the demo data is incomplete, the next start with --demo resumes it: %w", err)
	}
	switch outcome.State {
	case demo.Filled:
		welcome = append(welcome, "Demo:       sign in as "+demo.AdminEmail+" with the password "+outcome.Password+
			" (shown only now)")
	case demo.Complete:
		welcome = append(welcome, "Demo:       sign in as "+demo.AdminEmail+" with the password shown at the first "+
			"start; for a new one:",
			"            secboard superuser create --email "+demo.AdminEmail)
	case demo.Occupied:
		welcome = append(welcome, "Demo:       the store holds other data, so no demo data was added; choose an "+
			"empty SECBOARD_DATA for it")
	case demo.Broken:
		welcome = append(welcome, "Demo:       an earlier start was interrupted while it filled the store, and the "+
			"store was used since: the demo",
			"            data stays incomplete; choose an empty SECBOARD_DATA for a complete one")
	}
	return welcome, nil
}

// announce says where the API is: to people, and to other commands.
func announce(p *program, st *instance.Stores, address net.Addr, metrics net.Listener, welcome []string) error {
	if err := st.Announce(address.String()); err != nil {
		return err
	}
	lines := []string{
		"SecBoard listens on http://" + reachable(address),
		"API:        http://" + reachable(address) + "/api/v1, described at /docs and /openapi.json",
	}
	if metrics != nil {
		lines = append(lines, "Metrics:    http://"+reachable(metrics.Addr())+"/metrics")
	}
	lines = append(lines, "Data:       "+st.Where())
	if len(welcome) == 0 {
		welcome = []string{"Sign in:    POST /api/v1/sessions; `secboard superuser create` creates the first account"}
	}
	lines = append(lines, welcome...)
	return p.printf("%s\n", strings.Join(append(lines, "Stop with Ctrl-C."), "\n"))
}

// reachable is an address that a person on this machine can use.
func reachable(address net.Addr) string {
	host, port, err := net.SplitHostPort(address.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return address.String()
}
