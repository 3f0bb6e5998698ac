package commands_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/installation"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/nodetest"
	"github.com/secboard/secboard/secrets"
)

func TestAKeysetWithAnotherAEADPartIsRefused(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	dir := t.TempDir()
	mine, other := filepath.Join(dir, "mine.json"), filepath.Join(dir, "other.json")
	if err := commands.New(client, loadKeyset(t, mine), nil).Initialize(t.Context()); err != nil {
		t.Fatal(err)
	}
	loadKeyset(t, other)
	mixed := filepath.Join(dir, "mixed.json")
	content, err := json.Marshal(map[string]json.RawMessage{
		"aead": readParts(t, other)["aead"], "prf": readParts(t, mine)["prf"],
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mixed, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := commands.New(client, loadKeyset(t, mixed), nil).Initialize(t.Context()); !refused(err, "wrong_keyset") {
		t.Errorf("got %v", err)
	}
	if err := commands.New(client, loadKeyset(t, mine), nil).Initialize(t.Context()); err != nil {
		t.Errorf("the log's own keyset: %v", err)
	}
}

func TestALogWithoutAProbeTakesItsKeyset(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	handler := newHandler(t, client)
	proposed, err := eventstore.Encode(installation.Stream, eventstore.NoStream,
		[]domain.Event{installation.Initialized{Keyset: handler.Keys.Fingerprint()}},
		eventstore.Metadata{
			At: time.Now(), Actor: eventstore.Actor{Kind: eventstore.ActorSystem}, CommandID: uuid.New(),
		})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Append(t.Context(), installation.Stream, eventstore.NoStream, proposed); err != nil {
		t.Fatal(err)
	}
	if err := handler.Initialize(t.Context()); err != nil {
		t.Error(err)
	}
	if err := newHandler(t, client).Initialize(t.Context()); !refused(err, "wrong_keyset") {
		t.Errorf("with another keyset: %v", err)
	}
}

func loadKeyset(t *testing.T, path string) *secrets.Keyset {
	t.Helper()
	keys, err := secrets.LoadOrCreateKeyset(path)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func readParts(t *testing.T, path string) (parts map[string]json.RawMessage) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &parts); err != nil {
		t.Fatal(err)
	}
	return parts
}
