package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/postgres/pgtest"
)

// Whoever reads of a time-out must not look for it in the database when it was not there.
func TestATimeOutIsTheDatabasesOnlyWhereItWasAsked(t *testing.T) {
	t.Parallel()
	w := &wire{}
	pool, err := postgres.Open(t.Context(), pgtest.NewDatabaseURL(t), func(c *pgxpool.Config) {
		c.ConnConfig.DialFunc = w.dial
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	asked := func(ctx context.Context) error {
		_, err := pool.Exec(ctx, "SELECT pg_sleep(60)")
		return err
	}
	const database, over = "the database does not answer: try again",
		"the request took too long and was cancelled: try again"
	said := func(want string, err error) {
		t.Helper()
		if err == nil {
			t.Fatal("no error")
		}
		problem, headers, unexpected := problemOf(fmt.Errorf("somewhere: %w", err))
		if problem.Status != http.StatusServiceUnavailable {
			t.Errorf("problem.Status = %v, want %v", problem.Status, http.StatusServiceUnavailable)
		}
		if problem.Detail != want {
			t.Errorf("%v: got %q, want %q", err, problem.Detail, want)
		}
		if headers["Retry-After"] != "2" {
			t.Errorf(`headers["Retry-After"] = %q, want "2"`, headers["Retry-After"])
		}
		if unexpected {
			t.Error("unexpected")
		}
	}

	said(over, context.DeadlineExceeded)
	said(over, context.Canceled)
	ended, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	said(over, asked(ended))
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Exec(ended, "SELECT 1")
	conn.Release()
	said(over, err)

	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	said(database, asked(short))
	said(database, fmt.Errorf("%w: %w", errDatabaseSilent, context.DeadlineExceeded))
	w.cut()
	said(database, asked(t.Context())) // of a connection that there was, or else of a new one
	said(database, asked(t.Context()))
}
