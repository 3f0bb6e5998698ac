package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secboard/secboard/eventstore/esdb"
	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/postgres/pgtest"
)

// nobody is a loopback address at which nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}

// impatient runs a command that soon gives up waiting for a store or a lock.
func impatient(t *testing.T, env settings, args ...string) outcome {
	t.Helper()
	var stdout, stderr syncBuffer
	p := newProgram(env, strings.NewReader(""), &stdout, &stderr)
	p.patience, p.storeTime = 300*time.Millisecond, 0
	status := p.run(t.Context(), args)
	return outcome{status, stdout.String(), stderr.String()}
}

func TestStartWithStoresThatAreAway(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		env  settings
		said []string
	}{
		"event store": {settings{
			"SECBOARD_EVENTSTORE_URL": "esdb://admin:pass-hunter@" + nobody(t) + "?tls=false",
			"SECBOARD_DATABASE_URL":   pgtest.NewDatabaseURL(t),
		}, []string{"SECBOARD_EVENTSTORE_URL", "does not answer"}},
		"database": {settings{
			"SECBOARD_DATABASE_URL": "postgres://secboard:pass-hunter@" + nobody(t) + "/secboard",
		}, []string{"SECBOARD_DATABASE_URL", "connection refused"}},
		"database of another name": {settings{
			"SECBOARD_DATABASE_URL": "postgres://secboard:pass-hunter@/nosuch?" +
				strings.SplitN(pgtest.NewDatabaseURL(t), "?", 2)[1],
		}, []string{"nosuch"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := impatient(t, test.env.with("SECBOARD_DATA", filepath.Join(t.TempDir(), "data")), "serve", "--listen",
				"127.0.0.1:0")
			got.expect(t, exitFailed, test.said...)
			if strings.Contains(got.stderr, "hunter") {
				t.Errorf("it shows a password: %s", got.stderr)
			}
		})
	}
}

func TestAnOpenEventStoreIsWarnedOf(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		address, format string
		said            []string // one entry per line
	}{
		"loopback":            {"127.0.0.1", formatText, nil},
		"loopback of IPv6":    {"::1", formatText, nil},
		"all addresses":       {"0.0.0.0", formatText, []string{"WARNING: --insecure on 0.0.0.0:2113", "level=WARN"}},
		"all of IPv6":         {"::", formatText, []string{"WARNING: --insecure on [::]:2113", "level=WARN"}},
		"one of a network":    {"10.0.0.7", formatText, []string{"WARNING: --insecure on 10.0.0.7:2113", "level=WARN"}},
		"a log that is JSON":  {"0.0.0.0", formatJSON, []string{`"level":"WARN"`}},
		"loopback, also JSON": {"127.0.0.2", formatJSON, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stderr strings.Builder
			p := newProgram(nil, nil, nil, &stderr)
			p.warnOfOpenStore(p.logger(c.format, slog.LevelInfo), &net.TCPAddr{IP: net.ParseIP(c.address), Port: 2113},
				c.format)
			lines := strings.FieldsFunc(stderr.String(), func(r rune) bool { return r == '\n' })
			if len(lines) != len(c.said) {
				t.Fatalf("it says %q, want %d lines", lines, len(c.said))
			}
			for i, text := range c.said {
				if !strings.Contains(lines[i], text) {
					t.Errorf("%q lacks %q", lines[i], text)
				}
			}
		})
	}
}

func TestEventStoreAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := begin(t, nil, "SECBOARD_EVENTSTORE_URL=", "eventstore", "serve", "--listen", "127.0.0.1:0", "--data", dir,
		"--insecure")
	env := settings{
		"SECBOARD_EVENTSTORE_URL": store.found(`URL='(\S+)'`), "SECBOARD_DATA": filepath.Join(t.TempDir(), "data"),
	}
	command(t, env, rootPassword, "superuser", "create", "--email", rootEmail, "--password-stdin").expect(t, exitDone,
		"is a superuser")
	impatient(t, settings{"SECBOARD_DATA": dir}, "projections", "status").expect(t, exitFailed,
		"in use by secboard eventstore serve")
	if status := store.stop(); status != exitDone {
		t.Errorf("it ended with status %d: %s", status, store.stderr)
	}
	if got := store.stderr.String(); strings.Contains(got, "WARN") {
		t.Errorf("it warns of a port that only this machine reaches: %s", got)
	}

	// With TLS: only who has the certificate and the password gets in, and what was written is there.
	store = begin(t, nil, "SECBOARD_EVENTSTORE_URL=", "eventstore", "serve", "--listen", "127.0.0.1:0", "--data", dir)
	url := store.found(`URL='(\S+)'`)
	password, err := os.ReadFile(store.found(`password: +in (\S+)`))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(store.first, strings.TrimSpace(string(password))) {
		t.Error("it prints the password instead of where it is")
	}
	env["SECBOARD_EVENTSTORE_URL"] = strings.Replace(url, "PASSWORD", "wrong", 1)
	command(t, env, rootPassword, "superuser", "create", "--email", rootEmail, "--password-stdin").expect(t, exitFailed,
		"SECBOARD_EVENTSTORE_URL")
	env["SECBOARD_EVENTSTORE_URL"] = strings.Replace(url, "PASSWORD", strings.TrimSpace(string(password)), 1)
	log, err := esdb.Connect(env["SECBOARD_EVENTSTORE_URL"], esdb.Options{Timeout: deadline})
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for event, err := range log.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, event.Type)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	if all := strings.Join(types, " "); !strings.Contains(all, "user.superuser_granted") {
		t.Errorf("the log holds %s, want the superuser from before", all)
	}

	// Both stores named: nothing is embedded, so two may run with one data directory.
	env["SECBOARD_DATABASE_URL"] = pgtest.NewDatabaseURL(t)
	_, one := serve(t, env)
	_, other := serve(t, env)
	one.signIn(rootEmail, rootPassword)
	other.token = one.token
	other.want(http.StatusOK, http.MethodGet, "/api/v1/sessions/current", nil)
	for _, part := range []string{"lock", "eventstore", "postgres"} {
		if exists(filepath.Join(env["SECBOARD_DATA"], part)) {
			t.Errorf("with both stores named there is %s in the data directory", part)
		}
	}
	command(t, env, "", "doctor", "--listen", strings.TrimPrefix(one.url, "http://")).expect(t, exitDone,
		"the one at SECBOARD_EVENTSTORE_URL answers", "secboard answers on")
}

func TestADatabaseOfAnotherLogIsRefused(t *testing.T) {
	t.Parallel()
	env := settings{"SECBOARD_DATABASE_URL": pgtest.NewDatabaseURL(t)}
	own, other := env.with("SECBOARD_DATA", filepath.Join(t.TempDir(), "own")),
		env.with("SECBOARD_DATA", filepath.Join(t.TempDir(), "other"))
	running, _ := serve(t, own.with(bootstrapEmail, rootEmail).with(bootstrapPassword, rootPassword))
	if status := running.stop(); status != exitDone {
		t.Fatal(status, running.stderr)
	}
	command(t, other, rootPassword, "superuser", "create", "--email", rootEmail, "--password-stdin").expect(t, exitDone)
	for _, args := range [][]string{
		{"audit", "events"}, {"audit", "access"}, {"audit", "account", rootEmail}, {"projections", "status"},
		{"projections", "verify", "--all"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			command(t, own, "", args...).expect(t, exitDone)
			command(t, other, "", args...).expect(t, exitFailed, "built from another event log",
				"SECBOARD_DATABASE_URL")
		})
	}
	command(t, own, "", "doctor", "--listen", "127.0.0.1:0").expect(t, exitDone, "are up to date")
	command(t, other, "", "doctor", "--listen", "127.0.0.1:0").expect(t, exitFailed, "PROBLEM  projections",
		"built from another event log", "a restored log needs an empty database")
}

