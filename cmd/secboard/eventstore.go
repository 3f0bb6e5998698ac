package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"

	"github.com/secboard/secboard/eventstore/node"
	"github.com/secboard/secboard/instance"
)

type eventstoreCmd struct {
	Serve eventstoreServeCmd `cmd:"" help:"Run the embedded event store alone, for development and tests."`
}

type eventstoreServeCmd struct {
	Listen    string `default:"127.0.0.1:2113" placeholder:"HOST:PORT" help:"Address, default ${default}. Port 0: any free port."`
	Data      string `group:"settings" default:"./data" placeholder:"DIR" help:"Data directory. The log is in its folder eventstore."`
	Insecure  bool   `help:"No TLS and no password: whoever can reach the port can read and write the whole history. For 127.0.0.1 only."`
	LogFormat string `group:"settings" default:"text" placeholder:"text|json" help:"Format of the log on standard error."`
}

// Help is the end of the command's --help.
func (eventstoreServeCmd) Help() string {
	return `It speaks the gRPC protocol of EventStoreDB. A certificate and the password of the user admin are created at
the first start. The data directory of secboard serve can be served too, while that is stopped.

Examples:

    secboard eventstore serve --data ./events
    secboard eventstore serve --data ./events --listen 127.0.0.1:2113 --insecure
    SECBOARD_EVENTSTORE_URL='esdb://127.0.0.1:2113?tls=false' secboard serve`
}

// Run carries the command out.
func (c *eventstoreServeCmd) Run(ctx context.Context, p *program) (err error) {
	s := &storeSettings{Data: c.Data, LogFormat: c.LogFormat}
	if err := s.check(); err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return usagef("--listen is %q: it must be host:port, such as 127.0.0.1:2113", c.Listen)
	}
	logger := p.logger(c.LogFormat, slog.LevelInfo)
	st, err := instance.Claim(ctx, instance.Request{
		Settings: s.instance(), Parts: instance.Parts{Log: true}, Command: "eventstore serve",
		Logger: logger,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	listener, err := listen(ctx, "--listen", c.Listen)
	if err != nil {
		return err
	}
	if err := st.OpenNode(); err != nil {
		return errors.Join(err, listener.Close())
	}
	address := listener.Addr().String()
	if c.Insecure {
		p.warnOfOpenStore(logger, listener.Addr(), c.LogFormat)
		err := p.printf("The event store listens on %s, without TLS and password.\n  "+
			"SECBOARD_EVENTSTORE_URL='esdb://%s?tls=false'\n", address, address)
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		return serveNode(ctx, st, func(ctx context.Context) error { return st.Node.ServeInsecure(ctx, listener) })
	}
	credentials, err := node.LoadOrCreateCredentials(st.Dir.Eventstore(), host)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	err = p.printf("The event store listens on %s, with TLS and the user %s.\n  certificate: %s\n  password:    in "+
		"%s\n  SECBOARD_EVENTSTORE_URL='esdb://%s:PASSWORD@%s?tlsCAFile=%s'\n",
		address, credentials.Username, credentials.CertificateFile, filepath.Join(st.Dir.Eventstore(), "node.password"),
		credentials.Username, address, credentials.CertificateFile)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	return serveNode(ctx, st, func(ctx context.Context) error { return st.Node.ServeTCP(ctx, listener, credentials) })
}

// warnOfOpenStore says what --insecure means where others than this machine reach the port.
func (p *program) warnOfOpenStore(logger *slog.Logger, address net.Addr, format string) {
	if isLoopback(address) {
		return
	}
	if format == formatText { // a log in JSON holds nothing else
		p.complain("WARNING: --insecure on " + address.String() + ": everybody who reaches this port can read and " +
			"write the whole history, and so become a superuser. Use --listen 127.0.0.1:2113, or leave --insecure out.")
	}
	logger.Warn("the event store is open to everybody who reaches its port, without TLS and password: listen on "+
		"127.0.0.1, or leave --insecure out", "address", address.String())
}

// isLoopback says whether only this machine reaches a listener.
func isLoopback(address net.Addr) bool {
	tcp, ok := address.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// serveNode serves until ctx ends or the store fails.
func serveNode(ctx context.Context, st *instance.Stores, serve func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- serve(ctx) }()
	select {
	case err := <-served:
		return err
	case err := <-st.Watch(ctx):
		stop()
		return errors.Join(err, <-served)
	}
}
