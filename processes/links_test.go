package processes

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore/nodetest"
	"github.com/secboard/secboard/postgres/pgtest"
	"github.com/secboard/secboard/secrets"
)

// Links are mailed once: not those that have expired, not again after a restart, and again only when mailing failed.
func TestLinksAreMailedOnce(t *testing.T) {
	t.Parallel()
	keys, err := secrets.LoadOrCreateKeyset(filepath.Join(t.TempDir(), "keyset.json"))
	require.NoError(t, err)
	hasher, err := secrets.NewHasher(10)
	require.NoError(t, err)
	h := commands.New(nodetest.Connect(t), keys, hasher)
	var ahead atomic.Int64
	h.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	const email, password = "olena@example.com", "the pass phrase of olena"
	_, err = h.CreateSuperuser(t.Context(), commands.Operator(), email, password)
	require.NoError(t, err)
	ask := func(language string) {
		require.NoError(t, h.RequestPasswordReset(t.Context(), commands.Operator(), email, language))
	}

	mailed := make(chan Link, 10)
	var failures atomic.Int64
	links := &Links{
		Pool: pgtest.NewDatabase(t), Commands: h, Logger: slog.New(slog.DiscardHandler),
		BaseURL: func(context.Context) (string, error) { return "https://accounts.example.com/", nil },
		Mail: func(_ context.Context, link Link) error {
			if failures.Add(-1) >= 0 {
				return errors.New("the mail server is away")
			}
			mailed <- link
			return nil
		},
	}
	begin := func() (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- links.Run(ctx) }()
		return func() {
			cancel()
			assert.NoError(t, <-ended)
		}
	}
	next := func() Link {
		t.Helper()
		select {
		case link := <-mailed:
			return link
		case <-time.After(30 * time.Second):
			require.Fail(t, "no link was mailed")
			return Link{}
		}
	}

	ask("en") // and nobody is there to mail it for too long
	ahead.Store(int64(user.ResetLinkLife + time.Minute))
	ask("uk")
	stop := begin()
	link := next()
	assert.Equal(t, FeaturePasswordReset, link.Feature)
	assert.Equal(t, email, link.Email)
	assert.Equal(t, "uk", link.Language, "the first has expired")
	token, ok := strings.CutPrefix(link.URL, "https://accounts.example.com/password_reset/")
	assert.True(t, ok, link.URL)
	token, _, _ = strings.Cut(token, "?")
	usable, err := h.ResetLinkUsable(t.Context(), token)
	require.NoError(t, err)
	assert.True(t, usable)
	stop()

	stop = begin()
	failures.Store(2)
	ask("ru")
	assert.Equal(t, "ru", next().Language, "after two failures, and the former one not again")
	stop()
	assert.Empty(t, mailed)
	assert.NotEqual(t, uuid.Nil, link.UserID)
}
