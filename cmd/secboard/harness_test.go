package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/secboard/secboard/pause/pausetest"
)

// deadline bounds every wait of these tests. It is no expectation of how long something takes.
const deadline = 10 * time.Minute

// storeTime is as long as the event store of a machine that is ten times too busy may need for one call.
const storeTime = 20 * time.Second

// outcome of a command that ended.
type outcome struct {
	status         int
	stdout, stderr string
}

// settings are SECBOARD_* variables.
type settings map[string]string

func (s settings) with(name, value string) settings {
	copied := maps.Clone(s)
	if copied == nil {
		copied = settings{}
	}
	copied[name] = value
	return copied
}

// asProgram has the test's executable be secboard, as what a command starts of its own.
const asProgram = "RUN_AS_SECBOARD"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) // until the process ends
		os.Exit(newProgram(valuesOf(os.Environ()), os.Stdin, os.Stdout, os.Stderr).run(ctx, os.Args[1:]))
	}
	status := m.Run()
	for _, dir := range folders {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}

// built is the program as people run it, for tests that kill it.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "secboard-program-")
	if err != nil {
		return "", err
	}
	folders = append(folders, dir)
	binary := filepath.Join(dir, "secboard")
	if out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", binary, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
})

// folders are removed after the last test.
var folders []string

func build(t *testing.T) string {
	t.Helper()
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

func newProgram(env settings, stdin io.Reader, stdout, stderr io.Writer) *program {
	executable, err := os.Executable()
	if err != nil {
		panic(err)
	}
	// all that a process of its own needs of ours
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME"} {
		if value, set := os.LookupEnv(name); set {
			env = env.with(name, value)
		}
	}
	if _, set := env[settingTargets]; !set {
		env = env.with(settingTargets, "127.0.0.0/8,::1") // where the servers of the tests are
	}
	return &program{env: env.with(asProgram, "1"), executable: executable, stdin: stdin, stdout: stdout, stderr: stderr,
		patience: deadline, storeTime: storeTime}
}

// environment is what a process that is started beside gets: as the program's own.
func (p *program) environment() (variables []string) {
	for name, value := range p.env {
		variables = append(variables, name+"="+value)
	}
	return variables
}

// command runs a command to its end.
func command(t *testing.T, env settings, stdin string, args ...string) outcome {
	t.Helper()
	var stdout, stderr syncBuffer // a process that the command starts writes there too
	p := newProgram(env, strings.NewReader(stdin), &stdout, &stderr)
	status := p.run(t.Context(), args)
	return outcome{status, stdout.String(), stderr.String()}
}

func (o outcome) expect(t *testing.T, status int, said ...string) {
	t.Helper()
	if o.status != status {
		t.Errorf("exit status %d, want %d\nstdout: %s\nstderr: %s", o.status, status, o.stdout, o.stderr)
	}
	for _, text := range said {
		if !strings.Contains(o.stdout+o.stderr, text) {
			t.Errorf("it should say %q\nstdout: %s\nstderr: %s", text, o.stdout, o.stderr)
		}
	}
}

// running is a command that runs until it is told to end.
type running struct {
	t      testing.TB
	first  string // what it said until it was ready
	end    context.CancelFunc
	status chan int
	stderr *syncBuffer
}

// begin starts a command and waits until it has said the text that ready stands for.
func begin(t testing.TB, env settings, ready string, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	i := &running{t: t, end: cancel, status: make(chan int, 1), stderr: &syncBuffer{}}
	p := newProgram(env, strings.NewReader(""), writer, i.stderr)
	go func() {
		i.status <- p.run(ctx, args)
		if err := writer.Close(); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		if i.status != nil {
			i.stop()
		}
	})
	lines := make(chan string)
	go func() {
		scanner := bufio.NewScanner(reader)
		for scanner.Scan() {
			lines <- scanner.Text()
		}
		close(lines)
	}()
	timeout := time.NewTimer(deadline)
	defer timeout.Stop()
	for {
		select {
		case line, more := <-lines:
			if !more {
				t.Fatalf("%s ended early, with status %d: %s", strings.Join(args, " "), <-i.status, i.stderr)
			}
			i.first += line + "\n"
			if strings.Contains(line, ready) {
				go func() {
					for range lines { // let it go on writing
						continue
					}
				}()
				return i
			}
		case <-timeout.C:
			t.Fatalf("%s did not become ready: %s%s", strings.Join(args, " "), i.first, i.stderr)
		}
	}
}

