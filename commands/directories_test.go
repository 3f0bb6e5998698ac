package commands_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/group"
)

// wrongFields lists the fields that an error calls wrong.
func wrongFields(err error) (fields []string) {
	if invalid, ok := errors.AsType[*domain.Invalid](err); ok {
		for _, field := range invalid.Fields {
			fields = append(fields, field.Field)
		}
	}
	return fields
}

func TestConnectingADirectoryReportsEveryWrongField(t *testing.T) {
	t.Parallel()
	s := newDirectoryStory(t)
	command := commands.ConnectDirectory{Settings: directory.Defaults}
	command.Name, command.URLs, command.CompanyID = "hq", []string{"http://dc1"}, uuid.New()
	_, err := s.ConnectDirectory(t.Context(), admin(), command)
	if diff := cmp.Diff([]string{"urls.0", "base_dn", "company_id"}, wrongFields(err)); diff != "" {
		t.Errorf("%v, wrong fields (-want +got):\n%s", err, diff)
	}
}

func TestChangingADirectory(t *testing.T) {
	t.Parallel()
	url := []string{"ldaps://elsewhere.example"}
	for name, test := range map[string]struct {
		by      func(*testing.T, *directoryStory) commands.Caller
		command commands.ChangeDirectory
		wrong   []string
		bind    string // the bind password that is used afterwards
	}{
		"another password": {root, commands.ChangeDirectory{BindPassword: new("other")}, nil, "other"},
		"no sign-in": {
			root, commands.ChangeDirectory{Patch: directory.Patch{BindDN: new("")}, BindPassword: new("")}, nil, "",
		},
		"a company that is not there": {
			root, commands.ChangeDirectory{Patch: directory.Patch{CompanyID: new(uuid.New())}},
			[]string{"company_id"}, "bind",
		},
		"elsewhere by a superuser": {
			root, commands.ChangeDirectory{Patch: directory.Patch{URLs: &url}}, nil, "bind",
		},
		"elsewhere without password": {
			clerk, commands.ChangeDirectory{Patch: directory.Patch{URLs: &url}}, []string{"bind_password"}, "bind",
		},
		"elsewhere with a new password": {
			clerk, commands.ChangeDirectory{Patch: directory.Patch{URLs: &url}, BindPassword: new("mine")}, nil,
			"mine",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newDirectoryStory(t)
			approved(t, s)
			_, err := s.ChangeDirectory(t.Context(), test.by(t, s), s.ids["hq"], test.command)
			if diff := cmp.Diff(test.wrong, wrongFields(err)); diff != "" || err != nil && test.wrong == nil {
				t.Errorf("%v, wrong fields (-want +got):\n%s", err, diff)
			}
			s.signIn(t)
			if got := s.servers["hq"].bindPassword; got != test.bind {
				t.Errorf("asked with the bind password %q, want %q", got, test.bind)
			}
		})
	}
}

func TestADirectoryServesItsCompanyWhileThatIsInUse(t *testing.T) {
	t.Parallel()
	s := newDirectoryStory(t)
	ctx := t.Context()
	acme := must(t)(s.CreateCompany(ctx, admin(), company.Details{Name: "Acme"}))
	s.connect(t, "hq", admin(), func(c *commands.ConnectDirectory) { c.CompanyID = acme })
	s.signIn(t)
	if _, account := s.account(t, olenasEmail); account.Details.CompanyID != acme {
		t.Errorf("the account belongs to company %s", account.Details.CompanyID)
	}
	must(t)(s.RetireCompany(ctx, admin(), acme, ""))
	if _, err := s.SignIn(ctx, olenasEmail, olenasPassword); !errors.Is(err, commands.ErrCredentials) {
		t.Errorf("of a retired company: %v", err)
	}
	asked("hq", 1)(t, s)
}

func TestTryingADirectory(t *testing.T) {
	t.Parallel()
	risk := func(gives bool, why string) []shownMatch {
		return []shownMatch{{"Risk", gives, why}, {"Printers", false, ""}}
	}
	for name, test := range map[string]struct {
		given   func(*testing.T, *directoryStory)
		email   string
		account bool
		refusal string
		groups  []shownMatch
		err     error
	}{
		"nobody found": {approved, "nobody@acme.example", false, "", nil, nil},
		"groups are not synchronised": {
			and(approved, entry(func(p *fakePerson) { p.Groups = []string{"Risk", "Printers"} })), olenasEmail, false,
			"", risk(false, "sync_groups is off"), nil,
		},
		"not approved": {
			func(t *testing.T, s *directoryStory) {
				s.connect(t, "hq", clerk(t, s), func(c *commands.ConnectDirectory) { c.SyncGroups = true })
				s.servers["hq"].people[olenasEmail].Groups = []string{"Risk", "Printers"}
			}, olenasEmail, false, "",
			risk(false,
				`no superuser has approved the connection: a superuser has to PATCH it with {"vouch": true}`), nil,
		},
		"gives a group": {
			func(t *testing.T, s *directoryStory) {
				s.connect(t, "hq", admin(), func(c *commands.ConnectDirectory) { c.SyncGroups = true })
				s.servers["hq"].people[olenasEmail].Groups = []string{"Risk", "Printers"}
			}, olenasEmail, false, "", risk(true, ""), nil,
		},
		"has an account": {known, olenasEmail, true, "", nil, nil},
		"could not sign in": {and(approved, entry(func(p *fakePerson) {
			p.Expired = true
		})), olenasEmail, false, directory.AccountExpired, nil, nil},
		"switched off is tried all alike": {func(t *testing.T, s *directoryStory) {
			s.connect(t, "hq", admin(), func(c *commands.ConnectDirectory) { c.Enabled = false })
		}, olenasEmail, false, "", nil, nil},
		"down": {and(approved, down("hq")), olenasEmail, false, "", nil, errDown},
		"not there": {func(_ *testing.T, s *directoryStory) {
			s.ids["hq"] = uuid.New()
		}, olenasEmail, false, "", nil, &domain.Error{Code: domain.CodeNotFound}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newDirectoryStory(t)
			s.groups = []uuid.UUID{must(t)(s.CreateGroup(t.Context(), admin(), group.Details{Name: "Risk"}))}
			test.given(t, s)
			got, err := s.TestDirectory(t.Context(), admin(), s.ids["hq"], test.email, "")
			if !errors.Is(err, test.err) {
				t.Fatalf("failed with %v, want %v", err, test.err)
			}
			var groups []shownMatch
			for _, match := range got.Groups {
				groups = append(groups, shownMatch{match.Name, match.Gives, match.Why})
			}
			if diff := cmp.Diff(test.groups, groups, cmp.AllowUnexported(shownMatch{})); diff != "" {
				t.Errorf("groups (-want +got):\n%s", diff)
			}
			if got.Refusal != test.refusal || (got.Account != nil) != test.account {
				t.Errorf("refusal %q, account %v", got.Refusal, got.Account)
			}
		})
	}
}

type shownMatch struct {
	name  string
	gives bool
	why   string
}
