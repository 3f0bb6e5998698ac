package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/secboard/secboard/pause"
)

const (
	// The role and the database of the local server. The role has no password: who reaches the socket is its owner
	// or root.
	localRole     = "secboard"
	localDatabase = "secboard"

	// maxSocketPath is the longest socket path in bytes that every system takes (macOS: 104 with the final zero).
	maxSocketPath = 103

	// lockPatience is longer than a killed process takes to give up its locks.
	lockPatience = 2 * time.Second

	// elsewhere holds the clusters of directories that Postgres' user cannot enter.
	elsewhere = "/var/lib/secboard"
)

// ErrInUse says that another process runs the local server of a data directory.
var ErrInUse = errors.New("in use by another secboard process")

// cluster is where the local server of one data directory lives.
type cluster struct {
	base   string // belongs to the server's account, mode 0700; holds data and lock
	data   string // Postgres' data directory
	socket string // directory of the Unix socket, mode 0700
}

// clusterFor tells where the cluster of the data directory dir is. If there is none yet, found is false.
func clusterFor(dir string) (c cluster, found bool, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return cluster{}, false, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return cluster{}, false, err
	}
	inside, outside := clusterAt(filepath.Join(dir, "postgres")), clusterAt(filepath.Join(elsewhere, shortHash(dir)))
	for _, c := range []cluster{inside, outside} {
		if _, err := os.Lstat(c.base); err == nil {
			return c, true, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return cluster{}, false, err
		}
	}
	return inside, false, nil
}

func clusterAt(base string) cluster {
	c := cluster{base: base, data: filepath.Join(base, "data"), socket: base}
	if len(c.socketFile()) > maxSocketPath {
		c.socket = filepath.Join("/tmp", "secboard-"+shortHash(base))
	}
	return c
}

func shortHash(path string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:8])
}

func (c cluster) socketFile() string { return filepath.Join(c.socket, ".s.PGSQL.5432") }

func (c cluster) url(database string) string {
	query := url.Values{"host": {c.socket}, "port": {"5432"}}.Encode()
	u := url.URL{
		Scheme: "postgres", User: url.User(localRole), Path: "/" + database,
		RawQuery: strings.ReplaceAll(query, "+", "%20"), // a space: to libpq and pgx a + is a +
	}
	return u.String()
}

// prepare makes the directories of the cluster of dir.
func prepare(ctx context.Context, as account, dir string, log *slog.Logger) (cluster, error) {
	mode := fs.FileMode(0o700)
	if as.other != nil {
		mode = 0o711 // Postgres' user has to get through to its own directory
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return cluster{}, err
	}
	c, found, err := clusterFor(dir)
	if err != nil {
		return cluster{}, err
	}
	if !as.canEnter(ctx, filepath.Dir(c.base)) {
		if found {
			return cluster{}, fmt.Errorf("the user %s, who runs PostgreSQL, can no longer enter %s: "+
				"give it the right (chmod o+x) for this directory and those above it", as.name, filepath.Dir(c.base))
		}
		if c, err = outsideCluster(ctx, as, filepath.Dir(c.base)); err != nil {
			return cluster{}, err
		}
		log.Info("the database is kept outside of the data directory, because PostgreSQL's user cannot enter that",
			"user", as.name, "data_directory", dir, "database_directory", c.base)
	}
	for _, d := range []string{c.base, c.socket} {
		if err := as.ownDir(d); err != nil {
			return cluster{}, err
		}
	}
	return c, nil
}

func outsideCluster(ctx context.Context, as account, dir string) (cluster, error) {
	if err := os.MkdirAll(elsewhere, 0o711); err != nil { //nolint:gosec // Postgres' user has to pass
		return cluster{}, err
	}
	if !as.canEnter(ctx, elsewhere) {
		return cluster{}, fmt.Errorf("the user %s, who runs PostgreSQL, can enter neither %s nor %s: "+
			"give it the right (chmod o+x) for one of them", as.name, dir, elsewhere)
	}
	return clusterAt(filepath.Join(elsewhere, shortHash(dir))), nil
}

