package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/secboard/secboard/pause/pausetest"

	"github.com/secboard/secboard/demo"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/postgres/pgtest"
)

const (
	rootEmail    = "root@example.com"
	rootPassword = "a fine long password"
)

func TestServeFromAnEmptyDirectory(t *testing.T) {
	t.Parallel()
	env := settings{"SECBOARD_DATA": filepath.Join(pgtest.TempDir(t), "data")}
	bootstrapped := env.with(bootstrapEmail, rootEmail).with(bootstrapPassword, rootPassword)
	first, api := serve(t, bootstrapped)
	if strings.Contains(first.first+first.stderr.String(), rootPassword) {
		t.Error("it shows the bootstrap password")
	}
	api.signIn(rootEmail, rootPassword)
	company := api.want(http.StatusCreated, http.MethodPost, "/api/v1/companies", map[string]string{"name": "Acme"})

	// A second one may not use the same directory, and says who does.
	command(t, env, "", "serve", "--listen", "127.0.0.1:0").expect(t, exitFailed,
		"the data directory "+env["SECBOARD_DATA"]+" is in use by secboard serve (pid "+strconv.Itoa(os.Getpid())+")",
		"SECBOARD_DATA")
	// Nor the same port with another directory.
	taken := strings.TrimPrefix(api.url, "http://")
	command(t, settings{"SECBOARD_DATA": filepath.Join(pgtest.TempDir(t), "other")}, "", "serve", "--listen",
		taken).expect(t, exitFailed,
		"SECBOARD_LISTEN", taken, "in use by another program")

	command(t, settings{"SECBOARD_DATA": filepath.Join(t.TempDir(), "third")}, "", "doctor", "--listen",
		taken).expect(t, exitFailed,
		"PROBLEM  listen address", "another secboard, with other data, answers on "+taken)

	// Other commands attach to it.
	command(t, env, "another fine password\n", "superuser", "create", "--email", "second@example.com",
		"--password-stdin").
		expect(t, exitDone, "second@example.com is a superuser")
	if name := operatorName(); !strings.HasSuffix(name, "@"+hostOfTest(t)) || strings.HasPrefix(name, "@") {
		t.Errorf("the operator is %q", name)
	}
	command(t, env, "", "audit", "events", "--type", "user.superuser_granted").expect(t, exitDone,
		"by the operator "+operatorName())
	api.signIn("second@example.com", "another fine password")
	// A superuser whom wrong passwords have locked out is let in again.
	wrong := map[string]string{"email": "second@example.com", "password": "not the right one"}
	for range signin.DefaultPolicy.Attempts {
		api.want(http.StatusUnauthorized, http.MethodPost, "/api/v1/sessions", wrong)
	}
	right := map[string]string{"email": "second@example.com", "password": "another fine password"}
	api.want(http.StatusUnauthorized, http.MethodPost, "/api/v1/sessions", right)
	command(t, env, "another fine password\n", "superuser", "create", "--email", "second@example.com",
		"--password-stdin").expect(t, exitDone, "can sign in")
	api.signIn("second@example.com", "another fine password") // the new password has ended the sessions of before
	status := command(t, env, "", "projections", "status", "--json")
	status.expect(t, exitDone)
	var projections struct{ Items []map[string]any }
	if err := json.Unmarshal([]byte(status.stdout), &projections); err != nil || len(projections.Items) < 6 {
		t.Errorf("projections status --json: %s, %v", status.stdout, err)
	}
	for _, item := range projections.Items {
		if item["state"] == "stopped" || item["error"] != nil {
			t.Errorf("the projection %v is not well", item)
		}
	}
	command(t, env, "", "projections", "status").expect(t, exitDone, "NAME", "users", "history")
	command(t, env, "", "migrate", "status").expect(t, exitDone, "00001_operational_state.sql")
	command(t, env, "", "migrate", "up").expect(t, exitDone, "up to date")
	command(t, env, "", "doctor").expect(t, exitDone, "secboard answers on "+taken, "running secboard",
		"the one that the log was written with")

	// A request under way is finished when it is told to stop.
	answered := slowRequest(t, api, first.end)
	if status := first.wait(); status != exitDone {
		t.Errorf("it ended with status %d, want %d: %s", status, exitDone, first.stderr)
	}
	if got := <-answered; got != http.StatusCreated {
		t.Errorf("the request under way was answered %d, want %d", got, http.StatusCreated)
	}

	// The second start finds everything, and makes no second superuser of variables that were left set and changed.
	second, api := serve(t, env.with(bootstrapEmail, "late@example.com").with(bootstrapPassword, rootPassword))
	api.signIn(rootEmail, rootPassword)
	found := api.want(http.StatusOK, http.MethodGet, "/api/v1/companies/"+company["id"].(string), nil)
	if found["name"] != "Acme" {
		t.Errorf("the second start finds %v, want the company Acme", found)
	}
	api.want(http.StatusOK, http.MethodGet, "/readyz", nil)
	if got := api.do(http.MethodPost, "/api/v1/sessions",
		map[string]string{
			"email": "late@example.com", "password": rootPassword,
		}); got.status != http.StatusUnauthorized {
		t.Errorf("a bootstrap account was made in a used store: %d %v", got.status, got.body)
	}

	// A database that dies comes back without a restart.
	for i := range 10 {
		api.want(http.StatusCreated, http.MethodPost, "/api/v1/companies",
			map[string]string{"name": fmt.Sprintf("Before the crash %d", i)})
	}
	killed := postgresPID(t, env["SECBOARD_DATA"])
	if killed <= 0 {
		t.Fatal("there is no database to kill")
	}
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	pausetest.Until(t, "the database is not started again", func() bool {
		return postgresPID(t, env["SECBOARD_DATA"]) != killed
	})
	pausetest.Until(t, "the read models lack what they had before the crash of the database", func() bool {
		got, err := api.try(http.MethodGet, "/api/v1/companies?limit=200", nil)
		if err != nil || got.status != http.StatusOK {
			return false
		}
		return len(got.body["items"].([]any)) == 12 // and Acme, and Late Ltd
	})
	attempt := 0
	pausetest.Until(t, "after the crash of the database nothing can be changed", func() bool {
		attempt++
		got, err := api.try(http.MethodPost, "/api/v1/companies",
			map[string]string{"name": fmt.Sprintf("After the crash %d", attempt)})
		return err == nil && got.status == http.StatusCreated
	})
	if status := second.stop(); status != exitDone {
		t.Errorf("it ended with status %d, want %d: %s", status, exitDone, second.stderr)
	}

	// With everything stopped, commands start the stores by themselves.
	command(t, env, "", "doctor", "--listen", "127.0.0.1:0").expect(t, exitDone, "the embedded one can be opened",
		"answers, and its schema is up to date", "127.0.0.1:0 is free",
		"done     company", "open     site")
	command(t, env, "", "projections", "status").expect(t, exitDone, "users")
}

