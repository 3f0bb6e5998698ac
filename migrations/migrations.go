// Package migrations holds the Postgres schemas as goose SQL files and applies them.
//
// There are two sets, each with its version table inside its own schema. app is operational state (sessions,
// idempotency keys, rate limits). readmodels is what projections build from the event log; its files name no schema,
// so that the same files make a second, fresh copy beside the live one for a rebuild.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// The schemas that Up fills.
const (
	AppSchema        = "app"
	ReadModelsSchema = "readmodels"
)

//go:embed */*.sql
var files embed.FS

const (
	versionTable = "goose_db_version"

	// lockKey is the advisory lock of everyone who migrates one database: "secboard" in ASCII.
	lockKey = 0x736563626f617264
)

// ErrNewerDatabase says that a newer secboard has migrated the database already.
var ErrNewerDatabase = errors.New("the database was migrated by a newer secboard")

// Migration is one SQL file and whether the database has it.
type Migration struct {
	Schema    string    // AppSchema or ReadModelsSchema
	Version   int64     // the number that the file name begins with
	Name      string    // file name
	AppliedAt time.Time // zero while it is pending
}

// Up brings both sets to the newest version. It waits while another process migrates the same database; what is
// applied already is left alone. It returns ErrNewerDatabase where the database knows versions that this program
// doesn't.
func Up(ctx context.Context, pool *pgxpool.Pool) error {
	return locked(ctx, pool, func() error {
		if err := up(ctx, pool, AppSchema, AppSchema); err != nil {
			return err
		}
		return up(ctx, pool, ReadModelsSchema, ReadModelsSchema)
	})
}

// ReadModels makes schema where it is missing and brings the read-model tables in it to the newest version. It locks
// and refuses as Up does.
func ReadModels(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	return locked(ctx, pool, func() error { return up(ctx, pool, ReadModelsSchema, schema) })
}

// Hold keeps everybody else from migrating the database until a transaction ends. It waits while somebody does.
func Hold(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(lockKey))
	return err
}

// Status lists every migration of both sets in order of schema and version. It changes nothing: on an empty
// database all are pending. It returns ErrNewerDatabase as Up does.
func Status(ctx context.Context, pool *pgxpool.Pool) ([]Migration, error) {
	var all []Migration
	for _, schema := range []string{AppSchema, ReadModelsSchema} {
		list, err := status(ctx, pool, schema)
		if err != nil {
			return nil, fmt.Errorf("read the migrations of schema %s: %w", schema, err)
		}
		all = append(all, list...)
	}
	return all, nil
}

func status(ctx context.Context, pool *pgxpool.Pool, schema string) (list []Migration, err error) {
	provider, db, err := open(pool, schema, schema)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	// goose makes its table when asked for the status.
	var exists bool
	const q = `SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = $2)`
	if err := pool.QueryRow(ctx, q, schema, versionTable).Scan(&exists); err != nil {
		return nil, err
	}
	if !exists {
		for _, source := range provider.ListSources() {
			list = append(list, Migration{Schema: schema, Version: source.Version, Name: path.Base(source.Path)})
		}
		return list, nil
	}

	if err := notNewer(ctx, provider, schema); err != nil {
		return nil, err
	}
	states, err := provider.Status(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range states {
		list = append(list, Migration{
			Schema: schema, Version: s.Source.Version, Name: path.Base(s.Source.Path), AppliedAt: s.AppliedAt,
		})
	}
	return list, nil
}

// up applies the files of set to schema. The caller holds the lock.
func up(ctx context.Context, pool *pgxpool.Pool, set, schema string) (err error) {
	if _, err := pool.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+pgx.Identifier{schema}.Sanitize()); err != nil {
		return fmt.Errorf("create schema %s: %w", schema, err)
	}
	provider, db, err := open(pool, set, schema)
	if err != nil {
		return fmt.Errorf("read the %s migrations: %w", set, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	if err := notNewer(ctx, provider, schema); err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate schema %s: %w", schema, err)
	}
	return nil
}

// notNewer refuses a schema that has versions of which this program knows nothing: ErrNewerDatabase.
func notNewer(ctx context.Context, provider *goose.Provider, schema string) error {
	current, newest, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the version of schema %s: %w", schema, err)
	}
	if current > newest {
		return fmt.Errorf("%w: schema %s has version %d and this program knows %d; start a secboard at least as new",
			ErrNewerDatabase, schema, current, newest)
	}
	return nil
}

// open makes a goose provider whose unqualified names mean schema. public follows for extensions.
func open(pool *pgxpool.Pool, set, schema string) (*goose.Provider, *sql.DB, error) {
	fsys, err := fs.Sub(files, set)
	if err != nil {
		return nil, nil, err
	}
	config := pool.Config().ConnConfig.Copy()
	config.RuntimeParams["search_path"] = pgx.Identifier{schema}.Sanitize() + ", public"
	config.RuntimeParams["timezone"] = "UTC"        // goose's table has a timestamp without zone
	config.RuntimeParams["statement_timeout"] = "0" // an index on a large table takes as long as it takes
	db := stdlib.OpenDB(*config)
	provider, err := goose.NewProvider(goose.DialectPostgres, db, fsys,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return provider, db, nil
}

// locked runs work while holding the database's migration lock. The lock covers CREATE SCHEMA too, which races
// with itself even with IF NOT EXISTS.
func locked(ctx context.Context, pool *pgxpool.Pool, work func() error) (err error) {
	config := pool.Config().ConnConfig.Copy()
	config.RuntimeParams["statement_timeout"] = "0" // the other process may migrate for long
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connect to migrate: %w", err)
	}
	// Closing the connection releases the lock, whatever happened to it.
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(lockKey)); err != nil {
		return fmt.Errorf("wait for the migration lock: %w", err)
	}
	return work()
}
