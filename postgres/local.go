package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/pause"
)

const (
	// startPatience is how long StartLocal waits for the remains of a killed server to go away.
	startPatience = 20 * time.Second

	minRestartPause = 100 * time.Millisecond
	maxRestartPause = 30 * time.Second
)

// Local is a Postgres server that this process started and keeps running: one that crashes is started again.
type Local struct {
	cluster  cluster
	as       account
	binaries binaries
	settings []string
	log      *slog.Logger
	lock     *os.File

	stop      context.CancelFunc
	hurry     chan struct{} // closed: don't wait for connections to end
	hurryOnce sync.Once
	done      chan struct{} // closed: the server has ended and won't come back

	mu   sync.Mutex
	down error // why the server doesn't run at present
}

// StartLocal starts the local Postgres of the data directory dir, makes it where it is missing, and returns once the
// server answers. The cluster lies in dir/postgres. As root the server runs as user postgres, else nobody; where that
// user cannot get to dir the cluster lies in /var/lib/secboard instead, under a name made from dir. The server listens
// on a Unix socket that only its own user and root can reach, and on no network.
//
// The server ends with this process, also when that is killed (on Linux; elsewhere the next StartLocal ends it).
// settings are lines of postgresql.conf, such as "max_connections=200", that win over ours.
//
// Errors: ErrNotInstalled; ErrInUse while another process runs the server of dir.
func StartLocal(ctx context.Context, dir string, log *slog.Logger, settings ...string) (_ *Local, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("start the local database: %w", err)
		}
	}()
	as, err := serverAccount()
	if err != nil {
		return nil, err
	}
	c, err := prepare(ctx, as, dir, log)
	if err != nil {
		return nil, err
	}
	lock, err := c.lock(ctx)
	if err != nil {
		return nil, err
	}
	l := &Local{
		cluster: c, as: as, settings: settings, log: log, lock: lock,
		hurry: make(chan struct{}), done: make(chan struct{}),
	}
	s, err := l.first(ctx)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	go l.supervise(run, s)
	return l, nil
}

// LocalURL is the address of the local server of the data directory dir, for a process that attaches to one that
// another process has started.
func LocalURL(dir string) (string, error) {
	c, found, err := clusterFor(dir)
	if err != nil {
		return "", fmt.Errorf("find the local database of %s: %w", dir, err)
	}
	if !found {
		return "", fmt.Errorf("there is no local database in %s yet: `secboard serve` creates it", dir)
	}
	return c.url(localDatabase), nil
}

// URL is the address for Open.
func (l *Local) URL() string { return l.cluster.url(localDatabase) }

// Err is nil while the server runs, and says why it doesn't while it is being restarted.
func (l *Local) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down
}

// Stop ends the server and waits for that: connections are cut, what is committed is on disk. When ctx ends first the
// server is stopped at once, without a last checkpoint; nothing is lost, but the next start takes longer. Stopping
// twice is no error.
func (l *Local) Stop(ctx context.Context) error {
	l.stop()
	select {
	case <-l.done:
	case <-ctx.Done():
		l.hurryOnce.Do(func() { close(l.hurry) })
		<-l.done
	}
	if err := l.lock.Close(); err != nil && !errors.Is(err, os.ErrClosed) { // closed by an earlier Stop
		return err
	}
	return nil
}

// first finds or makes what is needed and starts the server for the first time.
func (l *Local) first(ctx context.Context) (*server, error) {
	if err := l.install(ctx); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(startPatience)
	for {
		s, err := l.start(ctx)
		if err == nil {
			if err = l.createDatabase(ctx); err == nil {
				return s, nil
			}
			s.end(l.hurry)
			return nil, err
		}
		// We hold the lock, so this is what a killed secboard left: children still dying, or, where the
		// system doesn't end them, the whole server.
		if !errors.Is(err, errDirectoryBusy) || time.Now().After(deadline) {
			return nil, err
		}
		if err := l.stopOrphan(ctx); err != nil {
			return nil, err
		}
		if !pause.For(ctx, minRestartPause) {
			return nil, ctx.Err()
		}
	}
}

// install finds the Postgres for the cluster, downloads one where the machine has none, and makes the data directory.
func (l *Local) install(ctx context.Context) error {
	major, err := l.cluster.major()
	if err != nil {
		return err
	}
	l.binaries, err = findBinaries(ctx, l.as, major)
	// Root gets none: what root downloads is not for another user to run.
	if err != nil && l.as.other == nil && (major == 0 || major == numberIn(string(downloadVersion))) {
		l.log.Info("no PostgreSQL is installed here: downloading one", "version", downloadVersion)
		if downloadErr := download(ctx); downloadErr != nil {
			return fmt.Errorf("%w (%w)", err, downloadErr)
		}
		l.binaries, err = findBinaries(ctx, l.as, major)
	}
	if errors.Is(err, errOtherVersion) {
		return fmt.Errorf("%w: install postgresql-%d, or move %s away; the read models are then built again from the "+
			"event log, and everyone has to sign in again", err, major, l.cluster.data)
	}
	if err != nil {
		return err
	}
	if major == 0 {
		l.log.Info("creating the local database", "directory", l.cluster.data, "postgresql", l.binaries.version)
		return l.cluster.init(ctx, l.as, l.binaries, l.settings)
	}
	return nil
}

// start runs the server once and waits until it answers.
func (l *Local) start(ctx context.Context) (*server, error) {
	s, err := launch(l.as, l.binaries.path("postgres"), l.cluster.arguments(l.settings), l.log)
	if err != nil {
		return nil, err
	}
	if err := s.awaitReady(ctx, l.cluster); err != nil {
		s.end(l.hurry)
		return nil, err
	}
	return s, nil
}

func (l *Local) createDatabase(ctx context.Context) (err error) {
	conn, err := pgx.Connect(ctx, l.cluster.url("postgres"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	var exists bool
	err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", localDatabase).Scan(&exists)
	if err != nil || exists {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+localDatabase)
	return err
}

// supervise keeps the server running until ctx ends, then ends it.
func (l *Local) supervise(ctx context.Context, s *server) {
	defer close(l.done)
	wait := minRestartPause
	for {
		started := time.Now()
		select {
		case <-ctx.Done():
			s.end(l.hurry)
			return
		case <-s.exited:
		}
		if time.Since(started) > time.Minute {
			wait = minRestartPause // it ran well: this is a new trouble
		}
		err := s.exitError()
		for {
			l.setDown(err)
			l.log.Error("the local database ended; starting it again", "error", err, "pause", wait)
			if !pause.For(ctx, wait) {
				return
			}
			wait = min(2*wait, maxRestartPause)
			if s, err = l.start(ctx); err == nil {
				break
			}
			if ctx.Err() != nil {
				return
			}
		}
		l.setDown(nil)
		l.log.Info("the local database is up again")
	}
}

func (l *Local) setDown(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = err
}
