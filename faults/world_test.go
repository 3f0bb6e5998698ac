//go:build linux

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/eventstore/esdb"
	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/postgres/pgtest"
)

const (
	rootEmail    = "root@example.com"
	rootPassword = "Fault-Suite-Password-7791"
	// deadline bounds every wait that is no promise.
	deadline = 5 * time.Minute
)

// world is a running system: an event store, a Postgres, and instances of secboard on both, with a proxy on every
// connection.
type world struct {
	t        testing.TB
	dir      string
	binary   string
	store    *part
	database *part
	nodes    []*instance
	disks    []*disk
	clock    string // file with the seconds by which the clocks of secboard are wrong; empty: they can't be
	env      []string
}

// instance is one `secboard serve`.
type instance struct {
	part
	front, toStore, toDatabase *link
	address                    string // of the process itself
}

// parts lists all, what others need first.
func (w *world) parts() []*part {
	all := []*part{w.store, w.database}
	for _, n := range w.nodes {
		all = append(all, &n.part)
	}
	return all
}

func (w *world) links() []*link {
	var all []*link
	for _, n := range w.nodes {
		all = append(all, n.front, n.toStore, n.toDatabase)
	}
	return all
}

// newWorld starts a system with so many instances of a binary and waits until it answers.
func newWorld(t testing.TB, binary string, instances int) *world {
	t.Helper()
	w := &world{t: t, dir: pgtest.TempDir(t), binary: binary}
	if isClockBuild(binary) {
		w.clock = filepath.Join(w.dir, "clock")
		w.setClock(0)
	}
	storeAddress, databaseAddress := freeAddress(t), freeAddress(t)
	w.startStore(storeAddress)
	w.startDatabase(databaseAddress)
	for i := range instances {
		w.startInstance(i, storeAddress, databaseAddress)
		w.await(&w.nodes[i].part) // the first one migrates and makes the keyset
	}
	t.Cleanup(w.keepLogs)
	return w
}

// await fails the test when a part does not answer.
func (w *world) await(p *part) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), deadline)
	defer cancel()
	if err := p.awaitReady(ctx); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) startStore(address string) {
	data := w.makeDisk("eventstore")
	w.store = &part{
		name: "event store", log: filepath.Join(w.dir, "eventstore.log"),
		command: func() *exec.Cmd {
			command := exec.Command(w.binary, "eventstore", "serve", "--insecure", "--listen", address, "--data", data)
			command.Env = w.environment()
			return command
		},
		ready: func(ctx context.Context) error {
			log, err := w.connect()
			if err != nil {
				return err
			}
			defer log.Close() //nolint:errcheck // only asked whether it answers
			return log.Ping(ctx)
		},
	}
	w.env = append(w.env, "STORE="+address)
	w.store.keep(w.t)
	w.await(w.store)
}

// connect gives a client of the event store, around the proxies.
func (w *world) connect() (*esdb.Client, error) {
	return esdb.Connect("esdb://"+w.storeAddress()+"?tls=false",
		esdb.Options{Logger: slog.New(slog.DiscardHandler), Timeout: 30 * time.Second})
}

func (w *world) storeAddress() string {
	for _, variable := range w.env {
		if address, found := strings.CutPrefix(variable, "STORE="); found {
			return address
		}
	}
	return ""
}

// environment is what every process of secboard gets.
func (w *world) environment(more ...string) []string {
	env := append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, more...)
	if w.clock != "" {
		env = append(env, clockVariable+"="+w.clock)
	}
	return env
}

