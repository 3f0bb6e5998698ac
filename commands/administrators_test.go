package commands_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/mailserver"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/nodetest"
)

// superuser is somebody signed in who was superuser when the request began.
func superuser(id uuid.UUID) commands.Caller {
	caller := commands.System()
	caller.Actor = eventstore.Actor{Kind: eventstore.ActorUser, ID: id.String()}
	return caller
}

// limit is a way in which one superuser can end the rights of another one, at once or on a later day.
type limit struct {
	way string
	end func(h *commands.Handler, by, other uuid.UUID) error
}

func limits(t *testing.T) []limit {
	t.Helper()
	no := false
	last, err := domain.ParseDate("2030-12-31")
	if err != nil {
		t.Fatal(err)
	}
	change := func(patch user.Patch) func(*commands.Handler, uuid.UUID, uuid.UUID) error {
		return func(h *commands.Handler, by, other uuid.UUID) error {
			_, err := h.ChangeUser(t.Context(), superuser(by), other, commands.ChangeUser{Patch: patch})
			return err
		}
	}
	return []limit{
		{"demoted", change(user.Patch{Superuser: &no})}, {"inactive", change(user.Patch{Active: &no})},
		{"with a last day", change(user.Patch{EndDate: &last})},
		{"deactivated", func(h *commands.Handler, by, other uuid.UUID) error {
			_, err := h.DeactivateUser(t.Context(), superuser(by), other, "")
			return err
		}},
	}
}

func TestHoweverSuperusersLimitEachOtherOneRemains(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	handler := newHandler(t, client)
	for range 5 {
		var all []uuid.UUID
		for range 4 {
			command := register(uuid.NewString() + "@acme.example")
			command.Superuser = true
			all = append(all, must(t)(handler.RegisterUser(t.Context(), commands.Operator(), command)))
		}
		var acting sync.WaitGroup
		for i, by := range all {
			acting.Go(func() {
				for j := 1; j < len(all); j++ {
					err := limits(t)[(i+j)%4].end(handler, by, all[(i+j)%len(all)])
					if err != nil && !refused(err, domain.CodeForbidden) && !refused(err, domain.CodeUnauthenticated) &&
						!refused(err, commands.ErrBusy.Code) {
						t.Error(err)
					}
				}
			})
		}
		acting.Wait()
		remaining := 0
		for _, id := range all {
			account := accountOf(t, client, id)
			if account.Superuser && account.Active && account.Details.EndDate.IsZero() {
				remaining++
			}
		}
		if remaining == 0 {
			t.Fatal("no superuser remains")
		}
	}
}

func TestASuperuserWhoWasLimitedMeanwhileLimitsNobody(t *testing.T) {
	t.Parallel()
	client := nodetest.Connect(t)
	handler := newHandler(t, client)
	var ids []uuid.UUID
	for _, email := range []string{"anna@acme.example", "boris@acme.example"} {
		command := register(email)
		command.Superuser = true
		ids = append(ids, must(t)(handler.RegisterUser(t.Context(), commands.Operator(), command)))
	}
	anna, boris := ids[0], ids[1]
	for _, limit := range limits(t) {
		t.Run(limit.way, func(t *testing.T) {
			gate := &gated{Log: client, prefix: domain.StreamName(user.Kind, boris), waiting: make(chan struct{}),
				open: make(chan struct{})}
			sleeper := commands.New(gate, handler.Keys, handler.Hasher) // another instance
			slept := make(chan error, 1)
			go func() { slept <- limit.end(sleeper, anna, boris) }()
			<-gate.waiting // Boris was read and Anna has recorded that she is superuser
			if err := limits(t)[0].end(handler, boris, anna); err != nil {
				t.Fatal(err)
			}
			close(gate.open)
			if err := <-slept; !refused(err, domain.CodeForbidden) {
				t.Fatalf("the one that woke up: %v", err)
			}
			yes := true
			must(t)(handler.ChangeUser(t.Context(), superuser(boris), anna,
				commands.ChangeUser{Patch: user.Patch{Superuser: &yes}}))
		})
	}
}

func accountOf(t *testing.T, log eventstore.Log, id uuid.UUID) user.State {
	t.Helper()
	recorded, err := log.ReadStream(t.Context(), domain.StreamName(user.Kind, id))
	if err != nil {
		t.Fatal(err)
	}
	var account user.State
	for _, event := range recorded {
		account.Evolve(eventstore.Decode(event).Event)
	}
	return account
}

