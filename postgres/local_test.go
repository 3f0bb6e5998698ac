package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/postgres/pgtest"
)

// helperDir has this test binary be a program that starts the local server of the directory and waits to be killed.
const helperDir = "SECBOARD_TEST_HELPER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		if _, err := postgres.StartLocal(context.Background(), dir, slog.New(slog.DiscardHandler)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("ready")
		select {}
	}
	os.Exit(m.Run())
}

func TestLocalKeepsItsDataAndIsForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pgtest.TempDir(t), "my data + 100%") // made by StartLocal
	local := start(t, dir)
	exec1(t, local.URL(), "CREATE TABLE kept (n int)")
	if got := query(t, local.URL(), "SHOW listen_addresses"); got != "" {
		t.Errorf("the server listens on %q, want no network at all", got)
	}
	if got := query(t, local.URL(), "SELECT lower('ЇЖАК')"); got != "їжак" {
		t.Errorf("lower case of ЇЖАК is %s", got)
	}
	base := filepath.Join(dir, "postgres")
	info, err := os.Stat(base)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the socket's directory has mode %s, want 0700", info.Mode())
	}
	if owner(t, base) == 0 {
		t.Error("the server's files belong to root, whom Postgres refuses")
	}
	url, err := postgres.LocalURL(dir)
	if err != nil || url != local.URL() {
		t.Errorf("another process would attach to %q (%v), want %q", url, err, local.URL())
	}
	if err := local.Err(); err != nil {
		t.Errorf("a running server reports %v", err)
	}
	for range 2 { // the second does nothing
		if err := local.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	local = start(t, dir)
	exec1(t, local.URL(), "INSERT INTO kept VALUES (1)")
}

func TestLocalURLNeedsADatabase(t *testing.T) {
	t.Parallel()
	if _, err := postgres.LocalURL(t.TempDir()); err == nil || !strings.Contains(err.Error(), "secboard serve") {
		t.Errorf("got %v, want a sentence that names the command", err)
	}
}

func TestSecondStartIsRefused(t *testing.T) {
	t.Parallel()
	dir := pgtest.TempDir(t)
	local := start(t, dir)
	_, err := postgres.StartLocal(t.Context(), dir, discard())
	if !errors.Is(err, postgres.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("got %v, want ErrInUse with the directory", err)
	}
	exec1(t, local.URL(), "SELECT 1") // the first is unharmed
}

func TestCrashedServerComesBack(t *testing.T) {
	t.Parallel()
	dir := pgtest.TempDir(t)
	local := start(t, dir)
	exec1(t, local.URL(), "CREATE TABLE kept (n int)")
	for range 3 {
		pid := postmaster(t, dir)
		kill(t, pid)
		eventually(t, "a new server", func() error {
			if now := postmaster(t, dir); now == pid {
				return errors.New("still the old one's pid file")
			}
			return try(t.Context(), local.URL(), "INSERT INTO kept VALUES (1)")
		})
		eventually(t, "no error any more", local.Err)
	}
	if got := query(t, local.URL(), "SELECT count(*)::text FROM kept"); got != "3" {
		t.Errorf("%s rows, want 3", got)
	}
}

func TestStopWhileTheServerIsDown(t *testing.T) {
	t.Parallel()
	dir := pgtest.TempDir(t)
	local := start(t, dir)
	kill(t, postmaster(t, dir))
	if err := local.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	start(t, dir)
}

func TestHurriedStopLosesNothing(t *testing.T) {
	t.Parallel()
	dir := pgtest.TempDir(t)
	local := start(t, dir)
	exec1(t, local.URL(), "CREATE TABLE kept (n int)")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := local.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	exec1(t, start(t, dir).URL(), "INSERT INTO kept VALUES (1)")
}

