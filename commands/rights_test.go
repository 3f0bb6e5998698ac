package commands_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/nodetest"
)

// rights tells the story of who may do what: an installation with two companies.
type rights struct {
	*commands.Handler
	log        eventstore.Log
	acme, nova uuid.UUID
}

func newRights(t *testing.T) *rights {
	t.Helper()
	client := nodetest.Connect(t)
	r := &rights{Handler: newHandler(t, client), log: client}
	must(t)(nameless(r.RegisterModule(t.Context(), admin(), "risks", "Risks")))
	r.acme = must(t)(r.CreateCompany(t.Context(), admin(), company.Details{Name: "Acme"}))
	r.nova = must(t)(r.CreateCompany(t.Context(), admin(), company.Details{Name: "Nova"}))
	return r
}

// group makes a group of a company, uuid.Nil for none.
func (r *rights) group(t *testing.T, of uuid.UUID, permissions domain.Permissions) uuid.UUID {
	t.Helper()
	return must(t)(r.CreateGroup(t.Context(), admin(),
		group.Details{Name: uuid.NewString(), CompanyID: of, Permissions: permissions}))
}

// account makes one of a company in groups.
func (r *rights) account(t *testing.T, of uuid.UUID, groups ...uuid.UUID) uuid.UUID {
	t.Helper()
	command := register(uuid.NewString() + "@example.com")
	command.Details.CompanyID, command.GroupIDs = of, groups
	return must(t)(r.RegisterUser(t.Context(), admin(), command))
}

// with is somebody of a company with permissions for it, or with global ones where the company is none.
func (r *rights) with(t *testing.T, of uuid.UUID, permissions domain.Permissions) commands.Caller {
	t.Helper()
	return superuser(r.account(t, of, r.group(t, of, permissions)))
}

func wants(t *testing.T, what string, err error, code domain.Code) {
	t.Helper()
	switch {
	case code == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case code != "" && !refused(err, code):
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

var (
	editUsers  = domain.Permissions{"users": {View: true, Add: true, Edit: true}}
	riskDelete = domain.Permissions{"risks": {Delete: true}}
)

// What a caller may do, the log says, whatever was so when the request began.
func TestTheRightToACommandIsThatOfTheMoment(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]struct {
		how  func(*testing.T, *rights, uuid.UUID, uuid.UUID) error
		code domain.Code
	}{
		"deactivated": {func(t *testing.T, r *rights, account, _ uuid.UUID) error {
			_, err := r.DeactivateUser(t.Context(), admin(), account, "")
			return err
		}, domain.CodeUnauthenticated},
		"out of the group": {func(t *testing.T, r *rights, account, group uuid.UUID) error {
			_, err := r.LeaveGroup(t.Context(), admin(), account, group)
			return err
		}, domain.CodeForbidden},
		"the group allows less": {func(t *testing.T, r *rights, _, id uuid.UUID) error {
			_, err := r.ChangeGroup(t.Context(), admin(), id, group.Patch{Permissions: &domain.Permissions{}})
			return err
		}, domain.CodeForbidden},
		"the group is retired": {func(t *testing.T, r *rights, _, group uuid.UUID) error {
			_, err := r.RetireGroup(t.Context(), admin(), group, "")
			return err
		}, domain.CodeForbidden},
		"the access is over": {func(t *testing.T, r *rights, account, _ uuid.UUID) error {
			past, err := domain.ParseDate("2020-01-01")
			if err != nil {
				return err
			}
			_, err = r.ChangeUser(t.Context(), admin(), account, commands.ChangeUser{Patch: user.Patch{EndDate: &past}})
			return err
		}, domain.CodeUnauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRights(t)
			group := r.group(t, uuid.Nil, editUsers)
			account := r.account(t, uuid.Nil, group)
			must(t)(r.RegisterUser(t.Context(), superuser(account), register("first@example.com")))
			if err := end.how(t, r, account, group); err != nil {
				t.Fatal(err)
			}
			_, err := r.RegisterUser(t.Context(), superuser(account), register("second@example.com"))
			wants(t, "an account", err, end.code)
			report, err := r.ImportUsers(t.Context(), superuser(account),
				[]commands.ImportLine{{Line: 2, Register: register("third@example.com")}}, false)
			if err != nil || report.Created != 0 {
				t.Errorf("an import: %+v, %v", report, err)
			}
		})
	}
	t.Run("superuser no more", func(t *testing.T) {
		t.Parallel()
		r := newRights(t)
		command := register("root@example.com")
		command.Superuser = true
		root := must(t)(r.RegisterUser(t.Context(), admin(), command))
		must(t)(r.ChangeUser(t.Context(), admin(), root,
			commands.ChangeUser{Patch: user.Patch{Superuser: new(false)}}))
		_, err := r.ChangeSecurity(t.Context(), superuser(root), settings.SecurityPatch{})
		wants(t, "settings", err, domain.CodeForbidden)
	})
}

