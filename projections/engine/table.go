package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/eventstore"
)

// Table is one table of a projection, and how events change it.
type Table struct {
	Name string
	// Apply writes what a page of events, one or more and all of the projection's kind, changes. An error is a defect
	// of an event or an outage of Postgres.
	Apply func(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) error

	// Fold begins a fold of the whole log in memory, for a rebuild. With nil a rebuild calls Apply with page after
	// page, which is slower but needs no memory.
	Fold    func() Fold
	Columns []string // that the rows of Fold have, in their order
	// Streamed: rows are final at once, so a rebuild copies them while it reads. One table of a Set may be streamed.
	Streamed bool
	// Load gives rows of aggregates, by the second parts of the names of their streams; nil for tables of anything
	// else. What names no row is left out.
	Load func(ctx context.Context, pool *pgxpool.Pool, ids []string) (map[string]Row, error)
}

// Fold makes the rows of one table from the log, from its beginning on.
type Fold interface {
	// Add receives the next event of the projection's kind. It may keep the event.
	Add(e *eventstore.Envelope) error
	// Rows hands out the table's rows: all of them at the end, or for a streamed table those since the last call. yield
	// is called after each row; when it returns an error, that is the end and the error.
	Rows(to *CopyRows, yield func() error) error
}

// Column is one column of rows: as an array for a statement, and one by one for COPY.
type Column[R any] struct {
	name   string
	cast   string
	values func(rows []R) any
	copy   func(to *CopyRows, row R) error
}

// pgxNames are what pgx calls types that SQL has another name for.
var pgxNames = strings.NewReplacer("boolean", "bool", "bigint", "int8")

var pgxTypes = pgtype.NewMap()

// Col makes a column of the Postgres type cast, whose value in a row value gives. It panics when pgx can't send a T as
// one.
func Col[R, T any](name, cast string, value func(R) T) Column[R] {
	typeName := pgxNames.Replace(cast)
	if typeName == "int" {
		typeName = "int4"
	}
	known, ok := pgxTypes.TypeForName(typeName)
	if !ok {
		panic(fmt.Sprintf("column %s: pgx knows no type %s", name, cast))
	}
	var zero T
	plan := pgxTypes.PlanEncode(known.OID, pgtype.BinaryFormatCode, zero)
	if plan == nil {
		panic(fmt.Sprintf("column %s: pgx can't send %T as %s", name, zero, cast))
	}
	return Column[R]{
		name: name, cast: cast,
		values: func(rows []R) any {
			values := make([]T, len(rows))
			for i, row := range rows {
				values[i] = value(row)
			}
			return values
		},
		copy: func(to *CopyRows, row R) error { return to.planned(plan, value(row)) },
	}
}

// Upsert writes rows into a table in one statement.
type Upsert[R any] struct {
	table   string
	sql     string
	columns []Column[R]
}

// NewUpsert makes the Upsert of a table. The first column is its primary key.
func NewUpsert[R any](table string, columns ...Column[R]) Upsert[R] {
	var names, arrays, updates []string
	for i, column := range columns {
		names = append(names, column.name)
		arrays = append(arrays, fmt.Sprintf("$%d::%s[]", i+1, column.cast))
		if i > 0 {
			updates = append(updates, column.name+" = EXCLUDED."+column.name)
		}
	}
	return Upsert[R]{table: table, columns: columns,
		sql: fmt.Sprintf("INSERT INTO %s (%s) SELECT * FROM unnest(%s) ON CONFLICT (%s) DO UPDATE SET %s",
			table, strings.Join(names, ", "), strings.Join(arrays, ", "), names[0], strings.Join(updates, ", "))}
}

func (u Upsert[R]) names() []string {
	names := make([]string, len(u.columns))
	for i, column := range u.columns {
		names[i] = column.name
	}
	return names
}

func (u Upsert[R]) write(ctx context.Context, tx pgx.Tx, rows []R) error {
	if len(rows) == 0 {
		return nil
	}
	args := make([]any, len(u.columns))
	for i, column := range u.columns {
		args[i] = column.values(rows)
	}
	_, err := tx.Exec(ctx, u.sql, args...)
	return err
}

// copyRow adds a row for COPY.
func (u Upsert[R]) copyRow(to *CopyRows, row R) error {
	to.Row(len(u.columns))
	for _, column := range u.columns {
		if err := column.copy(to, row); err != nil {
			return fmt.Errorf("column %s of %s: %w", column.name, u.table, err)
		}
	}
	return nil
}

// WithEvent puts the event that something is wrong with into an error.
func WithEvent(e *eventstore.Envelope, err error) error { return eventError{e, err} }

type eventError struct {
	event *eventstore.Envelope
	err   error
}

func (e eventError) Error() string { return describe(e.event, e.err) }

func (e eventError) Unwrap() error { return e.err }
