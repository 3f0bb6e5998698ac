package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/nodetest"
	"github.com/secboard/secboard/httpapi/load"
	"github.com/secboard/secboard/ldapclient"
	"github.com/secboard/secboard/mailing"
	"github.com/secboard/secboard/pause"
	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/postgres/pgtest"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/projections/engine"
	"github.com/secboard/secboard/secrets"
	"github.com/secboard/secboard/secrets/secretstest"
	"github.com/secboard/secboard/targets/targetstest"
)

const (
	adminEmail    = "admin@example.com"
	adminPassword = "a long enough pass phrase"

	// patience bounds every wait for what has to happen. It is no expectation of how long something takes.
	patience = 3 * time.Minute
)

// api is the whole stack behind an HTTP server: an event store, a database, a runner, and a superuser who is signed in.
type api struct {
	*server
	url     string
	pool    *pgxpool.Pool
	wire    *wire // to the database
	log     *logged
	admin   string // the superuser's token
	adminID uuid.UUID

	stopRunner func()        // the read models stay as they are from then on
	ahead      *atomic.Int64 // how far the clock is ahead of the real one, in nanoseconds
}

func newAPI(t testing.TB, configure ...func(*Options)) *api {
	t.Helper()
	a := startAPI(t, configure...)
	result, err := a.Commands.RegisterUser(t.Context(), commands.Operator(), commands.RegisterUser{
		Details: user.Details{Email: adminEmail}, Superuser: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	a.catchUp(t, result.Position)
	a.adminID = uuid.MustParse(result.ID)
	a.admin, _, err = a.startSession(t.Context(), a.adminID, a.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// givePassword lets the superuser sign in with adminPassword, for the tests about that.
func (a *api) givePassword(t *testing.T) {
	t.Helper()
	result, err := a.Commands.CreateSuperuser(t.Context(), commands.Operator(), adminEmail, adminPassword)
	if err != nil {
		t.Fatal(err)
	}
	a.catchUp(t, result.Position)
	a.admin, _, err = a.startSession(t.Context(), a.adminID, a.Now()) // a new password ends those that there were
	if err != nil {
		t.Fatal(err)
	}
}

func startAPI(t testing.TB, configure ...func(*Options)) *api {
	t.Helper()
	store, wire := nodetest.Connect(t), &wire{}
	pool, err := postgres.Open(t.Context(), pgtest.NewDatabaseURL(t), func(c *pgxpool.Config) {
		c.ConnConfig.DialFunc = wire.dial
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	keys, err := secrets.LoadOrCreateKeyset(filepath.Join(t.TempDir(), "keyset.json"))
	if err != nil {
		t.Fatal(err)
	}
	a := &api{pool: pool, wire: wire, log: &logged{}, ahead: &atomic.Int64{}}
	now := func() time.Time { return time.Now().Add(time.Duration(a.ahead.Load())) }
	handler := commands.New(store, keys, secretstest.Hasher(t))
	handler.Now = now
	handler.Pause = load.Pause(handler.Pause)
	handler.Directory = ldapclient.Client{Targets: targetstest.Loopback}
	handler.DirectoryIndex = projections.NewReadModels(pool)
	runner := engine.NewRunner(projections.Set(), pool, store, slog.New(slog.DiscardHandler), nil)
	a.stopRunner = run(t, runner)
	log := slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug})
	options := Options{
		Commands: handler, ReadModels: projections.NewReadModels(pool), Runner: runner,
		Pool: pool, PingStore: store.Ping, MailTransport: mailing.Transport{Targets: targetstest.Loopback},
		Logger: slog.New(log), Now: now,
	}
	// so that a busy machine changes no answer
	options.limits = limits{request: patience, session: patience, check: patience, stall: patience, readOn: patience}
	for _, c := range configure {
		c(&options)
	}
	a.server, err = newServer(options)
	if err != nil {
		t.Fatal(err)
	}
	a.patience = patience // so that a busy machine changes no answer
	a.url = serve(t, a.server)
	return a
}

// metricsPage is what MetricsHandler shows of the server.
func (a *api) metricsPage(t *testing.T) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	MetricsHandler(a.Registry).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if recorder.Code != http.StatusOK {
		t.Fatalf("the metrics: %d %s", recorder.Code, recorder.Body)
	}
	return recorder.Body.String()
}

func serve(t testing.TB, s *server) string {
	t.Helper()
	listening := httptest.NewServer(s.engine)
	t.Cleanup(listening.Close)
	return listening.URL
}

func run(t testing.TB, runner *engine.Runner) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// wire is the connection to the database, for a test that cuts it.
type wire struct {
	mu    sync.Mutex
	isCut bool
	conns []net.Conn
}

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.isCut {
		return nil, errors.New("the wire is cut")
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		w.conns = append(w.conns, conn)
	}
	return conn, err
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = true
	for _, conn := range w.conns {
		_ = conn.Close() // some were closed before
	}
	w.conns = nil
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = false
}

// logged keeps what the server logged; it may be read while requests are under way.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Len()
}

// answered is what came back for a request.
type answered struct {
	status int
	header http.Header
	body   []byte
	json   map[string]any
}

func (a answered) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

func (a answered) text(field string) string { text, _ := a.json[field].(string); return text }

func (a answered) items() []map[string]any {
	list, _ := a.json["items"].([]any)
	items := make([]map[string]any, len(list))
	for i, item := range list {
		items[i], _ = item.(map[string]any)
	}
	return items
}

// wrong is the list of wrong fields of a 422, by field.
func (a answered) wrong() map[string]string {
	list, _ := a.json["errors"].([]any)
	wrong := map[string]string{}
	for _, item := range list {
		entry, _ := item.(map[string]any)
		wrong[fmt.Sprint(entry["field"])] = fmt.Sprint(entry["code"])
	}
	return wrong
}

// with is a header of a request.
type with struct{ name, value string }

// call sends a request below the base path. A body that is not text or bytes is sent as JSON.
func (a *api) call(t testing.TB, token, method, path string, body any, headers ...with) answered {
	t.Helper()
	got := a.request(t, token, method, basePath+path, body, headers...)
	// As a client does: on a busy machine the read models may be behind for a moment.
	for again := 0; again < 20 && got.text("code") == "behind"; again++ {
		pause.For(t.Context(), 100*time.Millisecond)
		got = a.request(t, token, method, basePath+path, body, headers...)
	}
	return got
}

func (a *api) request(t testing.TB, token, method, path string, body any, headers ...with) answered {
	t.Helper()
	answer, err := a.send(t.Context(), token, method, path, body, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func (a *api) send(ctx context.Context, token, method, path string, body any, headers ...with) (answered, error) {
	var content io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		content = bytes.NewBufferString(b)
	case []byte:
		content = bytes.NewReader(b)
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			return answered{}, err
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, a.url+path, content)
	if err != nil {
		return answered{}, err
	}
	if content != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	for _, header := range headers {
		request.Header.Set(header.name, header.value)
		if header.name == "Host" {
			request.Host = header.value
		}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answered{}, err
	}
	answer := answered{status: response.StatusCode, header: response.Header}
	answer.body, err = io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return answered{}, err
	}
	_ = json.Unmarshal(answer.body, &answer.json) // not every answer is JSON
	return answer, nil
}

// create makes something as the superuser and gives its id.
func (a *api) create(t testing.TB, path string, body map[string]any) string {
	t.Helper()
	created := a.call(t, a.admin, http.MethodPost, path, body)
	if created.status != http.StatusCreated {
		t.Fatalf("%s\n%s: got %v, want %v", created, a.log, created.status, http.StatusCreated)
	}
	return created.text("id")
}

// person makes an account that is in a group with the given permissions, and signs it in.
func (a *api) person(t testing.TB, email string, permissions domain.Permissions) (id uuid.UUID, token string) {
	t.Helper()
	command := commands.RegisterUser{Details: user.Details{Email: email}}
	if len(permissions) > 0 {
		result, err := a.Commands.CreateGroup(t.Context(), commands.Operator(),
			group.Details{Name: email, Permissions: permissions})
		if err != nil {
			t.Fatal(err)
		}
		command.GroupIDs = []uuid.UUID{uuid.MustParse(result.ID)}
	}
	result, err := a.Commands.RegisterUser(t.Context(), commands.Operator(), command)
	if err != nil {
		t.Fatal(err)
	}
	a.catchUp(t, result.Position)
	id = uuid.MustParse(result.ID)
	token, _, err = a.startSession(t.Context(), id, a.Now())
	if err != nil {
		t.Fatal(err)
	}
	return id, token
}

// catchUp waits until the read models have a position.
func (a *api) catchUp(t testing.TB, position eventstore.Position) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := a.Runner.WaitFor(ctx, position); err != nil {
		t.Fatal(err)
	}
}

// everything allows every action in every module of SecBoard's own.
func everything() domain.Permissions {
	all := domain.Permissions{}
	for _, module := range domain.OwnModules {
		all[module] = domain.Actions{View: true, Add: true, Edit: true, Delete: true, Export: true, ShowLink: true}
	}
	return all
}

// without is everything but one permission.
func without(module string, action domain.Action) domain.Permissions {
	all := maps.Clone(everything())
	actions := all[module]
	switch action {
	case domain.View:
		actions.View = false
	case domain.Add:
		actions.Add = false
	case domain.Edit:
		actions.Edit = false
	case domain.Delete:
		actions.Delete = false
	case domain.Export:
		actions.Export = false
	case domain.ShowLink:
		actions.ShowLink = false
	}
	all[module] = actions
	return all
}

// count is how many rows a query gives in its only column.
func (a *api) count(t testing.TB, query string, args ...any) (n int) {
	t.Helper()
	if err := a.pool.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