// person is somebody signed in, whose account is made at the first time, in a group with the permissions.
func person(t *testing.T, h *commands.Handler, id uuid.UUID, permissions domain.Permissions) commands.Caller {
	t.Helper()
	caller := superuser(id)
	if accountOf(t, h.Log, id).Exists {
		return caller
	}
	command := register(id.String() + "@staff.example")
	command.GroupIDs = []uuid.UUID{
		must(t)(h.CreateGroup(t.Context(), admin(), group.Details{Name: id.String(), Permissions: permissions})),
	}
	as := admin()
	as.CommandID = id
	must(t)(h.RegisterUser(t.Context(), as, command))
	return caller
}

var all = domain.Actions{View: true, Add: true, Edit: true}

func TestNobodyTakesOverAnAccountThatAdministersMore(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, nodetest.Connect(t))
	ctx := t.Context()
	must(t)(nameless(handler.RegisterModule(ctx, admin(), "risks", "Risks")))
	helpDesk := domain.Permissions{"users": all}
	caller := func() commands.Caller { return person(t, handler, uuid.New(), helpDesk) }
	inGroup := func(email string, permissions domain.Permissions) uuid.UUID {
		command := register(email)
		command.GroupIDs = []uuid.UUID{
			must(t)(handler.CreateGroup(ctx, admin(), group.Details{Name: email, Permissions: permissions})),
		}
		return must(t)(handler.RegisterUser(ctx, admin(), command))
	}
	auditor := inGroup("auditor@acme.example", domain.Permissions{"users": {View: true}, "audit": {View: true}})
	reader := inGroup("reader@acme.example", domain.Permissions{"users": {View: true}, "risks": {View: true}})
	email, phone, no := "mine@acme.example", "1", false

	if _, err := handler.ChangeUser(ctx, caller(), auditor,
		commands.ChangeUser{Patch: user.Patch{Email: &email}}); !refused(err, domain.CodeForbidden) {
		t.Errorf("another address for an auditor: %v", err)
	}
	must(t)(handler.ChangeUser(ctx, admin(), auditor,
		commands.ChangeUser{Patch: user.Patch{RequireTwoFactor: new(true)}}))
	if _, err := handler.ChangeUser(ctx, caller(), auditor,
		commands.ChangeUser{Patch: user.Patch{RequireTwoFactor: &no}}); !refused(err, domain.CodeForbidden) {
		t.Errorf("an auditor without two-factor: %v", err)
	}
	must(t)(handler.ChangeUser(ctx, caller(), auditor, commands.ChangeUser{Patch: user.Patch{Phone: &phone}}))
	if _, err := handler.ChangeUser(ctx, caller(), reader,
		commands.ChangeUser{Patch: user.Patch{Email: &email}}); !refused(err, domain.CodeForbidden) {
		t.Errorf("another address for somebody with rights in the host platform: %v", err)
	}
	other := "other@acme.example"
	must(t)(handler.ChangeUser(ctx,
		person(t, handler, uuid.New(), helpDesk.Union(domain.Permissions{"audit": {View: true}})),
		auditor, commands.ChangeUser{Patch: user.Patch{Email: &other}}))
}

func TestNobodyMakesAGroupThatAdministersMore(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, nodetest.Connect(t))
	ctx := t.Context()
	caller := func() commands.Caller { return person(t, handler, uuid.New(), domain.Permissions{"groups": all}) }
	must(t)(nameless(handler.RegisterModule(ctx, admin(), "risks", "Risks")))
	name := "Domain Admins"

	if _, err := handler.CreateGroup(ctx, caller(),
		group.Details{Name: name, Permissions: domain.Permissions{"settings": {Edit: true}}}); !refused(err,
		domain.CodeForbidden) {
		t.Errorf("a group that administers settings: %v", err)
	}
	must(t)(handler.CreateGroup(ctx, caller(),
		group.Details{
			Name: "Group readers", Permissions: domain.Permissions{"groups": {View: true}},
		}))
	company := must(t)(handler.CreateCompany(ctx, admin(), company.Details{Name: "Acme"}))
	powerful := must(t)(handler.CreateGroup(ctx, admin(),
		group.Details{Name: "Site", CompanyID: company, Permissions: domain.Permissions{"settings": {Edit: true}}}))
	description := "of the site"
	must(t)(handler.ChangeGroup(ctx, caller(), powerful, group.Patch{Description: &description}))
	for what, patch := range map[string]group.Patch{
		"its name": {Name: &name}, "whose it is": {CompanyID: new(uuid.Nil)},
	} {
		t.Run("changing "+what, func(t *testing.T) {
			if _, err := handler.ChangeGroup(ctx, caller(), powerful, patch); !refused(err, domain.CodeForbidden) {
				t.Error(err)
			}
		})
	}
}

