package projections

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/feed"
	"github.com/secboard/secboard/eventstore/nodetest"
	"github.com/secboard/secboard/migrations"
	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/postgres/pgtest"
)

// rebuilt gives the tables that a runner builds from the whole log in an empty database.
func rebuilt(t testing.TB, log eventstore.Log, until eventstore.Position) map[string]string {
	t.Helper()
	pool := pgtest.NewDatabase(t)
	runner, stop := startStoppable(t, pool, log)
	waitFor(t, runner, until)
	stop()
	return tableHashes(t, pool)
}

// register writes an account without waiting for the read models. The position is that of the end of the log: behind
// the account's own event stands the confirmation of its e-mail.
func (s *stack) register(t testing.TB, email string) commands.Result {
	t.Helper()
	result, err := s.RegisterUser(t.Context(), commands.Operator(), commands.RegisterUser{Details: user.Details{Email: email, FirstName: "Olena"}})
	if err != nil {
		t.Fatal(err)
	}
	for recorded, err := range s.Log.ReadAll(t.Context(), result.Position) {
		if err != nil {
			t.Fatal(err)
		}
		result.Position = recorded.Position
	}
	return result
}

func TestARunnerGoesOnWhereTheLastOneStopped(t *testing.T) {
	t.Parallel()
	log, pool := nodetest.Connect(t), pgtest.NewDatabase(t)
	s := &stack{Handler: newHandler(t, log), log: log, pool: pool}
	var last commands.Result
	for round := range 3 {
		runner, stop := startStoppable(t, pool, log)
		for i := range 20 {
			last = s.register(t, fmt.Sprintf("p%d-%d@example.com", round, i))
		}
		if round == 1 {
			waitFor(t, runner, last.Position)
		}
		stop() // in the midst of pages, but for the second time
	}
	runner, _ := startStoppable(t, pool, log)
	waitFor(t, runner, last.Position)
	if live, again := tableHashes(t, pool), rebuilt(t, log, last.Position); !maps.Equal(live, again) {
		t.Fatalf("live:\n%s\nrebuilt:\n%s", show(t, live), show(t, again))
	}
}

func TestTwoRunnersShareOneDatabase(t *testing.T) {
	t.Parallel()
	log, pool := nodetest.Connect(t), pgtest.NewDatabase(t)
	s := &stack{Handler: newHandler(t, log), log: log, pool: pool}
	first, stopFirst := startStoppable(t, pool, log)
	second, _ := startStoppable(t, pool, log)
	result := s.register(t, "a@example.com")
	waitFor(t, first, result.Position)
	waitFor(t, second, result.Position)
	for _, p := range all {
		if first.locks.holds(p.name) == second.locks.holds(p.name) {
			t.Fatal(p.name, "has no worker, or two")
		}
	}
	stopFirst()
	result = s.register(t, "b@example.com")
	waitFor(t, second, result.Position)
	if !second.locks.holdsAll() {
		t.Fatal("the second runner did not take over")
	}
	if live, again := tableHashes(t, pool), rebuilt(t, log, result.Position); !maps.Equal(live, again) {
		t.Fatalf("live:\n%s\nrebuilt:\n%s", show(t, live), show(t, again))
	}
}

func TestConnectionsToPostgresBreakInTheMidst(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	ctx, cancel := context.WithCancel(t.Context())
	killed := make(chan int, 1)
	go func() {
		total := 0
		for ctx.Err() == nil {
			var n int
			// The connection that asks is spared; those of the runner and of its locks are not.
			err := s.pool.QueryRow(ctx, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&n)
			if err == nil {
				total += n
			}
			pause(ctx, 50*time.Millisecond)
		}
		killed <- total
	}()
	var last commands.Result
	for i := range 60 {
		last = s.register(t, fmt.Sprintf("p%d@example.com", i))
	}
	cancel()
	if total := <-killed; total == 0 {
		t.Fatal("no connection was broken")
	}
	waitFor(t, s.runner, last.Position)
	if live, again := tableHashes(t, s.pool), rebuilt(t, s.log, last.Position); !maps.Equal(live, again) {
		t.Fatalf("live:\n%s\nrebuilt:\n%s", show(t, live), show(t, again))
	}
}

