package projections

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/esdb"
	"github.com/secboard/secboard/eventstore/nodetest"
	"github.com/secboard/secboard/postgres/pgtest"
	"github.com/secboard/secboard/projections/engine"
	"github.com/secboard/secboard/secrets"
	"github.com/secboard/secboard/secrets/secretstest"
)

// stack is an event store, a database, a runner between them, and commands that write. Its clock moves a minute with
// each command.
type stack struct {
	*commands.Handler
	*ReadModels
	log    *esdb.Client
	pool   *pgxpool.Pool
	runner *engine.Runner

	mu  sync.Mutex
	now time.Time
}

func newStack(t testing.TB) *stack {
	t.Helper()
	s := &stack{log: nodetest.Connect(t), pool: pgtest.NewDatabase(t), now: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)}
	s.Handler = newHandler(t, s.log)
	s.Now = func() time.Time {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now = s.now.Add(time.Minute)
		return s.now
	}
	s.ReadModels = NewReadModels(s.pool)
	s.runner = startRunner(t, s.pool, s.log)
	return s
}

func newHandler(t testing.TB, log eventstore.Log) *commands.Handler {
	t.Helper()
	keys, err := secrets.LoadOrCreateKeyset(filepath.Join(t.TempDir(), "keyset.json"))
	if err != nil {
		t.Fatal(err)
	}
	return commands.New(log, keys, secretstest.Hasher(t))
}

// register writes an account without waiting for the read models. The position is that of the end of the log: behind
// the account's own event stands the confirmation of its e-mail.
func (s *stack) register(t testing.TB, email string) commands.Result {
	t.Helper()
	result, err := s.RegisterUser(t.Context(), commands.Operator(),
		commands.RegisterUser{Details: user.Details{Email: email, FirstName: "Olena"}})
	if err != nil {
		t.Fatal(err)
	}
	for recorded, err := range s.Log.ReadAll(t.Context(), result.Position) {
		if err != nil {
			t.Fatal(err)
		}
		result.Position = recorded.Position
	}
	return result
}

// startRunner runs a Runner until the test ends.
func startRunner(t testing.TB, pool *pgxpool.Pool, log eventstore.Log) *engine.Runner {
	t.Helper()
	runner, _ := startStoppable(t, pool, log)
	return runner
}

func startStoppable(t testing.TB, pool *pgxpool.Pool, log eventstore.Log) (*engine.Runner, func()) {
	t.Helper()
	runner := engine.NewRunner(Set(), pool, log, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return runner, stop
}

// clock is the time of the newest command.
func (s *stack) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// has waits until the read models have what the result of a command says.
func (s *stack) has(t testing.TB) func(commands.Result, error) uuid.UUID {
	return func(result commands.Result, err error) uuid.UUID {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, s.runner, result.Position)
		id, err := uuid.Parse(result.ID)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
}

// patience bounds every wait for what has to happen. It is no expectation of how long something takes.
const patience = 3 * time.Minute

func waitFor(t testing.TB, runner *engine.Runner, position eventstore.Position) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := runner.WaitFor(ctx, position)
	statuses, statusErr := runner.Status(t.Context())
	if err != nil || statusErr != nil {
		t.Fatal(err, show(t, statuses), statusErr)
	}
	for _, s := range statuses {
		if s.State == engine.StateStopped {
			t.Fatal(s.Name, *s.Error)
		}
	}
}

func admin(t testing.TB, s *stack) commands.Caller {
	t.Helper()
	id := s.has(t)(s.RegisterUser(t.Context(), commands.Operator(), commands.RegisterUser{
		Details: user.Details{Email: "admin@example.com", FirstName: "Ada", LastName: "Admin"}, Superuser: true,
	}))
	return commands.Caller{Actor: eventstore.Actor{Kind: eventstore.ActorUser, ID: id.String()}, IP: "192.0.2.7",
		UserAgent: "test"}
}

// ownerOf is the owner of an account as a caller.
func ownerOf(account uuid.UUID) commands.Caller {
	return as(commands.Caller{Actor: eventstore.Actor{Kind: eventstore.ActorUser, ID: account.String()}})
}

// as makes a new command of a caller.
func as(caller commands.Caller) commands.Caller {
	caller.CommandID = uuid.Must(uuid.NewV7())
	return caller
}

// tableNames are those of all tables that projections write.
func tableNames() []string {
	var names []string
	for _, p := range Set().Projections {
		for _, table := range p.Tables {
			names = append(names, table.Name)
		}
	}
	return names
}

// tableHashes gives a hash of the rows of each read model but the checkpoints, in an order of their own.
func tableHashes(t testing.TB, pool *pgxpool.Pool) map[string]string {
	t.Helper()
	hashes := map[string]string{}
	for _, table := range tableNames() {
		rows, err := pool.Query(t.Context(), fmt.Sprintf("SELECT to_jsonb(r)::text FROM %s r ORDER BY 1", table))
		if err != nil {
			t.Fatal(err)
		}
		sum, count := sha256.New(), 0
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				t.Fatal(err)
			}
			sum.Write([]byte(text + "\n"))
			count++
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		hashes[table] = fmt.Sprintf("%d rows %s", count, hex.EncodeToString(sum.Sum(nil)[:8]))
	}
	return hashes
}

