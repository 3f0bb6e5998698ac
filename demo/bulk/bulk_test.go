package bulk_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/demo/bulk"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/esdb"
	"github.com/secboard/secboard/eventstore/node"
	"github.com/secboard/secboard/secrets"
	"github.com/secboard/secboard/secrets/secretstest"
)

// The commands go on with a made-up log: accounts can be changed, and what is taken is known as taken.
func TestCommandsAcceptTheLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys, err := secrets.LoadOrCreateKeyset(filepath.Join(dir, "keyset.json"))
	if err != nil {
		t.Fatal(err)
	}
	const accounts = 300
	options := bulk.Options{
		Events: bulk.Smallest(accounts) + 3000, Accounts: accounts, Seed: 7, Keyset: keys.Fingerprint(),
		ClaimName: keys.Name,
	}
	hash, err := secretstest.Hasher(t).Hash(t.Context(), bulk.Password)
	if err != nil {
		t.Fatal(err)
	}
	options.SealPassword = func(stream string) (domain.Sealed, error) { return keys.Seal([]byte(hash), stream) }
	store, err := node.Open(node.Options{Dir: filepath.Join(dir, "log"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.AppendInOrder(t.Context(), bulk.Appends(options)); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join("/tmp", "bulk"+uuid.NewString()[:8])
	served := make(chan error, 1)
	go func() { served <- store.ServeUnix(t.Context(), socket) }()
	log, err := esdb.Connect("unix://"+socket,
		esdb.Options{Logger: slog.New(slog.DiscardHandler), Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	h := commands.New(log, keys, secretstest.Hasher(t))

	events, registered, passwords := 0, map[string]user.Registered{}, []string{}
	var last string
	for recorded, err := range log.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		e := eventstore.Decode(recorded)
		if e.Err != nil {
			t.Fatal(e.Err)
		}
		events++
		switch event := e.Event.(type) {
		case user.Registered:
			registered[e.Stream], last = event, e.Stream
		case user.PasswordSet:
			passwords = append(passwords, registered[e.Stream].Email)
		}
	}
	if events != options.Events {
		t.Errorf("events = %v, want %v", events, options.Events)
	}
	if len(registered) != accounts {
		t.Errorf("registered has %d elements, want %d: %v", len(registered), accounts, registered)
	}
	if len(passwords) != bulk.WithPassword {
		t.Errorf("passwords has %d elements, want %d: %v", len(passwords), bulk.WithPassword, passwords)
	}

	if err := h.Initialize(t.Context()); err != nil {
		t.Fatalf("another keyset: %v", err)
	}
	_, err = h.RegisterUser(t.Context(), commands.Operator(),
		commands.RegisterUser{Details: user.Details{Email: registered[last].Email}})
	var refused *domain.Error
	if !errors.As(err, &refused) {
		t.Fatalf("an address that is taken: %T is not of the wanted type: %v", err, err)
	}
	_, subject := domain.SplitStream(last)
	id := uuid.MustParse(subject)
	phone := "+380 44 111 11 11"
	_, err = h.ChangeUser(t.Context(), commands.Operator(), id, commands.ChangeUser{Patch: user.Patch{Phone: &phone}})
	if err != nil {
		t.Fatal(err)
	}
	email := "new@example.com"
	_, err = h.ChangeUser(t.Context(), commands.Operator(), id, commands.ChangeUser{Patch: user.Patch{Email: &email}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.RegisterUser(t.Context(), commands.Operator(),
		commands.RegisterUser{Details: user.Details{Email: registered[last].Email}})
	if err != nil {
		t.Fatalf("an address that was given up: %v", err)
	}
}
