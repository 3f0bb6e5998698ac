package projections

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/demo/bulk"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/esdb"
	"github.com/secboard/secboard/eventstore/node"
	"github.com/secboard/secboard/migrations"
	"github.com/secboard/secboard/pause"
	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/postgres/pgtest"
	"github.com/secboard/secboard/projections/engine"
)

var rebuildEvents = flag.Int("rebuild.events", 1_000_000, "events of BenchmarkRebuild, over a tenth as many accounts")

// BenchmarkRebuild measures a rebuild of all projections through client and Unix socket, from beginning to after the
// swap. The limit, measured in the same run: the finished rows, ready-made and binary, copied by two connections into
// tables without indexes, and then the indexes. Metrics: events/s, limit_events/s, x_limit (the first by the second),
// without_compare_x_limit (the same without the step that compares with the live ones, which the limit has nothing of),
// p99_ms and p99_rebuilding_ms of one account by id, asked for by four clients with pauses, without and with a rebuild
// at the same time.
func BenchmarkRebuild(b *testing.B) {
	log := bulkLog(b, *rebuildEvents)
	// A server as the embedded one is, not as those of other tests: its writes count.
	local, err := postgres.StartLocal(b.Context(), pgtest.TempDir(b), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := local.Stop(context.WithoutCancel(b.Context())); err != nil {
			b.Error(err)
		}
	})
	pool, err := postgres.Open(b.Context(), local.URL())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	if err := migrations.Up(b.Context(), pool); err != nil {
		b.Fatal(err)
	}
	makeCheckpoints(b, pool)
	run := func() (whole, comparing time.Duration) {
		var since time.Time
		started := time.Now()
		r, err := engine.RunRebuild(b.Context(), Set(), pool, log, engine.RebuildRequest{Mode: engine.ModeRebuild},
			func(r engine.Rebuild) {
				switch {
				case r.State == engine.RebuildComparing && since.IsZero():
					since = time.Now()
				case r.State == engine.RebuildSwapping && comparing == 0:
					comparing = time.Since(since)
				}
			})
		if err != nil || len(r.Differences) > 0 {
			b.Fatal(show(b, r), err)
		}
		return time.Since(started), comparing
	}
	firstBuild(b, pool, log)
	models := NewReadModels(pool)
	var ids []uuid.UUID
	rows, err := pool.Query(b.Context(), "SELECT id FROM users LIMIT 1000")
	if err != nil {
		b.Fatal(err)
	}
	if ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err != nil {
		b.Fatal(err)
	}
	var spent, comparing, limit time.Duration
	b.ResetTimer()
	for range b.N {
		whole, compared := run()
		spent += whole
		comparing += compared
		b.StopTimer()
		limit += copyAll(b, pool)
		b.StartTimer()
	}
	b.StopTimer()
	events := float64(b.N) * float64(*rebuildEvents)
	b.ReportMetric(events/spent.Seconds(), "events/s")
	b.ReportMetric(events/limit.Seconds(), "limit_events/s")
	b.ReportMetric(limit.Seconds()/spent.Seconds(), "x_limit")
	b.ReportMetric(limit.Seconds()/(spent-comparing).Seconds(), "without_compare_x_limit")

	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Second)
	b.ReportMetric(p99(b, ctx, models, ids), "p99_ms")
	cancel()
	ctx, cancel = context.WithCancel(b.Context())
	go func() {
		defer cancel()
		run()
	}()
	b.ReportMetric(p99(b, ctx, models, ids), "p99_rebuilding_ms")
}

// firstBuild brings the live ones to the end of the log: by a rebuild, which is faster than catching up.
func firstBuild(b *testing.B, pool *pgxpool.Pool, log eventstore.Log) {
	b.Helper()
	// The live ones are far behind: driving them would take long, so the first rebuild does not wait for them.
	if _, err := engine.RunRebuild(b.Context(), Set(), pool, log, engine.RebuildRequest{Mode: engine.ModeRebuild},
		nil); err != nil {
		b.Fatal(err)
	}
}

