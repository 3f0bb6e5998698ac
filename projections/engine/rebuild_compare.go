package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/migrations"
	"github.com/secboard/secboard/pause"
)

const (
	maxDifferences = 100              // rows of a table of which differences are listed
	maxValue       = 200              // characters of a value that are shown
	livePatience   = 10 * time.Second // for live read models that are behind
)

// compare compares the staged tables with the live ones, at the positions of the live ones: in one transaction that
// sees the live ones as they are at one moment, the staged ones are brought to just there.
func (b *rebuilding) compare(ctx context.Context, conn *pgx.Conn, schema string) error {
	notCompared := map[string]string{}
	comparable, err := b.awaitLive(ctx, conn, notCompared)
	if err != nil {
		return err
	}
	differences := []Difference{} // JSON reads [], and not null
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return err
	}
	//nolint:errcheck // after a commit there is nothing to roll back, after an error that one counts
	defer tx.Rollback(context.WithoutCancel(ctx))
	live, err := positionsIn(ctx, tx, migrations.ReadModelsSchema+".checkpoints", comparable)
	if err != nil {
		return err
	}
	if err := b.advance(ctx, tx, comparable, live); err != nil {
		return err
	}
	for _, p := range comparable {
		for _, t := range p.Tables {
			var found []Difference
			err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) (err error) {
				found, err = compareTable(ctx, tx, t.Name, schema)
				return err
			})
			if reason, damaged := damage(err); damaged {
				notCompared[p.Name] = "the live table " + t.Name + " is not as secboard creates it: " + reason
			} else if err != nil {
				return fmt.Errorf("compare the table %s: %w", t.Name, err)
			}
			differences = append(differences, found...)
		}
	}
	b.mu.Lock()
	b.state.Differences, b.state.NotCompared = differences, notCompared
	b.mu.Unlock()
	return tx.Commit(ctx)
}

// awaitLive gives the projections whose live tables are at least as far as the staged ones. Those behind it drives on
// itself, since nobody else may be there to do it. Of the others it notes why they are not.
func (b *rebuilding) awaitLive(ctx context.Context, staged *pgx.Conn,
	notCompared map[string]string) (_ []Projection, err error) {
	targets, err := positions(ctx, staged, b.projections)
	if err != nil {
		return nil, err
	}
	conn, err := connect(ctx, b.pool, migrations.ReadModelsSchema)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeConn(ctx, conn)) }()
	deadline := time.Now().Add(livePatience)
	var comparable []Projection
	for _, p := range b.projections {
		reason := ""
		for {
			at, err := positions(ctx, conn, []Projection{p})
			if err != nil {
				return nil, err
			}
			if at[p.Name] >= targets[p.Name] {
				comparable = append(comparable, p)
				break
			}
			if reason != "" || time.Now().After(deadline) {
				notCompared[p.Name] = fmt.Sprintf("the live one is at position %d and the rebuilt one at %d%s",
					at[p.Name], targets[p.Name], reason)
				break
			}
			if err := b.drive(ctx, conn, p, targets[p.Name], deadline); err != nil && !temporary(err) &&
				!errors.Is(err, context.DeadlineExceeded) {
				reason = ": " + err.Error()
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if conn.IsClosed() { // a statement was cut off by the deadline
				if conn, err = connect(ctx, b.pool, migrations.ReadModelsSchema); err != nil {
					return nil, err
				}
			}
		}
	}
	return comparable, nil
}

// drive applies the log to the live tables of a projection, as its runner does; whoever is later finds the page
// applied.
func (b *rebuilding) drive(ctx context.Context, conn *pgx.Conn, p Projection, to eventstore.Position,
	deadline time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	err := b.advance(ctx, conn, []Projection{p}, map[string]eventstore.Position{p.Name: to})
	if temporary(err) {
		pause.For(ctx, 10*time.Millisecond)
	}
	return err
}

