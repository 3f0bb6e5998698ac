package console

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/nodetest"
	"github.com/secboard/secboard/httpapi"
	"github.com/secboard/secboard/ldapclient"
	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/postgres/pgtest"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/projections/engine"
	"github.com/secboard/secboard/secrets"
	"github.com/secboard/secboard/secrets/secretstest"
)

const (
	// patience bounds every wait for what has to happen. It is no expectation of how long something takes.
	patience = 3 * time.Minute

	adminEmail    = "admin@example.com"
	adminPassword = "a long enough pass phrase"
)

// stack is the whole of SecBoard behind an HTTP server, with a superuser.
type stack struct {
	url      string
	commands *commands.Handler
	runner   *engine.Runner
	adminID  uuid.UUID
}

func newStack(t testing.TB) *stack {
	t.Helper()
	store := nodetest.Connect(t)
	pool, err := postgres.Open(t.Context(), pgtest.NewDatabaseURL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	keys, err := secrets.LoadOrCreateKeyset(filepath.Join(t.TempDir(), "keyset.json"))
	if err != nil {
		t.Fatal(err)
	}
	readModels := projections.NewReadModels(pool)
	s := &stack{commands: commands.New(store, keys, secretstest.Hasher(t))}
	s.commands.Directory, s.commands.DirectoryIndex = ldapclient.Client{}, readModels
	quiet := slog.New(slog.DiscardHandler)
	s.runner = engine.NewRunner(projections.Set(), pool, store, quiet, nil)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.runner.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	api, err := httpapi.New(httpapi.Options{
		Commands: s.commands, ReadModels: readModels, Runner: s.runner, Pool: pool, PingStore: store.Ping,
		Logger: quiet, Security: readModels.Security,
		Console: func(api http.Handler) (http.Handler, error) { return New(Options{API: api}) },
	})
	if err != nil {
		t.Fatal(err)
	}
	listening := httptest.NewServer(api)
	t.Cleanup(listening.Close)
	s.url = listening.URL
	result, err := s.commands.CreateSuperuser(t.Context(), commands.Operator(), adminEmail, adminPassword)
	if err != nil {
		t.Fatal(err)
	}
	s.catchUp(t, result.Position)
	s.adminID = uuid.MustParse(result.ID)
	return s
}

// catchUp waits until the read models have a position.
func (s *stack) catchUp(t testing.TB, position eventstore.Position) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.runner.WaitFor(ctx, position); err != nil {
		t.Fatal(err)
	}
}

// must is for commands that prepare a test.
func (s *stack) must(t testing.TB) func(commands.Result, error) uuid.UUID {
	return func(result commands.Result, err error) uuid.UUID {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		s.catchUp(t, result.Position)
		return uuid.MustParse(result.ID)
	}
}

// person makes an account that is in a group with the given permissions; its password is adminPassword.
func (s *stack) person(t testing.TB, email string, permissions domain.Permissions) uuid.UUID {
	t.Helper()
	command := commands.RegisterUser{Details: user.Details{Email: email, FirstName: "Анна", LastName: "Коваль"}}
	if len(permissions) > 0 {
		command.GroupIDs = []uuid.UUID{s.must(t)(s.commands.CreateGroup(t.Context(), commands.Operator(),
			group.Details{Name: "Group of " + email, Permissions: permissions}))}
	}
	id := s.must(t)(s.commands.RegisterUser(t.Context(), commands.Operator(), command))
	s.givePassword(t, id, email)
	return id
}

// givePassword sets adminPassword by a reset link.
func (s *stack) givePassword(t testing.TB, id uuid.UUID, email string) {
	t.Helper()
	if err := s.commands.RequestPasswordReset(t.Context(), commands.Operator(), email, "en"); err != nil {
		t.Fatal(err)
	}
	s.must(t)(s.commands.UseResetLink(t.Context(), commands.Operator(), s.link(t, id,
		signin.ResetLinkRequested{}.EventType()), adminPassword))
}

// link gives the token of the newest link of a kind that was asked for, as the mail has it.
func (s *stack) link(t testing.TB, account uuid.UUID, kind string) string {
	t.Helper()
	events, err := s.commands.Log.ReadStream(t.Context(), domain.StreamName(signin.Kind, account))
	if err != nil {
		t.Fatal(err)
	}
	for i := len(events) - 1; i >= 0; i-- {
		if events[i].Type != kind {
			continue
		}
		var data struct{ Link uuid.UUID }
		if err := json.Unmarshal(events[i].Data, &data); err != nil {
			t.Fatal(err)
		}
		make := s.commands.ResetToken
		if kind == (signin.FirstLoginRequested{}).EventType() {
			make = s.commands.FirstLoginToken
		}
		token, err := make(account, data.Link)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	t.Fatalf("no %s of %s", kind, account)
	return ""
}

// visitor is a browser without JavaScript.
type visitor struct {
	testing.TB
	url    string
	client *http.Client
	lang   string
}

// visitor has no cookies yet.
func (s *stack) visitor(t testing.TB) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{TB: t, url: s.url, client: &http.Client{Jar: jar}, lang: "en"}
}

// admin is signed in as the superuser.
func (s *stack) admin(t testing.TB) *visitor { return s.signedIn(t, adminEmail) }

// signedIn has signed in with adminPassword.
func (s *stack) signedIn(t testing.TB, email string) *visitor {
	t.Helper()
	v := s.visitor(t)
	inside := v.open("/sign-in").send("Sign in", "email", email, "password", adminPassword)
	if inside.status != http.StatusOK || inside.path() == "/sign-in" {
		t.Fatalf("%s can't sign in: %s", email, inside)
	}
	return v
}

// of makes a visitor report to another test: a subtest.
func (v *visitor) of(t testing.TB) *visitor {
	copied := *v
	copied.TB = t
	return &copied
}

// open goes to a page.
func (v *visitor) open(path string) *shown {
	v.Helper()
	request, err := http.NewRequestWithContext(v.Context(), http.MethodGet, v.url+path, nil)
	if err != nil {
		v.Fatal(err)
	}
	return v.do(request)
}

func (v *visitor) do(request *http.Request) *shown {
	v.Helper()
	request.Header.Set("Accept", "text/html")
	request.Header.Set("Accept-Language", v.lang)
	response, err := v.client.Do(request)
	if err != nil {
		v.Fatal(err)
	}
	page, err := readPage(v, response)
	if err != nil {
		v.Fatal(fmt.Errorf("%s: %w", request.URL, err))
	}
	return page
}