func (w *world) startDatabase(address string) {
	data := filepath.Join(w.makeDisk("postgres"), "data")
	_, binaries, err := postgres.Installed(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	account := databaseAccount(w.t)
	run := func(program string, args ...string) *exec.Cmd {
		command := exec.Command(filepath.Join(binaries, program), args...)
		command.Dir, command.Env = "/", []string{"PATH=" + os.Getenv("PATH"), "LC_MESSAGES=C"}
		command.SysProcAttr = &syscall.SysProcAttr{Credential: account}
		return command
	}
	if account != nil {
		if err := os.Chown(filepath.Dir(data), int(account.Uid), int(account.Gid)); err != nil {
			w.t.Fatal(err)
		}
	}
	if out, err := run("initdb", "--pgdata="+data, "--username=secboard", "--encoding=UTF8", "--locale=C.UTF-8",
		"--auth=trust", "--no-sync").CombinedOutput(); err != nil {
		w.t.Fatalf("initdb: %v\n%s", err, out)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		w.t.Fatal(err)
	}
	url := func(name string) string { return "postgres://secboard@" + address + "/" + name + "?sslmode=disable" }
	w.database = &part{
		name: "postgres", log: filepath.Join(w.dir, "postgres.log"),
		command: func() *exec.Cmd {
			return run("postgres", "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c",
				"unix_socket_directories=",
				"-c", "max_connections=120", "-c", "shared_buffers=64MB", "-c", "max_wal_size=256MB", "-c",
				"timezone=UTC")
		},
		ready: func(ctx context.Context) error { return execute(ctx, url("postgres"), "SELECT 1") },
	}
	w.env = append(w.env, "DATABASE="+address)
	w.database.keep(w.t)
	w.await(w.database)
	if err := execute(w.t.Context(), url("postgres"), "CREATE DATABASE secboard"); err != nil {
		w.t.Fatal(err)
	}
}

func execute(ctx context.Context, url, sql string) (err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	_, err = conn.Exec(ctx, sql)
	return err
}

// databaseAccount is who Postgres runs as where it refuses our user, root.
func databaseAccount(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		account, err = user.Lookup("nobody")
	}
	if err != nil {
		t.Fatal(err)
	}
	uid, uidErr := strconv.ParseUint(account.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(account.Gid, 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (w *world) startInstance(i int, storeAddress, databaseAddress string) {
	name := string(rune('A' + i))
	n := &instance{address: freeAddress(w.t)}
	n.front = newLink(w.t, "client–"+name, n.address)
	n.toStore = newLink(w.t, name+"–event store", storeAddress)
	n.toDatabase = newLink(w.t, name+"–postgres", databaseAddress)
	n.name, n.log = "secboard "+name, filepath.Join(w.dir, "secboard-"+name+".log")
	n.command = func() *exec.Cmd {
		command := exec.Command(w.binary, "serve")
		command.Env = w.environment(
			w.settings(n.toStore.address, n.toDatabase.address, n.address, filepath.Join(w.dir, "data-"+name))...)
		return command
	}
	n.ready = func(ctx context.Context) error {
		_, err := status(ctx, "http://"+n.address+"/healthz")
		return err
	}
	w.nodes = append(w.nodes, n)
	n.keep(w.t)
}

// settings of a secboard process.
func (w *world) settings(store, database, listen, data string) []string {
	return []string{
		"SECBOARD_EVENTSTORE_URL=esdb://" + store + "?tls=false",
		"SECBOARD_DATABASE_URL=postgres://secboard@" + database + "/secboard?sslmode=disable",
		"SECBOARD_LISTEN=" + listen, "SECBOARD_DATA=" + data, "SECBOARD_KEYSET=" + filepath.Join(w.dir, "keyset.json"),
		"SECBOARD_BOOTSTRAP_EMAIL=" + rootEmail, "SECBOARD_BOOTSTRAP_PASSWORD=" + rootPassword,
		"SECBOARD_TRUSTED_PROXIES=127.0.0.1", "SECBOARD_ALLOWED_TARGETS=127.0.0.1", "SECBOARD_METRICS_LISTEN=off",
		"SECBOARD_LOG_FORMAT=json",
	}
}

// verify runs `secboard projections verify --all`, which replays the log into fresh tables and compares them.
func (w *world) verify(ctx context.Context) error {
	command := exec.CommandContext(ctx, w.binary, "projections", "verify", "--all")
	var database string
	for _, variable := range w.env {
		if address, found := strings.CutPrefix(variable, "DATABASE="); found {
			database = address
		}
	}
	settings := w.settings(w.storeAddress(), database, "127.0.0.1:0", filepath.Join(w.dir, "data-verify"))
	command.Env = w.environment(slices.DeleteFunc(settings, func(s string) bool {
		return strings.HasPrefix(s, "SECBOARD_BOOTSTRAP")
	})...)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("secboard projections verify --all: %w\n%s", err, out)
	}
	return nil
}

// readyPart is one part of /readyz.
type readyPart struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
}

// status asks for a page outside of the API.
func status(ctx context.Context, url string) (_ []readyPart, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	var body struct {
		Parts []readyPart `json:"parts"`
	}
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return body.Parts, fmt.Errorf("%s answers %d: %v", url, response.StatusCode, body.Parts)
	}
	return body.Parts, nil
}

