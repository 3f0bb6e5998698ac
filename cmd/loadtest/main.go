// Command loadtest sends a mixed load to a running secboard and prints what came back: make load.
//
// It asks for the highest rate first, with as many clients as wait for an answer before they ask again; then keeps 80 %
// of it for -for, whether answers come or not; then five times as much; then 80 % again, to see whether all is as
// before.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/secboard/secboard/pause"
)

func main() {
	var o options
	flag.StringVar(&o.url, "url", "http://127.0.0.1:8080",
		"address of the server, which must trust this program as a proxy: serve --trusted-proxies 127.0.0.1")
	flag.StringVar(&o.metrics, "metrics", "http://127.0.0.1:9464/metrics", "page with the metrics of the server")
	flag.StringVar(&o.email, "email", "root@example.com",
		"e-mail address of a superuser; its password is read from SECBOARD_LOAD_PASSWORD")
	flag.DurationVar(&o.length, "for", 10*time.Minute, "how long the steady load lasts")
	flag.Float64Var(&o.rate, "rate", 0, "requests per second of the steady load, in place of 80 % of the highest; "+
		"then nothing else is measured")
	flag.StringVar(&o.profile, "profile", "mixed",
		"mixed: 80 % queries, 15 % commands, 5 % sign-ins; or queries, accounts, audit, access: such queries alone")
	flag.Parse()
	o.password = os.Getenv("SECBOARD_LOAD_PASSWORD")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		os.Exit(1)
	}
}

type options struct {
	url, metrics, email, password, profile string
	length                                 time.Duration
	rate                                   float64
}

const (
	probing    = time.Minute // of the highest rate: long enough for what Postgres puts off
	overload   = 5
	overloaded = 30 * time.Second
	settling   = 5 * time.Second // after an overload: requests that wait already are answered
)

func run(ctx context.Context, o options) error {
	if o.password == "" {
		return errors.New("set SECBOARD_LOAD_PASSWORD to the password of " + o.email)
	}
	l, err := prepare(ctx, o)
	if err != nil {
		return err
	}
	if o.rate > 0 {
		return l.attack(ctx, fmt.Sprintf("%.0f requests/s", o.rate), o.rate, o.length).print()
	}
	highest := l.attack(ctx, "as fast as 32 clients get answers", 0, probing)
	if err := highest.print(); err != nil {
		return err
	}
	steady := 0.8 * highest.answered()
	if err := l.attack(ctx, fmt.Sprintf("80 %%, %.0f requests/s", steady), steady, o.length).print(); err != nil {
		return err
	}
	if err := l.attack(ctx, fmt.Sprintf("overload, %.0f requests/s", overload*highest.answered()),
		overload*highest.answered(), overloaded).print(); err != nil {
		return err
	}
	pause.For(ctx, settling)
	return cmp.Or(ctx.Err(),
		l.attack(ctx, fmt.Sprintf("80 %% again, %.0f requests/s", steady), steady, 2*overloaded).print())
}
