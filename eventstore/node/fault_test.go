package node

import (
	"context"
	"errors"
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
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func openOn(t *testing.T, dir string, disk vfs.FS) *Node {
	t.Helper()
	n, err := Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler), disk: disk})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAcknowledgedAppendsSurviveLossOfPower(t *testing.T) {
	t.Parallel()
	dir, disk := t.TempDir(), vfs.NewCrashableMem()
	makeSyncedDir(t, disk, dir)
	n := openOn(t, dir, disk)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	})
	appended := 0
	for range 5 {
		var writers sync.WaitGroup
		for range 10 {
			writers.Go(func() {
				_, err := n.append(newRequest("stream", expectAny, uuid.New(), uuid.New()))
				if err != nil {
					t.Error(err)
				}
			})
		}
		writers.Wait()
		appended += 20

		// The disk as it is if the power goes now: nothing that wasn't synced is left.
		afterwards := openOn(t, dir, disk.CrashClone(vfs.CrashCloneCfg{}))
		if got := requireConsistent(t, afterwards); got != appended {
			t.Fatalf("requireConsistent(t, afterwards) = %v, want %v", got, appended)
		}
		if err := afterwards.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// makeSyncedDir does on a disk in memory what Open does on the real one.
func makeSyncedDir(t *testing.T, disk vfs.FS, dir string) {
	t.Helper()
	if err := disk.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for parent := filepath.Dir(dir); ; parent = filepath.Dir(parent) {
		opened, err := disk.OpenDir(parent)
		if err != nil {
			t.Fatal(err)
		}
		if err := opened.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := opened.Close(); err != nil {
			t.Fatal(err)
		}
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
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	})
	client := unixClient(t, serveUnix(t, n))
	t.Cleanup(release)
	first, err := n.append(newRequest("stream", expectNoStream, uuid.New()))
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	subscription, err := client.SubscribeToAll(ctx, esdb.SubscribeToAllOptions{From: esdb.Start{}})
	if err != nil {
		t.Fatal(err)
	}
	if got := subscription.Recv().EventAppeared; got == nil {
		t.Fatalf("subscription.Recv().EventAppeared = %v, want something", got)
	}
	if got := subscription.Recv().CaughtUp; got == nil {
		t.Fatalf("subscription.Recv().CaughtUp = %v, want something", got)
	}

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
	if upTo != first.position {
		t.Fatalf("upTo = %v, want %v", upTo, first.position)
	}
	if got := countEvents(ctx, t, client, "stream", esdb.Forwards, esdb.Start{}); got != 1 {
		t.Fatalf("got %v, want 1", got)
	}
	if got := countEvents(ctx, t, client, "stream", esdb.Backwards, esdb.End{}); got != 1 {
		t.Fatalf("got %v, want 1", got)
	}
	if got := countEvents(ctx, t, client, "stream", esdb.Backwards, esdb.Revision(5)); got != 1 {
		t.Fatalf("got %v, want 1", got)
	}
	if got := countAll(ctx, t, client, esdb.Forwards, esdb.Start{}); got != 1 {
		t.Fatalf("countAll(ctx, t, client, esdb.Forwards, esdb.Start{}) = %v, want 1", got)
	}
	if got := countAll(ctx, t, client, esdb.Backwards, esdb.End{}); got != 1 {
		t.Fatalf("countAll(ctx, t, client, esdb.Backwards, esdb.End{}) = %v, want 1", got)
	}
	select {
	case <-answered:
		t.Fatal("the append was answered before its fsync")
	default:
	}

	release()
	result, ok := <-answered
	if !ok {
		t.Fatal("not ok")
	}
	if result.revision != int64(1) {
		t.Fatalf("result.revision = %v, want %v", result.revision, int64(1))
	}
	if got := subscription.Recv().EventAppeared.Event.EventNumber; got != uint64(1) {
		t.Fatalf("subscription.Recv().EventAppeared.Event.EventNumber = %v, want %v", got, uint64(1))
	}
	if got := countEvents(ctx, t, client, "stream", esdb.Forwards, esdb.Start{}); got != 2 {
		t.Fatalf("got %v, want 2", got)
	}
	if err := subscription.Close(); err != nil {
		t.Fatal(err)
	}
}