func TestStartAfterTheParentWasKilled(t *testing.T) {
	t.Parallel()
	dir := pgtest.TempDir(t)
	for round := range 3 {
		helper := exec.Command(os.Args[0])
		helper.Env = append(os.Environ(), helperDir+"="+dir, "SECBOARD_BOOTSTRAP_PASSWORD=hunter2pass")
		out, err := helper.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := helper.Start(); err != nil {
			t.Fatal(err)
		}
		ready := make([]byte, len("ready\n"))
		if _, err := io.ReadFull(out, ready); err != nil || string(ready) != "ready\n" {
			t.Fatalf("the helper says %q (%v)", ready, err)
		}
		url, err := postgres.LocalURL(dir)
		if err != nil {
			t.Fatal(err)
		}
		exec1(t, url, fmt.Sprintf("CREATE TABLE round_%d ()", round))
		if runtime.GOOS == "linux" {
			environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", postmaster(t, dir)))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(environ, []byte("hunter2pass")) {
				t.Error("the server got our environment with its secrets")
			}
		}
		if err := helper.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if round == 0 && runtime.GOOS == "linux" {
			eventually(t, "the server to end by itself", func() error {
				if pid := postmaster(t, dir); pid != 0 {
					return fmt.Errorf("process %d still runs", pid)
				}
				return nil
			})
		}
		local := start(t, dir) // mostly at once, while the old children may still be there
		exec1(t, local.URL(), fmt.Sprintf("SELECT FROM round_%d", round))
		if err := local.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := helper.Wait(); !errors.As(err, &exit) {
			t.Fatalf("the killed helper ended with %v", err)
		}
	}
}

func TestServerThatOutlivedItsParentIsReplaced(t *testing.T) {
	t.Parallel()
	dir := pgtest.TempDir(t)
	local := start(t, dir)
	url := local.URL()
	if err := local.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(dir, "postgres")
	_, bin, err := postgres.Installed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	orphan := exec.Command(filepath.Join(bin, "postgres"), "-D", filepath.Join(base, "data"),
		"-c", "listen_addresses=", "-c", "unix_socket_directories="+base)
	orphan.Dir = "/"
	orphan.SysProcAttr = &syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		orphan.SysProcAttr.Credential = &syscall.Credential{Uid: owner(t, base), Gid: owner(t, base)}
	}
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := orphan.Wait(); err != nil {
			t.Errorf("the orphan was not stopped cleanly: %v", err)
		}
	}()
	eventually(t, "the orphan", func() error { return try(t.Context(), url, "SELECT 1") })

	start(t, dir)
	<-ended
	if postmaster(t, dir) == orphan.Process.Pid {
		t.Error("the orphan still runs the directory")
	}
}

func TestDirectoryThatPostgresCannotEnter(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data") // t.TempDir is inside of a directory with mode 0700
	local := start(t, dir)
	url, err := postgres.LocalURL(dir)
	if err != nil || url != local.URL() {
		t.Errorf("another process would attach to %q (%v), want %q", url, err, local.URL())
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	where := filepath.Join(dir, "postgres")
	if os.Geteuid() == 0 {
		where = "/var/lib/secboard/"
		t.Cleanup(func() {
			if err := os.RemoveAll(config.Host); err != nil {
				t.Error(err)
			}
		})
	}
	if !strings.HasPrefix(config.Host, where) && !strings.HasPrefix(config.Host, "/tmp/secboard-") {
		t.Errorf("the socket is in %s, want it below %s", config.Host, where)
	}
	exec1(t, url, "CREATE TABLE kept (n int)")
	if err := local.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := start(t, dir); again.URL() != url {
		t.Errorf("the next start uses %s, want %s", again.URL(), url)
	}
}

func TestLongPathHasItsSocketElsewhere(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pgtest.TempDir(t), strings.Repeat("long", 30))
	local := start(t, dir)
	config, err := pgx.ParseConfig(local.URL())
	if err != nil {
		t.Fatal(err)
	}
	socketDir := config.Host
	t.Cleanup(func() {
		if err := os.RemoveAll(socketDir); err != nil {
			t.Error(err)
		}
	})
	if url, err := postgres.LocalURL(dir); err != nil || url != local.URL() {
		t.Errorf("another process would attach to %q (%v), want %q", url, err, local.URL())
	}
	if err := local.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}

	// Somebody else was there first, or can look in.
	if err := os.Chmod(socketDir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = postgres.StartLocal(t.Context(), dir, discard())
	if err == nil || !strings.Contains(err.Error(), socketDir+" must be a directory with mode 0700") {
		t.Errorf("got %v, want a refusal that names %s", err, socketDir)
	}
}

