package instance

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
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/installation"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/esdb"
	"github.com/secboard/secboard/eventstore/node"
	"github.com/secboard/secboard/pause"
	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/secrets"
)

// Parts is which stores a command needs.
type Parts struct{ Log, Database bool }

// Request is what a command asks for.
type Request struct {
	Settings
	Parts
	Command string // as the lock file shows it to other commands
	Attach  bool   // use the embedded stores of a running serve, where there is one
	// how long to wait for an external store, or for another process that holds the data directory
	Patience time.Duration
	// StoreTime bounds one call to the event store; 0: esdb.DefaultTimeout.
	StoreTime time.Duration
	Logger    *slog.Logger
}

// embedded is which of the parts are ours to run.
func (r *Request) embedded() Parts {
	return Parts{Log: r.Log && r.EventstoreURL == "", Database: r.Database && r.DatabaseURL == ""}
}

// Stores are the event log and the database, opened as the settings say. Close closes what was opened.
type Stores struct {
	Dir      DataDir
	Log      *esdb.Client
	Pool     *pgxpool.Pool
	Node     *node.Node // nil unless embedded and run by this process
	Attached bool       // a running serve runs the embedded stores

	request Request
	lock    *dirLock        // nil while another process runs the stores, or none is embedded
	local   *postgres.Local // nil unless embedded and run by this process
	failed  chan error      // the embedded event store can't serve any more
	closers []func(context.Context) error
}

// External gives stores that need no data directory, since none of the wanted ones is embedded.
func External(request Request) *Stores {
	return &Stores{request: request, failed: make(chan error, 1)}
}

// Claim takes the data directory for the embedded ones of the wanted parts, and opens nothing yet. Only one process may
// hold it: without Attach, another one that does is an error, also a running serve.
func Claim(ctx context.Context, request Request) (*Stores, error) {
	st := External(request)
	var err error
	if st.Dir, err = makeDataDir(request.Data); err != nil {
		return nil, err
	}
	if request.embedded() == (Parts{}) {
		return st, nil
	}
	if request.Attach {
		st.lock, err = st.Dir.lockOrAttach(ctx, request.Command, request.Patience)
		st.Attached = err == nil && st.lock == nil
	} else {
		st.lock, err = st.Dir.lock(request.Command)
	}
	if err != nil {
		return nil, err
	}
	if st.lock != nil {
		st.OnClose(func(context.Context) error { return st.lock.release() })
	}
	return st, nil
}

// Open starts or attaches to what is embedded of the wanted parts, and connects.
func (st *Stores) Open(ctx context.Context) error {
	if st.request.Log {
		if err := st.OpenLog(ctx); err != nil {
			return err
		}
	}
	if st.request.Database {
		return st.OpenDatabase(ctx)
	}
	return nil
}

// OpenLog opens the event log alone.
func (st *Stores) OpenLog(ctx context.Context) error {
	url := st.request.EventstoreURL
	if url == "" {
		url = "unix://" + st.Dir.socket()
		if !st.Attached {
			if err := st.startNode(); err != nil {
				return err
			}
		}
	}
	var err error
	if st.Log, err = esdb.Connect(url,
		esdb.Options{Logger: st.request.Logger, Timeout: st.request.StoreTime}); err != nil {
		return &SettingError{settingEventstore, err}
	}
	st.OnClose(func(context.Context) error { return st.Log.Close() })
	return st.awaitLog(ctx)
}

// OpenNode opens the embedded event store for a caller that serves it itself.
func (st *Stores) OpenNode() error {
	if err := st.openNode(); err != nil {
		return err
	}
	st.OnClose(func(context.Context) error { return st.Node.Close() })
	return nil
}

func (st *Stores) openNode() (err error) {
	if err := makePrivate(st.Dir.Eventstore(), notOurLog); err != nil {
		return wrongEventstoreDir(err)
	}
	st.Node, err = node.Open(node.Options{Dir: st.Dir.log(), Logger: st.request.Logger})
	return err
}

func wrongEventstoreDir(err error) error {
	return fmt.Errorf("%s: the directory of the event store: %w", settingData, err)
}

