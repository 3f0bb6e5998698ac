package projections

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/secboard/secboard/eventstore"
)

// table is one table of a projection, and how events change it.
type table struct {
	name string
	// apply writes what a page of events, one or more and all of the projection's kind, changes.
	apply func(ctx context.Context, tx pgx.Tx, events []*eventstore.Envelope) error

	// whole begins a fold of the whole log in memory, for a rebuild. With nil a rebuild calls apply with page after page,
	// which is slower but needs no memory.
	whole   func() whole
	columns []string // that the rows of whole have
	// streamed: rows are final at once, so a rebuild copies them while it reads.
	streamed bool
}

// whole folds the log from its beginning.
type whole interface {
	add(e *eventstore.Envelope) error
	// rows hands out the table's rows: all of them at the end, or for a streamed table those since the last call. yield
	// is called after each row; when it returns an error, that is the end and the error.
	rows(to *copyRows, yield func() error) error
}

// column is one column of rows: as an array for a statement, and one by one for COPY.
type column[R any] struct {
	name   string
	cast   string
	values func(rows []R) any
	copy   func(to *copyRows, row R) error
}

// pgxNames are what pgx calls types that SQL has another name for.
var pgxNames = strings.NewReplacer("boolean", "bool", "bigint", "int8")

var pgxTypes = pgtype.NewMap()

// col makes a column of the Postgres type cast. It panics when pgx can't send a T as one.
func col[R, T any](name, cast string, value func(R) T) column[R] {
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
	return column[R]{
		name: name, cast: cast,
		values: func(rows []R) any {
			values := make([]T, len(rows))
			for i, row := range rows {
				values[i] = value(row)
			}
			return values
		},
		copy: func(to *copyRows, row R) error { return to.planned(plan, value(row)) },
	}
}

// upsert writes rows in one statement. The first column is the primary key.
type upsert[R any] struct {
	table   string
	sql     string
	columns []column[R]
}

func newUpsert[R any](table string, columns ...column[R]) upsert[R] {
	var names, arrays, updates []string
	for i, column := range columns {
		names = append(names, column.name)
		arrays = append(arrays, fmt.Sprintf("$%d::%s[]", i+1, column.cast))
		if i > 0 {
			updates = append(updates, column.name+" = EXCLUDED."+column.name)
		}
	}
	return upsert[R]{table: table, columns: columns, sql: fmt.Sprintf("INSERT INTO %s (%s) SELECT * FROM unnest(%s) ON CONFLICT (%s) DO UPDATE SET %s",
		table, strings.Join(names, ", "), strings.Join(arrays, ", "), names[0], strings.Join(updates, ", "))}
}

func (u upsert[R]) names() []string {
	names := make([]string, len(u.columns))
	for i, column := range u.columns {
		names[i] = column.name
	}
	return names
}

func (u upsert[R]) write(ctx context.Context, tx pgx.Tx, rows []R) error {
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
func (u upsert[R]) copyRow(to *copyRows, row R) error {
	to.row(len(u.columns))
	for _, column := range u.columns {
		if err := column.copy(to, row); err != nil {
			return fmt.Errorf("column %s of %s: %w", column.name, u.table, err)
		}
	}
	return nil
}

// eventError names the event that something is wrong with.
type eventError struct {
	event *eventstore.Envelope
	err   error
}

func (e eventError) Error() string { return describe(e.event, e.err) }

func (e eventError) Unwrap() error { return e.err }
