package node

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
)

// crashDir, when set, turns the test binary into the process that the crash tests kill.
const crashDir = "NODE_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := appendUntilKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// appendUntilKilled appends from several goroutines and prints each acknowledged append.
func appendUntilKilled(dir string) error {
	n, err := Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	go func() {
		// The end of standard input is the end of the test: don't outlive it.
		if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}()
	var printing sync.Mutex
	var writers sync.WaitGroup
	for writer := range 8 {
		stream := fmt.Sprintf("stream-%d", writer%3)
		writers.Go(func() {
			for {
				id := uuid.New()
				result, err := n.append(newRequest(stream, expectAny, id))
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				printing.Lock()
				fmt.Printf("%s %d %d %s\n", stream, result.revision, result.position, id)
				printing.Unlock()
			}
		})
	}
	writers.Wait()
	return nil
}

// newRequest returns an append of small events with these ids.
func newRequest(stream string, expected int64, ids ...uuid.UUID) *appendRequest {
	request := &appendRequest{ctx: context.Background(), stream: []byte(stream), expected: expected}
	for _, id := range ids {
		event := newProposal(request.stream, id, "thing.happened", true, []byte(`{"by":"me"}`), []byte(`{"n":1}`))
		request.events = append(request.events, event)
		request.size += len(event.body)
	}
	return request
}

// acknowledged is an append that a killed process had confirmed.
type acknowledged struct {
	stream   string
	revision uint64
	position uint64
	id       uuid.UUID
}

// killWhileAppending runs the appending process on a folder, kills it after so many
// acknowledgements, and returns all it made.
func killWhileAppending(t *testing.T, dir string, after int) []acknowledged {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), crashDir+"="+dir)
	command.Stderr = os.Stderr
	_, err := command.StdinPipe() // stays open as long as this process lives; Wait closes it
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	var list []acknowledged
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		var a acknowledged
		var id string
		if _, err := fmt.Sscan(lines.Text(), &a.stream, &a.revision, &a.position, &id); err != nil {
			break // the last line may be cut
		}
		if a.id, err = uuid.Parse(id); err != nil {
			break
		}
		if list = append(list, a); len(list) == after {
			if err := command.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := command.Wait(); err == nil {
		t.Fatal("the process was killed: no error")
	}
	if got := len(list); got < after {
		t.Fatalf("len(list) = %v, want at least %v", got, after)
	}
	return list
}

func TestAcknowledgedAppendsSurviveKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all []acknowledged
	for range 3 {
		before := uint64(0)
		for _, a := range all {
			before = max(before, a.position)
		}
		now := killWhileAppending(t, dir, 300)
		for _, a := range now {
			if a.position <= before {
				t.Fatalf("a position was used again: got %v, want more than %v", a.position, before)
			}
		}
		all = append(all, now...)
	}
	n := openNode(t, dir)
	if got := requireConsistent(t, n); got < len(all) {
		t.Fatalf("requireConsistent(t, n) = %v, want at least %v", got, len(all))
	}
	for _, a := range all {
		position, err := n.positionOf([]byte(a.stream), a.revision)
		if err != nil {
			t.Fatal(err)
		}
		if position != a.position {
			t.Fatalf("position = %v, want %v", position, a.position)
		}
		value, found, err := n.get(logKey(position))
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			t.Fatal("not found")
		}
		stored, err := parseRecord(value)
		if err != nil {
			t.Fatal(err)
		}
		if got := stored.id(); got != a.id {
			t.Fatalf("stored.id() = %v, want %v", got, a.id)
		}
	}
}

func TestTornTailIsCutOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	total := len(killWhileAppending(t, dir, 200))
	log := newestLog(t, dir)
	size := fileSize(t, log)
	for _, damage := range []struct {
		name string
		do   func(t *testing.T, log string)
	}{
		{"cut by a byte", func(t *testing.T, log string) {
			if err := os.Truncate(log, size-1); err != nil {
				t.Fatal(err)
			}
		}},
		{"cut by a record", func(t *testing.T, log string) {
			if err := os.Truncate(log, size-700); err != nil {
				t.Fatal(err)
			}
		}},
		{"cut in the middle", func(t *testing.T, log string) {
			if err := os.Truncate(log, size/2); err != nil {
				t.Fatal(err)
			}
		}},
		{"zeroes at the end", func(t *testing.T, log string) {
			if err := os.Truncate(log, size+5000); err != nil {
				t.Fatal(err)
			}
		}},
		{"garbage at the end", func(t *testing.T, log string) {
			file, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = file.WriteString(strings.Repeat("garbage", 100))
			if err != nil {
				t.Fatal(err)
			}
			if err := file.Close(); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(damage.name, func(t *testing.T) {
			copied := t.TempDir()
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			damage.do(t, filepath.Join(copied, filepath.Base(log)))
			n := openNode(t, copied)
			left := requireConsistent(t, n)
			if !strings.HasPrefix(damage.name, "cut") {
				if left < total {
					t.Fatalf("left = %v, want at least %v", left, total)
				}
			}
			if left == 0 {
				t.Fatalf("left = %v, want something", left)
			}
			result, err := n.append(newRequest("stream-0", expectAny, uuid.New()))
			if err != nil {
				t.Fatal(err)
			}
			if result.position == 0 {
				t.Fatalf("result.position = %v, want something", result.position)
			}
			if got := requireConsistent(t, n); got != left+1 {
				t.Fatalf("requireConsistent(t, n) = %v, want %v", got, left+1)
			}
		})
	}
}

func newestLog(t *testing.T, dir string) string {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	if len(logs) == 0 {
		t.Fatalf("logs = %v, want something", logs)
	}
	slices.Sort(logs)
	return logs[len(logs)-1]
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