func (st *Stores) startNode() error {
	if err := st.openNode(); err != nil {
		return err
	}
	socket := st.Dir.socket()
	if err := makePrivate(filepath.Dir(socket), "have that user remove it"); err != nil {
		return errors.Join(wrongEventstoreDir(err), st.Node.Close())
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := st.Node.ServeUnix(context.Background(), socket); err != nil {
			st.fail(fmt.Errorf("the embedded event store stopped: %w", err))
		}
	}()
	st.OnClose(func(context.Context) error {
		err := st.Node.Close()
		<-served
		if dir := filepath.Dir(socket); dir != st.Dir.Eventstore() {
			err = errors.Join(err, os.Remove(dir)) // made for the socket alone
		}
		return err
	})
	return nil
}

// fail notes why the embedded event store can't continue; the first reason counts.
func (st *Stores) fail(err error) {
	select {
	case st.failed <- err:
	default:
	}
}

// Watch tells once when the embedded event store, if this process runs one, stops serving or accepts no more appends.
// That does not heal by itself, so the process has to end and be started again.
func (st *Stores) Watch(ctx context.Context) <-chan error {
	if st.Node != nil {
		go func() {
			for pause.For(ctx, time.Second) {
				if err := st.Node.Err(); err != nil {
					st.fail(fmt.Errorf("the embedded event store failed: %w", err))
					return
				}
			}
		}()
	}
	return st.failed
}

// embeddedTime is how long the embedded node may need for its first answer, on whatever machine: it runs already.
const embeddedTime = time.Minute

