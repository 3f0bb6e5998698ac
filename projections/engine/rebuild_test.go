package engine

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/secboard/secboard/pause/pausetest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/migrations"
)

// schemas lists those of the read models.
func schemas(t testing.TB, pool *pgxpool.Pool) []string {
	t.Helper()
	var names []string
	if err := pool.QueryRow(t.Context(), "SELECT array_agg(nspname::text ORDER BY nspname) FROM pg_namespace WHERE "+
		"nspname LIKE 'readmodels%'").Scan(&names); err != nil {
		t.Fatal(err)
	}
	return names
}

func TestARebuildComparesSwapsAndCanBeRolledBack(t *testing.T) {
	t.Parallel()
	for name, names := range map[string][]string{"all": nil, "some": {"parcels", "journal"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id, _ := w.post(t, "Lviv")
			lost, _ := w.post(t, "Odesa")
			waitFor(t, w.runner, w.send(t, "Kyiv"))
			if r := w.rebuild(t, ModeVerify); len(r.Differences) > 0 || len(r.NotCompared) > 0 {
				t.Fatal(show(t, r))
			}
			depotID := uuid.NewString()
			for _, change := range []string{
				"UPDATE parcels SET destination = 'Atlantis', weight = 0 WHERE id = '" + id.String() + "'",
				"DELETE FROM parcels WHERE id = '" + lost.String() + "'",
				"INSERT INTO depots VALUES ('" + depotID + "', 'None')",
			} {
				if _, err := w.pool.Exec(t.Context(), change); err != nil {
					t.Fatal(err)
				}
			}
			r := w.rebuild(t, ModeVerify)
			type difference struct{ Row, Live, Rebuilt string }
			var got []difference
			text := func(value *string) string {
				if value == nil {
					return "none"
				}
				return *value
			}
			for _, d := range r.Differences {
				got = append(got,
					difference{d.Table + " " + d.Key + " " + text(d.Column), text(d.Live), text(d.Rebuilt)})
			}
			want := []difference{
				{"parcels " + id.String() + " destination", `"Atlantis"`, `"Lviv"`},
				{"parcels " + id.String() + " weight", "0", "4"},
				{"parcels " + lost.String() + " none", "none", `{"destination":"Odesa","id":"` + lost.String() +
					`","revision":0,"weight":5}`},
				{"depots " + depotID + " none", `{"id":"` + depotID + `","name":"None"}`, "none"},
			}
			inOrder := func(a, b difference) int { return strings.Compare(a.Row, b.Row) }
			slices.SortFunc(got, inOrder)
			slices.SortFunc(want, inOrder)
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if only := w.rebuild(t, ModeVerify, "journal", "depots"); len(only.Differences) != 1 {
				t.Error(show(t, only))
			}
			if left := schemas(t, w.pool); !slices.Equal(left, []string{"readmodels"}) {
				t.Error("verifying leaves", left)
			}
			kept, err := w.runner.Rebuild(t.Context(), r.ID)
			if d := cmp.Diff(r.Differences, kept.Differences); err != nil || kept.State != RebuildDone || d != "" {
				t.Error(kept.State, d, err)
			}
			// The rebuild puts the rows right, and what it replaced can be put back, with what came later.
			destination := func() (to string) {
				const query = "SELECT destination FROM parcels WHERE id = $1"
				if err := w.pool.QueryRow(t.Context(), query, id).Scan(&to); err != nil {
					t.Fatal(err)
				}
				return to
			}
			w.rebuild(t, ModeRebuild, names...)
			if to := destination(); to != "Lviv" {
				t.Error("after the rebuild:", to)
			}
			later, position := w.post(t, "Dnipro")
			waitFor(t, w.runner, position)
			w.rebuild(t, ModeRollback)
			if to := destination(); to != "Atlantis" {
				t.Error("after the rollback:", to)
			}
			if !strings.Contains(contents(t, w.pool)["parcels"], later.String()) {
				t.Error("the former tables lack what came later")
			}
			w.rebuild(t, ModeRollback) // and back again
			if to := destination(); to != "Lviv" {
				t.Error("after the second rollback:", to)
			}
			w.rebuild(t, ModeRebuild)
			w.send(t, "Poltava")
			w.assertReplayed(t)
		})
	}
}

func TestARebuildPutsADamagedTableRight(t *testing.T) {
	t.Parallel()
	for damage, names := range map[string][]string{
		"DROP TABLE depots": {"depots"}, "ALTER TABLE depots DROP COLUMN name": nil,
		"ALTER TABLE depots ADD COLUMN extra text": nil,
	} {
		t.Run(damage, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			waitFor(t, w.runner, w.send(t, "Lviv"))
			if _, err := w.pool.Exec(t.Context(), damage+"; UPDATE parcels SET weight = 99"); err != nil {
				t.Fatal(err)
			}
			verified := w.rebuild(t, ModeVerify)
			if len(verified.NotCompared) != 1 ||
				!strings.Contains(verified.NotCompared["depots"], "the live table depots") ||
				len(verified.Differences) != 1 {
				t.Error("the other tables are compared all the same:", show(t, verified))
			}
			w.rebuild(t, ModeRebuild, names...)
			if again := w.rebuild(t, ModeVerify, "depots"); len(again.NotCompared) > 0 || len(again.Differences) > 0 {
				t.Error(show(t, again))
			}
		})
	}
}

