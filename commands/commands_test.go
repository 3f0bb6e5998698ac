package commands_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/nodetest"
	"github.com/secboard/secboard/secrets"
	"github.com/secboard/secboard/secrets/secretstest"
)

func newHandler(t testing.TB, log eventstore.Log) *commands.Handler {
	t.Helper()
	keys, err := secrets.LoadOrCreateKeyset(filepath.Join(t.TempDir(), "keyset.json"))
	if err != nil {
		t.Fatal(err)
	}
	h := commands.New(log, keys, secretstest.Hasher(t))
	h.Pause = func(context.Context, time.Duration) bool { return true }
	return h
}

func admin() commands.Caller { return commands.System() }

func register(email string) commands.RegisterUser {
	return commands.RegisterUser{Details: user.Details{Email: email}}
}

func must(t *testing.T) func(commands.Result, error) uuid.UUID {
	return func(result commands.Result, err error) uuid.UUID {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return uuid.MustParse(result.ID)
	}
}

func refused(err error, code domain.Code) bool {
	var refusal *domain.Error
	return errors.As(err, &refusal) && refusal.Code == code
}

// registrations reads from the log which accounts were registered, by e-mail in lower case.
func registrations(t *testing.T, log eventstore.Log) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for recorded, err := range log.ReadAll(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		envelope := eventstore.Decode(recorded)
		if envelope.Err != nil {
			t.Fatal(envelope.Err)
		}
		if event, ok := envelope.Event.(user.Registered); ok {
			email := strings.ToLower(event.Email)
			found[email] = append(found[email], recorded.Stream)
		}
	}
	return found
}