// awaitLog waits until the event store answers.
func (st *Stores) awaitLog(ctx context.Context) error {
	external := st.request.EventstoreURL != ""
	patience := st.request.Patience
	if st.Node != nil {
		patience = max(patience, embeddedTime)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	logged := false
	for {
		err := st.Log.Ping(ctx)
		switch {
		case err == nil:
			return nil
		case len(st.failed) > 0:
			return <-st.failed
		case errors.Is(err, context.Canceled):
			return err
		case !errors.Is(err, eventstore.ErrUnavailable) && external:
			return aboutSetting(settingEventstore, err)
		case !errors.Is(err, eventstore.ErrUnavailable):
			return err
		}
		if external && !logged {
			st.request.Logger.Info("waiting for the event store at "+settingEventstore, "error", err)
			logged = true
		}
		if pause.For(ctx, 50*time.Millisecond) {
			continue
		}
		switch {
		case errors.Is(ctx.Err(), context.Canceled):
			return ctx.Err()
		case external:
			return fmt.Errorf("the event store at %s does not answer: check that it runs and that the address is "+
				"right (%w)",
				settingEventstore, err)
		case st.Attached:
			return fmt.Errorf("the secboard that uses %s (pid %d) runs no event store that answers: set %s to the "+
				"one that it uses (%w)",
				st.Dir.given, st.Dir.Holder().PID, settingEventstore, err)
		}
		return fmt.Errorf("the embedded event store does not answer: %w", err)
	}
}

// connections is the size of the pool: the API's requests, and the projections with their transactions and locks.
const connections = 24

// OpenDatabase opens the database alone.
func (st *Stores) OpenDatabase(ctx context.Context) error {
	url := st.request.DatabaseURL
	if url == "" {
		var err error
		if url, err = st.localDatabase(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, st.request.Patience)
	defer cancel()
	guard := postgres.NewGuard(st.request.Logger)
	for logged := false; ; logged = true {
		pool, err := postgres.Open(ctx, url, guard.Configure, func(c *pgxpool.Config) {
			if !strings.Contains(url, "pool_max_conns") {
				c.MaxConns = connections
			}
		})
		if err == nil {
			st.Pool = pool
			st.OnClose(func(context.Context) error { pool.Close(); return nil })
			guarding, stop := context.WithCancel(context.WithoutCancel(ctx))
			var running sync.WaitGroup
			running.Go(func() { guard.Run(guarding) })
			st.OnClose(func(context.Context) error { stop(); running.Wait(); return nil })
			return nil
		}
		if st.request.DatabaseURL != "" {
			err = aboutSetting(settingDatabase, err)
		}
		if !mayCome(err) || !pause.For(ctx, 250*time.Millisecond) {
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return err
		}
		if st.request.DatabaseURL != "" && !logged {
			st.request.Logger.Info("waiting for the database", "error", err)
		}
	}
}

// localDatabase gives the address of the embedded database, started unless a running serve does.
func (st *Stores) localDatabase(ctx context.Context) (string, error) {
	if st.Attached {
		return postgres.LocalURL(st.Dir.Path)
	}
	local, err := postgres.StartLocal(ctx, st.Dir.Path, st.request.Logger)
	if err != nil {
		return "", orExternalDatabase(err)
	}
	st.local = local
	st.OnClose(local.Stop)
	return local.URL(), nil
}

// InstalledPostgres is the Postgres that a first start would run: its version, and the folder of its programs.
func InstalledPostgres(ctx context.Context) (version, dir string, err error) {
	version, dir, err = postgres.Installed(ctx)
	return version, dir, orExternalDatabase(err)
}

// orExternalDatabase names the other way where no Postgres is installed.
func orExternalDatabase(err error) error {
	if errors.Is(err, postgres.ErrNotInstalled) {
		return fmt.Errorf("%w; or name a server in %s", err, settingDatabase)
	}
	return err
}

// mayCome says whether a database that can't be used may be usable in a moment: it does not answer, or is starting. A
// wrong address, user or password stays wrong.
func mayCome(err error) bool {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		// starting or stopping; too many connections
		return strings.HasPrefix(refused.Code, "57P") || refused.Code == "53300"
	}
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	return connecting
}

// Refused says whether the database answered a query with a refusal that waiting does not change.
func Refused(err error) bool {
	refused, answered := errors.AsType[*pgconn.PgError](err)
	return answered && !mayCome(refused)
}

// Handler makes the command handler, with the keyset that belongs to the log.
func (st *Stores) Handler(ctx context.Context) (*commands.Handler, error) {
	keys, err := st.keys(ctx)
	if err != nil {
		return nil, err
	}
	const queued = 128 // some two seconds of work
	hasher, err := secrets.NewHasher(queued)
	if err != nil {
		return nil, err
	}
	h := commands.New(st.Log, keys, hasher)
	err = h.Initialize(ctx)
	if refused, ok := errors.AsType[*domain.Error](err); ok && refused.Code == domain.CodeWrongKeyset {
		err = aboutSetting(settingKeyset, err)
	}
	return h, err
}

// keys reads the keyset. A new one is made for a new log only: with another keyset the log's secrets can't be opened.
func (st *Stores) keys(ctx context.Context) (*secrets.Keyset, error) {
	keys, err := st.request.LoadKeyset()
	if !errors.Is(err, fs.ErrNotExist) {
		return keys, err
	}
	events, err := st.Log.ReadStream(ctx, installation.Stream)
	if err != nil {
		return nil, err
	}
	if len(events) > 0 {
		return nil, fmt.Errorf("%s: there is no keyset file %s, but the event log was written with one: put that "+
			"file back, or name it in %s",
			settingKeyset, st.request.KeysetFile(), settingKeyset)
	}
	return st.request.createKeyset()
}

// Announce tells other commands, in the lock file, where the API of this process is, so that they can attach to its
// stores.
func (st *Stores) Announce(address string) error {
	if st.lock == nil {
		return nil
	}
	return aboutSetting(settingData,
		st.lock.say(Holder{PID: os.Getpid(), Command: st.request.Command, Address: address}))
}

// Where says in a few words where the data is.
func (st *Stores) Where() string {
	switch {
	case st.Node != nil && st.local != nil:
		return st.Dir.Path
	case st.Node != nil:
		return st.Dir.Path + " (events), database of " + settingDatabase
	case st.local != nil:
		return "event store of " + settingEventstore + ", " + st.Dir.Path + " (read models)"
	}
	return "event store of " + settingEventstore + ", database of " + settingDatabase
}

// OnClose has Close call closer, before what was opened until now is closed.
func (st *Stores) OnClose(closer func(context.Context) error) {
	st.closers = append(st.closers, closer)
}

// closeTime bounds how long the local Postgres may take to write its last checkpoint.
const closeTime = 20 * time.Second

// Close ends what was opened, the last first.
func (st *Stores) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	var errs []error
	for _, closer := range slices.Backward(st.closers) {
		errs = append(errs, closer(ctx))
	}
	st.closers = nil
	return errors.Join(errs...)
}