func TestACommandThatNamesNoRightIsRefused(t *testing.T) {
	t.Parallel()
	r := newRights(t)
	nobody := admin()
	nobody.Actor = eventstore.Actor{Kind: eventstore.ActorUser}
	if _, err := r.CreateCompany(t.Context(), nobody, company.Details{Name: "Mine"}); err == nil {
		t.Error("somebody who is not signed in made a company")
	}
}

// An administrator of one company reaches that company alone. What is outside does not exist.
func TestACompanysGroupReachesOnlyItsCompany(t *testing.T) {
	t.Parallel()
	r := newRights(t)
	ctx := t.Context()
	clerkID := uuid.MustParse(r.with(t, r.acme, domain.Permissions{
		"users": all, "groups": all, "companies": all, "directory": all, "mail": all, "settings": all, "roles": all,
	}).Actor.ID)
	clerk := func() commands.Caller { return superuser(clerkID) }
	phone := commands.ChangeUser{Patch: user.Patch{Phone: new("1")}}
	mine, theirs, nobodys := r.account(t, r.acme), r.account(t, r.nova), r.account(t, uuid.Nil)
	description := group.Patch{Description: new("text")}
	myGroup, theirGroup, global := r.group(t, r.acme, nil), r.group(t, r.nova, nil), r.group(t, uuid.Nil, nil)
	of := func(company uuid.UUID) commands.RegisterUser {
		command := register(uuid.NewString() + "@example.com")
		command.Details.CompanyID = company
		return command
	}
	connect := func(company uuid.UUID) commands.ConnectDirectory {
		command := commands.ConnectDirectory{Settings: directory.Defaults, BindPassword: "bind"}
		command.Name, command.URLs, command.BaseDN, command.BindDN = uuid.NewString(), []string{"ldaps://d.example"},
			"DC=acme,DC=example", "CN=SecBoard"
		command.CompanyID = company
		return command
	}
	for name, c := range map[string]struct {
		do    func() (commands.Result, error)
		code  domain.Code
		field string
	}{
		"an account": {func() (commands.Result, error) { return r.ChangeUser(ctx, clerk(), mine, phone) }, "", ""},
		"an account of another company": {
			func() (commands.Result, error) { return r.ChangeUser(ctx, clerk(), theirs, phone) }, domain.CodeNotFound,
			"",
		},
		"an account of no company": {
			func() (commands.Result, error) { return r.ChangeUser(ctx, clerk(), nobodys, phone) }, domain.CodeNotFound,
			"",
		},
		"closing one of another company": {
			func() (commands.Result, error) { return r.DeactivateUser(ctx, clerk(), theirs, "") }, domain.CodeNotFound,
			"",
		},
		"unlocking one of another company": {
			func() (commands.Result, error) { return r.Unlock(ctx, clerk(), theirs) }, domain.CodeNotFound, "",
		},
		"a new account": {func() (commands.Result, error) { return r.RegisterUser(ctx, clerk(), of(r.acme)) }, "", ""},
		"a new account of another company": {
			func() (commands.Result, error) { return r.RegisterUser(ctx, clerk(), of(r.nova)) }, "", "company_id",
		},
		"a new account of no company": {
			func() (commands.Result, error) { return r.RegisterUser(ctx, clerk(), of(uuid.Nil)) }, domain.CodeForbidden,
			"",
		},
		"moving an account to another company": {func() (commands.Result, error) {
			return r.ChangeUser(ctx, clerk(), mine, commands.ChangeUser{Patch: user.Patch{CompanyID: &r.nova}})
		}, "", "company_id"},
		"moving an account to no company": {func() (commands.Result, error) {
			return r.ChangeUser(ctx, clerk(), mine, commands.ChangeUser{Patch: user.Patch{CompanyID: new(uuid.Nil)}})
		}, domain.CodeForbidden, ""},
		"a group": {func() (commands.Result, error) {
			return r.ChangeGroup(ctx, clerk(), myGroup, description)
		}, "", ""},
		"a group of another company": {
			func() (commands.Result, error) { return r.ChangeGroup(ctx, clerk(), theirGroup, description) },
			domain.CodeNotFound, "",
		},
		"a global group": {
			func() (commands.Result, error) { return r.ChangeGroup(ctx, clerk(), global, description) },
			domain.CodeNotFound, "",
		},
		"opening a group to all": {func() (commands.Result, error) {
			return r.ChangeGroup(ctx, clerk(), myGroup, group.Patch{CompanyID: new(uuid.Nil)})
		}, domain.CodeForbidden, ""},
		"joining a global group": {
			func() (commands.Result, error) { return r.JoinGroup(ctx, clerk(), mine, global) }, domain.CodeNotFound, "",
		},
		"a group with more than one has": {func() (commands.Result, error) {
			return r.CreateGroup(ctx, clerk(), group.Details{Name: "Mine", CompanyID: r.acme, Permissions: riskDelete})
		}, domain.CodeForbidden, ""},
		"the company": {func() (commands.Result, error) {
			return r.ChangeCompany(ctx, clerk(), r.acme, company.Patch{Name: new("Acme Ltd")})
		}, "", ""},
		"another company": {func() (commands.Result, error) {
			return r.ChangeCompany(ctx, clerk(), r.nova, company.Patch{Name: new("Nova Ltd")})
		}, domain.CodeNotFound, ""},
		"a new company": {func() (commands.Result, error) {
			return r.CreateCompany(ctx, clerk(), company.Details{Name: "Third"})
		}, domain.CodeForbidden, ""},
		"a directory": {
			func() (commands.Result, error) { return r.ConnectDirectory(ctx, clerk(), connect(r.acme)) }, "", "",
		},
		"a directory of another company": {
			func() (commands.Result, error) { return r.ConnectDirectory(ctx, clerk(), connect(r.nova)) }, "",
			"company_id",
		},
		"a directory for all": {
			func() (commands.Result, error) { return r.ConnectDirectory(ctx, clerk(), connect(uuid.Nil)) },
			domain.CodeForbidden, "",
		},
		"the site": {func() (commands.Result, error) {
			return r.ChangeSite(ctx, clerk(), settings.SitePatch{Name: new("Mine")})
		}, domain.CodeForbidden, ""},
		"a mail route": {func() (commands.Result, error) {
			return r.SetMailRoute(ctx, clerk(),
				settings.MailRoute{Feature: mailmessage.SecurityNotice, CompanyID: r.acme}, uuid.Nil)
		}, "", ""},
		"a mail route of another company": {func() (commands.Result, error) {
			return r.SetMailRoute(ctx, clerk(),
				settings.MailRoute{Feature: mailmessage.SecurityNotice, CompanyID: r.nova}, uuid.Nil)
		}, "", "company_id"},
		"a mail route for all": {func() (commands.Result, error) {
			return r.SetMailRoute(ctx, clerk(), settings.MailRoute{Feature: mailmessage.SecurityNotice}, uuid.Nil)
		}, domain.CodeForbidden, ""},
		"a module": {func() (commands.Result, error) {
			return nameless(r.RegisterModule(ctx, clerk(), "assets", "Assets"))
		}, domain.CodeForbidden, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := c.do()
			if c.field == "" {
				wants(t, name, err, c.code)
				return
			}
			invalid, ok := errors.AsType[*domain.Invalid](err)
			if !ok || invalid.Fields[0].Field != c.field {
				t.Errorf("%v, want a wrong %s", err, c.field)
			}
		})
	}
}

