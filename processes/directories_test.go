package processes

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/eventstore/nodetest"
	"github.com/secboard/secboard/pause/pausetest"
	"github.com/secboard/secboard/postgres/pgtest"
	"github.com/secboard/secboard/secrets"
)

// counted is a directory that only counts how often it is asked for its entries.
type counted struct {
	commands.Directory
	asked, atOnce, most atomic.Int64
	down, hangs         atomic.Bool
}

func (d *counted) Entries(ctx context.Context, _ directory.Server) iter.Seq2[directory.Entry, error] {
	return func(yield func(directory.Entry, error) bool) {
		d.most.Store(max(d.most.Load(), d.atOnce.Add(1)))
		defer d.atOnce.Add(-1)
		d.asked.Add(1)
		if d.hangs.Load() {
			<-ctx.Done()
			yield(directory.Entry{}, ctx.Err())
			return
		}
		if d.down.Load() {
			yield(directory.Entry{}, errors.New("connection refused"))
		}
	}
}

// index knows one connection without accounts, and counts how often it is looked what is due.
type index struct {
	id     uuid.UUID
	rounds atomic.Int64
}

func (i *index) EnabledDirectories(context.Context) ([]uuid.UUID, error) {
	i.rounds.Add(1)
	return []uuid.UUID{i.id}, nil
}
func (*index) GroupsLike(context.Context, []string) ([]uuid.UUID, error)    { return nil, nil }
func (*index) AccountsOfEntry(context.Context, string) ([]uuid.UUID, error) { return nil, nil }
func (*index) AccountsOfDirectory(context.Context, uuid.UUID, uuid.UUID, int) ([]uuid.UUID, error) {
	return nil, nil
}

// withCounted is a handler that knows one connection, to a directory that counts.
func withCounted(t *testing.T) (*commands.Handler, *counted, *index) {
	t.Helper()
	keys, err := secrets.LoadOrCreateKeyset(filepath.Join(t.TempDir(), "keyset.json"))
	if err != nil {
		t.Fatal(err)
	}
	h := commands.New(nodetest.Connect(t), keys, nil)
	settings := directory.Defaults
	settings.Name, settings.URLs, settings.BaseDN = "AD", []string{"ldaps://dc.example.com"}, "DC=example,DC=com"
	connected, err := h.ConnectDirectory(t.Context(), commands.Operator(),
		commands.ConnectDirectory{Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	server, known := &counted{}, &index{id: uuid.MustParse(connected.ID)}
	h.Directory, h.DirectoryIndex = server, known
	return h, server, known
}

// A directory that keeps a check waiting does not keep it for ever, and administrators see why it was given up.
func TestACheckThatTakesTooLongIsGivenUp(t *testing.T) {
	t.Parallel()
	h, server, _ := withCounted(t)
	server.hangs.Store(true)
	pool := pgtest.NewDatabase(t)
	d := Directories{Pool: pool, Commands: h, Logger: slog.New(slog.DiscardHandler), Limit: 50 * time.Millisecond}
	if err := d.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	var failed string
	if err := pool.QueryRow(t.Context(), `SELECT error FROM app.directory_checks`).Scan(&failed); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(failed, "stopped after 50ms") {
		t.Errorf(`%q lacks "stopped after 50ms"`, failed)
	}
}

// Of several instances one asks a directory, once in its period, and sooner again when it did not answer.
func TestDirectoriesAreCheckedOnceInTheirPeriod(t *testing.T) {
	t.Parallel()
	h, server, known := withCounted(t)
	var ahead atomic.Int64
	h.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }

	pool := pgtest.NewDatabase(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 3)
	for range cap(ended) {
		instance := Directories{
			Pool: pool, Commands: h, Logger: slog.New(slog.DiscardHandler), Pace: 5 * time.Millisecond,
		}
		go func() { ended <- instance.Run(ctx) }()
	}
	defer func() {
		cancel()
		for range cap(ended) {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}()
	// settled waits until everybody has looked again.
	settled := func(asked int64) {
		t.Helper()
		pausetest.Until(t, "a check", func() bool { return server.asked.Load() >= asked })
		seen := known.rounds.Load()
		pausetest.Until(t, "ten more rounds", func() bool { return known.rounds.Load() > seen+10 })
		if got := server.asked.Load(); got != asked {
			t.Errorf("server.asked.Load() = %v, want %v", got, asked)
		}
	}
	settled(1)
	server.down.Store(true)
	ahead.Add(int64(time.Hour))
	settled(2)
	var failed *string
	// The others look again before the one that asked has written its answer.
	pausetest.Until(t, "a failed check", func() bool {
		if err := pool.QueryRow(t.Context(), `SELECT error FROM app.directory_checks`).Scan(&failed); err != nil {
			t.Fatal(err)
		}
		return failed != nil
	})
	if !strings.Contains(*failed, "connection refused") {
		t.Errorf(`%q lacks "connection refused"`, *failed)
	}
	server.down.Store(false)
	ahead.Add(int64(retryCheck))
	settled(3)
	ahead.Add(int64(retryCheck))
	settled(3)
	ahead.Add(int64(time.Hour))
	settled(4)
	if got := server.most.Load(); got != 1 {
		t.Errorf("server.most.Load() = %v, want 1", got)
	}
}
