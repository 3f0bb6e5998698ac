package postgres_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/postgres/pgtest"
)

func TestOpenPreparesEveryConnection(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDatabase(t)
	for setting, want := range map[string]string{
		"search_path":       "readmodels, app, public",
		"application_name":  "secboard",
		"statement_timeout": "30s",

		"idle_in_transaction_session_timeout": "10s",
	} {
		t.Run(setting, func(t *testing.T) {
			var got string
			if err := pool.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&got); err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("%s is %q, want %q", setting, got, want)
			}
		})
	}
}

func TestStatementTimeoutEndsASlowStatement(t *testing.T) {
	t.Parallel()
	pool, err := postgres.Open(t.Context(), pgtest.NewDatabaseURL(t), postgres.StatementTimeout(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	_, err = pool.Exec(t.Context(), "SELECT pg_sleep(3600)")
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "57014" {
		t.Fatalf("a statement without end gave %v, want query_canceled", err)
	}
}

func TestOpenSaysWhatIsWrongWithoutThePassword(t *testing.T) {
	t.Parallel()
	const password = "hunter2pass"
	for name, c := range map[string]struct{ url, want string }{
		"empty":             {"", "postgres://user:password@host:5432/database"},
		"no url":            {"host=db password=" + password, "postgres://user:password@host:5432/database"},
		"another scheme":    {"mysql://u:" + password + "@db/x", "postgres://user:password@host:5432/database"},
		"bare # in it":      {"postgres://u:#" + password + "@db/x?sslmode=maybe", "sslmode"},
		"bad escape":        {"postgres://u:%zz" + password + "@db/x", "percent-encoded"},
		"password as port":  {"postgres://u:" + password + "/x", "percent-encoded"},
		"wrong sslmode":     {"postgres://u:" + password + "@db/x?sslmode=maybe", "sslmode"},
		"no such ca file":   {"postgres://u:" + password + "@db/x?sslmode=verify-full&sslrootcert=/none", "/none"},
		"in the query":      {"postgres://u@db/x?sslmode=maybe&password=" + password, "sslmode"},
		"nobody listens":    {"postgres://u:" + password + "@127.0.0.1:1/x", "at 127.0.0.1: "},
		"several hosts":     {"postgres://u:" + password + "@127.0.0.1:1,127.0.0.2:1/x", "127.0.0.2:1"},
		"no such host name": {"postgres://u:" + password + "@db.invalid/x", "at db.invalid: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := postgres.Open(t.Context(), c.url)
			if err == nil {
				t.Fatal("no error")
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %v", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error should name %q: %v", c.want, err)
			}
			if strings.Contains(err.Error(), password) {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}

func TestOpenNamesTheUsualMistakes(t *testing.T) {
	t.Parallel()
	good, err := url.Parse(pgtest.NewDatabaseURL(t))
	if err != nil {
		t.Fatal(err)
	}
	missing, stranger := *good, *good
	missing.Path = "/no_such_database"
	stranger.User = url.User("stranger")
	for want, u := range map[string]url.URL{
		"create the database first":                missing,
		"the server refuses this user or password": stranger,
	} {
		t.Run(want, func(t *testing.T) {
			if _, err := postgres.Open(t.Context(), u.String()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := postgres.Open(ctx, pgtest.NewDatabaseURL(t)); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
}