func TestAnAccountIsShownAsItIsAndAsItWas(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	ctx, admin := t.Context(), admin(t, s)
	acme := s.has(t)(s.CreateCompany(ctx, as(admin), company.Details{Name: "Acme"}))
	risk := s.has(t)(s.CreateGroup(ctx, as(admin),
		group.Details{
			Name: "Risk", CompanyID: acme, Permissions: domain.Permissions{"users": {View: true, Export: true}},
		}))
	owner := s.has(t)(s.CreateRole(ctx, as(admin), role.Details{Name: "Owner", Widgets: []string{"heat map"}}))
	until, err := domain.ParseDate("2026-12-31")
	if err != nil {
		t.Fatal(err)
	}
	anna := s.has(t)(s.RegisterUser(ctx, as(admin), commands.RegisterUser{
		Details: user.Details{
			Email: "Anna@example.com", FirstName: "Anna", LastName: "Ng", CompanyID: acme, EndDate: until,
		},
		GroupIDs: []uuid.UUID{risk}, RoleIDs: []uuid.UUID{owner},
	}))
	first, err := s.User(ctx, anna, s.clock())
	if err != nil {
		t.Fatal(err)
	}
	if first.Company == nil || first.Company.Name != "Acme" || len(first.Groups) != 1 ||
		first.Groups[0].Name != "Risk" ||
		len(first.Roles) != 1 || first.RoleIDs[0] != owner || first.State != access.Active || first.Phone != nil ||
		*first.FirstName != "Anna" {
		t.Fatalf("%+v", first)
	}
	between := s.clock()

	lastName, none := "Ng-Smith", domain.Date{}
	s.has(t)(s.ChangeUser(ctx, as(admin), anna,
		commands.ChangeUser{Patch: user.Patch{LastName: &lastName, EndDate: &none}}))
	s.has(t)(s.LeaveGroup(ctx, as(admin), anna, risk))
	name := "Risk management"
	s.has(t)(s.ChangeGroup(ctx, as(admin), risk, group.Patch{Name: &name}))
	s.has(t)(s.DeactivateUser(ctx, as(admin), anna, "left the company"))

	last, err := s.User(ctx, anna, s.clock())
	if err != nil {
		t.Fatal(err)
	}
	if *last.LastName != lastName || last.EndDate != nil || len(last.Groups) != 0 || last.State != access.Inactive ||
		*last.StateReason != "deactivated: left the company" || last.Revision != first.Revision+4 {
		t.Fatalf("%+v", last)
	}
	then, err := s.UserAsOf(ctx, anna, between)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(show(t, then)), fmt.Sprint(show(t, first)); got != want {
		t.Fatalf("as of %s:\n%s\nwhen live:\n%s", between, got, want)
	}
	if _, err := s.UserAsOf(ctx, anna, between.AddDate(-1, 0, 0)); !errors.Is(err, ErrNotFound) {
		t.Fatal("it existed before it was registered:", err)
	}
	if _, err := s.User(ctx, uuid.New(), s.clock()); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}

	members, err := s.GroupMembers(ctx, risk, nil, PageRequest{})
	if err != nil || len(members.Items) != 0 {
		t.Fatal(members, err)
	}
	members, err = s.GroupMembers(ctx, risk, &between, PageRequest{})
	if err != nil || len(members.Items) != 1 || members.Items[0].Name != "Anna Ng" ||
		*members.Items[0].JoinedBy.Name != "Ada Admin" {
		t.Fatal(members, err)
	}
	groupThen, err := s.GroupAsOf(ctx, risk, between)
	if err != nil || groupThen.Name != "Risk" || groupThen.MemberCount != 1 {
		t.Fatal(groupThen, err)
	}

	history, err := s.History(ctx, HistoryFilter{Kind: user.Kind, ID: anna.String()}, PageRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, entry := range history.Items {
		told = append(told, entry.Summary)
		if *entry.Actor.Name != "Ada Admin" || *entry.IP != "192.0.2.7" || *entry.UserAgent != "test" {
			t.Errorf("%+v", entry)
		}
	}
	want := "deactivated: left the company; left the group Risk; access period changed; name changed; " +
		"joined the group Risk; given the role Owner; account Anna@example.com registered"
	if strings.Join(told, "; ") != want {
		t.Fatal(strings.Join(told, "; "))
	}
	change := history.Items[3].Changes
	if len(change) != 1 || change[0].Field != "last_name" || change[0].From != "Ng" || change[0].To != lastName {
		t.Fatalf("%+v", change)
	}
	for _, change := range history.Items[6].Changes {
		if change.Field == "company_id" && (change.ToName == nil || *change.ToName != "Acme") {
			t.Fatalf("%+v", change)
		}
	}
}

func show(t testing.TB, value any) string {
	t.Helper()
	text, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