// bulkLog is a node with a made-up log.
func bulkLog(b *testing.B, events int) eventstore.Log {
	b.Helper()
	dir, err := os.MkdirTemp("", "node") // socket paths are short
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			b.Error(err)
		}
	})
	store, err := node.Open(node.Options{Dir: filepath.Join(dir, "store"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	names := func(kind, value string) (string, error) {
		return uuid.NewSHA1(uuid.Nil, []byte(kind+value)).String(), nil
	}
	if err := store.AppendInOrder(b.Context(),
		bulk.Appends(bulk.Options{Events: events, Accounts: events / 10, Seed: 1, ClaimName: names})); err != nil {
		b.Fatal(err)
	}
	socket, ended := filepath.Join(dir, "s"), make(chan error, 1)
	go func() { ended <- store.ServeUnix(context.Background(), socket) }()
	client, err := esdb.Connect("unix://"+socket, esdb.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := client.Close(); err != nil {
			b.Error(err)
		}
		if err := store.Close(); err != nil {
			b.Error(err)
		}
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return client
}

// copyAll copies the rows of all tables into a schema of its own and says how long that took.
func copyAll(b *testing.B, pool *pgxpool.Pool) time.Duration {
	b.Helper()
	const schema = "readmodels_limit"
	ctx := b.Context()
	exec := func(statement string) {
		if _, err := pool.Exec(ctx, statement); err != nil {
			b.Fatal(err)
		}
	}
	exec("CREATE SCHEMA " + schema)
	defer exec("DROP SCHEMA " + schema + " CASCADE")
	steps := copying{b: b}
	dir := b.TempDir()
	for _, name := range slices.Backward(tableNames()) { // history, the largest, comes first
		exec(fmt.Sprintf("CREATE TABLE %s.%s (LIKE %s.%[2]s INCLUDING ALL EXCLUDING INDEXES)", schema, name,
			migrations.ReadModelsSchema))
		rows, err := pool.Query(ctx, "SELECT replace(indexdef, $1, $2) FROM pg_indexes WHERE schemaname = $3 AND "+
			"tablename = $4",
			" ON "+migrations.ReadModelsSchema+".", " ON "+schema+".", migrations.ReadModelsSchema, name)
		if err != nil {
			b.Fatal(err)
		}
		indexes, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			b.Fatal(err)
		}
		file, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			b.Fatal(err)
		}
		if err := pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
			_, err := conn.Conn().PgConn().CopyTo(ctx, file, "COPY "+name+" TO STDOUT BINARY")
			return err
		}); err != nil {
			b.Fatal(err)
		}
		if _, err := file.Seek(0, 0); err != nil {
			b.Fatal(err)
		}
		steps.next = append(steps.next, func(conn *pgx.Conn) []string {
			defer file.Close() //nolint:errcheck // read only
			if err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, "TRUNCATE "+schema+"."+name); err != nil {
					return err
				}
				_, err := conn.PgConn().CopyFrom(ctx, bufio.NewReaderSize(file, 1<<20),
					"COPY "+schema+"."+name+" FROM STDIN (FORMAT binary, FREEZE)")
				return err
			}); err != nil {
				b.Error(err)
			}
			return indexes
		})
	}
	config := pool.Config().ConnConfig.Copy()
	config.RuntimeParams["statement_timeout"] = "0"
	config.RuntimeParams["max_parallel_maintenance_workers"] = "0"
	conns := make([]*pgx.Conn, 2) // as many as a rebuild has
	for i := range conns {
		var err error
		if conns[i], err = pgx.ConnectConfig(ctx, config); err != nil {
			b.Fatal(err)
		}
		defer func() {
			if err := conns[i].Close(context.WithoutCancel(ctx)); err != nil {
				b.Error(err)
			}
		}()
	}
	started := time.Now()
	var working sync.WaitGroup
	for _, conn := range conns {
		working.Go(func() { steps.run(conn) })
	}
	working.Wait()
	return time.Since(started)
}

// copying is steps that connections take one after the other. The statements that a step gives back are steps too.
type copying struct {
	b    *testing.B
	mu   sync.Mutex
	next []func(conn *pgx.Conn) []string
}

func (c *copying) run(conn *pgx.Conn) {
	for {
		c.mu.Lock()
		if len(c.next) == 0 {
			c.mu.Unlock()
			return
		}
		step := c.next[0]
		c.next = c.next[1:]
		c.mu.Unlock()
		statements := step(conn)
		c.mu.Lock()
		for _, statement := range statements {
			c.next = append(c.next, func(conn *pgx.Conn) []string {
				if _, err := conn.Exec(c.b.Context(), statement); err != nil {
					c.b.Error(err)
				}
				return nil
			})
		}
		c.mu.Unlock()
	}
}

// p99 asks for accounts until ctx ends.
//
//nolint:revive // b goes first, as always
func p99(b *testing.B, ctx context.Context, models *ReadModels, ids []uuid.UUID) float64 {
	b.Helper()
	var mu sync.Mutex
	var took []time.Duration
	var asking sync.WaitGroup
	for client := range 4 {
		asking.Go(func() {
			for n := client; ctx.Err() == nil; n += 4 {
				started := time.Now()
				if _, err := models.User(b.Context(), ids[n%len(ids)], started); err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(started))
				mu.Unlock()
				pause.For(ctx, 5*time.Millisecond)
			}
		})
	}
	asking.Wait()
	slices.Sort(took)
	return float64(took[len(took)*99/100].Microseconds()) / 1000
}
