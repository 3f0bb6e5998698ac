package node

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func openOn(t *testing.T, dir string, disk vfs.FS) *Node {
	t.Helper()
	n, err := Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler), disk: disk})
	require.NoError(t, err)
	return n
}

func TestAcknowledgedAppendsSurviveLossOfPower(t *testing.T) {
	t.Parallel()
	dir, disk := t.TempDir(), vfs.NewCrashableMem()
	makeSyncedDir(t, disk, dir)
	n := openOn(t, dir, disk)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	appended := 0
	for range 5 {
		var writers sync.WaitGroup
		for range 10 {
			writers.Go(func() {
				_, err := n.append(newRequest("stream", expectAny, uuid.New(), uuid.New()))
				assert.NoError(t, err)
			})
		}
		writers.Wait()
		appended += 20

		// The disk as it is if the power goes now: nothing that wasn't synced is left.
		afterwards := openOn(t, dir, disk.CrashClone(vfs.CrashCloneCfg{}))
		require.Equal(t, appended, requireConsistent(t, afterwards))
		require.NoError(t, afterwards.Close())
	}
}

// makeSyncedDir does on a disk in memory what Open does on the real one.
func makeSyncedDir(t *testing.T, disk vfs.FS, dir string) {
	t.Helper()
	require.NoError(t, disk.MkdirAll(dir, 0o700))
	for parent := filepath.Dir(dir); ; parent = filepath.Dir(parent) {
		opened, err := disk.OpenDir(parent)
		require.NoError(t, err)
		require.NoError(t, opened.Sync())
		require.NoError(t, opened.Close())
		if parent == filepath.Dir(parent) {
			return
		}
	}
}

// isLogSync tells the fsync of the write-ahead log from everything else.
func isLogSync(op errorfs.Op) bool {
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		return strings.HasSuffix(op.Path, ".log")
	default:
		return false
	}
}

func TestNothingIsSeenBeforeItIsOnTheDisk(t *testing.T) {
	t.Parallel()
	var hold atomic.Bool
	reached, released := make(chan struct{}, 100), make(chan struct{})
	release := sync.OnceFunc(func() { hold.Store(false); close(released) })
	disk := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if hold.Load() && isLogSync(op) {
			reached <- struct{}{}
			<-released
		}
		return nil
	}))
	n := openOn(t, t.TempDir(), disk)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	client := unixClient(t, serveUnix(t, n))
	t.Cleanup(release)
	first, err := n.append(newRequest("stream", expectNoStream, uuid.New()))
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	subscription, err := client.SubscribeToAll(ctx, esdb.SubscribeToAllOptions{From: esdb.Start{}})
	require.NoError(t, err)
	require.NotNil(t, subscription.Recv().EventAppeared)
	require.NotNil(t, subscription.Recv().CaughtUp)

	hold.Store(true)
	answered := make(chan appendResult, 1)
	go func() {
		defer close(answered)
		if result, err := n.append(newRequest("stream", 0, uuid.New())); err == nil {
			answered <- result
		}
	}()
	select {
	case <-reached: // the event is written, and its fsync under way
	case <-ctx.Done():
		t.Fatal("the append went on without an fsync")
	}

	upTo, _ := n.head.load()
	require.Equal(t, first.position, upTo)
	require.Equal(t, 1, countEvents(ctx, t, client, "stream", esdb.Forwards, esdb.Start{}))
	require.Equal(t, 1, countEvents(ctx, t, client, "stream", esdb.Backwards, esdb.End{}))
	require.Equal(t, 1, countEvents(ctx, t, client, "stream", esdb.Backwards, esdb.Revision(5)))
	require.Equal(t, 1, countAll(ctx, t, client, esdb.Forwards, esdb.Start{}))
	require.Equal(t, 1, countAll(ctx, t, client, esdb.Backwards, esdb.End{}))
	select {
	case <-answered:
		t.Fatal("the append was answered before its fsync")
	default:
	}

	release()
	result, ok := <-answered
	require.True(t, ok)
	require.Equal(t, int64(1), result.revision)
	require.Equal(t, uint64(1), subscription.Recv().EventAppeared.Event.EventNumber)
	require.Equal(t, 2, countEvents(ctx, t, client, "stream", esdb.Forwards, esdb.Start{}))
	require.NoError(t, subscription.Close())
}

