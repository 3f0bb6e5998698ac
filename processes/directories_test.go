package processes

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/eventstore/nodetest"
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
	require.NoError(t, err)
	h := commands.New(nodetest.Connect(t), keys, nil)
	settings := directory.Defaults
	settings.Name, settings.URLs, settings.BaseDN = "AD", []string{"ldaps://dc.example.com"}, "DC=example,DC=com"
	connected, err := h.ConnectDirectory(t.Context(), commands.Operator(), commands.ConnectDirectory{Settings: settings})
	require.NoError(t, err)
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
	require.NoError(t, d.round(t.Context()))
	var failed string
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT error FROM app.directory_checks`).Scan(&failed))
	assert.Contains(t, failed, "stopped after 50ms")
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
		instance := Directories{Pool: pool, Commands: h, Logger: slog.New(slog.DiscardHandler), Pace: 5 * time.Millisecond}
		go func() { ended <- instance.Run(ctx) }()
	}
	defer func() {
		cancel()
		for range cap(ended) {
			assert.NoError(t, <-ended)
		}
	}()
	// settled waits until everybody has looked again.
	settled := func(asked int64) {
		t.Helper()
		require.Eventually(t, func() bool { return server.asked.Load() >= asked }, patience, time.Millisecond)
		seen := known.rounds.Load()
		require.Eventually(t, func() bool { return known.rounds.Load() > seen+10 }, patience, time.Millisecond)
		assert.Equal(t, asked, server.asked.Load())
	}
	settled(1)
	server.down.Store(true)
	ahead.Add(int64(time.Hour))
	settled(2)
	var failed *string
	require.Eventually(t, func() bool { // the others look again before the one that asked has written its answer
		require.NoError(t, pool.QueryRow(t.Context(), `SELECT error FROM app.directory_checks`).Scan(&failed))
		return failed != nil
	}, patience, time.Millisecond)
	assert.Contains(t, *failed, "connection refused")
	server.down.Store(false)
	ahead.Add(int64(retryCheck))
	settled(3)
	ahead.Add(int64(retryCheck))
	settled(3)
	ahead.Add(int64(time.Hour))
	settled(4)
	assert.EqualValues(t, 1, server.most.Load())
}
