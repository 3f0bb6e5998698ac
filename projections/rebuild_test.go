package projections

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/nodetest"
	"github.com/secboard/secboard/migrations"
	"github.com/secboard/secboard/postgres/pgtest"
)

func rebuild(t testing.TB, s *stack, mode string, names ...string) Rebuild {
	t.Helper()
	r, err := RunRebuild(t.Context(), s.pool, s.log, RebuildRequest{Names: names, Mode: mode}, nil)
	if err != nil || r.State != RebuildDone {
		t.Fatal(show(t, r), err)
	}
	return r
}

// schemas lists those of the read models.
func schemas(t testing.TB, pool *pgxpool.Pool) []string {
	t.Helper()
	var names []string
	if err := pool.QueryRow(t.Context(), "SELECT array_agg(nspname::text ORDER BY nspname) FROM pg_namespace WHERE nspname LIKE 'readmodels%'").Scan(&names); err != nil {
		t.Fatal(err)
	}
	return names
}

// objects lists tables, columns, indexes and constraints of the live read models.
func objects(t testing.TB, pool *pgxpool.Pool) []string {
	t.Helper()
	var found []string
	const query = `SELECT array_agg(d ORDER BY d) FROM (
		SELECT indexdef d FROM pg_indexes WHERE schemaname = 'readmodels'
		UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'readmodels'::regnamespace
		UNION ALL SELECT table_name || ' ' || column_name || ' ' || data_type || ' ' || is_nullable FROM information_schema.columns WHERE table_schema = 'readmodels') o`
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
				waitFor(t, []*Runner{s.runner, other}[n%2], result.Position)
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
		eventually(t, "the writers go on", func() bool { return written.Load() > count+5 || t.Failed() })
		if r := rebuild(t, s, ModeRebuild, names...); len(r.Differences) > 0 || len(r.NotCompared) > 0 {
			t.Error(show(t, r))
		}
	}
	rebuild(t, s, ModeRollback)
	count := written.Load()
	eventually(t, "the writers go on", func() bool { return written.Load() > count+5 || t.Failed() })
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
	for _, runner := range []*Runner{s.runner, other} {
		waitFor(t, runner, result.Position)
	}
	if after := objects(t, s.pool); !slices.Equal(before, after) {
		t.Errorf("the tables have changed, from\n%s\nto\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	assertReplayed(t, s)
}

func TestASwapHoldsUpNoQueryOfTheCheckpoints(t *testing.T) {
	t.Parallel()
	for name, names := range map[string][]string{"all": nil, "some": {"users", "history"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStack(t)
			s.has(t)(s.register(t, "before@example.com"), nil)
			// The row of the rebuild is kept from it when it swaps, so that the swap stands still with its lock.
			holding := make(chan pgx.Tx, 1)
			var once sync.Once
			swapping := func(r Rebuild) {
				if r.State != RebuildSwapping {
					return
				}
				once.Do(func() {
					tx, err := s.pool.Begin(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					if _, err := tx.Exec(t.Context(), "SELECT FROM app.rebuilds WHERE id = $1 FOR UPDATE", r.ID); err != nil {
						t.Error(err)
					}
					holding <- tx
				})
			}
			ended := make(chan error, 1)
			go func() {
				_, err := RunRebuild(t.Context(), s.pool, s.log, RebuildRequest{Names: names, Mode: ModeRebuild}, swapping)
				ended <- err
			}()
			locked := func() (held bool) {
				const q = `SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = current_database()
					AND l.relation = 'readmodels.checkpoints'::regclass AND l.granted AND l.mode ~ '^(Access)?ExclusiveLock$')`
				if err := s.pool.QueryRow(t.Context(), q).Scan(&held); err != nil {
					t.Error(err)
				}
				return held
			}
			eventually(t, "the swap has its lock", func() bool { return locked() || t.Failed() })
			if _, err := s.pool.Exec(t.Context(), "BEGIN; LOCK TABLE readmodels.checkpoints IN ACCESS SHARE MODE NOWAIT; COMMIT"); err != nil {
				t.Error("a query of the checkpoints waits:", err)
			}
			result, err := s.RegisterUser(t.Context(), commands.Operator(), commands.RegisterUser{Details: user.Details{Email: "meanwhile@example.com"}})
			if err != nil {
				t.Error(err)
			}
			if err := (<-holding).Rollback(t.Context()); err != nil {
				t.Error(err)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
			waitFor(t, s.runner, result.Position)
			assertReplayed(t, s)
		})
	}
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

func TestARebuildPutsADamagedTableRight(t *testing.T) {
	t.Parallel()
	for damage, names := range map[string][]string{
		"DROP TABLE modules": {"modules"}, "ALTER TABLE groups DROP COLUMN description": nil,
		"ALTER TABLE companies ADD COLUMN extra text": nil,
	} {
		t.Run(damage, func(t *testing.T) {
			t.Parallel()
			s := newStack(t)
			id := s.has(t)(s.register(t, "anna@example.com"), nil)
			s.has(t)(s.CreateGroup(t.Context(), commands.Operator(), group.Details{Name: "Readers"}))
			s.has(t)(s.CreateCompany(t.Context(), commands.Operator(), company.Details{Name: "Acme"}))
			if _, err := s.pool.Exec(t.Context(), damage); err != nil {
				t.Fatal(err)
			}
			if _, err := s.pool.Exec(t.Context(), "UPDATE users SET phone = '+1' WHERE id = $1", id); err != nil {
				t.Fatal(err)
			}
			table := strings.Fields(damage)[2]
			verified := rebuild(t, s, ModeVerify)
			if len(verified.NotCompared) != 1 || !strings.Contains(verified.NotCompared[table], "the live table "+table) || len(verified.Differences) == 0 {
				t.Error("the other tables are compared all the same:", show(t, verified))
			}
			rebuild(t, s, ModeRebuild, names...)
			again := rebuild(t, s, ModeVerify, table)
			if len(again.NotCompared) > 0 || len(again.Differences) > 0 {
				t.Error(show(t, again))
			}
		})
	}
}

func TestVerifyNamesTheRowChangedByHand(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	id := s.has(t)(s.register(t, "anna@example.com"), nil)
	gone := s.has(t)(s.register(t, "gone@example.com"), nil)
	if r := rebuild(t, s, ModeVerify); len(r.Differences) > 0 || len(r.NotCompared) > 0 {
		t.Fatal(show(t, r))
	}
	for _, change := range []string{
		fmt.Sprintf("UPDATE users SET phone = '+1', superuser = true WHERE id = '%s'", id),
		fmt.Sprintf("DELETE FROM users WHERE id = '%s'", gone),
		fmt.Sprintf("INSERT INTO sign_ins VALUES ('%s', '2026-01-01T00:00:00Z')", id),
	} {
		if _, err := s.pool.Exec(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	r := rebuild(t, s, ModeVerify)
	got := map[string]string{}
	for _, d := range r.Differences {
		column, live, rebuilt := "row", "-", "-"
		if d.Column != nil {
			column = *d.Column
		}
		if d.Live != nil {
			live = *d.Live
		}
		if d.Rebuilt != nil {
			rebuilt = *d.Rebuilt
		}
		got[d.Table+" "+d.Key+" "+column] = live + " " + rebuilt
	}
	if got["users "+id.String()+" phone"] != `"+1" ""` || got["users "+id.String()+" superuser"] != "true false" ||
		!strings.HasPrefix(got["users "+gone.String()+" row"], "- {") || !strings.HasSuffix(got["sign_ins "+id.String()+" row"], "} -") || len(got) != 4 {
		t.Error(show(t, got))
	}
	if only := rebuild(t, s, ModeVerify, "companies", "sign_ins"); len(only.Differences) != 1 {
		t.Error(show(t, only))
	}
	if left := schemas(t, s.pool); !slices.Equal(left, []string{"readmodels"}) {
		t.Error("verifying leaves", left)
	}
	if stored, err := s.runner.Rebuild(t.Context(), r.ID); err != nil || show(t, stored.Differences) != show(t, r.Differences) || stored.State != RebuildDone {
		t.Error(show(t, stored), err)
	}
	// The rebuild mends it, and what it replaced can be put back.
	rebuild(t, s, ModeRebuild, "users")
	if u, err := s.User(t.Context(), id, s.clock()); err != nil || u.Phone != nil {
		t.Error(show(t, u), err)
	}
	s.has(t)(s.register(t, "later@example.com"), nil)
	rebuild(t, s, ModeRollback)
	if u, err := s.User(t.Context(), id, s.clock()); err != nil || u.Phone == nil {
		t.Error(show(t, u), err)
	}
	later, err := s.Users(t.Context(), UserFilter{Query: "later"}, PageRequest{}, s.clock())
	if err != nil || len(later.Items) != 1 {
		t.Error("the former tables lack what came later", later, err)
	}
	rebuild(t, s, ModeRollback) // and back again
	if u, err := s.User(t.Context(), id, s.clock()); err != nil || u.Phone != nil {
		t.Error(show(t, u), err)
	}
	rebuild(t, s, ModeRebuild)
	s.has(t)(s.register(t, "after@example.com"), nil)
	assertReplayed(t, s)
}

// gated is a log whose reading stops at an event until it is let go on.
type gated struct {
	eventstore.Log
	reached chan struct{} // closed at the event
	goOn    chan struct{}
	once    sync.Once
}

func newGated(log eventstore.Log) *gated {
	return &gated{Log: log, reached: make(chan struct{}), goOn: make(chan struct{})}
}

func (g *gated) ReadAll(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		for recorded, err := range g.Log.ReadAll(ctx, after) {
			if !yield(recorded, err) {
				return
			}
			g.once.Do(func() { close(g.reached) })
			select {
			case <-g.goOn:
			case <-ctx.Done():
				yield(eventstore.Recorded{}, ctx.Err())
				return
			}
		}
	}
}

func TestASwapWaitsForWhoeverMigratesAndThenRefuses(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.has(t)(s.register(t, "anna@example.com"), nil)
	migrating := make(chan pgx.Tx, 1)
	var once sync.Once
	ended := make(chan error, 1)
	go func() {
		_, err := RunRebuild(t.Context(), s.pool, s.log, RebuildRequest{Mode: ModeRebuild}, func(r Rebuild) {
			if r.State != RebuildSwapping {
				return
			}
			once.Do(func() {
				tx, err := s.pool.Begin(t.Context())
				if err == nil {
					err = migrations.Hold(t.Context(), tx)
				}
				if err != nil {
					t.Error(err)
				}
				migrating <- tx
			})
		})
		ended <- err
	}()
	tx := <-migrating
	eventually(t, "the swap waits", func() (waits bool) {
		const q = `SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
			WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted)`
		if err := s.pool.QueryRow(t.Context(), q).Scan(&waits); err != nil {
			t.Error(err)
		}
		return waits || t.Failed() || len(ended) > 0
	})
	if _, err := tx.Exec(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)"); err != nil {
		t.Error(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "migrated by another secboard") {
		t.Error(err)
	}
}

// failing is a log of which some readings fail, as in an outage.
type failing struct {
	eventstore.Log
	left atomic.Int64 // readings that still fail
}

func (f *failing) ReadAll(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		if f.left.Add(-1) >= 0 {
			yield(eventstore.Recorded{}, eventstore.ErrUnavailable)
			return
		}
		f.Log.ReadAll(ctx, after)(yield)
	}
}

func TestARebuildOutlastsOutagesOfTheStoreInEachStep(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.has(t)(s.register(t, "before@example.com"), nil)
	log := &failing{Log: s.log}
	was := ""
	r, err := RunRebuild(t.Context(), s.pool, log, RebuildRequest{Mode: ModeRebuild}, func(r Rebuild) {
		if r.State == was {
			return
		}
		was = r.State
		if r.State == RebuildComparing || r.State == RebuildSwapping {
			s.has(t)(s.register(t, was+"@example.com"), nil) // so that there is something to read
		}
		log.left.Store(1)
	})
	if err != nil || r.State != RebuildDone || len(r.NotCompared) > 0 {
		t.Fatal(show(t, r), err)
	}
	assertReplayed(t, s)
}

func TestAnAbortedRebuildLeavesNothingBehindAndOnlyOneRunsAtATime(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.has(t)(s.register(t, "anna@example.com"), nil)
	before := tableHashes(t, s.pool)
	log := newGated(s.log)
	ended := make(chan error, 1)
	var first Rebuild
	go func() {
		var err error
		first, err = RunRebuild(t.Context(), s.pool, log, RebuildRequest{Mode: ModeRebuild, Names: []string{"users"}}, nil)
		ended <- err
	}()
	<-log.reached
	if _, err := RunRebuild(t.Context(), s.pool, s.log, RebuildRequest{Mode: ModeVerify}, nil); !errors.Is(err, ErrRebuildRunning) {
		t.Error("a second one at the same time:", err)
	}
	statuses, err := s.runner.Status(t.Context())
	if err != nil || statuses[0].State != StateRebuilding || statuses[1].State != StateLive {
		t.Error(show(t, statuses), err)
	}
	running, err := LastRebuild(t.Context(), s.pool)
	if err != nil || running.Ended() {
		t.Error(show(t, running), err)
	}
	aborted, err := AbortRebuild(t.Context(), s.pool)
	if err != nil || aborted != running.ID {
		t.Error(aborted, err)
	}
	if err := <-ended; !errors.Is(err, errAborted) || first.State != RebuildAborted {
		t.Error(show(t, first), err)
	}
	if left := schemas(t, s.pool); !slices.Equal(left, []string{"readmodels"}) {
		t.Error("it leaves", left)
	}
	if after := tableHashes(t, s.pool); !maps.Equal(before, after) {
		t.Error("it changed the live tables")
	}
	if none, err := AbortRebuild(t.Context(), s.pool); err != nil || none != uuid.Nil {
		t.Error(none, err)
	}
	rebuild(t, s, ModeRebuild)
	if _, err := RunRebuild(t.Context(), s.pool, s.log, RebuildRequest{Mode: ModeRebuild, Names: []string{"nobody"}}, nil); !errors.Is(err, ErrUnknownProjection) {
		t.Error(err)
	}
}

func TestARebuildGoesOnInTheBackgroundUntilTheRunnerEnds(t *testing.T) {
	t.Parallel()
	log, pool := nodetest.Connect(t), pgtest.NewDatabase(t)
	gate := newGated(log)
	runner, stop := startStoppable(t, pool, gate)
	handler := newHandler(t, log)
	result, err := handler.CreateCompany(t.Context(), commands.Operator(), company.Details{Name: "Acme"})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, runner, result.Position)
	begun, err := runner.StartRebuild(t.Context(), RebuildRequest{Mode: ModeRebuild})
	if err != nil || begun.Ended() {
		t.Fatal(show(t, begun), err)
	}
	<-gate.reached
	stop()
	stopped, err := RebuildByID(t.Context(), pool, begun.ID)
	if err != nil || stopped.State != RebuildAborted {
		t.Error(show(t, stopped), err)
	}
	if _, err := runner.StartRebuild(t.Context(), RebuildRequest{Mode: ModeRebuild}); err == nil {
		t.Error("it started after the end")
	}
	close(gate.goOn)
	runner = startRunner(t, pool, gate)
	waitFor(t, runner, result.Position)
	begun, err = runner.StartRebuild(t.Context(), RebuildRequest{Mode: ModeRebuild})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the rebuild is done", func() bool {
		r, err := runner.Rebuild(t.Context(), begun.ID)
		return err == nil && r.State == RebuildDone
	})
}

func TestAnEventThatCannotBeAppliedFailsARebuildByName(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.has(t)(s.register(t, "anna@example.com"), nil)
	stream := "company-" + uuid.NewString()
	if _, err := s.log.Append(t.Context(), stream, eventstore.NoStream, []eventstore.Proposed{{ID: uuid.New(), Type: "company.moved_to_mars", Data: []byte("{}"), Metadata: []byte("{}")}}); err != nil {
		t.Fatal(err)
	}
	r, err := RunRebuild(t.Context(), s.pool, s.log, RebuildRequest{Mode: ModeRebuild}, nil)
	if err == nil || r.State != RebuildFailed || !strings.Contains(*r.Error, "company.moved_to_mars") || !strings.Contains(*r.Error, "position") {
		t.Error(show(t, r), err)
	}
	if left := schemas(t, s.pool); !slices.Equal(left, []string{"readmodels"}) {
		t.Error("it leaves", left)
	}
	rebuild(t, s, ModeRebuild, "users", "roles") // which the event does not concern
}