// stop ends the command as Ctrl-C does, and gives its exit status.
func (i *running) stop() int {
	i.t.Helper()
	i.end()
	return i.wait()
}

func (i *running) wait() int {
	i.t.Helper()
	select {
	case status := <-i.status:
		i.status = nil
		return status
	case <-time.After(deadline):
		i.t.Fatalf("it does not end: %s", i.stderr)
		return -1
	}
}

// found is what an expression matches in what the instance said first.
func (i *running) found(expression string) string {
	i.t.Helper()
	match := regexp.MustCompile(expression).FindStringSubmatch(i.first)
	if match == nil {
		i.t.Fatalf("it did not say %s:\n%s", expression, i.first)
	}
	return match[1]
}

// serve starts `secboard serve` on any free port.
func serve(t testing.TB, env settings, args ...string) (*running, *client) {
	t.Helper()
	if env["SECBOARD_LISTEN"] == "" {
		env = env.with("SECBOARD_LISTEN", "127.0.0.1:0")
	}
	if env[settingMetrics] == "" {
		env = env.with(settingMetrics, "127.0.0.1:0")
	}
	i := begin(t, env, "Stop with Ctrl-C", append([]string{"serve"}, args...)...)
	c := &client{t: t, url: i.found(`listens on (http://\S+)`)}
	if env[settingMetrics] != noMetrics {
		c.page = i.found(`Metrics: +(http://\S+)`)
	}
	return i, c
}

// client talks to the HTTP API.
type client struct {
	t     testing.TB
	url   string
	page  string // of the metrics
	token string
}

// answer of the API.
type answer struct {
	status int
	body   map[string]any
}

// do sends a request and fails the test when the server does not answer it.
func (c *client) do(method, path string, body any) (got answer) {
	c.t.Helper()
	pausetest.Until(c.t, "the read models stay behind", func() bool {
		var err error
		if got, err = c.try(method, path, body); err != nil {
			c.t.Fatal(err)
		}
		return got.body["code"] != "behind" // as it may be on a busy machine: a client comes again
	})
	return got
}

// try sends a request.
func (c *client) try(method, path string, body any) (_ answer, err error) {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		content = bytes.NewReader(encoded)
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, content)
	if err != nil {
		return answer{}, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	got := answer{status: response.StatusCode}
	raw, err := io.ReadAll(response.Body)
	if err != nil || len(raw) == 0 {
		return got, err
	}
	return got, json.Unmarshal(raw, &got.body)
}

// metrics gives the page of metrics.
func (c *client) metrics() string {
	c.t.Helper()
	response, err := http.Get(c.page)
	if err != nil {
		c.t.Fatal(err)
	}
	page, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		c.t.Fatal(err)
	}
	return string(page)
}

// want sends a request that must be answered with a status, and gives the body.
func (c *client) want(status int, method, path string, body any) map[string]any {
	c.t.Helper()
	got := c.do(method, path, body)
	if got.status != status {
		c.t.Fatalf("%s %s answered %d %v, want %d", method, path, got.status, got.body, status)
	}
	return got.body
}

func (c *client) signIn(email, password string) {
	c.t.Helper()
	session := c.want(http.StatusCreated, http.MethodPost, "/api/v1/sessions",
		map[string]string{"email": email, "password": password})
	c.token, _ = session["token"].(string)
}

// all pages through a list.
func (c *client) all(path string) []map[string]any {
	c.t.Helper()
	var items []map[string]any
	for cursor := ""; ; {
		page := c.want(http.StatusOK, http.MethodGet, path+"?limit=200"+cursor, nil)
		for _, item := range page["items"].([]any) {
			items = append(items, item.(map[string]any))
		}
		next, more := page["next_cursor"].(string)
		if !more {
			return items
		}
		cursor = "&cursor=" + next
	}
}

// syncBuffer collects what several goroutines write.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
