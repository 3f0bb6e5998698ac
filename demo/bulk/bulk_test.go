package bulk_test

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
	require.NoError(t, err)
	const accounts = 300
	options := bulk.Options{
		Events: bulk.Smallest(accounts) + 3000, Accounts: accounts, Seed: 7, Keyset: keys.Fingerprint(), ClaimName: keys.Name,
	}
	hash, err := secretstest.Hasher(t).Hash(t.Context(), bulk.Password)
	require.NoError(t, err)
	options.SealPassword = func(stream string) (domain.Sealed, error) { return keys.Seal([]byte(hash), stream) }
	store, err := node.Open(node.Options{Dir: filepath.Join(dir, "log"), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, store.AppendInOrder(t.Context(), bulk.Appends(options)))
	socket := filepath.Join("/tmp", "bulk"+uuid.NewString()[:8])
	served := make(chan error, 1)
	go func() { served <- store.ServeUnix(t.Context(), socket) }()
	log, err := esdb.Connect("unix://"+socket, esdb.Options{Logger: slog.New(slog.DiscardHandler), Timeout: time.Minute})
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, log.Close())
		assert.NoError(t, store.Close())
		assert.NoError(t, <-served)
	})
	h := commands.New(log, keys, secretstest.Hasher(t))

	events, registered, passwords := 0, map[string]user.Registered{}, []string{}
	var last string
	for recorded, err := range log.ReadAll(t.Context(), 0) {
		require.NoError(t, err)
		e := eventstore.Decode(recorded)
		require.NoError(t, e.Err)
		events++
		switch event := e.Event.(type) {
		case user.Registered:
			registered[e.Stream], last = event, e.Stream
		case user.PasswordSet:
			passwords = append(passwords, registered[e.Stream].Email)
		}
	}
	assert.Equal(t, options.Events, events)
	assert.Len(t, registered, accounts)
	assert.Len(t, passwords, bulk.WithPassword)

	require.NoError(t, h.Initialize(t.Context()), "another keyset")
	_, err = h.RegisterUser(t.Context(), commands.Operator(), commands.RegisterUser{Details: user.Details{Email: registered[last].Email}})
	var refused *domain.Error
	require.ErrorAs(t, err, &refused, "an address that is taken")
	_, subject := domain.SplitStream(last)
	id := uuid.MustParse(subject)
	phone := "+380 44 111 11 11"
	_, err = h.ChangeUser(t.Context(), commands.Operator(), id, commands.ChangeUser{Patch: user.Patch{Phone: &phone}})
	require.NoError(t, err)
	email := "new@example.com"
	_, err = h.ChangeUser(t.Context(), commands.Operator(), id, commands.ChangeUser{Patch: user.Patch{Email: &email}})
	require.NoError(t, err)
	_, err = h.RegisterUser(t.Context(), commands.Operator(), commands.RegisterUser{Details: user.Details{Email: registered[last].Email}})
	require.NoError(t, err, "an address that was given up")
}
