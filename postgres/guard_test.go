package postgres_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/postgres/pgtest"
)

func TestASilentServerIsToldAtOnce(t *testing.T) {
	t.Parallel()
	databaseURL := pgtest.NewDatabaseURL(t)
	proxy := proxied(t, socketOf(t, databaseURL))
	guard := postgres.NewGuard(slog.New(slog.DiscardHandler))
	pool, err := postgres.Open(t.Context(), databaseURL, func(c *pgxpool.Config) {
		c.ConnConfig.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", proxy.Listen)
		}
	}, guard.Configure)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	var running sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	running.Go(func() { guard.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })

	// A statement under way when everything goes into nowhere ends long before its own time.
	patience, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	underWay := make(chan error, 1)
	sleeping, err := pool.Acquire(patience)
	if err != nil {
		t.Fatal(err)
	}
	defer sleeping.Release()
	go func() {
		_, err := sleeping.Exec(patience, "SELECT pg_sleep(3600)")
		underWay <- err
	}()
	for _, stream := range []string{"upstream", "downstream"} {
		toxic := `{"type":"timeout","stream":"` + stream + `","attributes":{"timeout":0}}`
		if _, err := proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-underWay; err == nil || patience.Err() != nil {
		t.Errorf("a statement to a silent server under way: %v", err)
	}
	// Without the guard it would wait for a limit of its own, here patience.
	if _, err = pool.Exec(patience, "SELECT 1"); err == nil || patience.Err() != nil {
		t.Errorf("a statement to a server that is known to be silent: %v", err)
	}
	if err != nil && !pgconn.SafeToRetry(err) && !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("the reason is %v", err)
	}

	proxy.Toxics.ResetToxics(t.Context())
	for {
		if _, err = pool.Exec(patience, "SELECT 1"); err == nil {
			return
		}
		if patience.Err() != nil {
			t.Fatalf("it is back, and yet: %v", err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// socketOf is the Unix socket of a database's server.
func socketOf(t *testing.T, databaseURL string) string {
	t.Helper()
	parsed, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Query().Get("host") + "/.s.PGSQL.5432"
}

// proxied makes a proxy that leads to a Unix socket. Toxiproxy itself leads to TCP only, so there is a step between.
func proxied(t *testing.T, socket string) *toxiproxy.Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	})
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("unix", socket)
			if err != nil {
				t.Error(err)
				return
			}
			for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
				go func() {
					_, _ = io.Copy(pair[1], pair[0]) // until either side closes
					_ = pair[1].Close()
				}()
			}
		}
	}()
	proxy := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "postgres",
		"127.0.0.1:0", listener.Addr().String())
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)
	return proxy
}
