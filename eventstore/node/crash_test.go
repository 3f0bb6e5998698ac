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
	"github.com/stretchr/testify/require"
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
	require.NoError(t, err)
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
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
			require.NoError(t, command.Process.Kill())
		}
	}
	require.Error(t, command.Wait(), "the process was killed")
	require.GreaterOrEqual(t, len(list), after)
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
			require.Greater(t, a.position, before, "a position was used again")
		}
		all = append(all, now...)
	}
	n := openNode(t, dir)
	require.GreaterOrEqual(t, requireConsistent(t, n), len(all))
	for _, a := range all {
		position, err := n.positionOf([]byte(a.stream), a.revision)
		require.NoError(t, err)
		require.Equal(t, a.position, position)
		value, found, err := n.get(logKey(position))
		require.NoError(t, err)
		require.True(t, found)
		stored, err := parseRecord(value)
		require.NoError(t, err)
		require.Equal(t, a.id, stored.id())
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
		{"cut by a byte", func(t *testing.T, log string) { require.NoError(t, os.Truncate(log, size-1)) }},
		{"cut by a record", func(t *testing.T, log string) { require.NoError(t, os.Truncate(log, size-700)) }},
		{"cut in the middle", func(t *testing.T, log string) { require.NoError(t, os.Truncate(log, size/2)) }},
		{"zeroes at the end", func(t *testing.T, log string) { require.NoError(t, os.Truncate(log, size+5000)) }},
		{"garbage at the end", func(t *testing.T, log string) {
			file, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0)
			require.NoError(t, err)
			_, err = file.WriteString(strings.Repeat("garbage", 100))
			require.NoError(t, err)
			require.NoError(t, file.Close())
		}},
	} {
		t.Run(damage.name, func(t *testing.T) {
			copied := t.TempDir()
			require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
			damage.do(t, filepath.Join(copied, filepath.Base(log)))
			n := openNode(t, copied)
			left := requireConsistent(t, n)
			if !strings.HasPrefix(damage.name, "cut") {
				require.GreaterOrEqual(t, left, total)
			}
			require.NotZero(t, left)
			result, err := n.append(newRequest("stream-0", expectAny, uuid.New()))
			require.NoError(t, err)
			require.NotZero(t, result.position)
			require.Equal(t, left+1, requireConsistent(t, n))
		})
	}
}

func newestLog(t *testing.T, dir string) string {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	require.NoError(t, err)
	require.NotEmpty(t, logs)
	slices.Sort(logs)
	return logs[len(logs)-1]
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Size()
}