func countEvents(ctx context.Context, t *testing.T, client *esdb.Client, stream string, direction esdb.Direction,
	from esdb.StreamPosition) int {
	t.Helper()
	reader, err := client.ReadStream(ctx, stream, esdb.ReadStreamOptions{Direction: direction, From: from}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return count(t, reader)
}

func countAll(ctx context.Context, t *testing.T, client *esdb.Client, direction esdb.Direction,
	from esdb.AllPosition) int {
	t.Helper()
	reader, err := client.ReadAll(ctx, esdb.ReadAllOptions{Direction: direction, From: from}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return count(t, reader)
}

func count(t *testing.T, reader *esdb.ReadStream) int {
	t.Helper()
	defer reader.Close()
	for events := 0; ; events++ {
		if _, err := reader.Recv(); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatalf("%v, want %v", err, io.EOF)
			}
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
				if err != nil {
					t.Fatal(err)
				}
			}
			if err := n.Err(); err != nil {
				t.Fatal(err)
			}

			broken.Store(true)
			var writers sync.WaitGroup
			errs := make([]error, 8)
			for i := range errs {
				writers.Go(func() { _, errs[i] = n.append(newRequest("stream", expectAny, uuid.New())) })
			}
			writers.Wait()
			for _, err := range errs {
				if got := status.Code(err); got != codes.Unavailable {
					t.Fatalf("%v: got %v, want %v", err, got, codes.Unavailable)
				}
				if got := err.Error(); strings.Contains(got, "injected") {
					t.Fatalf(`clients see no internals: %q contains "injected"`, got)
				}
			}
			if err := n.Err(); err == nil || !strings.Contains(err.Error(), "injected") {
				t.Fatalf(`%v does not say "injected"`, err)
			}

			// A disk that seems well again is not trusted.
			broken.Store(false)
			_, err := client.AppendToStream(t.Context(), "stream", esdb.AppendToStreamOptions{},
				esdb.EventData{EventType: "late"})
			var clientError *esdb.Error
			if !errors.As(err, &clientError) {
				t.Fatalf("%T is not of the wanted type: %v", err, err)
			}
			if got := clientError.Code(); got != esdb.ErrorUnavailable {
				t.Fatalf("clientError.Code() = %v, want %v", got, esdb.ErrorUnavailable)
			}

			reopened := filepath.Join(t.TempDir(), "copy")
			if err := os.CopyFS(reopened, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			again := openNode(t, reopened)
			if got := requireConsistent(t, again); got < 3 {
				t.Fatalf("requireConsistent(t, again) = %v, want at least 3", got)
			}
			_, err = again.append(newRequest("stream", expectAny, uuid.New()))
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestStoreIsOpenedOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := openNode(t, dir)
	_, err := Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, ErrInUse) {
		t.Fatalf("%v, want %v", err, ErrInUse)
	}
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Fatalf("%v does not say %q", err, dir)
	}

	// Another process is refused just the same.
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), crashDir+"="+dir)
	output, err := command.CombinedOutput()
	if err == nil {
		t.Fatal("no error")
	}
	if got := string(output); !strings.Contains(got, ErrInUse.Error()) {
		t.Fatalf("%q lacks %q", got, ErrInUse.Error())
	}

	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	again := openNode(t, dir)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatalf("closing again does nothing: %v", err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := Open(Options{})
	if err == nil || !strings.Contains(err.Error(), "Dir") {
		t.Fatalf(`%v does not say "Dir"`, err)
	}

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(Options{Dir: file})
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Fatalf("%v does not say %q", err, file)
	}

	dir := t.TempDir()
	n, err := Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.db.Set([]byte{keyFormat}, []byte{0, 0, 0, 0, 0, 0, 0, 9}, nil); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "format") {
		t.Fatalf(`%v does not say "format"`, err)
	}
}

func TestStoreIsPrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	openNode(t, dir)
	wide := t.TempDir()
	if err := os.Chmod(wide, 0o755); err != nil {
		t.Fatal(err)
	}
	openNode(t, wide)
	for name, dir := range map[string]string{"a new folder": dir, "one that others could read": wide} {
		t.Run(name, func(t *testing.T) {
			info, err := os.Stat(dir)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().Perm(); got != os.FileMode(0o700) {
				t.Fatalf("info.Mode().Perm() = %v, want %v", got, os.FileMode(0o700))
			}
		})
	}
}

func TestPositionsGoOnAfterRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var last appendResult
	for i := range int64(4) {
		n, err := Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		result, err := n.append(newRequest("stream", i-1, uuid.New()))
		if err != nil {
			t.Fatal(err)
		}
		if result.revision != i {
			t.Fatalf("result.revision = %v, want %v", result.revision, i)
		}
		if result.position <= last.position {
			t.Fatalf("result.position = %v, want more than %v", result.position, last.position)
		}
		last = result
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