// Who holds one permission gains no other one through an account that has it.
func TestNobodyGetsHoldOfAnAccountThatMayDoMore(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*testing.T, *rights, commands.Caller, uuid.UUID) error{
		"its address": func(t *testing.T, r *rights, clerk commands.Caller, id uuid.UUID) error {
			_, err := r.ChangeUser(t.Context(), clerk, id,
				commands.ChangeUser{Patch: user.Patch{Email: new("mine@example.com")}})
			return err
		},
		"its company": func(t *testing.T, r *rights, clerk commands.Caller, id uuid.UUID) error {
			_, err := r.ChangeUser(t.Context(), clerk, id,
				commands.ChangeUser{Patch: user.Patch{CompanyID: &r.acme}})
			return err
		},
		"its second factor": func(t *testing.T, r *rights, clerk commands.Caller, id uuid.UUID) error {
			must(t)(r.ChangeUser(t.Context(), admin(), id,
				commands.ChangeUser{Patch: user.Patch{RequireTwoFactor: new(true)}}))
			_, err := r.ChangeUser(t.Context(), clerk, id,
				commands.ChangeUser{Patch: user.Patch{RequireTwoFactor: new(false)}})
			return err
		},
		"its lockout": func(t *testing.T, r *rights, clerk commands.Caller, id uuid.UUID) error {
			_, err := r.Unlock(t.Context(), clerk, id)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRights(t)
			clerk := r.with(t, uuid.Nil, editUsers)
			deleter := r.account(t, uuid.Nil, r.group(t, uuid.Nil, riskDelete))
			wants(t, "an account with more rights", do(t, r, clerk, deleter), domain.CodeForbidden)
			clerk.CommandID = uuid.Must(uuid.NewV7())
			wants(t, "an account with fewer rights", do(t, r, clerk, r.account(t, uuid.Nil)), "")
		})
	}
}

func TestNobodyMakesAGroupThatAllowsMore(t *testing.T) {
	t.Parallel()
	r := newRights(t)
	clerk := r.with(t, uuid.Nil, domain.Permissions{"groups": all})
	_, err := r.CreateGroup(t.Context(), clerk, group.Details{Name: "Domain Admins", Permissions: riskDelete})
	wants(t, "a group named like one's own in the directory", err, domain.CodeForbidden)
	powerful := r.group(t, r.acme, riskDelete)
	for what, patch := range map[string]group.Patch{
		"renaming": {Name: new("Domain Admins")}, "opening to all": {CompanyID: new(uuid.Nil)},
		"adding": {Permissions: &domain.Permissions{"risks": {Delete: true, Edit: true}}},
	} {
		clerk.CommandID = uuid.Must(uuid.NewV7())
		_, err := r.ChangeGroup(t.Context(), clerk, powerful, patch)
		wants(t, what, err, domain.CodeForbidden)
	}
}