func TestSixteenClientsOneEmail(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	handler := newHandler(t, client)
	var created, conflicts atomic.Int32
	var clients sync.WaitGroup
	for i := range 16 {
		clients.Go(func() {
			email := []string{"Anna@acme.example", "anna@ACME.example", "ANNA@acme.example", "anna@acme.example"}[i%4]
			switch _, err := handler.RegisterUser(t.Context(), admin(), register(email)); {
			case err == nil:
				created.Add(1)
			case refused(err, domain.CodeEmailTaken):
				conflicts.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	clients.Wait()
	if created.Load() != 1 || conflicts.Load() != 15 {
		t.Errorf("%d created, %d refused", created.Load(), conflicts.Load())
	}
	if streams := registrations(t, client)["anna@acme.example"]; len(streams) != 1 {
		t.Errorf("registered in %v", streams)
	}
}

func TestAnEmailIsFreeAgainWhenItsOwnerChangesIt(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, nodetest.Connect(t))
	ctx := t.Context()
	anna := must(t)(handler.RegisterUser(ctx, admin(), register("anna@acme.example")))
	email := "Hanna@acme.example"
	must(t)(handler.ChangeUser(ctx, admin(), anna, commands.ChangeUser{Patch: user.Patch{Email: &email}}))
	other := must(t)(handler.RegisterUser(ctx, admin(), register("ANNA@acme.example")))
	back := "anna@acme.example"
	if _, err := handler.ChangeUser(ctx, admin(), anna, commands.ChangeUser{Patch: user.Patch{Email: &back}}); !refused(
		err, domain.CodeEmailTaken) {
		t.Errorf("taking back an address that somebody else has now: %v", err)
	}
	// Another case of the own address is no other address.
	lower := "hanna@acme.example"
	must(t)(handler.ChangeUser(ctx, admin(), anna, commands.ChangeUser{Patch: user.Patch{Email: &lower}}))
	free := "free@acme.example"
	must(t)(handler.ChangeUser(ctx, admin(), other, commands.ChangeUser{Patch: user.Patch{Email: &free}}))
	must(t)(handler.ChangeUser(ctx, admin(), anna, commands.ChangeUser{Patch: user.Patch{Email: &back}}))
}

// crashing is a log in front of which a process dies: from the n-th append on nothing is written any more.
type crashing struct {
	eventstore.Log
	left atomic.Int32
}

var errCrash = errors.New("the process died here")

func (c *crashing) Append(ctx context.Context, stream string, expected eventstore.Revision,
	events []eventstore.Proposed) (eventstore.Appended, error) {
	if c.left.Add(-1) < 0 {
		return eventstore.Appended{}, errCrash
	}
	return c.Log.Append(ctx, stream, expected, events)
}

func TestACrashAtAnyPointLeavesNoEmailLockedAndNoneTwice(t *testing.T) {
	t.Parallel()
	for appends := range int32(4) {
		client := nodetest.Connect(t)
		handler := newHandler(t, client)
		ctx := t.Context()
		dying := &crashing{Log: client}
		dying.left.Store(appends)
		doomed := *handler
		doomed.Log = dying
		caller := admin()
		_, err := doomed.RegisterUser(ctx, caller, register("anna@acme.example"))
		written := appends >= 2 // reserve, register, confirm
		if written != (err == nil) {
			t.Fatalf("dying after %d appends: %v", appends, err)
		}
		again, err := handler.RegisterUser(ctx, admin(), register("ANNA@acme.example"))
		if written && !refused(err, domain.CodeEmailTaken) {
			t.Errorf("after a crash behind %d appends the e-mail was given twice: %+v, %v", appends, again, err)
		}
		if !written && err != nil {
			t.Errorf("after a crash behind %d appends the e-mail stays locked: %v", appends, err)
		}
		// The interrupted request is repeated with its own command id.
		repeated, err := handler.RegisterUser(ctx, caller, register("anna@acme.example"))
		if written && (err != nil || repeated.ID != caller.CommandID.String()) {
			t.Errorf("repeating the request that was carried out: %+v, %v", repeated, err)
		}
		if !written && !refused(err, domain.CodeEmailTaken) {
			t.Errorf("repeating the request that lost its e-mail: %+v, %v", repeated, err)
		}
		if streams := registrations(t, client)["anna@acme.example"]; len(streams) != 1 {
			t.Errorf("registered in %v", streams)
		}
	}
}

func TestAStoppedProcessThatGoesOnCannotTakeBackAnEmailThatWentToSomebodyElse(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	handler := newHandler(t, client)
	ctx := t.Context()
	gate := &gated{Log: client, prefix: "user-", waiting: make(chan struct{}), open: make(chan struct{})}
	sleeper := *handler
	sleeper.Log = gate
	slept := make(chan error, 1)
	go func() {
		_, err := sleeper.RegisterUser(ctx, admin(), register("anna@acme.example"))
		slept <- err
	}()
	<-gate.waiting // its e-mail is reserved, its registration not yet appended
	must(t)(handler.RegisterUser(ctx, admin(), register("anna@acme.example")))
	close(gate.open)
	if err := <-slept; !refused(err, domain.CodeEmailTaken) {
		t.Errorf("the process that woke up: %v", err)
	}
	if streams := registrations(t, client)["anna@acme.example"]; len(streams) != 1 {
		t.Errorf("registered in %v", streams)
	}
}

// gated holds back the first append to a stream whose name begins so.
type gated struct {
	eventstore.Log
	prefix        string
	once          sync.Once
	waiting, open chan struct{}
}

func (g *gated) Append(ctx context.Context, stream string, expected eventstore.Revision,
	events []eventstore.Proposed) (eventstore.Appended, error) {
	if strings.HasPrefix(stream, g.prefix) {
		g.once.Do(func() { close(g.waiting); <-g.open })
	}
	return g.Log.Append(ctx, stream, expected, events)
}

func TestTheSameCommandTwiceIsCarriedOutOnce(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	handler := newHandler(t, client)
	caller := admin()
	first, err := handler.RegisterUser(t.Context(), caller, register("anna@acme.example"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := handler.RegisterUser(t.Context(), caller, register("anna@acme.example"))
	if err != nil || second.ID != first.ID || second.Revision != first.Revision || second.Position != first.Position {
		t.Errorf("first %+v, second %+v, %v", first, second, err)
	}
}

func TestAChangeRepeatedAfterOthersIsNotCarriedOutAgain(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, nodetest.Connect(t))
	ctx := t.Context()
	anna := must(t)(handler.RegisterUser(ctx, admin(), register("anna@acme.example")))
	caller := admin()
	must(t)(handler.DeactivateUser(ctx, caller, anna, "left"))
	must(t)(handler.ActivateUser(ctx, admin(), anna))
	result, err := handler.DeactivateUser(ctx, caller, anna, "left")
	if err != nil || result.Revision != 2 {
		t.Errorf("the same command again: %+v, %v", result, err)
	}
	acme := must(t)(handler.CreateCompany(ctx, admin(), company.Details{Name: "Acme"}))
	caller = admin()
	must(t)(handler.SetCabinetPassword(ctx, caller, acme, "the cabinet of Acme"))
	if result, err := handler.SetCabinetPassword(ctx, caller, acme, "the cabinet of Acme"); err != nil ||
		result.Revision != 1 {
		t.Errorf("the same command again: %+v, %v", result, err)
	}
}

func TestConcurrentChangesAllLand(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, nodetest.Connect(t))
	ctx := t.Context()
	anna := must(t)(handler.RegisterUser(ctx, admin(), register("anna@acme.example")))
	var roles []uuid.UUID
	for _, name := range []string{"A", "B", "C", "D", "E", "F"} {
		roles = append(roles, must(t)(handler.CreateRole(ctx, admin(), role.Details{Name: name})))
	}
	var clients sync.WaitGroup
	for _, id := range roles {
		clients.Go(func() {
			if _, err := handler.GiveRole(ctx, admin(), anna, id); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
	result, err := handler.TakeRole(ctx, admin(), anna, uuid.New())
	if err != nil || result.Changed || result.Revision != eventstore.Revision(len(roles)) {
		t.Errorf("after %d roles: %+v, %v", len(roles), result, err)
	}
}

func TestIfMatchRefusesAChangedAccount(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, nodetest.Connect(t))
	ctx := t.Context()
	anna := must(t)(handler.RegisterUser(ctx, admin(), register("anna@acme.example")))
	must(t)(handler.DeactivateUser(ctx, admin(), anna, "left"))
	caller := admin()
	seen := eventstore.Revision(0)
	caller.IfMatch = &seen
	if _, err := handler.ActivateUser(ctx, caller, anna); !refused(err, domain.CodeRevisionMismatch) {
		t.Errorf("at a past revision: %v", err)
	}
	seen = 1
	if _, err := handler.ActivateUser(ctx, caller, anna); err != nil {
		t.Errorf("at the revision: %v", err)
	}
}

func TestReferencesAreCheckedWithAllOtherFields(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, nodetest.Connect(t))
	ctx := t.Context()
	sold := must(t)(handler.CreateCompany(ctx, admin(), company.Details{Name: "Sold"}))
	must(t)(handler.RetireCompany(ctx, admin(), sold, "sold"))
	_, err := handler.RegisterUser(ctx, admin(), commands.RegisterUser{
		Details: user.Details{Email: "nonsense", CompanyID: sold}, RoleIDs: []uuid.UUID{uuid.New()},
		GroupIDs: []uuid.UUID{uuid.New()},
	})
	var invalid *domain.Invalid
	if !errors.As(err, &invalid) {
		t.Fatalf("accepted: %v", err)
	}
	var fields []string
	for _, field := range invalid.Fields {
		fields = append(fields, field.Field)
	}
	if want := []string{"email", "role_ids.0", "group_ids.0", "company_id"}; !slices.Equal(fields, want) {
		t.Errorf("wrong fields %v, want %v", fields, want)
	}
}

func TestMovingToAnotherCompanyShowsTheGroupsThatStayBehind(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, nodetest.Connect(t))
	ctx := t.Context()
	acme := must(t)(handler.CreateCompany(ctx, admin(), company.Details{Name: "Acme"}))
	other := must(t)(handler.CreateCompany(ctx, admin(), company.Details{Name: "Other"}))
	readers := must(t)(handler.CreateGroup(ctx, admin(),
		group.Details{Name: "Readers", CompanyID: acme, Permissions: domain.Permissions{"users": {View: true}}}))
	anna := must(t)(handler.RegisterUser(ctx, admin(), commands.RegisterUser{
		Details: user.Details{Email: "anna@acme.example", CompanyID: acme}, GroupIDs: []uuid.UUID{readers},
	}))
	move := commands.ChangeUser{Patch: user.Patch{CompanyID: &other}}
	if _, err := handler.ChangeUser(ctx, admin(), anna, move); !refused(err, "group_of_other_company") {
		t.Errorf("moved with the group: %v", err)
	}
	global := uuid.Nil
	must(t)(handler.ChangeGroup(ctx, admin(), readers, group.Patch{CompanyID: &global}))
	must(t)(handler.ChangeUser(ctx, admin(), anna, move))
}

func TestNamesAreUniqueUntilRetired(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, nodetest.Connect(t))
	ctx := t.Context()
	acme := must(t)(handler.CreateCompany(ctx, admin(), company.Details{Name: "Acme"}))
	if _, err := handler.CreateCompany(ctx, admin(), company.Details{Name: "Acme"}); !refused(err,
		domain.CodeNameTaken) {
		t.Errorf("a second Acme: %v", err)
	}
	must(t)(handler.CreateCompany(ctx, admin(), company.Details{Name: "ACME"})) // names are case-sensitive
	must(t)(handler.CreateGroup(ctx, admin(), group.Details{Name: "Readers", CompanyID: acme}))
	must(t)(handler.CreateGroup(ctx, admin(), group.Details{Name: "Readers"})) // of no company
	if _, err := handler.CreateGroup(ctx, admin(), group.Details{Name: "Readers", CompanyID: acme}); !refused(err,
		domain.CodeNameTaken) {
		t.Errorf("a second group of that name: %v", err)
	}
	must(t)(handler.RetireCompany(ctx, admin(), acme, ""))
	must(t)(handler.CreateCompany(ctx, admin(), company.Details{Name: "Acme"}))
}

func TestNobodyAddsToAGroupWhatHeDoesNotHave(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, nodetest.Connect(t))
	ctx := t.Context()
	readers := must(t)(handler.CreateGroup(ctx, admin(),
		group.Details{Name: "Readers", Permissions: domain.Permissions{"users": {View: true}}}))
	clerk := person(t, handler, uuid.New(), domain.Permissions{"groups": {Edit: true}})
	more := domain.Permissions{"users": {View: true, Edit: true}}
	if _, err := handler.ChangeGroup(ctx, clerk, readers, group.Patch{Permissions: &more}); !refused(err,
		domain.CodeForbidden) {
		t.Errorf("added users.edit: %v", err)
	}
	less := domain.Permissions{}
	must(t)(handler.ChangeGroup(ctx, clerk, readers, group.Patch{Permissions: &less}))
}

func TestTheLogBelongsToItsKeyset(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	mine := newHandler(t, client)
	for range 2 {
		if err := mine.Initialize(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := newHandler(t, client).Initialize(t.Context()); !refused(err, "wrong_keyset") {
		t.Errorf("with another keyset: %v", err)
	}
}

func TestSuperuserAndPassword(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	handler := newHandler(t, client)
	ctx := t.Context()
	var invalid *domain.Invalid
	if _, err := handler.CreateSuperuser(ctx, commands.Operator(), "root", "short"); !errors.As(err, &invalid) ||
		len(invalid.Fields) != 2 {
		t.Errorf("a wrong e-mail and a weak password: %v", err)
	}
	root := must(t)(handler.CreateSuperuser(ctx, commands.Operator(), "root@acme.example", password))
	if outcome, err := handler.SignIn(ctx, admin(), "ROOT@acme.example", password); err != nil ||
		outcome.UserID != root {
		t.Errorf("sign-in: %+v, %v", outcome, err)
	}
	// Again: the account that exists gets the new password and is superuser still.
	if again := must(t)(handler.CreateSuperuser(ctx, commands.Operator(), "root@acme.example", "quite another "+
		"password")); again != root {
		t.Errorf("a second account %v", again)
	}
	if _, err := handler.SignIn(ctx, admin(), "root@acme.example", password); !errors.Is(err, commands.ErrCredentials) {
		t.Errorf("the former password: %v", err)
	}
	for recorded, err := range client.ReadAll(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if text := string(recorded.Data) + string(recorded.Metadata) +
			recorded.Stream; strings.Contains(text, "argon2") || strings.Contains(text, password) {
			t.Errorf("a secret stands in the log: %s", text)
		}
	}
}

func TestTimesInAStreamNeverGoBack(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	handler := newHandler(t, client)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	handler.Now = func() time.Time { return now }
	anna := must(t)(handler.RegisterUser(t.Context(), admin(), register("anna@acme.example")))
	now = now.Add(-time.Hour)
	must(t)(handler.DeactivateUser(t.Context(), admin(), anna, ""))
	events, err := client.ReadStream(t.Context(), domain.StreamName(user.Kind, anna))
	if err != nil {
		t.Fatal(err)
	}
	first, last := eventstore.Decode(events[0]).Meta.At, eventstore.Decode(events[len(events)-1]).Meta.At
	if last.Before(first) {
		t.Errorf("%v, then %v", first, last)
	}
}
