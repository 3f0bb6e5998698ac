package projections

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/secboard/secboard/pause/pausetest"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/postgres/pgtest"
	"github.com/secboard/secboard/projections/engine"
)

func rebuild(t testing.TB, s *stack, mode string, names ...string) engine.Rebuild {
	t.Helper()
	r, err := engine.RunRebuild(t.Context(), Set(), s.pool, s.log, engine.RebuildRequest{Names: names, Mode: mode}, nil)
	if err != nil || r.State != engine.RebuildDone {
		t.Fatal(show(t, r), err)
	}
	return r
}

// objects lists tables, columns, indexes and constraints of the live read models.
func objects(t testing.TB, pool *pgxpool.Pool) []string {
	t.Helper()
	var found []string
	const query = `SELECT array_agg(d ORDER BY d) FROM (
		SELECT indexdef d FROM pg_indexes WHERE schemaname = 'readmodels'
		UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
		WHERE connamespace = 'readmodels'::regnamespace
		UNION ALL SELECT table_name || ' ' || column_name || ' ' || data_type || ' ' || is_nullable
		FROM information_schema.columns WHERE table_schema = 'readmodels') o`
	if err := pool.QueryRow(t.Context(), query).Scan(&found); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestARebuildLosesNothingWhileOthersWrite(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	other := startRunner(t, s.pool, s.log) // a second instance
	before := objects(t, s.pool)
	writing, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	var last, written atomic.Uint64
	for writer := range 4 {
		working.Go(func() {
			for n := 0; writing.Err() == nil; n++ {
				result, err := s.RegisterUser(t.Context(), commands.Operator(), commands.RegisterUser{
					Details: user.Details{Email: fmt.Sprintf("p%d.%d@example.com", writer, n), FirstName: "Anna"},
				})
				if err != nil {
					t.Error(err)
					return
				}
				// Whoever has waited sees it, in whichever tables.
				waitFor(t, []*engine.Runner{s.runner, other}[n%2], result.Position)
				if _, err := s.User(t.Context(), uuid.MustParse(result.ID), s.clock()); err != nil {
					t.Errorf("an account that was visible is not there: %v", err)
					return
				}
				last.Store(max(last.Load(), uint64(result.Position)))
				written.Add(1)
			}
		})
	}
	for round := range 6 {
		names := [][]string{nil, {"users"}, {"history", "companies"}}[round%3]
		count := written.Load()
		pausetest.Until(t, "the writers continue", func() bool { return written.Load() > count+5 || t.Failed() })
		if r := rebuild(t, s, engine.ModeRebuild, names...); len(r.Differences) > 0 || len(r.NotCompared) > 0 {
			t.Error(show(t, r))
		}
	}
	rebuild(t, s, engine.ModeRollback)
	count := written.Load()
	pausetest.Until(t, "the writers continue", func() bool { return written.Load() > count+5 || t.Failed() })
	stop()
	working.Wait()
	if t.Failed() {
		return
	}
	s.register(t, "last@example.com")
	result, err := s.CreateCompany(t.Context(), commands.Operator(), company.Details{Name: "Last"})
	if err != nil {
		t.Fatal(err)
	}
	for _, runner := range []*engine.Runner{s.runner, other} {
		waitFor(t, runner, result.Position)
	}
	if after := objects(t, s.pool); !slices.Equal(before, after) {
		t.Errorf("the tables have changed, from\n%s\nto\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	assertReplayed(t, s)
}

// assertReplayed compares the live tables with a replay of the log into another database.
func assertReplayed(t testing.TB, s *stack) {
	t.Helper()
	var log []eventstore.Envelope
	for recorded, err := range s.log.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, eventstore.Decode(recorded))
	}
	waitFor(t, s.runner, log[len(log)-1].Position)
	replayed := pgtest.NewDatabase(t)
	emptyReadModels(t, replayed)
	play(t, replayed, 0, log, 500)
	if live, want := tableHashes(t, s.pool), tableHashes(t, replayed); !maps.Equal(live, want) {
		t.Errorf("live:\n%s\nreplayed:\n%s", show(t, live), show(t, want))
	}
}
