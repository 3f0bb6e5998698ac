package httpapi

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/postgres/pgtest"
)

func TestCleaningUsesIndexes(t *testing.T) {
	t.Parallel()
	conn, err := pgtest.NewDatabase(t).Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), "SET enable_seqscan = off"); err != nil { // as little use as in large tables
		t.Fatal(err)
	}
	for statement, before := range outdated(time.Now()) {
		t.Run(statement, func(t *testing.T) {
			rows, err := conn.Query(t.Context(), "EXPLAIN "+statement, before)
			if err != nil {
				t.Fatal(err)
			}
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatal(err)
			}
			if plan := strings.Join(lines, "\n"); strings.Contains(plan, "Seq Scan") {
				t.Errorf("it reads a whole table:\n%s", plan)
			}
		})
	}
}
