package postgres

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// readyPatience bounds the wait for an answer of a server that runs: after a crash it replays its log first.
const readyPatience = 5 * time.Minute

// errDirectoryBusy says that processes of an earlier server still use the data directory.
var errDirectoryBusy = errors.New("an earlier server still uses the data directory")

// server is one run of postgres.
type server struct {
	process *os.Process
	output  *serverLog
	exited  chan struct{} // closed when it has ended
	exit    error         // of exec.Cmd.Wait; read after exited is closed
}

func launch(as account, program string, args []string, log *slog.Logger) (*server, error) {
	s := &server{output: &serverLog{log: log}, exited: make(chan struct{})}
	cmd := as.command(context.Background(), "/", program, args...)
	dieWithParent(cmd.SysProcAttr)
	cmd.Stderr = s.output
	cmd.WaitDelay = 5 * time.Second // children of a killed server hold its stderr until they notice
	started := make(chan error)
	go func() {
		// The kernel ends the child with the thread that made it, so that must live as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		s.exit = cmd.Wait()
		close(s.exited)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	s.process = cmd.Process
	return s, nil
}

// awaitReady returns when the server takes connections, or says why it can't. As pg_ctl does, it reads that in the
// server's own pid file: at the socket another server might answer.
func (s *server) awaitReady(ctx context.Context, c cluster) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		pid, status, err := c.pidFile()
		if err != nil {
			return err
		}
		if pid == s.process.Pid && status == "ready" {
			s.output.forgetComplaint() // from now on it would be a client's
			return nil
		}
		select {
		case <-s.exited:
			return s.exitError()
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL runs but accepts no connections yet: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// exitError says why the server ended, from the end of its log. Only after exited is closed.
func (s *server) exitError() error {
	last, exit := s.output.last(), cmp.Or(s.exit, errors.New("exit status 0"))
	if strings.Contains(last, "lock file") || strings.Contains(last, "shared memory block") {
		return fmt.Errorf("%w: %s", errDirectoryBusy, last)
	}
	if last == "" {
		return fmt.Errorf("PostgreSQL ended: %w", exit)
	}
	return fmt.Errorf("PostgreSQL ended (%w): %s", exit, last)
}

// end stops the server and waits for it: connections are cut and everything is written (SIGINT), or, once hurry is
// closed, at once (SIGQUIT).
func (s *server) end(hurry <-chan struct{}) {
	s.signal(syscall.SIGINT)
	select {
	case <-s.exited:
	case <-hurry:
		s.signal(syscall.SIGQUIT)
		<-s.exited
	}
}

func (s *server) signal(sig os.Signal) {
	if err := s.process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.output.log.Error("cannot signal the local database", "signal", sig, "error", err)
	}
}

// stopOrphan ends the server on our data directory that an earlier process left running. Its process id alone would
// not do, because another process may have it by now: the server itself must answer for our directory.
func (l *Local) stopOrphan(ctx context.Context) (err error) {
	conn, err := pgx.Connect(ctx, l.cluster.url("postgres"))
	if err != nil {
		return ctx.Err() // nobody there: a server that is already going down, or remains of one
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	var directory string
	if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&directory); err != nil || directory != l.cluster.data {
		return ctx.Err()
	}
	pid, _, err := l.cluster.pidFile()
	if err != nil || pid == 0 {
		return err
	}
	l.log.Warn("stopping the database server that an earlier process left running", "pid", pid)
	return syscall.Kill(pid, syscall.SIGINT)
}

// serverLog passes what Postgres writes to the log, line by line, and remembers why a start failed.
type serverLog struct {
	log *slog.Logger

	mu        sync.Mutex
	rest      []byte
	ready     bool
	complaint string
}

func (w *serverLog) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	for {
		line, rest, found := bytes.Cut(w.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		w.rest = rest
		w.line(strings.TrimSpace(string(line)))
	}
}

func (w *serverLog) line(text string) {
	severity, message, _ := strings.Cut(text, ":")
	message = strings.TrimSpace(message)
	switch {
	case severity == "PANIC":
		w.complaint = message
	case severity == "FATAL" && !w.ready:
		w.complaint = message
	}
	// FATAL is mostly news of a connection, not of the server: whether that runs, supervise says.
	w.log.Debug("PostgreSQL: " + text)
}

func (w *serverLog) forgetComplaint() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ready, w.complaint = true, ""
}

func (w *serverLog) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.complaint
}