// freeAddress is a loopback address that nobody listens on. It is taken again and again by the same process.
func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // nobody connected
	return listener.Addr().String()
}

// disk is a file system of its own, which can be made full; only root can mount one.
type disk struct {
	path string
	name string
}

// makeDisk makes the directory of a store, on a disk of its own where that is possible.
func (w *world) makeDisk(name string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, "disk-"+name)
	if err := os.Mkdir(path, 0o711); err != nil {
		w.t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "mode=711,size=4g"); err != nil {
		w.t.Logf("no disk of its own for %s, so it is never full: %v", name, err)
		return path
	}
	w.t.Cleanup(func() {
		if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil {
			w.t.Error(err)
		}
	})
	w.disks = append(w.disks, &disk{path, name})
	return path
}

// fill leaves the disk next to nothing, and empty gives it its room back.
func (d *disk) fill() error {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(d.path, &stat); err != nil {
		return err
	}
	used := (stat.Blocks - stat.Bfree) * uint64(stat.Bsize)
	return d.resize(strconv.FormatUint(used+8*uint64(stat.Bsize), 10))
}

func (d *disk) empty() error { return d.resize("4g") }

func (d *disk) resize(size string) error {
	return syscall.Mount("tmpfs", d.path, "tmpfs", syscall.MS_REMOUNT, "mode=711,size="+size)
}

// setClock makes the clocks of all secboard processes wrong by so much.
func (w *world) setClock(by time.Duration) {
	temporary := w.clock + ".new"
	err := os.WriteFile(temporary, []byte(strconv.FormatInt(int64(by/time.Second), 10)), 0o600)
	if err = errors.Join(err, os.Rename(temporary, w.clock)); err != nil {
		w.t.Error(err)
	}
}

// keepLogs leaves the logs of a failed test for people.
func (w *world) keepLogs() {
	if !w.t.Failed() {
		return
	}
	kept, err := os.MkdirTemp("", "secboard-faults-")
	if err != nil {
		w.t.Error(err)
		return
	}
	logs, _ := filepath.Glob(filepath.Join(w.dir, "*.log"))
	for _, log := range logs {
		content, err := os.ReadFile(log)
		if err == nil {
			err = os.WriteFile(filepath.Join(kept, filepath.Base(log)), content, 0o600)
		}
		if err != nil {
			w.t.Error(err)
		}
	}
	w.t.Logf("the logs of all parts are in %s", kept)
}

// built is the program, made once for all tests.
var built = sync.OnceValues(func() (string, error) { return build() })

// build makes the program of the folder cmd/secboard.
func build(flags ...string) (string, error) {
	_, file, _, _ := runtime.Caller(0)
	root := filepath.Dir(filepath.Dir(file))
	dir, err := os.MkdirTemp("", "secboard-faults-binary-")
	if err != nil {
		return "", err
	}
	binaries = append(binaries, dir)
	binary := filepath.Join(dir, "secboard")
	command := exec.Command("go",
		append(append([]string{"build", "-ldflags=-s -w"}, flags...), "-o", binary, "./cmd/secboard")...)
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
}

var binaries []string // folders to remove in the end

func TestMain(m *testing.M) {
	code := m.Run()
	for _, dir := range binaries {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}
