package node

import (
	"context"
	"os"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/secboard/secboard/eventstore/storetest"
)

func TestContractOverUnixSocket(t *testing.T) {
	t.Parallel()
	socket := serveUnix(t, openNode(t, t.TempDir()))
	configuration, err := esdb.ParseConnectionString("esdb://localhost?tls=false")
	if err != nil {
		t.Fatal(err)
	}
	configuration.Address = "unix:" + socket
	storetest.Run(t, *configuration)
}

func TestContractOverTLS(t *testing.T) {
	t.Parallel()
	node := openNode(t, t.TempDir())
	credentials, err := LoadOrCreateCredentials(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	listener := listenTCP(t)
	serve(t, func(ctx context.Context) error { return node.ServeTCP(ctx, listener, credentials) })
	configuration, err := esdb.ParseConnectionString(credentials.ConnectionString(listener.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	storetest.Run(t, *configuration)
}

// TestContractOfServer runs the same suite against a real EventStoreDB, to see that the suite
// asks for nothing of the node's own. It runs where SECBOARD_TEST_EVENTSTORE_URL names one.
func TestContractOfServer(t *testing.T) {
	t.Parallel()
	url := os.Getenv("SECBOARD_TEST_EVENTSTORE_URL")
	if url == "" {
		t.Log("SECBOARD_TEST_EVENTSTORE_URL is not set: no server to check")
		return
	}
	configuration, err := esdb.ParseConnectionString(url)
	if err != nil {
		t.Fatal(err)
	}
	storetest.Run(t, *configuration)
}
