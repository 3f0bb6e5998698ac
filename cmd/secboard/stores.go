package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/installation"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/esdb"
	"github.com/secboard/secboard/eventstore/node"
	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/projections/engine"
	"github.com/secboard/secboard/secrets"
)

// parts is what a command needs.
type parts struct{ log, database bool }

// stores are the event log and the database, opened as the settings say. Close closes what was opened.
type stores struct {
	dir   dataDir
	lock  *dirLock // nil while another process runs the stores, or none is embedded
	log   *esdb.Client
	pool  *pgxpool.Pool
	node  *node.Node      // nil unless embedded and ours
	local *postgres.Local // nil unless embedded and ours

	attached bool       // `serve` runs the stores
	failed   chan error // the embedded node can't serve any more

	logger  *slog.Logger
	closers []func(context.Context) error
}

// claimData takes the data directory for the embedded ones of the wanted parts. Only one process may: with attach the
// stores of a running `serve` are used, else that is an *inUseError.
func (p *program) claimData(ctx context.Context, s *storeSettings, want parts, command string, attach bool) (*stores, error) {
	st := &stores{failed: make(chan error, 1)}
	if s.EventstoreURL != "" {
		want.log = false
	}
	if s.DatabaseURL != "" {
		want.database = false
	}
	var err error
	if st.dir, err = makeDataDir(s.Data); err != nil {
		return nil, err
	}
	if !want.log && !want.database {
		return st, nil
	}
	if attach {
		st.lock, err = st.dir.lockOrAttach(ctx, command, p.patience)
		st.attached = err == nil && st.lock == nil
	} else {
		st.lock, err = st.dir.lock(command)
	}
	if err != nil {
		return nil, err
	}
	if st.lock != nil {
		st.onClose(func(context.Context) error { return st.lock.release() })
	}
	return st, nil
}

// open starts or attaches to what is embedded, and connects.
func (st *stores) open(ctx context.Context, p *program, s *storeSettings, want parts, logger *slog.Logger) error {
	st.logger = logger
	if want.log {
		if err := st.openLog(ctx, p, s); err != nil {
			return err
		}
	}
	if want.database {
		return st.openDatabase(ctx, p, s)
	}
	return nil
}

func (st *stores) openLog(ctx context.Context, p *program, s *storeSettings) error {
	url := s.EventstoreURL
	if url == "" {
		url = "unix://" + st.dir.socket()
		if !st.attached {
			if err := st.startNode(); err != nil {
				return err
			}
		}
	}
	var err error
	if st.log, err = esdb.Connect(url, esdb.Options{Logger: st.logger, Timeout: p.storeTime}); err != nil {
		return &usageError{fmt.Errorf("SECBOARD_EVENTSTORE_URL: %w", err)}
	}
	st.onClose(func(context.Context) error { return st.log.Close() })
	return st.awaitLog(ctx, p.patience, s.EventstoreURL != "")
}

func (st *stores) startNode() error {
	socket := st.dir.socket()
	err := makePrivate(st.dir.eventstore(), notOurLog)
	if err == nil {
		err = makePrivate(filepath.Dir(socket), "have that user remove it")
	}
	if err != nil {
		return fmt.Errorf("SECBOARD_DATA: the directory of the event store: %w", err)
	}
	st.node, err = node.Open(node.Options{Dir: st.dir.log(), Logger: st.logger})
	if err != nil {
		return err
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := st.node.ServeUnix(context.Background(), socket); err != nil {
			st.failed <- fmt.Errorf("the embedded event store stopped: %w", err)
		}
	}()
	st.onClose(func(context.Context) error {
		err := st.node.Close()
		<-served
		if dir := filepath.Dir(socket); dir != st.dir.eventstore() {
			err = errors.Join(err, os.Remove(dir)) // made for the socket alone
		}
		return err
	})
	return nil
}

// awaitLog waits until the event store answers.
func (st *stores) awaitLog(ctx context.Context, patience time.Duration, external bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	said := false
	for {
		err := st.log.Ping(ctx)
		switch {
		case err == nil:
			return nil
		case len(st.failed) > 0:
			return <-st.failed
		case errors.Is(err, context.Canceled):
			return err
		case !errors.Is(err, eventstore.ErrUnavailable) && external:
			return fmt.Errorf("SECBOARD_EVENTSTORE_URL: %w", err)
		case !errors.Is(err, eventstore.ErrUnavailable):
			return err
		}
		if external && !said {
			st.logger.Info("waiting for the event store of SECBOARD_EVENTSTORE_URL", "error", err)
			said = true
		}
		if pause(ctx, 50*time.Millisecond) {
			continue
		}
		switch {
		case errors.Is(ctx.Err(), context.Canceled):
			return ctx.Err()
		case external:
			return fmt.Errorf("the event store of SECBOARD_EVENTSTORE_URL does not answer: check that it runs and that the address is right (%w)", err)
		case st.attached:
			return fmt.Errorf("the secboard that uses %s (pid %d) runs no event store that answers: set SECBOARD_EVENTSTORE_URL as there (%w)",
				st.dir.given, st.dir.holder().PID, err)
		}
		return fmt.Errorf("the embedded event store does not answer: %w", err)
	}
}