func hostOfTest(t *testing.T) string {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// slowRequest sends a command of which the end comes only after the server was told to stop.
func slowRequest(t *testing.T, api *client, stop func()) <-chan int {
	t.Helper()
	body, rest := io.Pipe()
	reading := make(chan struct{}) // closed when the server's handler asks for the body
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(reading) }})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, api.url+"/api/v1/companies", body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+api.token)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Expect", "100-continue")
	answered := make(chan int, 1)
	go func() {
		transport := &http.Transport{ExpectContinueTimeout: deadline}
		defer transport.CloseIdleConnections()
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Errorf("the request under way failed: %v", err)
			answered <- 0
			return
		}
		answered <- response.StatusCode
		if err := response.Body.Close(); err != nil {
			t.Error(err)
		}
	}()
	<-reading
	stop()
	refused := func() bool {
		connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(api.url, "http://"))
		if err != nil {
			return true
		}
		return connection.Close() != nil
	}
	pausetest.Until(t, "it still takes connections", refused)
	if _, err := rest.Write([]byte(`{"name":"Late Ltd"}`)); err != nil {
		t.Error(err)
	}
	if err := rest.Close(); err != nil {
		t.Error(err)
	}
	return answered
}

// postgresPID is the process of the local Postgres, 0 while there is none.
func postgresPID(t *testing.T, data string) int {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(data, "postgres", "data", "postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := bytes.Cut(content, []byte("\n"))
	pid, err := strconv.Atoi(string(line))
	if err != nil {
		return 0 // it is being written
	}
	return pid
}

func TestServeDemo(t *testing.T) {
	t.Parallel()
	env := settings{
		"SECBOARD_DATA":         filepath.Join(pgtest.TempDir(t), "data"),
		"SECBOARD_DATABASE_URL": pgtest.NewDatabaseURL(t),
	}.with(bootstrapEmail, rootEmail).with(bootstrapPassword, rootPassword)
	first, api := serve(t, env, "--demo")
	api.signIn(rootEmail, rootPassword)
	api.signIn(demo.AdminEmail, first.found(`admin@demo.secboard.local with the password (\S+)`))
	if people := api.all("/api/v1/users"); len(people) != 201 { // and the bootstrap administrator
		t.Errorf("there are %d accounts, want 201", len(people))
	}
	if companies := api.all("/api/v1/companies"); len(companies) != 3 {
		t.Errorf("there are %d companies, want 3", len(companies))
	}
	if exists(filepath.Join(env["SECBOARD_DATA"], "postgres")) {
		t.Error("it made a database of its own in spite of SECBOARD_DATABASE_URL")
	}
	if got := api.do(http.MethodPost, "/api/v1/password-resets",
		map[string]any{"email": demo.AdminEmail}); got.status != http.StatusAccepted {
		t.Errorf("asking for a link: %d %v", got.status, got.body)
	}
	pausetest.Until(t, "the log does not show the link", func() bool {
		return strings.Contains(first.stderr.String(), api.url+"/password_reset/")
	})
	if mails := api.all("/api/v1/mail/messages"); len(mails) != 0 {
		t.Errorf("the demo mails: %v", mails)
	}
	if status := first.stop(); status != exitDone {
		t.Errorf("it ended with status %d: %s", status, first.stderr)
	}
	again, api := serve(t, env, "--demo")
	again.found(`(password shown at the first start)`)
	if strings.Contains(again.stderr.String(), "/password_reset/") {
		t.Error("the link of before the restart is shown again")
	}
	if people := func() []map[string]any {
		api.signIn(rootEmail, rootPassword)
		return api.all("/api/v1/users")
	}(); len(people) != 201 {
		t.Errorf("after the second start there are %d accounts, want 201", len(people))
	}
}

func TestDemoLeavesOtherDataAlone(t *testing.T) {
	t.Parallel()
	env := settings{
		"SECBOARD_DATA":         filepath.Join(pgtest.TempDir(t), "data"),
		"SECBOARD_DATABASE_URL": pgtest.NewDatabaseURL(t),
	}.with(bootstrapEmail, rootEmail).with(bootstrapPassword, rootPassword)
	first, api := serve(t, env)
	api.signIn(rootEmail, rootPassword)
	api.want(http.StatusCreated, http.MethodPost, "/api/v1/companies", map[string]string{"name": "Real Ltd"})
	first.stop()
	second, api := serve(t, env, "--demo")
	second.found(`(the store holds other data, so no demo data was added)`)
	api.signIn(rootEmail, rootPassword)
	if companies := api.all("/api/v1/companies"); len(companies) != 1 {
		t.Errorf("there are %d companies, want the one from before", len(companies))
	}
}