// lock makes this process the only one that runs the cluster, until it closes the file or ends. It waits a little
// for one that is just being killed.
func (c cluster) lock(ctx context.Context) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(c.base, "lock"), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(lockPatience)
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		if time.Now().After(deadline) || !pause.For(ctx, minRestartPause) {
			err = fmt.Errorf("the database in %s is %w: stop that one, or choose another data directory",
				c.base, ErrInUse)
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// major is the major version of Postgres that made the data directory, 0 where there is none.
func (c cluster) major() (int, error) {
	text, err := os.ReadFile(filepath.Join(c.data, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s/PG_VERSION holds %q, not a version of PostgreSQL", c.data, text)
	}
	return major, nil
}

// pidFile is what the server says of itself: its process id (0 where none runs) and its status, such as "starting" or
// "ready". A file that is being written counts as none.
func (c cluster) pidFile() (pid int, status string, err error) {
	text, err := os.ReadFile(filepath.Join(c.data, "postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 8 {
		return 0, "", nil
	}
	if pid, err = strconv.Atoi(lines[0]); err != nil {
		return 0, "", fmt.Errorf("%s/postmaster.pid begins with %q, not a process id", c.data, lines[0])
	}
	return pid, strings.TrimSpace(lines[7]), nil
}

// init makes the data directory. It appears whole or not at all.
func (c cluster) init(ctx context.Context, as account, b binaries, settings []string) error {
	temp := c.data + ".new"
	if err := os.RemoveAll(temp); err != nil {
		return err
	}
	args := []string{
		"--pgdata=" + temp, "--username=" + localRole, "--encoding=UTF8", "--lc-messages=C",
		"--auth-local=trust", "--auth-host=reject",
	}
	switch {
	case b.major >= 17:
		args = append(args, "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
	case runtime.GOOS == "darwin":
		args = append(args, "--locale=en_US.UTF-8") // its libc has no C.UTF-8
	default:
		args = append(args, "--locale=C.UTF-8")
	}
	if slices.Contains(settings, "fsync=off") {
		args = append(args, "--no-sync")
	}
	if out, err := as.command(ctx, c.base, b.path("initdb"), args...).CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("creating the database was interrupted; the next start begins again: %w", ctx.Err())
		}
		return fmt.Errorf("initdb failed: %w: %s", err, lastLine(string(out)))
	}
	return os.Rename(temp, c.data)
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// arguments start postgres on the cluster; settings are further "name=value" of postgresql.conf and win.
func (c cluster) arguments(settings []string) []string {
	all := []string{
		"listen_addresses=", // a Unix socket only: nobody else on this machine or network may connect
		`unix_socket_directories="` + strings.ReplaceAll(c.socket, `"`, `""`) + `"`,
		"unix_socket_permissions=0700",
		"port=5432",
		"cluster_name=secboard",
		"timezone=UTC",
		"shared_buffers=128MB",
		"work_mem=8MB",
		"maintenance_work_mem=128MB",
		"random_page_cost=1.1",
		"jit=off", // costs more than it saves on short queries
		"fsync=on",
		"synchronous_commit=on",
		// Nobody replicates it, so what a rebuild copies and its indexes need not go through the write-ahead log as
		// well.
		"wal_level=minimal",
		"max_wal_senders=0",
		// What the server says of itself, but no statement and no row: those may hold personal data.
		"logging_collector=off",
		"log_destination=stderr",
		"log_line_prefix=",
		"log_timezone=UTC",
		"log_min_messages=log",
		"log_min_error_statement=panic",
		"log_error_verbosity=terse",
		"log_checkpoints=off",
		"lc_messages=C",
	}
	args := []string{"-D", c.data}
	for _, s := range append(all, settings...) {
		args = append(args, "-c", s)
	}
	return args
}
