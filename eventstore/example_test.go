package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/esdb"
	"github.com/secboard/secboard/eventstore/node"
)

// Events are encoded, appended at the revision that was read, and decoded again.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	store, end := startStore(ctx)
	defer end()
	defer stop()

	id, command := uuid.New(), uuid.New()
	stream := domain.StreamName(company.Kind, id)
	meta := eventstore.Metadata{
		At: time.Now(), Actor: eventstore.Actor{Kind: eventstore.ActorOperator},
		CommandID: command, CorrelationID: command, CausationID: command,
	}
	proposed, err := eventstore.Encode(stream, eventstore.NoStream, []domain.Event{company.Created{Name: "Acme"}}, meta)
	if err != nil {
		panic(err)
	}
	appended, err := store.Append(ctx, stream, eventstore.NoStream, proposed)
	if err != nil {
		panic(err)
	}
	fmt.Println("revision", appended.Revision)

	// Nobody else's change is overwritten: whoever read an older revision is refused, and decides again.
	late, err := eventstore.Encode(stream, eventstore.NoStream, []domain.Event{company.Created{Name: "Nova"}}, meta)
	if err != nil {
		panic(err)
	}
	late[0].ID = uuid.New() // with the ids of before it would be the same append again
	_, err = store.Append(ctx, stream, eventstore.NoStream, late)
	fmt.Println("conflict", errors.Is(err, eventstore.ErrConflict))

	recorded, err := store.ReadStream(ctx, stream)
	if err != nil {
		panic(err)
	}
	for _, r := range recorded {
		envelope := eventstore.Decode(r)
		fmt.Println(envelope.Type, envelope.Event.(company.Created).Name)
	}
	// Output:
	// revision 0
	// conflict true
	// company.created Acme
}

// startStore starts an embedded node in a temporary folder. It ends with ctx; end waits for that.
func startStore(ctx context.Context) (store *esdb.Client, end func()) {
	dir, err := os.MkdirTemp("", "node")
	if err != nil {
		panic(err)
	}
	embedded, err := node.Open(node.Options{Dir: filepath.Join(dir, "store"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	served := make(chan error, 1)
	socket := filepath.Join(dir, "socket")
	go func() { served <- embedded.ServeUnix(ctx, socket) }()
	store, err = esdb.Connect("unix://"+socket,
		esdb.Options{Logger: slog.New(slog.DiscardHandler), Timeout: time.Minute})
	if err != nil {
		panic(err)
	}
	return store, func() {
		if err := errors.Join(store.Close(), <-served, embedded.Close(), os.RemoveAll(dir)); err != nil {
			panic(err)
		}
	}
}