func TestDoctorKnowsAKeysetThatWasLostAndADatabaseThatIsNewer(t *testing.T) {
	t.Parallel()
	env := settings{
		"SECBOARD_DATA": filepath.Join(t.TempDir(), "data"), "SECBOARD_DATABASE_URL": pgtest.NewDatabaseURL(t),
	}
	command(t, env, rootPassword, "superuser", "create", "--email", rootEmail, "--password-stdin").expect(t, exitDone)
	if err := os.Remove(filepath.Join(env["SECBOARD_DATA"], "keyset.json")); err != nil {
		t.Fatal(err)
	}
	got := command(t, env, "", "doctor", "--listen", "127.0.0.1:0")
	got.expect(t, exitFailed, "PROBLEM  keyset", "open     keyset")
	if strings.Contains(got.stdout, "the first start creates one") {
		t.Errorf("no start makes another keyset: %s", got.stdout)
	}

	pool, err := postgres.Open(t.Context(), env["SECBOARD_DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(t.Context(),
		"INSERT INTO app.goose_db_version (version_id, is_applied) VALUES (99999, true)"); err != nil {
		t.Fatal(err)
	}
	command(t, env, "", "doctor", "--listen", "127.0.0.1:0").expect(t, exitFailed, "PROBLEM  database",
		"newer secboard")
	command(t, env, "", "migrate", "status").expect(t, exitFailed, "newer secboard")
}

func TestCommandsWaitForEachOther(t *testing.T) {
	t.Parallel()
	env := settings{"SECBOARD_DATA": filepath.Join(t.TempDir(), "data")}
	var both sync.WaitGroup
	for _, email := range []string{"one@example.com", "two@example.com"} {
		both.Go(func() {
			command(t, env, rootPassword, "superuser", "create", "--email", email, "--password-stdin").expect(t,
				exitDone, email+" is a superuser")
		})
	}
	both.Wait()
	for _, part := range []string{"eventstore", "keyset.json", "lock"} {
		info, err := os.Stat(filepath.Join(env["SECBOARD_DATA"], part))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others may read %s (mode %04o)", part, info.Mode().Perm())
		}
	}
}

func TestSuperuserCreateRefusesWithASentence(t *testing.T) {
	t.Parallel()
	env := settings{"SECBOARD_DATA": filepath.Join(t.TempDir(), "data")}
	create := func(email, stdin string, more ...string) outcome {
		return command(t, env, stdin, append([]string{"superuser", "create", "--email", email}, more...)...)
	}
	create("not an address", rootPassword, "--password-stdin").expect(t, exitUsage, "--email", "not an e-mail address")
	create(rootEmail, "short", "--password-stdin").expect(t, exitFailed, "at least 12 characters")
	create(rootEmail, "caf\xe9 caf\xe9 caf\xe9", "--password-stdin").expect(t, exitFailed,
		"password: must be UTF-8 text")
	create(rootEmail, "", "--password-stdin").expect(t, exitFailed, "no password on standard input")
	create(rootEmail, rootPassword).expect(t, exitUsage, "not a terminal", "--password-stdin")
	create(rootEmail, "", "--password", rootPassword).expect(t, exitUsage, "--password")
	var made struct{ ID, Email string }
	got := create(rootEmail, rootPassword+"\r\n", "--password-stdin", "--json")
	if err := json.Unmarshal([]byte(got.stdout), &made); err != nil || made.ID == "" || made.Email != rootEmail {
		t.Errorf("with --json: %s, %v", got.stdout, err)
	}
}

