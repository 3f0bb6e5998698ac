// This file stands in for the client's containers_test.go and client_test.go: it hands its tests
// two running nodes in place of Docker containers.
package esdb_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
)

// Container is a running node.
type Container struct{ Endpoint string }

type nameGenerator struct{}

func (nameGenerator) Generate() string { return uuid.NewString() }

var NAME_GENERATOR nameGenerator

func GetEnvOrDefault(key, defaultValue string) string {
	if value, exists := os.LookupEnv(key); exists {
		return value
	}
	return defaultValue
}

func GetClient(t *testing.T, container *Container) *esdb.Client {
	return CreateClient(fmt.Sprintf("esdb://admin:changeit@%s?tlsverifycert=false&tls=true", container.Endpoint), t)
}

func CreateClient(connection string, t *testing.T) *esdb.Client {
	config, err := esdb.ParseConnectionString(connection)
	if err != nil {
		t.Fatal(err)
	}
	config.Logger = esdb.NoopLogging()
	client, err := newClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// patience bounds every wait of the suite. It is no expectation of how long something takes.
const patience = 5 * time.Minute

func newClient(config *esdb.Configuration) (*esdb.Client, error) {
	config.KeepAliveTimeout, config.GossipTimeout = patience, int(patience/time.Second)
	if config.DefaultDeadline == nil {
		config.DefaultDeadline = new(patience)
	}
	return esdb.NewClient(config)
}

// WaitForAdminToBeAvailable has nothing to wait for: the node's user is there from the start.
func WaitForAdminToBeAvailable(*testing.T, *esdb.Client) {}

func TestClientSuite(t *testing.T) {
	empty := &Container{Endpoint: os.Getenv("NODE_EMPTY")}
	populated := &Container{Endpoint: os.Getenv("NODE_POPULATED")}
	emptyClient, populatedClient := GetClient(t, empty), GetClient(t, populated)
	defer emptyClient.Close()
	defer populatedClient.Close()

	ReadAllTests(t, populatedClient)
	AppendTests(t, empty, emptyClient)
	ReadStreamTests(t, emptyClient, populatedClient)
	SubscriptionTests(t, emptyClient, populatedClient)
	ConnectionTests(t, empty)
	TLSTests(t, empty)
}