// compareTable says in which rows a staged table differs from the live one. Hashes of all rows tell whether there are
// any.
func compareTable(ctx context.Context, tx pgx.Tx, table, schema string) ([]Difference, error) {
	live, staged := pgx.Identifier{migrations.ReadModelsSchema, table}.Sanitize(),
		pgx.Identifier{schema, table}.Sanitize()
	const hash = "(SELECT row(count(*), sum(hash_record_extended(t, 0))) FROM %s t)"
	var equal bool
	if err := tx.QueryRow(ctx, fmt.Sprintf("SELECT "+hash+" IS NOT DISTINCT FROM "+hash, live, staged)).Scan(
		&equal); err != nil || equal {
		return nil, err
	}
	key, err := keyOf(ctx, tx, live)
	if err != nil {
		return nil, err
	}
	same := make([]string, len(key))
	for i, column := range key {
		same[i] = fmt.Sprintf("l.%[1]s = n.%[1]s", column)
	}
	joined := fmt.Sprintf("FROM %s l FULL JOIN %s n ON %s WHERE l IS DISTINCT FROM n", live, staged,
		strings.Join(same, " AND "))
	rows, err := tx.Query(ctx, "SELECT coalesce(to_jsonb(l), 'null'), coalesce(to_jsonb(n), 'null') "+joined+
		" LIMIT $1", maxDifferences)
	if err != nil {
		return nil, err
	}
	var differences []Difference
	var liveRow, stagedRow map[string]json.RawMessage
	shown := 0
	_, err = pgx.ForEachRow(rows, []any{&liveRow, &stagedRow}, func() error {
		differences = append(differences, compareRow(table, key, liveRow, stagedRow)...)
		liveRow, stagedRow = nil, nil
		shown++
		return nil
	})
	if err != nil || shown < maxDifferences {
		return differences, err
	}
	var rest int64
	if err := tx.QueryRow(ctx, "SELECT count(*) "+joined).Scan(&rest); err != nil {
		return nil, err
	}
	if rest -= maxDifferences; rest > 0 {
		differences = append(differences, Difference{Table: table, Key: fmt.Sprintf("and %d more rows", rest)})
	}
	return differences, nil
}

// errNoKey is for a table that somebody has taken its primary key from.
var errNoKey = errors.New("it has no primary key to compare by")

// damage says what is wrong with a table that somebody has removed or altered by hand. It is no reason not to put a
// rebuilt one in its place.
func damage(err error) (reason string, damaged bool) {
	// syntax error or access rule violation
	if answered, ok := errors.AsType[*pgconn.PgError](err); ok && strings.HasPrefix(answered.Code, "42") {
		return answered.Message, true
	}
	return errNoKey.Error(), errors.Is(err, errNoKey)
}

// keyOf gives the columns of a table's primary key.
func keyOf(ctx context.Context, tx pgx.Tx, table string) ([]string, error) {
	rows, err := tx.Query(ctx, `SELECT quote_ident(a.attname) FROM pg_index i
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
		WHERE i.indrelid = $1::regclass AND i.indisprimary ORDER BY array_position(i.indkey::int2[], a.attnum)`, table)
	if err != nil {
		return nil, err
	}
	key, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err == nil && len(key) == 0 {
		err = errNoKey
	}
	return key, err
}

// compareRow gives the columns that differ; a nil row does not exist.
func compareRow(table string, key []string, live, staged map[string]json.RawMessage) []Difference {
	exists := live
	if exists == nil {
		exists = staged
	}
	values := make([]string, len(key))
	for i, column := range key {
		values[i] = strings.Trim(string(exists[strings.Trim(column, `"`)]), `"`)
	}
	d := Difference{Table: table, Key: strings.Join(values, " ")}
	if live == nil || staged == nil {
		d.Live, d.Rebuilt = shortened(wholeRow(live)), shortened(wholeRow(staged))
		return []Difference{d}
	}
	var differences []Difference
	for _, column := range slices.Sorted(maps.Keys(live)) {
		if !bytes.Equal(live[column], staged[column]) {
			d.Column, d.Live, d.Rebuilt = &column, shortened(live[column]), shortened(staged[column])
			differences = append(differences, d)
		}
	}
	return differences
}

func wholeRow(row map[string]json.RawMessage) json.RawMessage {
	if row == nil {
		return nil
	}
	text, err := json.Marshal(row)
	if err != nil {
		return json.RawMessage(`"a row that can't be shown"`)
	}
	return text
}

// shortened cuts a value to a length that can be read.
func shortened(value json.RawMessage) *string {
	if value == nil {
		return nil
	}
	text := string(value)
	if utf8.RuneCountInString(text) > maxValue {
		text = string([]rune(text)[:maxValue]) + "…"
	}
	return &text
}
