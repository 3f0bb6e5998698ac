package engine

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/secboard/secboard/pause/pausetest"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/feed"
	"github.com/secboard/secboard/eventstore/nodetest"
	"github.com/secboard/secboard/migrations"
	"github.com/secboard/secboard/pause"
	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/postgres/pgtest"
)

func TestPagesBecomeRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	last := w.send(t, "Lviv")
	waitFor(t, w.runner, last)
	for query, want := range map[string]string{
		"SELECT destination || ' ' || weight || ' ' || revision FROM parcels": "Lviv 2 3 6",
		"SELECT label FROM parcel_labels":                                     "broken glass",
		"SELECT name FROM depots":                                             "Depot of Lviv",
		"SELECT string_agg(destination, ', ' ORDER BY position) " +
			"FROM routes": "Lviv, Lviv 2",
		"SELECT string_agg((to_at IS NULL)::text, ', ' ORDER BY position) " +
			"FROM routes": "false, true",
		"SELECT string_agg((fetched_at IS NULL)::text, ', ' ORDER BY stored_position) FROM storage": "false, true",
		"SELECT count(*)::text FROM journal": "8",
		"SELECT string_agg(DISTINCT events::text, ', ') FROM checkpoints WHERE name IN ('parcels','routes')": "8",
	} {
		t.Run(query, func(t *testing.T) {
			var got string
			if err := w.pool.QueryRow(t.Context(), query).Scan(&got); err != nil || got != want {
				t.Errorf("%s: %s, %v", query, got, err)
			}
		})
	}
	w.assertReplayed(t)
}

func TestAPageThatComesAgainIsRefused(t *testing.T) {
	t.Parallel()
	w := newStoppedWorld(t)
	w.send(t, "Lviv")
	var page feed.Page
	for recorded, err := range w.log.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		page.Events = append(page.Events, eventstore.Decode(recorded))
	}
	set := parcelSet()
	if err := set.makeCheckpoints(t.Context(), w.pool); err != nil {
		t.Fatal(err)
	}
	conn, err := w.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for _, p := range set.Projections {
		if err := p.ApplyPage(t.Context(), conn, page); err != nil {
			t.Fatal(err)
		}
	}
	before := contents(t, w.pool)
	half := feed.Page{Events: page.Events[:len(page.Events)/2]}
	gap := feed.Page{After: page.Position() + 1, Events: slices.Clone(page.Events[:1])}
	gap.Events[0].Position = page.Position() + 2
	for _, p := range set.Projections {
		if err := p.ApplyPage(t.Context(), conn, page); !errors.Is(err, errApplied) {
			t.Errorf("%s, the same page: %v", p.Name, err)
		}
		if err := p.ApplyPage(t.Context(), conn, half); !errors.Is(err, errApplied) {
			t.Errorf("%s, half of it: %v", p.Name, err)
		}
		if err := p.ApplyPage(t.Context(), conn, gap); !errors.Is(err, errGap) {
			t.Errorf("%s, a page too far: %v", p.Name, err)
		}
	}
	if !maps.Equal(contents(t, w.pool), before) {
		t.Error("rows have changed")
	}
}

func TestARunnerResumesWhereTheLastOneStopped(t *testing.T) {
	t.Parallel()
	w := newStoppedWorld(t)
	for round := range 3 {
		runner, stop := startStoppable(t, w.pool, w.log, nil)
		var last eventstore.Position
		for range 10 {
			last = w.send(t, "Lviv")
		}
		if round == 1 {
			waitFor(t, runner, last)
		}
		stop() // in the midst of pages, but for the second time
	}
	w.runner = startRunner(t, w.pool, w.log)
	w.assertReplayed(t)
}

func TestTwoRunnersShareOneDatabase(t *testing.T) {
	t.Parallel()
	w := newStoppedWorld(t)
	first, stopFirst := startStoppable(t, w.pool, w.log, nil)
	w.runner = startRunner(t, w.pool, w.log)
	position := w.send(t, "Lviv")
	waitFor(t, first, position)
	waitFor(t, w.runner, position)
	for _, p := range parcelSet().Projections {
		if first.locks.holds(p.Name) == w.runner.locks.holds(p.Name) {
			t.Fatal(p.Name, "has no worker, or two")
		}
	}
	stopFirst()
	waitFor(t, w.runner, w.send(t, "Odesa"))
	if !w.runner.locks.holdsAll() {
		t.Fatal("the second runner did not take over")
	}
	w.assertReplayed(t)
}

func TestConnectionsToPostgresBreakInTheMidst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	killed := make(chan int, 1)
	go func() {
		total := 0
		for ctx.Err() == nil {
			var n int
			// The connection that asks is spared; those of the runner and of its locks are not.
			err := w.pool.QueryRow(ctx, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&n)
			if err == nil {
				total += n
			}
			pause.For(ctx, 50*time.Millisecond)
		}
		killed <- total
	}()
	for range 40 {
		w.send(t, "Lviv")
	}
	cancel()
	if total := <-killed; total == 0 {
		t.Fatal("no connection was broken")
	}
	w.assertReplayed(t)
}

