package node

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

const clientModule = "github.com/EventStore/EventStore-Client-Go/v4"

// clientSuite are the client's own test files that apply to the node. Those left out are
// delete_test.go (the node refuses deletes), auth_insecure_test.go, auth_secure_test.go and
// persistent_*_test.go (they create persistent subscriptions), projection_test.go,
// cluster_test.go (needs three nodes) and client_certificates_test.go (a plugin).
var clientSuite = []string{
	"append_test.go", "connection_test.go", "read_all_test.go", "read_stream_test.go", "subscriptions_test.go",
	"tls_test.go",
}

// TestClientSuite runs the client's own tests against two nodes, one of them holding as much of
// the database that the client's tests come with as can be told from their expectations.
func TestClientSuite(t *testing.T) {
	t.Parallel()
	client := strings.TrimSpace(goCommand(t, "", nil, "list", "-m", "-f", "{{.Dir}}", clientModule))
	dir := t.TempDir()
	credentials, err := LoadOrCreateCredentials(filepath.Join(dir, "certs", "node"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = LoadOrCreateCredentials(filepath.Join(dir, "certs", "other"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "certs", "untrusted-ca"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "certs", "other", certificateFile),
		filepath.Join(dir, "certs", "untrusted-ca", "ca.crt")); err != nil {
		t.Fatal(err)
	}
	credentials.Password = "changeit" // as the client's tests expect

	suite := filepath.Join(dir, "esdb")
	if err := os.CopyFS(suite, os.DirFS(filepath.Join("testdata", "clientsuite"))); err != nil {
		t.Fatal(err)
	}
	for _, file := range clientSuite {
		content, err := os.ReadFile(filepath.Join(client, "esdb", file))
		if err != nil {
			t.Fatal(err)
		}
		// What is right late is right: the suite waits five seconds or thirty, and its client ten, which a busy machine
		// may need. The files still use the package time.
		content = regexp.MustCompile(`time\.Duration\((5|30)\)\*time\.Second`).ReplaceAll(content,
			[]byte("(patience + 0*time.Second)"))
		content = bytes.ReplaceAll(content, []byte("esdb.NewClient("), []byte("newClient("))
		if err := os.WriteFile(filepath.Join(suite, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(client, "resources"), filepath.Join(dir, "resources")); err != nil {
		t.Fatal(err)
	}
	makeModule(t, dir)

	populated := t.TempDir()
	populate(t, populated, filepath.Join(client, "resources", "test"))
	arguments := []string{"test", "-v", "-count=1", "-vet=off", "-ldflags=-s -w", "-timeout=20m"}
	if raceDetectorIsOn() {
		arguments = append(arguments, "-race") // so that what is compiled already can be used
	}
	output := goCommand(t, dir, []string{
		"NODE_EMPTY=" + serveTLS(t, t.TempDir(), credentials),
		"NODE_POPULATED=" + serveTLS(t, populated, credentials),
		"EVENTSTORE_INSECURE=false", "GOFLAGS=-mod=mod", "GOWORK=off",
	}, append(arguments, "./esdb")...)

	results := map[string]int{}
	for _, result := range regexp.MustCompile(
		`(?m)^\s+--- (PASS|FAIL|SKIP): TestClientSuite/\w+/`).FindAllStringSubmatch(output, -1) {
		results[result[1]]++
	}
	if diff := gocmp.Diff(map[string]int{"PASS": 30}, results); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", output, diff)
	}
}

// makeModule makes a module with our versions of everything.
func makeModule(t *testing.T, dir string) {
	t.Helper()
	ours := strings.TrimSpace(goCommand(t, "", nil, "env", "GOMOD"))
	module, err := os.ReadFile(ours)
	if err != nil {
		t.Fatal(err)
	}
	module = regexp.MustCompile(`(?m)^module .*$`).ReplaceAll(module, []byte("module clientsuite"))
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), module, 0o600); err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(filepath.Dir(ours), "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o600); err != nil {
		t.Fatal(err)
	}
}

func raceDetectorIsOn() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func goCommand(t *testing.T, dir string, environment []string, arguments ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", arguments...)
	command.Dir = dir
	command.Env = append(os.Environ(), environment...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		t.Fatalf("go %s:\n%s%s: %v", strings.Join(arguments, " "), output, stderr.String(), err)
	}
	return string(output)
}

func serveTLS(t *testing.T, dir string, credentials Credentials) (endpoint string) {
	t.Helper()
	n := openNode(t, dir)
	listener := listenTCP(t)
	serve(t, func(ctx context.Context) error { return n.ServeTCP(ctx, listener, credentials) })
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("localhost", port)
}

// datasetEvent is an event as the client's expectations have it.
type datasetEvent struct {
	StreamID       string `json:"streamId"`
	StreamRevision struct {
		Value uint64 `json:"value"`
	} `json:"streamRevision"`
	EventID      uuid.UUID `json:"eventId"`
	EventType    string    `json:"eventType"`
	EventData    []int     `json:"eventData"`
	UserMetadata []int     `json:"userMetadata"`
	ContentType  string    `json:"contentType"`
	Position     struct {
		Commit uint64 `json:"commit"`
	} `json:"position"`
	Created struct {
		Seconds int64 `json:"seconds"`
		Nanos   int64 `json:"nanos"`
	} `json:"created"`
}

// populate writes the client's test database: the events its expectations show, at their places,
// and between them what the expectations imply of the streams dataset20M-0 and dataset20M-1800.
func populate(t *testing.T, dir, resources string) {
	t.Helper()
	events := map[uint64]datasetEvent{} // by position
	for revision := range uint64(6000) {
		e := filler("dataset20M-0", revision, revision%200)
		if e.Position.Commit = 137783 + (29870*revision-29870*194)/200; revision < 194 {
			e.Position.Commit = 137783 - (194-revision)*149
		}
		if revision >= 2000 {
			e.Position.Commit = 13_000_000 + revision
		}
		events[e.Position.Commit] = e
	}
	batches := []uint64{
		11607400, 11763616, 11795016, 11853738, 11912460, 11971182, 12029904, 12088626, 12147348, 12206076,
	}
	for batch, start := range batches {
		for i := range uint64(200) {
			e := filler("dataset20M-1800", uint64(batch)*200+i, 1800+i)
			e.Position.Commit = start + 157*i
			events[e.Position.Commit] = e
		}
	}
	files, err := filepath.Glob(filepath.Join(resources, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.Contains(filepath.Base(file), "filtered") {
			continue // positions and revisions only
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var list []struct {
			Event datasetEvent `json:"event"`
		}
		if err := json.Unmarshal(content, &list); err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			events[e.Event.Position.Commit] = e.Event
		}
	}
	writeDataset(t, dir, events)
}

func filler(stream string, revision, number uint64) datasetEvent {
	e := datasetEvent{
		StreamID: stream, EventID: uuid.New(), EventType: fmt.Sprintf("eventType-%d", number),
		ContentType: contentTypeJSON,
	}
	e.StreamRevision.Value = revision
	e.Created.Seconds = 1578852986
	return e
}

// writeDataset writes events at positions and revisions of their own, which the node itself never does.
func writeDataset(t *testing.T, dir string, events map[uint64]datasetEvent) {
	t.Helper()
	n, err := Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	g := group{node: n, batch: n.db.NewBatch()}
	ordered := slices.SortedFunc(func(yield func(datasetEvent) bool) {
		for _, e := range events {
			if !yield(e) {
				return
			}
		}
	}, func(a, b datasetEvent) int { return cmp.Compare(a.Position.Commit, b.Position.Commit) })
	for _, e := range ordered {
		proposed := newProposal([]byte(e.StreamID), e.EventID, e.EventType, e.ContentType == contentTypeJSON,
			toBytes(e.UserMetadata), toBytes(e.EventData))
		created := e.Created.Seconds*10_000_000 + e.Created.Nanos/100
		if err := g.put([]byte(e.StreamID), &proposed, e.StreamRevision.Value, e.Position.Commit, created); err != nil {
			t.Fatal(err)
		}
		if err := g.batch.Set(streamHeadKey([]byte(e.StreamID)),
			headValue(int64(e.StreamRevision.Value), e.Position.Commit), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.batch.Commit(pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

func toBytes(numbers []int) []byte {
	list := make([]byte, len(numbers))
	for i, number := range numbers {
		list[i] = byte(number)
	}
	return list
}
