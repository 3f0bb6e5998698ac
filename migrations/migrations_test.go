package migrations_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/secboard/secboard/migrations"
	"github.com/secboard/secboard/postgres/pgtest"
)

func TestUpTakesAnEmptyDatabaseToTheNewestVersion(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewEmptyDatabase(t)

	before := status(t, pool)
	for _, schema := range []string{migrations.AppSchema, migrations.ReadModelsSchema} {
		if !slices.ContainsFunc(before, func(m migrations.Migration) bool { return m.Schema == schema }) {
			t.Errorf("there is no migration of schema %s", schema)
		}
	}
	for _, m := range before {
		if !m.AppliedAt.IsZero() {
			t.Errorf("%s/%s counts as applied in an empty database", m.Schema, m.Name)
		}
	}
	if len(tables(t, pool, migrations.AppSchema)) != 0 {
		t.Error("asking for the status made tables")
	}

	up(t, pool)
	after := status(t, pool)
	if len(after) != len(before) {
		t.Errorf("%d migrations after Up, %d before", len(after), len(before))
	}
	for _, m := range after {
		if m.AppliedAt.IsZero() {
			t.Errorf("%s/%s is still pending", m.Schema, m.Name)
		}
	}
	want := []string{"directory_checks", "goose_db_version", "idempotency_keys", "process_checkpoints", "rate_limits",
		"rebuilds", "sessions"}
	if got := tables(t, pool, migrations.AppSchema); !slices.Equal(got, want) {
		t.Errorf("schema app has the tables %v, want %v", got, want)
	}

	up(t, pool)
	if got := status(t, pool); !slices.Equal(got, after) {
		t.Errorf("a second Up changed the status from %v to %v", after, got)
	}
}

func TestInstancesThatStartAtOnceMigrateOnce(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewEmptyDatabase(t)
	var group errgroup.Group
	for range 8 {
		group.Go(func() error { return migrations.Up(t.Context(), pool) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, schema := range []string{migrations.AppSchema, migrations.ReadModelsSchema} {
		var twice int
		err := pool.QueryRow(t.Context(), `SELECT count(*) FROM (
			SELECT FROM `+versionTable(schema)+` GROUP BY version_id HAVING count(*) > 1) AS v`).Scan(&twice)
		if err != nil {
			t.Fatal(err)
		}
		if twice != 0 {
			t.Errorf("%d migrations of schema %s ran twice", twice, schema)
		}
	}
}

// Whoever holds a lock on a read model and does nothing would keep old rights in force, also by psql.
func TestNobodyHoldsALockForLong(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewEmptyDatabase(t)
	up(t, pool)
	config := pool.Config().ConnConfig.Copy()
	delete(config.RuntimeParams, "idle_in_transaction_session_timeout")
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // it ends with the test
	var got string
	err = conn.QueryRow(t.Context(), "SHOW idle_in_transaction_session_timeout").Scan(&got)
	if err != nil || got != "10s" {
		t.Errorf("a transaction may be idle for %q (%v), want 10s", got, err)
	}
}

func TestReadModelsFillsAnotherSchemaBesideTheLiveOne(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDatabase(t)
	const next = `next "one"` // names are quoted
	if err := migrations.ReadModels(t.Context(), pool, next); err != nil {
		t.Fatal(err)
	}
	live, fresh := tables(t, pool, migrations.ReadModelsSchema), tables(t, pool, next)
	if len(live) < 2 || !slices.Equal(live, fresh) {
		t.Errorf("the live schema has the tables %v, the fresh one %v", live, fresh)
	}
	if _, err := pool.Exec(t.Context(), "DROP SCHEMA "+pgx.Identifier{next}.Sanitize()+" CASCADE"); err != nil {
		t.Fatal(err)
	}
	if got := tables(t, pool, migrations.ReadModelsSchema); !slices.Equal(got, live) {
		t.Errorf("dropping the copy left the live schema with %v of %v", got, live)
	}
}

func TestADatabaseOfANewerProgramIsRefused(t *testing.T) {
	t.Parallel()
	for _, schema := range []string{migrations.AppSchema, migrations.ReadModelsSchema} {
		t.Run(schema, func(t *testing.T) {
			pool := pgtest.NewDatabase(t)
			insert := "INSERT INTO " + versionTable(schema) + " (version_id, is_applied) VALUES (99999, true)"
			if _, err := pool.Exec(t.Context(), insert); err != nil {
				t.Fatal(err)
			}
			if err := migrations.Up(t.Context(), pool); !errors.Is(err, migrations.ErrNewerDatabase) {
				t.Errorf("schema %s: got %v, want ErrNewerDatabase", schema, err)
			}
			if _, err := migrations.Status(t.Context(), pool); !errors.Is(err, migrations.ErrNewerDatabase) {
				t.Errorf("the status of schema %s: got %v, want ErrNewerDatabase", schema, err)
			}
		})
	}
}

func up(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	if err := migrations.Up(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
}

func status(t *testing.T, pool *pgxpool.Pool) []migrations.Migration {
	t.Helper()
	list, err := migrations.Status(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func tables(t *testing.T, pool *pgxpool.Pool, schema string) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), "SELECT tablename FROM pg_tables WHERE schemaname = $1 ORDER BY 1", schema)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func versionTable(schema string) string { return pgx.Identifier{schema, "goose_db_version"}.Sanitize() }