func TestInterruptedFirstStartIsMadeGood(t *testing.T) {
	t.Parallel()
	dir := pgtest.TempDir(t)
	if err := os.MkdirAll(filepath.Join(dir, "postgres", "data.new", "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	exec1(t, start(t, dir).URL(), "SELECT 1")
}

func TestDataOfAnotherVersion(t *testing.T) {
	t.Parallel()
	dir := pgtest.TempDir(t)
	data := filepath.Join(dir, "postgres", "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "postgres"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := postgres.StartLocal(t.Context(), dir, discard())
	if err == nil || !strings.Contains(err.Error(), "install postgresql-9, or move "+data+" away") {
		t.Errorf("got %v, want what to do", err)
	}
}

func TestAServerThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	_, err := postgres.StartLocal(t.Context(), pgtest.TempDir(t), discard(), "max_connections=none")
	if err == nil || !strings.Contains(err.Error(), "max_connections") {
		t.Errorf("got %v, want Postgres' own words", err)
	}
}

func TestAServerThatWasStoppedByOthersComesBack(t *testing.T) {
	t.Parallel()
	dir := pgtest.TempDir(t)
	var out lockedBuffer
	local, err := postgres.StartLocal(t.Context(), dir, slog.New(slog.NewTextHandler(&out, nil)), "fsync=off")
	if err != nil {
		t.Fatal(err)
	}
	pid := postmaster(t, dir)
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a new server", func() error {
		if postmaster(t, dir) == pid {
			return errors.New("still the old one's pid file")
		}
		return try(t.Context(), local.URL(), "SELECT 1")
	})
	if err := local.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "PostgreSQL ended: exit status 0") {
		t.Errorf("the log should say how it ended:\n%s", got)
	}
}

func TestLogHoldsNoStatementsAndNoRows(t *testing.T) {
	t.Parallel()
	var out lockedBuffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	local, err := postgres.StartLocal(t.Context(), pgtest.TempDir(t), log)
	if err != nil {
		t.Fatal(err)
	}
	exec1(t, local.URL(), "CREATE TABLE people (email text PRIMARY KEY)")
	exec1(t, local.URL(), "INSERT INTO people VALUES ('olena@example.com')")
	if err := try(t.Context(), local.URL(), "INSERT INTO people VALUES ('olena@example.com')"); err == nil {
		t.Fatal("the same e-mail twice was accepted")
	}
	if err := local.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Contains(got, "olena") || !strings.Contains(got, "ready to accept connections") {
		t.Errorf("the log should have the server's own news and no data:\n%s", got)
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start starts the server of dir, without fsync: no test here takes the power away.
func start(t *testing.T, dir string) *postgres.Local {
	t.Helper()
	local, err := postgres.StartLocal(t.Context(), dir, discard(), "fsync=off")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := local.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return local
}

func try(ctx context.Context, url, sql string) (err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	_, err = conn.Exec(ctx, sql)
	return err
}

func exec1(t *testing.T, url, sql string) {
	t.Helper()
	if err := try(t.Context(), url, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func query(t *testing.T, url, sql string) (text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.QueryRow(t.Context(), sql).Scan(&text); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return text
}

// postmaster is the process id of the server of dir, 0 while there is none.
func postmaster(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "postgres", "data", "postmaster.pid"))
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return 0 // being written
	}
	return pid
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func owner(t *testing.T, path string) uint32 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.After(3 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s never happened: %v", what, err)
		case <-tick.C:
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
