// Package postgres connects to Postgres, and runs the local server that secboard manages by itself where it is given no
// database.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	connectTimeout = 5 * time.Second

	// DefaultStatementTimeout ends a statement that a pool of Open runs for longer.
	DefaultStatementTimeout = 30 * time.Second
)

// StatementTimeout sets another limit than DefaultStatementTimeout for each statement of a pool; 0 means none.
func StatementTimeout(limit time.Duration) func(*pgxpool.Config) {
	return func(c *pgxpool.Config) {
		c.ConnConfig.RuntimeParams["statement_timeout"] = strconv.FormatInt(limit.Milliseconds(), 10)
	}
}

// Open connects to the database at a URL, such as Local.URL, and returns once it has answered.
// Unqualified names are looked up in the schemas readmodels, app and public. Connecting takes at most 5 s, a statement
// at most DefaultStatementTimeout. Each of configure may change that and the size of the pool.
//
// Errors name the host and never hold the password.
func Open(ctx context.Context, databaseURL string, configure ...func(*pgxpool.Config)) (*pgxpool.Pool, error) {
	config, err := parse(databaseURL)
	if err != nil {
		return nil, err
	}
	StatementTimeout(DefaultStatementTimeout)(config)
	for _, c := range configure {
		c(config)
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open a pool of database connections: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		where := config.ConnConfig.Host
		if strings.HasPrefix(where, "/") {
			where += " (a socket on this machine)"
		}
		return nil, fmt.Errorf("cannot use the database %q at %s: %w", config.ConnConfig.Database, where,
			unreachable(err))
	}
	return pool, nil
}

func parse(databaseURL string) (*pgxpool.Config, error) {
	u, err := url.Parse(databaseURL)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		// The parser's own error may quote a piece of the password.
		return nil, errors.New("the address of the database is not valid: it must have the form " +
			"postgres://user:password@host:5432/database, with special characters of the password percent-encoded")
	}
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		var parseErr *pgconn.ParseConfigError
		if errors.As(err, &parseErr) && parseErr.Unwrap() != nil {
			err = parseErr.Unwrap()
		}
		return nil, fmt.Errorf("the address of the database is not usable: %s", withoutPassword(err.Error(), u))
	}
	config.PingTimeout = connectTimeout
	config.ConnConfig.ConnectTimeout = connectTimeout
	config.ConnConfig.RuntimeParams["application_name"] = "secboard"
	// None of ours waits for anything but the database: one that is idle for so long keeps its locks from others.
	config.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "10s"
	config.ConnConfig.RuntimeParams["search_path"] = "readmodels, app, public"
	return config, nil
}

func withoutPassword(text string, u *url.URL) string {
	password, _ := u.User.Password()
	for _, secret := range []string{password, u.Query().Get("password"), u.Query().Get("sslpassword")} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "xxxxx")
		}
	}
	return text
}

// unreachable is err in one line, with what to do about the usual reasons.
func unreachable(err error) error {
	var connectErr *pgconn.ConnectError
	if errors.As(err, &connectErr) {
		err = oneLine{connectErr}
	}
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return err
	}
	switch pgErr.Code {
	case "28P01", "28000":
		return fmt.Errorf("the server refuses this user or password: %w", err)
	case "3D000":
		return fmt.Errorf("create the database first: %w", err)
	}
	return err
}

// oneLine is an error that has a line for each address tried, and before them the user and the database.
type oneLine struct{ *pgconn.ConnectError }

func (e oneLine) Error() string {
	// An address is tried with TLS and without, and mostly fails alike.
	return strings.Join(slices.Compact(strings.Split(e.ConnectError.Unwrap().Error(), "\n")), "; ")
}

func (e oneLine) Unwrap() error { return e.ConnectError }