// connections is the size of the pool: the API's requests, and the projections with their transactions and locks.
const connections = 24

func (st *stores) openDatabase(ctx context.Context, p *program, s *storeSettings) error {
	url := s.DatabaseURL
	if url == "" {
		var err error
		switch {
		case st.attached:
			url, err = postgres.LocalURL(st.dir.path)
		default:
			if st.local, err = postgres.StartLocal(ctx, st.dir.path, st.logger); err == nil {
				st.onClose(st.local.Stop)
				url = st.local.URL()
			}
		}
		if err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	guard := postgres.NewGuard(st.logger)
	for said := false; ; said = true {
		pool, err := postgres.Open(ctx, url, guard.Configure, func(c *pgxpool.Config) {
			if !strings.Contains(url, "pool_max_conns") {
				c.MaxConns = connections
			}
		})
		if err == nil {
			st.pool = pool
			st.onClose(func(context.Context) error { pool.Close(); return nil })
			guarding, stop := context.WithCancel(context.WithoutCancel(ctx))
			var running sync.WaitGroup
			running.Go(func() { guard.Run(guarding) })
			st.onClose(func(context.Context) error { stop(); running.Wait(); return nil })
			return nil
		}
		if !mayCome(err) || !pause(ctx, 250*time.Millisecond) {
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return err
		}
		if s.DatabaseURL != "" && !said {
			st.logger.Info("waiting for the database of SECBOARD_DATABASE_URL", "error", err)
		}
	}
}

// mayCome says whether a database that can't be used may be usable in a moment: it does not answer, or is starting. A
// wrong address, user or password stays wrong.
func mayCome(err error) bool {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(refused.Code, "57P") || refused.Code == "53300" // starting or stopping; too many connections
	}
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	return connecting
}

// handler makes the command handler, with the keyset that belongs to the log.
func (st *stores) handler(ctx context.Context, s *storeSettings) (*commands.Handler, error) {
	keys, err := st.keys(ctx, s)
	if err != nil {
		return nil, err
	}
	const queued = 128 // some two seconds of work
	hasher, err := secrets.NewHasher(queued)
	if err != nil {
		return nil, err
	}
	h := commands.New(st.log, keys, hasher)
	return h, h.Initialize(ctx)
}

// keys reads the keyset. A new one is made for a new log only: with another keyset the log's secrets stay closed.
func (st *stores) keys(ctx context.Context, s *storeSettings) (*secrets.Keyset, error) {
	path := s.keysetFile()
	keys, err := secrets.LoadKeyset(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return keys, err
	}
	events, err := st.log.ReadStream(ctx, installation.Stream)
	if err != nil {
		return nil, err
	}
	if len(events) > 0 {
		return nil, fmt.Errorf("SECBOARD_KEYSET: there is no keyset file %s, but the event log was written with one: put that file back, or name it in SECBOARD_KEYSET", path)
	}
	return secrets.LoadOrCreateKeyset(path)
}

func (st *stores) onClose(closer func(context.Context) error) {
	st.closers = append(st.closers, closer)
}

// closeTime bounds how long the local Postgres may take to write its last checkpoint.
const closeTime = 20 * time.Second

// Close ends what was opened, the last first.
func (st *stores) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	var errs []error
	for _, closer := range slices.Backward(st.closers) {
		errs = append(errs, closer(ctx))
	}
	st.closers = nil
	return errors.Join(errs...)
}

// with opens the wanted parts for one short command, runs it and closes them.
func (p *program) with(ctx context.Context, s *storeSettings, want parts, command string, work func(*stores) error) (err error) {
	if err := s.check(); err != nil {
		return err
	}
	st, err := p.claimData(ctx, s, want, command, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if err := st.open(ctx, p, s, want, p.logger(s.LogFormat, slog.LevelWarn)); err != nil {
		return err
	}
	if want.log && want.database {
		if err := st.checkLog(ctx); err != nil {
			return err
		}
	}
	return work(st)
}

// checkLog refuses read models that were built from another log. A database without tables yet has none.
func (st *stores) checkLog(ctx context.Context) error {
	err := engine.CheckLog(ctx, st.pool, st.log)
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Code == "42P01" { // undefined_table
		return nil
	}
	if other, ok := errors.AsType[*engine.ErrOtherLog](err); ok {
		return fmt.Errorf("SECBOARD_DATABASE_URL: %w", other)
	}
	return err
}

// exists says whether there is something at a path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