func TestPostgresCrashesAndNothingIsCalledPoison(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	server := pgtest.StartServer(t)
	pool, err := postgres.Open(ctx, server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := migrations.Up(ctx, pool); err != nil {
		t.Fatal(err)
	}
	log := nodetest.Connect(t)
	s := &stack{Handler: newHandler(t, log), log: log, pool: pool}
	runner := startRunner(t, pool, log)
	waitFor(t, runner, s.register(t, "before@example.com").Position)
	// Commands go on while the server is away; its supervisor starts it again.
	if err := syscall.Kill(postmaster(t, pool), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var last commands.Result
	for i := range 10 {
		last = s.register(t, fmt.Sprintf("during%d@example.com", i))
	}
	waitFor(t, runner, last.Position)
	if live, again := tableHashes(t, pool), rebuilt(t, log, last.Position); !maps.Equal(live, again) {
		t.Fatalf("live:\n%s\nrebuilt:\n%s", show(t, live), show(t, again))
	}
}

// postmaster is the process id of a database's server.
func postmaster(t testing.TB, pool *pgxpool.Pool) int {
	t.Helper()
	var pid int
	if err := pool.QueryRow(t.Context(), "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int").Scan(&pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestAnEventThatPostgresRefusesStopsOneProjectionOnly(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	ctx := t.Context()
	s.has(t)(s.register(t, "good@example.com"), nil)
	if _, err := s.pool.Exec(ctx, "ALTER TABLE users ADD CONSTRAINT nobody_bad CHECK (email <> 'bad@example.com')"); err != nil {
		t.Fatal(err)
	}
	// Several events in one page: the ones before the bad one are to be applied.
	s.register(t, "prefix@example.com")
	bad := s.register(t, "bad@example.com")
	after := s.register(t, "after@example.com")
	var stopped Status
	eventually(t, "users is stopped", func() bool {
		statuses, err := s.runner.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		stopped = statuses[0]
		return stopped.State == StateStopped
	})
	if !strings.Contains(*stopped.Error, "user.registered") || !strings.Contains(*stopped.Error, "nobody_bad") || strings.Contains(*stopped.Error, "bad@example.com") {
		t.Fatal("the error is to name the event and the reason, not data:", *stopped.Error)
	}
	// WaitFor does not wait for the stopped one; the others go on, and so do commands.
	if err := s.runner.WaitFor(ctx, after.Position); err != nil {
		t.Fatal(err)
	}
	company := s.register(t, "more@example.com")
	if err := s.runner.WaitFor(ctx, company.Position); err != nil {
		t.Fatal(err)
	}
	var statuses []Status
	eventually(t, "all others are live", func() bool { // the claim of the last account may come after it
		var err error
		if statuses, err = s.runner.Status(ctx); err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(statuses[1:], func(s Status) bool {
			return s.State != StateLive || s.Error != nil || s.LagEvents != 0 || s.LagMS != 0
		})
	})
	if stopped = statuses[0]; stopped.LagEvents <= 0 || stopped.Position >= bad.Position {
		t.Errorf("%+v", stopped)
	}
	eventually(t, "it looks the same from outside", func() bool {
		outside, err := StatusOf(ctx, s.pool, s.log)
		if err != nil {
			t.Fatal(err)
		}
		if statuses, err = s.runner.Status(ctx); err != nil {
			t.Fatal(err)
		}
		for i := range outside {
			outside[i].LagMS = statuses[i].LagMS
		}
		return show(t, outside) == show(t, statuses)
	})
	users, err := s.Users(ctx, UserFilter{}, PageRequest{Sort: "email"}, s.clock())
	if err != nil || len(users.Items) != 2 || users.Items[1].Email != "prefix@example.com" {
		t.Fatal(show(t, users), err)
	}
	// After the fix it resumes by itself.
	if _, err := s.pool.Exec(ctx, "ALTER TABLE users DROP CONSTRAINT nobody_bad"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "users goes on", func() bool {
		users, err := s.Users(ctx, UserFilter{}, PageRequest{}, s.clock())
		if err != nil {
			t.Fatal(err)
		}
		return len(users.Items) == 5
	})
	waitFor(t, s.runner, company.Position)
}

// newerLog makes the log of an older SecBoard from ours: it does not know one type of event.
type newerLog struct {
	eventstore.Log
	unknown atomic.Bool
}

func (l *newerLog) Subscribe(ctx context.Context, after eventstore.Position) iter.Seq2[eventstore.Delivery, error] {
	return func(yield func(eventstore.Delivery, error) bool) {
		for delivery, err := range l.Log.Subscribe(ctx, after) {
			if l.unknown.Load() && delivery.Event.Type == "company.renamed" {
				delivery.Event.Type = "company.rechristened"
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
	log, pool := &newerLog{Log: nodetest.Connect(t)}, pgtest.NewDatabase(t)
	log.unknown.Store(true)
	registry := prometheus.NewRegistry()
	runner := NewRunner(pool, log, slog.New(slog.DiscardHandler), registry)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(ctx) }()

	s := &stack{Handler: newHandler(t, log), log: nil, pool: pool}
	acme, err := s.CreateCompany(ctx, commands.Operator(), company.Details{Name: "Acme"})
	if err != nil {
		t.Fatal(err)
	}
	name := "Acme & Co"
	if _, err := s.ChangeCompany(ctx, commands.Operator(), uuid.MustParse(acme.ID), company.Patch{Name: &name}); err != nil {
		t.Fatal(err)
	}
	last := s.register(t, "a@example.com")
	states := func() string {
		statuses, err := runner.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var text []string
		for _, s := range statuses {
			if s.State != StateLive {
				text = append(text, s.Name+" "+s.State)
			}
			if s.Error != nil && !strings.Contains(*s.Error, `company.rechristened`) {
				t.Error(*s.Error)
			}
		}
		return strings.Join(text, ", ")
	}
	eventually(t, "companies and the history are stopped", func() bool {
		return states() == "companies stopped, history stopped"
	})
	want := map[string]float64{}
	for _, p := range all {
		want[p.name] = 0
	}
	want["companies"], want["history"] = 1, 1
	// The process knows it a moment after the database.
	eventually(t, "the metrics say so", func() bool {
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
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	log.unknown.Store(false) // an upgrade
	again := startRunner(t, pool, log)
	eventually(t, "the upgraded program is live", func() bool {
		statuses, err := again.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range statuses {
			if s.State != StateLive {
				return false
			}
		}
		return true
	})
	waitFor(t, again, last.Position)
	renamed, err := NewReadModels(pool).Company(t.Context(), uuid.MustParse(acme.ID))
	if err != nil || renamed.Name != name {
		t.Fatal(renamed, err)
	}
}

func TestADefectiveEventIsNamedAndHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, stream, eventType, data, stopped, reason string }{
		{"no such account", "user-" + uuid.NewString(), "user.deactivated", `{}`, "users account_versions", "does not exist yet"},
		{"no id in the stream", "user-anna", "user.registered", `{"email":"a@example.com","source":"local"}`, "users account_versions", "not named after a user"},
		{"other JSON", "role-" + uuid.NewString(), "role.created", `{"name":7}`, "roles history", "decode role.created"},
		{"no JSON", "group-" + uuid.NewString(), "group.created", `hello`, "groups group_versions history", "invalid character"},
		{"a type of its own on a strange stream", "thing-1", "company.exploded", `{}`, "companies history", "unknown event type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStack(t)
			metadata := fmt.Sprintf(`{"at":"2026-01-01T00:00:00Z","actor":{"kind":"system"},"command_id":"%s","schema_version":1}`, uuid.New())
			if _, err := s.log.Append(t.Context(), tt.stream, eventstore.NoStream, []eventstore.Proposed{
				{ID: uuid.New(), Type: tt.eventType, Data: []byte(tt.data), Metadata: []byte(metadata)},
			}); err != nil {
				t.Fatal(err)
			}
			after := s.register(t, "b@example.com")
			var statuses []Status
			eventually(t, tt.stopped+" stopped", func() bool {
				var err error
				if statuses, err = s.runner.Status(t.Context()); err != nil {
					t.Fatal(err)
				}
				var stopped []string
				for _, status := range statuses {
					if status.State == StateStopped {
						stopped = append(stopped, status.Name)
					} else if status.Position < after.Position {
						return false
					}
				}
				return strings.Join(stopped, " ") == tt.stopped
			})
			for _, status := range statuses {
				if status.Error != nil && (!strings.Contains(*status.Error, tt.eventType) || !strings.Contains(*status.Error, tt.reason)) {
					t.Error(*status.Error)
				}
			}
		})
	}
}

func applyNothingAndPanic(context.Context, pgx.Tx, []*eventstore.Envelope) error {
	panic("out of order")
}

func TestAPanicOfAProjectionIsAnError(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewDatabase(t)
	if err := makeCheckpoints(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	page := feed.Page{Events: []eventstore.Envelope{{Recorded: eventstore.Recorded{Position: 1, Stream: "role-" + uuid.NewString()}, Event: role.Created{}}}}
	broken := projection{name: "roles", kind: role.Kind, tables: []table{{name: "roles", apply: applyNothingAndPanic}}}
	if err := broken.applyPage(t.Context(), conn.Conn(), page); err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Fatal(err)
	}
	checkpoints, err := readCheckpoints(t.Context(), pool)
	if err != nil || checkpoints["roles"].position != 0 {
		t.Fatal(checkpoints, err)
	}
}

func TestWaitingEnds(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	result := s.register(t, "a@example.com")
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	go func() { waiting <- s.runner.WaitFor(ctx, result.Position+1000) }()
	waitFor(t, s.runner, result.Position)
	cancel()
	if err := <-waiting; !errors.Is(err, ErrBehind) {
		t.Fatal(err)
	}
}

func TestNoSecretReachesTheReadModels(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	ctx := t.Context()
	s.has(t)(s.CreateSuperuser(ctx, commands.Operator(), "root@example.com", "correct horse battery"))
	acme := s.has(t)(s.CreateCompany(ctx, commands.Operator(), company.Details{Name: "Acme"}))
	s.has(t)(s.SetCabinetPassword(ctx, commands.Operator(), acme, "another long secret"))
	stored := func(condition string) (n int) {
		if err := s.pool.QueryRow(ctx, "SELECT count(*) FROM history WHERE "+condition).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if stored("data ? 'hash'") != 2 || stored("data->>'hash' IS NOT NULL") != 0 {
		t.Fatal("the history holds hashes")
	}
	if c, err := s.Company(ctx, acme); err != nil || !c.HasCabinetPassword {
		t.Fatal(c, err)
	}
	if c, err := s.CompanyAsOf(ctx, acme, s.clock()); err != nil || !c.HasCabinetPassword {
		t.Fatal(c, err)
	}
}

func TestEveryPartHasACheckpointOfItsOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range all {
		if seen[p.name] {
			t.Error(p.name)
		}
		seen[p.name] = true
	}
	for _, module := range domain.OwnModules {
		if ownNames[module] == "" {
			t.Errorf("the module %s has no name for people", module)
		}
	}
}