func countEvents(ctx context.Context, t *testing.T, client *esdb.Client, stream string, direction esdb.Direction, from esdb.StreamPosition) int {
	t.Helper()
	reader, err := client.ReadStream(ctx, stream, esdb.ReadStreamOptions{Direction: direction, From: from}, 1000)
	require.NoError(t, err)
	return count(t, reader)
}

func countAll(ctx context.Context, t *testing.T, client *esdb.Client, direction esdb.Direction, from esdb.AllPosition) int {
	t.Helper()
	reader, err := client.ReadAll(ctx, esdb.ReadAllOptions{Direction: direction, From: from}, 1000)
	require.NoError(t, err)
	return count(t, reader)
}

func count(t *testing.T, reader *esdb.ReadStream) int {
	t.Helper()
	defer reader.Close()
	for events := 0; ; events++ {
		if _, err := reader.Recv(); err != nil {
			require.ErrorIs(t, err, io.EOF)
			return events
		}
	}
}

func TestDiskErrorStopsAppends(t *testing.T) {
	t.Parallel()
	for name, isBroken := range map[string]func(errorfs.Op) bool{
		"fsync": isLogSync,
		"write": func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".log")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var broken atomic.Bool
			disk := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if broken.Load() && isBroken(op) {
					return errorfs.ErrInjected
				}
				return nil
			}))
			dir := t.TempDir()
			n := openOn(t, dir, disk)
			client := unixClient(t, serveUnix(t, n))
			for range 3 {
				_, err := n.append(newRequest("stream", expectAny, uuid.New()))
				require.NoError(t, err)
			}
			require.NoError(t, n.Err())

			broken.Store(true)
			var writers sync.WaitGroup
			errs := make([]error, 8)
			for i := range errs {
				writers.Go(func() { _, errs[i] = n.append(newRequest("stream", expectAny, uuid.New())) })
			}
			writers.Wait()
			for _, err := range errs {
				require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
				require.NotContains(t, err.Error(), "injected", "clients see no internals")
			}
			require.ErrorContains(t, n.Err(), "injected")

			// A disk that seems well again is not trusted.
			broken.Store(false)
			_, err := client.AppendToStream(t.Context(), "stream", esdb.AppendToStreamOptions{}, esdb.EventData{EventType: "late"})
			var clientError *esdb.Error
			require.ErrorAs(t, err, &clientError)
			require.Equal(t, esdb.ErrorUnavailable, clientError.Code())

			reopened := filepath.Join(t.TempDir(), "copy")
			require.NoError(t, os.CopyFS(reopened, os.DirFS(dir)))
			again := openNode(t, reopened)
			require.GreaterOrEqual(t, requireConsistent(t, again), 3)
			_, err = again.append(newRequest("stream", expectAny, uuid.New()))
			require.NoError(t, err)
		})
	}
}

func TestStoreIsOpenedOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := openNode(t, dir)
	_, err := Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, dir)

	// Another process is refused just the same.
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), crashDir+"="+dir)
	output, err := command.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(output), ErrInUse.Error())

	require.NoError(t, n.Close())
	again := openNode(t, dir)
	require.NoError(t, again.Close())
	require.NoError(t, again.Close(), "closing again does nothing")
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := Open(Options{})
	require.ErrorContains(t, err, "Dir")

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = Open(Options{Dir: file})
	require.ErrorContains(t, err, file)

	dir := t.TempDir()
	n, err := Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, n.db.Set([]byte{keyFormat}, []byte{0, 0, 0, 0, 0, 0, 0, 9}, nil))
	require.NoError(t, n.Close())
	_, err = Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	require.ErrorContains(t, err, "format")
}

func TestStoreIsPrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	openNode(t, dir)
	wide := t.TempDir()
	require.NoError(t, os.Chmod(wide, 0o755))
	openNode(t, wide)
	for _, dir := range []string{dir, wide} {
		info, err := os.Stat(dir)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	}
}

func TestPositionsGoOnAfterRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var last appendResult
	for i := range int64(4) {
		n, err := Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		result, err := n.append(newRequest("stream", i-1, uuid.New()))
		require.NoError(t, err)
		require.Equal(t, i, result.revision)
		require.Greater(t, result.position, last.position)
		last = result
		require.NoError(t, n.Close())
	}
}