func TestASwapHoldsUpNoQueryOfTheCheckpoints(t *testing.T) {
	t.Parallel()
	for name, names := range map[string][]string{"all": nil, "some": {"parcels", "journal"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			waitFor(t, w.runner, w.send(t, "Lviv"))
			// The row of the rebuild is kept from it when it swaps, so that the swap stands still with its lock.
			holding := make(chan pgx.Tx, 1)
			var once sync.Once
			swapping := func(r Rebuild) {
				if r.State != RebuildSwapping {
					return
				}
				once.Do(func() {
					tx, err := w.pool.Begin(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					if _, err := tx.Exec(t.Context(), "SELECT FROM app.rebuilds WHERE id = $1 FOR UPDATE",
						r.ID); err != nil {
						t.Error(err)
					}
					holding <- tx
				})
			}
			ended := make(chan error, 1)
			go func() {
				_, err := RunRebuild(t.Context(), parcelSet(), w.pool, w.log,
					RebuildRequest{Names: names, Mode: ModeRebuild}, swapping)
				ended <- err
			}()
			locked := func() (held bool) {
				const q = `SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
					WHERE d.datname = current_database()
					AND l.relation = 'readmodels.checkpoints'::regclass AND l.granted
					AND l.mode ~ '^(Access)?ExclusiveLock$')`
				if err := w.pool.QueryRow(t.Context(), q).Scan(&held); err != nil {
					t.Error(err)
				}
				return held
			}
			pausetest.Until(t, "the swap has its lock", func() bool { return locked() || t.Failed() || len(ended) > 0 })
			if _, err := w.pool.Exec(t.Context(),
				"BEGIN; LOCK TABLE readmodels.checkpoints IN ACCESS SHARE MODE NOWAIT; COMMIT"); err != nil {
				t.Error("a query of the checkpoints waits:", err)
			}
			w.send(t, "Odesa")
			select {
			case tx := <-holding:
				if err := tx.Rollback(t.Context()); err != nil {
					t.Error(err)
				}
			case err := <-ended:
				t.Fatal("it ended before the swap:", err)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
			w.assertReplayed(t)
		})
	}
}

// gated is a log whose reading stops at an event until it may continue.
type gated struct {
	eventstore.Log
	reached chan struct{} // closed at the event
	goOn    chan struct{}
	once    sync.Once
}

func newGated(log eventstore.Log) *gated {
	return &gated{Log: log, reached: make(chan struct{}), goOn: make(chan struct{})}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
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
	w := newWorld(t)
	waitFor(t, w.runner, w.send(t, "Lviv"))
	migrating := make(chan pgx.Tx, 1)
	var once sync.Once
	ended := make(chan error, 1)
	go func() {
		_, err := RunRebuild(t.Context(), parcelSet(), w.pool, w.log, RebuildRequest{Mode: ModeRebuild},
			func(r Rebuild) {
				if r.State != RebuildSwapping {
					return
				}
				once.Do(func() {
					tx, err := w.pool.Begin(t.Context())
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
	var tx pgx.Tx
	select {
	case tx = <-migrating:
	case err := <-ended:
		t.Fatal("it ended before the swap:", err)
	}
	pausetest.Until(t, "the swap waits", func() (waits bool) {
		const q = `SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
			WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted)`
		if err := w.pool.QueryRow(t.Context(), q).Scan(&waits); err != nil {
			t.Error(err)
		}
		return waits || t.Failed() || len(ended) > 0
	})
	if _, err := tx.Exec(t.Context(),
		"INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)"); err != nil {
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
	w := newWorld(t)
	waitFor(t, w.runner, w.send(t, "Lviv"))
	log := &failing{Log: w.log}
	was := ""
	r, err := RunRebuild(t.Context(), parcelSet(), w.pool, log, RebuildRequest{Mode: ModeRebuild}, func(r Rebuild) {
		if r.State == was {
			return
		}
		was = r.State
		if r.State == RebuildComparing || r.State == RebuildSwapping {
			waitFor(t, w.runner, w.send(t, was)) // so that there is something to read
		}
		log.left.Store(1)
	})
	if err != nil || r.State != RebuildDone || len(r.NotCompared) > 0 {
		t.Fatal(show(t, r), err)
	}
	w.assertReplayed(t)
}

func TestAnAbortedRebuildLeavesNothingBehindAndOnlyOneRunsAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	waitFor(t, w.runner, w.send(t, "Lviv"))
	before := contents(t, w.pool)
	log := newGated(w.log)
	ended := make(chan error, 1)
	var first Rebuild
	go func() {
		var err error
		request := RebuildRequest{Mode: ModeRebuild, Names: []string{"depots"}}
		first, err = RunRebuild(t.Context(), parcelSet(), w.pool, log, request, nil)
		ended <- err
	}()
	pausetest.Until(t, "it reads", func() bool { return isClosed(log.reached) })
	if _, err := RunRebuild(t.Context(), parcelSet(), w.pool, w.log, RebuildRequest{Mode: ModeVerify},
		nil); !errors.Is(err, ErrRebuildRunning) {
		t.Error("a second one at the same time:", err)
	}
	if all := statuses(t, w.runner); all["depots"].State != StateRebuilding || all["parcels"].State != StateLive {
		t.Error(show(t, all))
	}
	running, err := LastRebuild(t.Context(), w.pool)
	if err != nil || running.Ended() {
		t.Error(show(t, running), err)
	}
	aborted, err := AbortRebuild(t.Context(), w.pool)
	if err != nil || aborted != running.ID {
		t.Error(aborted, err)
	}
	if err := <-ended; !errors.Is(err, errAborted) || first.State != RebuildAborted {
		t.Error(show(t, first), err)
	}
	if left := schemas(t, w.pool); !slices.Equal(left, []string{"readmodels"}) {
		t.Error("it leaves", left)
	}
	if !maps.Equal(contents(t, w.pool), before) {
		t.Error("it changed the live tables")
	}
	if none, err := AbortRebuild(t.Context(), w.pool); err != nil || none != uuid.Nil {
		t.Error(none, err)
	}
	w.rebuild(t, ModeRebuild)
	unknown := RebuildRequest{Mode: ModeRebuild, Names: []string{"nobody"}}
	if _, err := RunRebuild(t.Context(), parcelSet(), w.pool, w.log, unknown, nil); !errors.Is(err,
		ErrUnknownProjection) {
		t.Error(err)
	}
	if _, err := RebuildByID(t.Context(), w.pool, uuid.New()); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestNothingIsRolledBackBeforeTheFirstRebuild(t *testing.T) {
	t.Parallel()
	pool := newDatabase(t)
	if _, err := RunRebuild(t.Context(), parcelSet(), pool, nil, RebuildRequest{Mode: ModeRollback},
		nil); !errors.Is(err, ErrNothingToRollBack) {
		t.Error(err)
	}
	if _, err := LastRebuild(t.Context(), pool); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestARebuildContinuesInTheBackgroundUntilTheRunnerEnds(t *testing.T) {
	t.Parallel()
	w := newStoppedWorld(t)
	gate := newGated(w.log)
	runner, stop := startStoppable(t, w.pool, gate, nil)
	last := w.send(t, "Lviv")
	waitFor(t, runner, last)
	begun, err := runner.StartRebuild(t.Context(), RebuildRequest{Mode: ModeRebuild})
	if err != nil || begun.Ended() {
		t.Fatal(show(t, begun), err)
	}
	pausetest.Until(t, "it reads", func() bool { return isClosed(gate.reached) })
	stop()
	stopped, err := RebuildByID(t.Context(), w.pool, begun.ID)
	if err != nil || stopped.State != RebuildAborted {
		t.Error(show(t, stopped), err)
	}
	if _, err := runner.StartRebuild(t.Context(), RebuildRequest{Mode: ModeRebuild}); err == nil {
		t.Error("it started after the end")
	}
	close(gate.goOn)
	runner = startRunner(t, w.pool, gate)
	waitFor(t, runner, last)
	begun, err = runner.StartRebuild(t.Context(), RebuildRequest{Mode: ModeRebuild})
	if err != nil {
		t.Fatal(err)
	}
	pausetest.Until(t, "the rebuild is done", func() bool {
		r, err := runner.Rebuild(t.Context(), begun.ID)
		return err == nil && r.State == RebuildDone
	})
}

func TestAnEventThatCannotBeAppliedFailsARebuildByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	waitFor(t, w.runner, w.send(t, "Lviv"))
	w.appendRaw(t, "depot-"+uuid.NewString(), "depot.moved_to_mars", "{}")
	r, err := RunRebuild(t.Context(), parcelSet(), w.pool, w.log, RebuildRequest{Mode: ModeRebuild}, nil)
	if err == nil || r.State != RebuildFailed || !strings.Contains(*r.Error, "depot.moved_to_mars") ||
		!strings.Contains(*r.Error, "position") {
		t.Error(show(t, r), err)
	}
	if left := schemas(t, w.pool); !slices.Equal(left, []string{"readmodels"}) {
		t.Error("it leaves", left)
	}
	w.rebuild(t, ModeRebuild, "parcels", "routes") // which the event does not concern
}
