package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/secboard/secboard/migrations"
)

// Schemas beside that of the live read models.
const (
	nextSchema     = migrations.ReadModelsSchema + "_next"     // what a rebuild builds; nobody else uses it
	previousSchema = migrations.ReadModelsSchema + "_previous" // what the last rebuild replaced, for a rollback
	movingSchema   = migrations.ReadModelsSchema + "_moving"   // exists within a swap only
)

type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

func dropSchema(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	conn, err := connect(ctx, pool, migrations.ReadModelsSchema) // for its time limit
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "DROP SCHEMA IF EXISTS "+schema+" CASCADE")
	return errors.Join(err, closeConn(ctx, conn))
}

// stage rebuilds the tables in nextSchema, up to where the log ends when it is read.
func (b *rebuilding) stage(ctx context.Context) (err error) {
	if err := dropSchema(ctx, b.pool, nextSchema); err != nil { // of one that was interrupted
		return err
	}
	if err := b.set.Migrate(ctx, b.pool, nextSchema); err != nil {
		return err
	}
	conns := make([]*pgx.Conn, 2) // more gain nothing: one Postgres process for each core of a small server
	for i := range conns {
		if conns[i], err = connect(ctx, b.pool, nextSchema); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closeConn(ctx, conns[i])) }()
	}
	if _, err := conns[0].Exec(ctx, "INSERT INTO checkpoints (name) SELECT unnest($1::text[])",
		namesOf(b.projections)); err != nil {
		return err
	}
	indexes := map[string][]index{}
	for _, t := range b.tables() {
		if t.Fold == nil {
			continue
		}
		if indexes[t.Name], err = dropIndexes(ctx, conns[0], t.Name); err != nil {
			return fmt.Errorf("table %s: %w", t.Name, err)
		}
	}
	b.enter(RebuildReading)
	folds, err := b.read(ctx, conns)
	if err != nil {
		return err
	}
	b.enter(RebuildIndexing)
	return finish(ctx, conns, folds, indexes)
}

func (b *rebuilding) tables() []Table {
	var tables []Table
	for _, p := range b.projections {
		tables = append(tables, p.Tables...)
	}
	return tables
}

// index of a table, with the constraint that it stands for.
type index struct {
	name       string
	create     string
	constraint *string // such as PRIMARY KEY; nil for none
}

// dropIndexes takes a table's indexes and keys away and says how to make them again.
func dropIndexes(ctx context.Context, conn *pgx.Conn, table string) ([]index, error) {
	rows, err := conn.Query(ctx, `SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid),
			CASE c.contype WHEN 'p' THEN 'PRIMARY KEY' WHEN 'u' THEN 'UNIQUE' END
		FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('p', 'u')
		WHERE i.indrelid = $1::regclass AND NOT i.indisexclusion ORDER BY c.contype, i.indexrelid`, table)
	if err != nil {
		return nil, err
	}
	indexes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (index, error) {
		var i index
		return i, row.Scan(&i.name, &i.create, &i.constraint)
	})
	if err != nil {
		return nil, err
	}
	for _, i := range indexes {
		drop := "DROP INDEX " + i.name
		if i.constraint != nil {
			drop = fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s", table, i.name)
		}
		if _, err := conn.Exec(ctx, drop); err != nil {
			return nil, err
		}
	}
	return indexes, nil
}

// step is a piece of work on one connection; steps that follow from it come back.
type step func(ctx context.Context, conn *pgx.Conn) ([]step, error)

// finish copies the folded rows, makes the indexes and gathers statistics.
func finish(ctx context.Context, conns []*pgx.Conn, folds []fold, indexes map[string][]index) error {
	var steps []step
	for _, f := range folds {
		if !f.table.Streamed {
			steps = append(steps, func(ctx context.Context, conn *pgx.Conn) ([]step, error) {
				return indexSteps(f.table.Name, indexes[f.table.Name]), f.copy(ctx, conn)
			})
		}
	}
	for _, f := range folds {
		if f.table.Streamed {
			steps = append(steps, indexSteps(f.table.Name, indexes[f.table.Name])...)
		}
	}
	if err := runConcurrently(ctx, conns, steps); err != nil {
		return err
	}
	var last []step
	for table, dropped := range indexes {
		for _, i := range dropped {
			if i.constraint == nil {
				continue
			}
			if _, err := conns[0].Exec(ctx, fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT %s %s USING INDEX %[2]s", table,
				i.name, *i.constraint)); err != nil {
				return fmt.Errorf("the key of %s: %w", table, err)
			}
		}
	}
	for _, f := range folds {
		last = append(last, func(ctx context.Context, conn *pgx.Conn) ([]step, error) {
			_, err := conn.Exec(ctx, "ANALYZE "+f.table.Name)
			return nil, err
		})
	}
	return runConcurrently(ctx, conns, last)
}

func indexSteps(table string, indexes []index) []step {
	steps := make([]step, len(indexes))
	for n, i := range indexes {
		steps[n] = func(ctx context.Context, conn *pgx.Conn) ([]step, error) {
			if _, err := conn.Exec(ctx, i.create); err != nil {
				return nil, fmt.Errorf("index %s of %s: %w", i.name, table, err)
			}
			return nil, nil
		}
	}
	return steps
}

// runConcurrently works steps off, in order, each connection taking the next.
func runConcurrently(ctx context.Context, conns []*pgx.Conn, steps []step) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	for _, conn := range conns {
		group.Go(func() error {
			for {
				mu.Lock()
				if len(steps) == 0 {
					mu.Unlock()
					return nil
				}
				next := steps[0]
				steps = steps[1:]
				mu.Unlock()
				following, err := next(ctx, conn)
				if err != nil {
					return err
				}
				mu.Lock()
				steps = append(steps, following...)
				mu.Unlock()
			}
		})
	}
	return group.Wait()
}
