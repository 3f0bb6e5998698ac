// Package pgtest gives tests real Postgres databases. Each test process starts one server of its own when a test first
// asks, without fsync and in a temporary directory, which ends and disappears with the process, however that ends.
// Each test gets a database of its own, so that tests can run in parallel.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/migrations"
	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/testcache"
)

// settings trade durability, which no test of one process needs, for speed.
var settings = []string{
	"fsync=off",
	"synchronous_commit=off",
	"full_page_writes=off",
	"wal_level=minimal",
	"max_wal_senders=0",
	"checkpoint_timeout=1h",
	"autovacuum=off",
	"max_connections=300",
}

// NewDatabase opens a database with all migrations applied and no rows. It is dropped when the test ends.
func NewDatabase(t testing.TB) *pgxpool.Pool {
	t.Helper()
	return open(t, NewDatabaseURL(t))
}

// NewDatabaseURL is the address of a database as that of NewDatabase, for a test that opens it by itself.
func NewDatabaseURL(t testing.TB) string {
	t.Helper()
	return create(t, "template_migrated")
}

// NewEmptyDatabase opens a database without tables. It is dropped when the test ends.
func NewEmptyDatabase(t testing.TB) *pgxpool.Pool {
	t.Helper()
	return open(t, create(t, "template1"))
}

// StartServer starts a server for this test alone, for one that stops or kills it. extra are lines of
// postgresql.conf. The server is stopped when the test ends.
func StartServer(t testing.TB, extra ...string) *postgres.Local {
	t.Helper()
	local, err := start(t.Context(), TempDir(t), extra...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := local.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return local
}

// TempDir is as t.TempDir, but in a place that Postgres' user can get to when the tests run as root.
func TempDir(t testing.TB) string {
	t.Helper()
	dir, err := makeTempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func makeTempDir() (string, error) {
	dir, err := os.MkdirTemp("", "secboard-test-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711) // Postgres' user has to pass
}

func open(t testing.TB, databaseURL string) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

var databases atomic.Int64

func create(t testing.TB, template string) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("test_%d", databases.Add(1))
	if _, err := s.admin.Exec(t.Context(), "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := s.admin.Exec(context.WithoutCancel(t.Context()), "DROP DATABASE "+name+" WITH (FORCE)")
		if err != nil {
			t.Error(err)
		}
	})
	return s.url(name)
}

// server is the one of this process. Nothing stops it: it dies with us, and then its directory is removed.
type server struct {
	local *postgres.Local
	admin *pgxpool.Pool
}

var shared = sync.OnceValues(func() (server, error) {
	ctx := context.Background() // longer than the first test
	dir, err := makeTempDir()
	if err != nil {
		return server{}, err
	}
	if err := removeAfterUs(dir); err != nil {
		return server{}, err
	}
	local, err := start(ctx, dir)
	if err != nil {
		return server{}, err
	}
	admin, err := postgres.Open(ctx, local.URL())
	if err != nil {
		return server{}, err
	}
	s := server{local: local, admin: admin}
	return s, s.makeTemplate(ctx)
})

func (s server) url(database string) string {
	u, err := url.Parse(s.local.URL())
	if err != nil {
		panic(err) // ours
	}
	u.Path = "/" + database
	return u.String()
}

func (s server) makeTemplate(ctx context.Context) error {
	if _, err := s.admin.Exec(ctx, "CREATE DATABASE template_migrated"); err != nil {
		return err
	}
	pool, err := postgres.Open(ctx, s.url("template_migrated"))
	if err != nil {
		return err
	}
	defer pool.Close()
	return migrations.Up(ctx, pool)
}

// start runs a server in dir, with a copy of the cached cluster.
func start(ctx context.Context, dir string, extra ...string) (*postgres.Local, error) {
	template, err := cachedCluster(ctx)
	if err != nil {
		return nil, err
	}
	if err := testcache.CopyInto(ctx, dir, template); err != nil {
		return nil, err
	}
	return postgres.StartLocal(ctx, dir, slog.New(slog.DiscardHandler), append(settings, extra...)...)
}

// removeAfterUs removes dir once this process has ended, even by a signal: a shell waits for its standard input, a
// pipe that we hold, to close. It tries for some seconds, while the server goes down.
func removeAfterUs(dir string) error {
	const script = `cat >/dev/null
		for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.5; rm -rf -- "$0" 2>/dev/null && exit; done`
	cmd := exec.Command("/bin/sh", "-c", script, dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is not for it
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, pipe.Close())
	}
	held = append(held, pipe)
	return nil
}

// held keeps the pipe of removeAfterUs open: a garbage-collected one would be closed.
var held []any