func TestAMailServersPasswordGoesOnlyWhereItsGiverOrASuperuserSentIt(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, nodetest.Connect(t))
	ctx := t.Context()
	clock := &clock{}
	clock.now.Store(1_800_000_000)
	handler.Now = func() time.Time { clock.advance(time.Second); return clock.Now() }
	mail := domain.Permissions{"mail": all}
	giver, thief := uuid.New(), uuid.New()
	server := must(t)(handler.CreateMailServer(ctx, person(t, handler, giver, mail),
		mailserver.Details{Name: "Mail", Host: "mail.example.com", Port: 587, Security: "starttls", TimeoutS: 10}))
	account := must(t)(handler.CreateMailAccount(ctx, person(t, handler, giver, mail),
		mailaccount.Details{ServerID: server, Address: "a@example.com", Username: "a"}, "smtp secret"))
	redirect := func(by commands.Caller, host string) {
		t.Helper()
		must(t)(handler.ChangeMailServer(ctx, by, server, mailserver.Patch{Host: &host}))
	}
	sends := func(what string, want bool) {
		t.Helper()
		sender, err := handler.MailSenderOf(ctx, account)
		if want && (err != nil || sender.Password != "smtp secret") || !want && !refused(err, "password_withheld") {
			t.Errorf("%s: %+v, %v", what, sender, err)
		}
	}
	sends("as set up", true)
	redirect(person(t, handler, giver, mail), "mail2.example.com")
	sends("redirected by who gave it", true)
	redirect(person(t, handler, thief, mail), "thief.example.com")
	sends("redirected by somebody else", false)
	must(t)(handler.ChangeMailAccount(ctx, person(t, handler, thief, mail), account, mailaccount.Patch{},
		new("smtp secret")))
	sends("given again", true)
	boss := register("boss@example.com")
	boss.Superuser = true
	bossID := must(t)(handler.RegisterUser(ctx, admin(), boss))
	redirect(superuser(bossID), "mail3.example.com")
	sends("redirected by a superuser", true)
	own := must(t)(handler.CreateMailServer(ctx, person(t, handler, giver, mail),
		mailserver.Details{Name: "Other", Host: "giver.example.com", Port: 25, Security: "none", TimeoutS: 10}))
	must(t)(handler.ChangeMailAccount(ctx, person(t, handler, giver, mail), account, mailaccount.Patch{ServerID: &own},
		nil))
	sends("moved to another server by somebody else", false)
}

func TestALinkIntoAnAdministratorsAccountLeavesOnlyThroughWhatSuperusersSetUp(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, nodetest.Connect(t))
	ctx := t.Context()
	mail := domain.Permissions{"mail": all}
	setUp := func(caller func() commands.Caller, name string) uuid.UUID {
		server := must(t)(handler.CreateMailServer(ctx, caller(),
			mailserver.Details{Name: name, Host: name + ".example.com", Port: 25, Security: "none", TimeoutS: 10}))
		return must(t)(handler.CreateMailAccount(ctx, caller(),
			mailaccount.Details{ServerID: server, Address: name + "@example.com"}, ""))
	}
	thief := setUp(func() commands.Caller { return person(t, handler, uuid.New(), mail) }, "thief")
	reset := settings.MailRoute{Feature: mailmessage.PasswordReset}
	must(t)(nameless(handler.SetMailRoute(ctx, person(t, handler, uuid.New(), mail), reset, thief)))
	boss := register("boss@example.com")
	boss.Superuser = true
	bossID := must(t)(handler.RegisterUser(ctx, admin(), boss))
	nobody := must(t)(handler.RegisterUser(ctx, admin(), register("nobody@example.com")))

	toNobody := commands.MailPurpose{Feature: mailmessage.PasswordReset, UserID: nobody}
	if sender, err := handler.MailSenderFor(ctx, toNobody); err != nil || sender.ID != thief {
		t.Errorf("%+v, %v", sender, err)
	}
	toBoss := commands.MailPurpose{Feature: mailmessage.PasswordReset, UserID: bossID}
	if sender, err := handler.MailSenderFor(ctx, toBoss); !refused(err, commands.ErrNoMailAccount.Code) ||
		!strings.Contains(err.Error(), "has rights") {
		t.Errorf("%+v, %v", sender, err)
	}
	good := setUp(admin, "good")
	must(t)(nameless(handler.ChangeSite(ctx, admin(), settings.SitePatch{DefaultMailAccountID: &good})))
	if sender, err := handler.MailSenderFor(ctx, toBoss); err != nil || sender.ID != good {
		t.Errorf("the next choice is a superuser's: %+v, %v", sender, err)
	}
	name := "thief.example.com"
	if _, err := handler.ChangeSite(ctx, person(t, handler, uuid.New(), domain.Permissions{"settings": all}),
		settings.SitePatch{Domain: &name}); !refused(err, domain.CodeForbidden) {
		t.Errorf("where links lead: %v", err)
	}
}

// nameless is a result of an aggregate whose id is no UUID.
func nameless(result commands.Result, err error) (commands.Result, error) {
	result.ID = uuid.Nil.String()
	return result, err
}