func TestLogWithAnotherKeysetIsRefused(t *testing.T) {
	t.Parallel()
	env := settings{"SECBOARD_DATA": filepath.Join(t.TempDir(), "data")}
	again := func() outcome {
		return command(t, env, rootPassword, "superuser", "create", "--email", rootEmail, "--password-stdin")
	}
	again().expect(t, exitDone)
	keyset := filepath.Join(env["SECBOARD_DATA"], "keyset.json")
	if err := os.Rename(keyset, keyset+".away"); err != nil {
		t.Fatal(err)
	}
	again().expect(t, exitFailed, "SECBOARD_KEYSET", "there is no keyset file "+keyset)
	if exists(keyset) {
		t.Error("it made a new keyset for a log that has another")
	}
	other := settings{"SECBOARD_DATA": filepath.Join(t.TempDir(), "other")}
	command(t, other, rootPassword, "superuser", "create", "--email", rootEmail, "--password-stdin").expect(t, exitDone)
	env["SECBOARD_KEYSET"] = filepath.Join(other["SECBOARD_DATA"], "keyset.json")
	again().expect(t, exitFailed, "SECBOARD_KEYSET", "was written with the keyset")
	env["SECBOARD_KEYSET"] = keyset + ".away"
	again().expect(t, exitDone)
	if err := os.Chmod(keyset+".away", 0o644); err != nil {
		t.Fatal(err)
	}
	again().expect(t, exitFailed, "SECBOARD_KEYSET", "chmod 600")
}

func TestTheLogOfAnotherUserIsLeftAlone(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // only root can give a directory away
	}
	env := settings{"SECBOARD_DATA": filepath.Join(t.TempDir(), "data")}
	log := filepath.Join(env["SECBOARD_DATA"], "eventstore")
	if err := errors.Join(os.MkdirAll(log, 0o700), os.Chown(log, 54321, -1)); err != nil {
		t.Fatal(err)
	}
	command(t, env, rootPassword, "superuser", "create", "--email", rootEmail, "--password-stdin").
		expect(t, exitFailed, log+" belongs to the user 54321: run secboard as that user, or give the data directory "+
			"to this one (chown -R)")
}

func TestLongDataDirectory(t *testing.T) {
	t.Parallel()
	env := settings{"SECBOARD_DATA": filepath.Join(t.TempDir(), strings.Repeat("long directory ", 12), "дані")}
	command(t, env, rootPassword, "superuser", "create", "--email", rootEmail, "--password-stdin").expect(t, exitDone,
		"is a superuser")
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	env := settings{"SECBOARD_DATA": filepath.Join(t.TempDir(), "data"), "SECBOARD_LISTEN": "127.0.0.1:0"}
	command(t, env, "", "doctor").expect(t, exitDone, "first start creates")
	if exists(env["SECBOARD_DATA"]) {
		t.Error("a check made the data directory")
	}

	env["SECBOARD_DATABASE_URL"] = "postgres://secboard:pass-hunter@" + nobody(t) + "/secboard"
	command(t, env, rootPassword, "superuser", "create", "--email", rootEmail, "--password-stdin").expect(t, exitDone)
	if err := os.Chmod(filepath.Join(env["SECBOARD_DATA"], "keyset.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stranger := &http.Server{ReadHeaderTimeout: deadline, Handler: http.NotFoundHandler()}
	go func() {
		if err := stranger.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	defer func() {
		if err := stranger.Close(); err != nil {
			t.Error(err)
		}
	}()
	env["SECBOARD_LISTEN"] = listener.Addr().String()
	env["SECBOARD_LISTN"] = "misspelt"
	got := impatient(t, env, "doctor", "--json")
	var report struct {
		OK     bool
		Checks []finding
	}
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil || got.status != exitFailed || report.OK {
		t.Fatalf("%v: %+v", err, got)
	}
	if strings.Contains(got.stdout+got.stderr, "hunter") {
		t.Errorf("it shows a password: %+v", got)
	}
	found := map[string]finding{}
	for _, f := range report.Checks {
		found[f.Check] = f
		if !f.OK && f.Fix == "" {
			t.Errorf("%s is a problem, but nothing is said about what to do: %+v", f.Check, f)
		}
	}
	if !found["configuration"].OK || !strings.Contains(found["configuration"].Detail, "SECBOARD_LISTN") {
		t.Errorf("the variable that is no setting is not named: %+v", found["configuration"])
	}
	if !found["event store"].OK || !found["disk space"].OK {
		t.Errorf("event store and disk are well: %+v", report.Checks)
	}
	for _, check := range []string{"data directory", "keyset", "database", "listen address"} {
		if f, checked := found[check]; !checked || f.OK {
			t.Errorf("%s has a problem that it doesn't see: %+v", check, f)
		}
	}
}
