package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/migrations"
	"github.com/secboard/secboard/pause"
)

const (
	swapLockTime = 2 * time.Second  // for what still uses the live tables; then a new attempt
	swapTime     = 30 * time.Second // of one attempt
	swapPatience = 10 * time.Minute // for an attempt that succeeds
)

// ErrNothingToRollBack says that no former read models are there.
var ErrNothingToRollBack = errors.New("there are no former read models: only what the last rebuild replaced can be " +
	"put back")

// former gives the projections whose tables previousSchema holds.
func (b *rebuilding) former(ctx context.Context, tx pgx.Tx) ([]Projection, error) {
	var exists bool
	if err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL",
		previousSchema+".checkpoints").Scan(&exists); err != nil {
		return nil, err
	}
	if !exists {
		return nil, ErrNothingToRollBack
	}
	rows, err := tx.Query(ctx, "SELECT name FROM "+previousSchema+".checkpoints")
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, ErrNothingToRollBack
	}
	return b.set.named(names)
}

// swap puts the staged tables of a schema in the place of the live ones, which become the former ones.
func (b *rebuilding) swap(ctx context.Context, conn *pgx.Conn, schema string) error {
	for started := time.Now(); ; {
		err := b.trySwap(ctx, conn, schema)
		var refused *pgconn.PgError
		// lock not available, deadlock
		waited := errors.As(err, &refused) && (refused.Code == "55P03" || refused.Code == "40P01")
		if !waited && !errors.Is(err, eventstore.ErrUnavailable) || time.Since(started) > swapPatience {
			return err
		}
		pause.For(ctx, progressPace)
		// What has arrived since is applied before the next attempt and not within it.
		if err := b.advance(ctx, conn, b.projections, nil); err != nil {
			return err
		}
	}
}

// trySwap is one transaction. With the lock on the live checkpoints it waits for pages under way; the next page of
// whichever instance waits for it before it has touched anything, because it begins with its checkpoint, and then finds
// the new tables, because Postgres looks names up again after it has waited for a lock, and drops plans made before.
// Queries are not held up: renaming a schema locks no table, and the lock lets checkpoints be read. Who has read an old
// one can't move it any more.
func (b *rebuilding) trySwap(ctx context.Context, conn *pgx.Conn, schema string) error {
	ctx, cancel := context.WithTimeout(ctx, swapTime)
	defer cancel()
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		const live = migrations.ReadModelsSchema
		if _, err := tx.Exec(ctx, fmt.Sprintf(
			"SET LOCAL lock_timeout = %d; SET LOCAL idle_in_transaction_session_timeout = '10s'",
			swapLockTime.Milliseconds())); err != nil {
			return err
		}
		// Whoever migrates would change the tables that are live now, and note it with those that are live then.
		if err := migrations.Hold(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "LOCK TABLE "+live+".checkpoints IN EXCLUSIVE MODE"); err != nil {
			return err
		}
		var sameVersion bool
		const versions = "SELECT (SELECT max(version_id) FROM " + live +
			".goose_db_version) = (SELECT max(version_id) FROM goose_db_version)"
		if err := tx.QueryRow(ctx, versions).Scan(&sameVersion); err != nil {
			return err
		}
		if !sameVersion {
			return errors.New("the live read models were migrated by another secboard in the meantime: start the " +
				"rebuild again, with that version")
		}
		// What was acknowledged as visible must remain visible.
		at, err := positionsIn(ctx, tx, live+".checkpoints", b.projections)
		if err != nil {
			return err
		}
		// an outage is not waited for with the lock held
		if err := b.tryAdvance(ctx, tx, b.projections, at); err != nil {
			return err
		}
		if err := exchange(ctx, tx, schema, b.projections, len(b.projections) == len(b.set.Projections)); err != nil {
			return err
		}
		if err := b.record(ctx, tx); err != nil {
			return err
		}
		// The row says whether this rebuild is still the one under way.
		tag, err := tx.Exec(ctx, "UPDATE app.rebuilds SET state = $2, ended_at = now() WHERE id = $1 AND ended_at IS "+
			"NULL AND NOT abort", b.state.ID, RebuildDone)
		if err != nil {
			return err
		}
		if tag.RowsAffected() != 1 {
			return errAborted
		}
		_, err = tx.Exec(ctx, "SET LOCAL synchronous_commit = on") // applying a page has set it off
		return err
	})
}

// exchange changes the names. With all projections (whole) the schemas change theirs; with some their tables change
// schemas, which waits for the queries that use them.
func exchange(ctx context.Context, tx pgx.Tx, schema string, projections []Projection, whole bool) error {
	const live = migrations.ReadModelsSchema
	var statements []string
	if schema != previousSchema {
		statements = append(statements, "DROP SCHEMA IF EXISTS "+previousSchema+" CASCADE")
	}
	if whole {
		statements = append(statements,
			"ALTER SCHEMA "+live+" RENAME TO "+movingSchema,
			"ALTER SCHEMA "+schema+" RENAME TO "+live,
			"ALTER SCHEMA "+movingSchema+" RENAME TO "+previousSchema)
		return inOrder(ctx, tx, statements)
	}
	statements = append(statements, "CREATE SCHEMA "+movingSchema)
	for _, p := range projections {
		for _, t := range p.Tables {
			statements = append(statements,
				// somebody may have removed it
				fmt.Sprintf("ALTER TABLE IF EXISTS %s.%s SET SCHEMA %s", live, t.Name, movingSchema),
				fmt.Sprintf("ALTER TABLE %s.%s SET SCHEMA %s", schema, t.Name, live),
				fmt.Sprintf("ALTER TABLE IF EXISTS %s.%s SET SCHEMA %s", movingSchema, t.Name, schema))
		}
	}
	const values = "SET (position, events, error, stopped_at, updated_at) = (o.position, o.events, o.error, " +
		"o.stopped_at, o.updated_at)"
	statements = append(statements, "DROP SCHEMA "+movingSchema,
		// Both halves see the rows as they were before.
		fmt.Sprintf(`WITH put AS (UPDATE %[1]s.checkpoints c %[3]s FROM %[2]s.checkpoints o WHERE o.name = c.name)
			UPDATE %[2]s.checkpoints c %[3]s FROM %[1]s.checkpoints o WHERE o.name = c.name`, live, schema, values))
	if schema != previousSchema {
		statements = append(statements, "ALTER SCHEMA "+schema+" RENAME TO "+previousSchema)
	}
	return inOrder(ctx, tx, statements)
}

func inOrder(ctx context.Context, tx pgx.Tx, statements []string) error {
	for _, statement := range statements {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