func TestPostgresCrashesAndNothingIsCalledPoison(t *testing.T) {
	t.Parallel()
	server := pgtest.StartServer(t)
	pool, err := postgres.Open(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := migrations.Up(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	if err := parcelSet().Migrate(t.Context(), pool, migrations.ReadModelsSchema); err != nil {
		t.Fatal(err)
	}
	// This server answers before a commit is written: a crash could lose the tables themselves.
	if _, err := pool.Exec(t.Context(), "CHECKPOINT"); err != nil {
		t.Fatal(err)
	}
	w := &world{log: nodetest.Connect(t), pool: pool, revisions: map[string]eventstore.Revision{}}
	w.runner = startRunner(t, pool, w.log)
	waitFor(t, w.runner, w.send(t, "Lviv"))
	// Events go on while the server is away; its supervisor starts it again.
	if err := syscall.Kill(postmaster(t, pool), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		w.send(t, "Odesa")
	}
	w.assertReplayed(t)
}

// postmaster is the process id of a database's server.
func postmaster(t testing.TB, pool *pgxpool.Pool) int {
	t.Helper()
	var pid int
	const read = "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int"
	if err := pool.QueryRow(t.Context(), read).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

// statuses gives how each projection stands, by its name.
func statuses(t testing.TB, runner *Runner) map[string]Status {
	t.Helper()
	list, err := runner.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]Status{}
	for _, s := range list {
		named[s.Name] = s
	}
	return named
}

func TestAnEventThatPostgresRefusesStopsOneProjectionOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, good := w.post(t, "Lviv")
	waitFor(t, w.runner, good)
	if _, err := w.pool.Exec(t.Context(), "ALTER TABLE parcels ADD CONSTRAINT no_such_place CHECK (destination <> "+
		"'Atlantis')"); err != nil {
		t.Fatal(err)
	}
	// Several events in one page: the ones before the bad one are to be applied.
	w.post(t, "Odesa")
	_, bad := w.post(t, "Atlantis")
	_, after := w.post(t, "Kyiv")
	var stopped Status
	pausetest.Until(t, "parcels is stopped", func() bool {
		stopped = statuses(t, w.runner)["parcels"]
		return stopped.State == StateStopped
	})
	for _, part := range []string{"parcel.posted", "no_such_place"} {
		if !strings.Contains(*stopped.Error, part) {
			t.Errorf("the error does not name %s: %s", part, *stopped.Error)
		}
	}
	if strings.Contains(*stopped.Error, "Atlantis") {
		t.Error("the error shows data:", *stopped.Error)
	}
	// WaitFor does not wait for the stopped one; the others go on.
	if err := w.runner.WaitFor(t.Context(), after); err != nil {
		t.Fatal(err)
	}
	others := func() bool {
		for name, s := range statuses(t, w.runner) {
			if name != "parcels" && (s.State != StateLive || s.Error != nil || s.LagEvents != 0 || s.LagMS != 0) {
				return false
			}
		}
		return true
	}
	pausetest.Until(t, "all others are live", others)
	stopped = statuses(t, w.runner)["parcels"]
	if stopped.LagEvents != 2 || stopped.Position >= bad || stopped.Position < good {
		t.Errorf("%+v", stopped)
	}
	pausetest.Until(t, "it looks the same from outside", func() bool {
		outside, err := StatusOf(t.Context(), parcelSet(), w.pool, w.log)
		if err != nil {
			t.Fatal(err)
		}
		inside, err := w.runner.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range outside {
			outside[i].LagMS = inside[i].LagMS
		}
		return show(t, outside) == show(t, inside)
	})
	if got := contents(t, w.pool)["parcels"]; !strings.Contains(got, "Odesa") || strings.Contains(got, "Kyiv") {
		t.Error("the events before the bad one are to be applied, and none after it:", got)
	}
	// After the fix it resumes by itself.
	if _, err := w.pool.Exec(t.Context(), "ALTER TABLE parcels DROP CONSTRAINT no_such_place"); err != nil {
		t.Fatal(err)
	}
	pausetest.Until(t, "parcels is resumed", func() bool {
		return strings.Contains(contents(t, w.pool)["parcels"], "Kyiv")
	})
	w.assertReplayed(t)
}

// newerLog makes the log of a newer program from ours: it has a type of event that we do not know.
type newerLog struct {
	eventstore.Log
	unknown atomic.Bool
}

func (l *newerLog) Subscribe(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Delivery, error] {
	return func(yield func(eventstore.Delivery, error) bool) {
		for delivery, err := range l.Log.Subscribe(ctx, after) {
			if l.unknown.Load() && delivery.Event.Type == "depot.opened" {
				delivery.Event.Type = "depot.inaugurated"
			}
			if !yield(delivery, err) {
				return
			}
		}
	}
}

func (l *newerLog) ReadAll(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Recorded, error] {
	return func(yield func(eventstore.Recorded, error) bool) {
		for delivery, err := range l.Subscribe(ctx, after) {
			if delivery.CaughtUp || !yield(delivery.Event, err) {
				return
			}
		}
	}
}

func TestAnUnknownEventStopsThoseWhomItConcerns(t *testing.T) {
	t.Parallel()
	w := newStoppedWorld(t)
	log := &newerLog{Log: w.log}
	log.unknown.Store(true)
	registry := prometheus.NewRegistry()
	runner, stop := startStoppable(t, w.pool, log, registry)
	w.send(t, "Lviv")
	pausetest.Until(t, "depots and the journal are stopped", func() bool {
		var stopped []string
		for name, s := range statuses(t, runner) {
			if s.State != StateLive {
				stopped = append(stopped, name+" "+s.State)
			}
			if s.Error != nil && !strings.Contains(*s.Error, "depot.inaugurated") {
				t.Error(*s.Error)
			}
		}
		slices.Sort(stopped)
		return slices.Equal(stopped, []string{"depots stopped", "journal stopped"})
	})
	want := map[string]float64{"parcels": 0, "depots": 1, "routes": 0, "journal": 1}
	// The process knows it a moment after the database.
	pausetest.Until(t, "the metrics say so", func() bool {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		stopped := map[string]float64{}
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				if family.GetName() == "secboard_projection_stopped" {
					stopped[metric.GetLabel()[0].GetValue()] = metric.GetGauge().GetValue()
				}
			}
		}
		return maps.Equal(stopped, want)
	})
	stop()
	log.unknown.Store(false) // an upgrade
	w.runner = startRunner(t, w.pool, log)
	pausetest.Until(t, "the upgraded program is live", func() bool {
		for _, s := range statuses(t, w.runner) {
			if s.State != StateLive {
				return false
			}
		}
		return true
	})
	w.assertReplayed(t)
}

func TestADefectiveEventIsNamedAndHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, stream, eventType, data, stopped, reason string }{
		{"no such parcel", "parcel-" + uuid.NewString(), "parcel.labelled", `{}`, "parcels routes",
			"it was never posted"},
		{"no id in the stream", "depot-here", "depot.opened", `{}`, "depots", "not named after a depot"},
		{"other JSON", "depot-" + uuid.NewString(), "depot.opened", `{"name":7}`, "depots journal",
			"decode depot.opened"},
		{"no JSON", "parcel-" + uuid.NewString(), "parcel.posted", `hello`, "journal parcels routes",
			"invalid character"},
		{"a type of its own on a strange stream", "thing-1", "depot.exploded", `{}`, "depots journal",
			"unknown event type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.appendRaw(t, tt.stream, tt.eventType, tt.data)
			after := w.send(t, "Lviv")
			pausetest.Until(t, tt.stopped+" stopped", func() bool {
				var stopped []string
				for name, s := range statuses(t, w.runner) {
					if s.State == StateStopped {
						stopped = append(stopped, name)
					} else if s.Position < after {
						return false
					}
				}
				slices.Sort(stopped)
				return strings.Join(stopped, " ") == tt.stopped
			})
			for _, s := range statuses(t, w.runner) {
				if s.Error != nil &&
					(!strings.Contains(*s.Error, tt.eventType) || !strings.Contains(*s.Error, tt.reason)) {
					t.Error(*s.Error)
				}
			}
		})
	}
}

func TestAPanicOfAProjectionIsAnError(t *testing.T) {
	t.Parallel()
	pool := newDatabase(t)
	broken := Projection{Name: "depots", Kind: "depot", Tables: []Table{{
		Name: "depots", Apply: func(context.Context, pgx.Tx, []*eventstore.Envelope) error { panic("out of order") },
	}}}
	if err := (Set{Projections: []Projection{broken}}).makeCheckpoints(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	page := feed.Page{Events: []eventstore.Envelope{
		{Recorded: eventstore.Recorded{Position: 1, Stream: "depot-" + uuid.NewString()}, Event: opened{}},
	}}
	if err := broken.ApplyPage(t.Context(), conn, page); err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Fatal(err)
	}
	if c := checkpointsIn(t, pool)["depots"]; c.position != 0 {
		t.Fatal(c)
	}
}

func TestWaitingEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, position := w.post(t, "Lviv")
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	go func() { waiting <- w.runner.WaitFor(ctx, position+1000) }()
	waitFor(t, w.runner, position)
	cancel()
	if err := <-waiting; !errors.Is(err, ErrBehind) {
		t.Fatal(err)
	}
}
