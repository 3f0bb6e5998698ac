package node

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

func openNode(t testing.TB, dir string) *Node {
	t.Helper()
	n, err := Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	})
	return n
}

// serveUnix serves the node until the test ends and returns its socket.
func serveUnix(t testing.TB, n *Node) string {
	t.Helper()
	socket := filepath.Join(shortDir(t), "s")
	listener, err := listenUnix(socket)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, func(ctx context.Context) error { return n.serve(ctx, listener) })
	return socket
}

// serve runs a server until the test ends.
func serve(t testing.TB, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// patience bounds every wait. It is no expectation of how long something takes.
const patience = 5 * time.Minute

func unixClient(t testing.TB, socket string) *esdb.Client {
	t.Helper()
	return newClient(t, &esdb.Configuration{Address: "unix:" + socket, DisableTLS: true})
}

func newClient(t testing.TB, configuration *esdb.Configuration) *esdb.Client {
	t.Helper()
	if configuration.MaxDiscoverAttempts == 0 {
		configuration.DiscoveryInterval = 100
		configuration.GossipTimeout = int(patience / time.Second)
		configuration.MaxDiscoverAttempts = 10
		configuration.KeepAliveInterval = 10 * time.Second
	}
	configuration.KeepAliveTimeout, configuration.DefaultDeadline = patience, new(patience)
	configuration.Logger = esdb.NoopLogging()
	client, err := esdb.NewClient(configuration)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
	})
	return client
}

func listenTCP(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}
