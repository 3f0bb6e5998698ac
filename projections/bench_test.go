package projections

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/nodetest"
	"github.com/secboard/secboard/postgres/pgtest"
)

// The log of BenchmarkCatchUp: 200,000 events of 20,000 accounts, in rounds of random order, so that the events of one
// account are far apart as they are in life.
const (
	benchAccounts = 20_000
	benchGroups   = 50
	benchRounds   = 5
)

// BenchmarkCatchUp measures how fast all projections together apply a log that they have never seen, read through the
// client. The limit, measured in the same run: copying the final rows of the history alone, ready-made and binary, into
// a table with the same indexes. Metrics: events/s, limit_events/s, x_limit (the first by the second).
func BenchmarkCatchUp(b *testing.B) {
	log := nodetest.Connect(b)
	last := fillLog(b, log)
	var spent, limit time.Duration
	total := float64(0)
	for range b.N {
		b.StopTimer()
		pool := pgtest.NewDatabase(b)
		b.StartTimer()
		started := time.Now()
		runner, stop := startStoppable(b, pool, log)
		waitFor(b, runner, last)
		spent += time.Since(started)
		b.StopTimer()
		stop()
		var events int64
		if err := pool.QueryRow(b.Context(), "SELECT count(*) FROM history").Scan(&events); err != nil {
			b.Fatal(err)
		}
		total += float64(events)
		limit += copyHistory(b, pool)
		b.StartTimer()
	}
	b.ReportMetric(total/spent.Seconds(), "events/s")
	b.ReportMetric(total/limit.Seconds(), "limit_events/s")
	b.ReportMetric(limit.Seconds()/spent.Seconds(), "x_limit")
}

// copyHistory copies the rows of history into a new table like it and says how long that took.
func copyHistory(b *testing.B, pool *pgxpool.Pool) time.Duration {
	b.Helper()
	ctx := b.Context()
	conn, err := pool.Acquire(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "CREATE TABLE history_copy (LIKE history INCLUDING ALL)"); err != nil {
		b.Fatal(err)
	}
	var rows bytes.Buffer
	if _, err := conn.Conn().PgConn().CopyTo(ctx, &rows,
		"COPY (SELECT * FROM history ORDER BY position) TO STDOUT BINARY"); err != nil {
		b.Fatal(err)
	}
	started := time.Now()
	if _, err := conn.Conn().PgConn().CopyFrom(ctx, &rows, "COPY history_copy FROM STDIN BINARY"); err != nil {
		b.Fatal(err)
	}
	return time.Since(started)
}

func fillLog(b *testing.B, log eventstore.Log) eventstore.Position {
	b.Helper()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	actor := eventstore.Actor{Kind: eventstore.ActorUser, ID: uuid.NewString()}
	write := func(ctx context.Context, stream string, expected eventstore.Revision,
		events ...domain.Event) (eventstore.Appended, error) {
		command := uuid.New()
		proposed, err := eventstore.Encode(stream, expected, events, eventstore.Metadata{
			At: at, Actor: actor, Session: uuid.NewString(), IP: "192.0.2.17",
			UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0)",
			CommandID: command, CorrelationID: command, CausationID: command,
		})
		if err != nil {
			return eventstore.Appended{}, err
		}
		return log.Append(ctx, stream, expected, proposed)
	}
	groups := make([]uuid.UUID, benchGroups)
	for i := range groups {
		groups[i] = uuid.New()
		if _, err := write(b.Context(), domain.StreamName(group.Kind, groups[i]), eventstore.NoStream,
			group.Created{
				Name: fmt.Sprintf("Group %d", i), Permissions: domain.Permissions{"users": {View: true}},
			}); err != nil {
			b.Fatal(err)
		}
	}
	accounts := make([]uuid.UUID, benchAccounts)
	for i := range accounts {
		accounts[i] = uuid.New()
	}
	var last eventstore.Position
	order := rand.New(rand.NewPCG(1, 2))
	for round := range benchRounds {
		turn := order.Perm(len(accounts))
		var mu sync.Mutex
		var working sync.WaitGroup
		const writers = 64
		for w := range writers {
			working.Go(func() {
				for n := w; n < len(accounts); n += writers {
					i := turn[n]
					joined := func(n int) domain.Event {
						return user.GroupJoined{
							GroupID: groups[(i+n)%benchGroups], GroupName: fmt.Sprintf("Group %d", (i+n)%benchGroups),
						}
					}
					events := [][]domain.Event{
						{user.Registered{Email: fmt.Sprintf("person.%d@example.com", i), FirstName: "Олена",
							LastName: fmt.Sprintf("Person-%d", i),
							Phone:    "+380 44 123 45 67", Department: "Risk management", Position: "Analyst",
							Source: user.SourceLocal}, joined(1)},
						{user.NameChanged{
							LastName: domain.Changed[string]{
								From: fmt.Sprintf("Person-%d", i), To: fmt.Sprintf("Person-Smith-%d", i),
							},
						}, joined(2)},
						{user.DepartmentChanged{
							Department: domain.Changed[string]{From: "Risk management", To: "Compliance"},
						}, joined(3)},
						{user.PositionChanged{Position: domain.Changed[string]{From: "Analyst", To: "Senior analyst"}},
							joined(4)},
						{user.PhoneChanged{
							Phone: domain.Changed[string]{From: "+380 44 123 45 67", To: "+380 44 765 43 21"},
						},
							user.GroupLeft{
								GroupID:   groups[(i+1)%benchGroups],
								GroupName: fmt.Sprintf("Group %d", (i+1)%benchGroups),
							}},
					}
					appended, err := write(b.Context(), domain.StreamName(user.Kind, accounts[i]),
						eventstore.Revision(2*round-1), events[round]...)
					if err != nil {
						b.Error(err)
						return
					}
					mu.Lock()
					last = max(last, appended.Position)
					mu.Unlock()
				}
			})
		}
		working.Wait()
	}
	return last
}

// BenchmarkVisible measures the time from an acknowledged append to its rows being visible to queries. Metrics: p50_ms,
// p99_ms.
func BenchmarkVisible(b *testing.B) {
	s := newStack(b)
	id := s.has(b)(s.register(b, "a@example.com"), nil)
	var times []time.Duration
	for i := range b.N {
		phone := fmt.Sprint(i)
		result, err := s.ChangeUser(b.Context(), commands.Operator(), id,
			commands.ChangeUser{Patch: user.Patch{Phone: &phone}})
		if err != nil {
			b.Fatal(err)
		}
		started := time.Now()
		if err := s.runner.WaitFor(b.Context(), result.Position); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(started))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50_ms")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99_ms")
}
