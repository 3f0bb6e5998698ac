// Package nodetest gives tests an event store of their own: an embedded node in a temporary folder, reached through the
// client that production uses.
package nodetest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/secboard/secboard/eventstore/esdb"
	"github.com/secboard/secboard/eventstore/node"
)

// patience of the client with a node that is only slow, so that a busy machine changes no answer.
const patience = time.Minute

// Connect starts a node and gives a client on it; both end with the test.
func Connect(t testing.TB) *esdb.Client {
	t.Helper()
	client, err := esdb.Connect(Start(t), esdb.Options{Logger: slog.New(slog.DiscardHandler), Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

// Start starts a node on a Unix socket and gives its URL.
func Start(t testing.TB) string {
	t.Helper()
	// Socket paths are short, and the folders that testing makes are not.
	dir, err := os.MkdirTemp("", "node")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	store, err := node.Open(node.Options{Dir: filepath.Join(dir, "store"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	serve(t, store, func(ctx context.Context) error { return store.ServeUnix(ctx, socket) })
	return "unix://" + socket
}

// ListenAndServe starts a node that keeps its store in dir and listens on a loopback TCP address ("127.0.0.1:0" for any
// port), without TLS. stop ends it before the test does, so that it can be started again.
func ListenAndServe(t testing.TB, dir, address string) (listening string, stop func()) {
	t.Helper()
	store, err := node.Open(node.Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	stop = serve(t, store, func(ctx context.Context) error { return store.ServeInsecure(ctx, listener) })
	return listener.Addr().String(), stop
}

func serve(t testing.TB, store *node.Node, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := errors.Join(<-ended, store.Close()); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}
