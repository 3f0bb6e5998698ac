package commands_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/mailserver"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/domain/user"
)

// office is an installation with a mail account for each way in which one can be chosen.
type office struct {
	story
	company  uuid.UUID
	server   uuid.UUID
	accounts map[string]uuid.UUID
}

const (
	preferred      = "preferred"
	companyRoute   = "company route"
	globalRoute    = "global route"
	companyDefault = "company default"
	siteDefault    = "site default"
)

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{story: newStory(t), accounts: map[string]uuid.UUID{}}
	ctx := t.Context()
	o.company = must(t)(o.CreateCompany(ctx, admin(), company.Details{Name: "Acme"}))
	o.server = must(t)(o.CreateMailServer(ctx, admin(),
		mailserver.Details{Name: "Office", Host: "mail.example.com", Port: 587, Security: mailserver.StartTLS}))
	for _, name := range []string{preferred, companyRoute, globalRoute, companyDefault, siteDefault} {
		address := strings.ReplaceAll(name, " ", ".") + "@example.com"
		o.accounts[name] = must(t)(o.CreateMailAccount(ctx, admin(),
			mailaccount.Details{ServerID: o.server, Address: address, Username: "u"}, "secret of "+name))
	}
	must(t)(nameless(o.SetMailRoute(ctx, admin(),
		settings.MailRoute{Feature: mailmessage.SecurityNotice, CompanyID: o.company}, o.accounts[companyRoute])))
	must(t)(nameless(o.SetMailRoute(ctx, admin(), settings.MailRoute{Feature: mailmessage.SecurityNotice},
		o.accounts[globalRoute])))
	must(t)(o.SetDefaultMailAccount(ctx, admin(), o.company, o.accounts[companyDefault]))
	must(t)(nameless(
		o.ChangeSite(ctx, admin(), settings.SitePatch{DefaultMailAccountID: new(o.accounts[siteDefault])})))
	return o
}

// retire takes mail accounts out of use.
func (o *office) retire(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		must(t)(o.RetireMailAccount(t.Context(), admin(), o.accounts[name], ""))
	}
}

func TestChoosingTheSenderOfAMail(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		retired []string
		purpose func(*office) commands.MailPurpose
		want    string // "" for none
	}{
		"the preferred one goes before all": {
			nil, func(o *office) commands.MailPurpose {
				return commands.MailPurpose{
					Feature: mailmessage.SecurityNotice, CompanyID: o.company, Preferred: o.accounts[preferred],
				}
			}, preferred,
		},
		"the company's route":   {nil, noticeOfCompany, companyRoute},
		"the global route":      {[]string{companyRoute}, noticeOfCompany, globalRoute},
		"the company's default": {[]string{companyRoute, globalRoute}, noticeOfCompany, companyDefault},
		"the site's default":    {[]string{companyRoute, globalRoute, companyDefault}, noticeOfCompany, siteDefault},
		"none": {
			[]string{companyRoute, globalRoute, companyDefault, siteDefault}, noticeOfCompany, "",
		},
		"no company": {nil, func(*office) commands.MailPurpose {
			return commands.MailPurpose{Feature: mailmessage.SecurityNotice}
		}, globalRoute},
		"a feature without a route": {nil, func(o *office) commands.MailPurpose {
			return commands.MailPurpose{Feature: mailmessage.ContactAutoReply, CompanyID: o.company}
		}, companyDefault},
		"a retired preferred is skipped": {[]string{preferred}, func(o *office) commands.MailPurpose {
			return commands.MailPurpose{Feature: mailmessage.ContactAutoReply, Preferred: o.accounts[preferred]}
		}, siteDefault},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			o.retire(t, test.retired...)
			sender, err := o.MailSenderFor(t.Context(), test.purpose(o))
			if test.want == "" {
				if !refused(err, commands.ErrNoMailAccount.Code) || !strings.Contains(err.Error(), "is retired") {
					t.Errorf("sends %+v, %v", sender, err)
				}
				return
			}
			want := commands.MailSender{
				ID: o.accounts[test.want], Password: "secret of " + test.want,
				Account: mailaccount.Details{
					ServerID: o.server, Address: strings.ReplaceAll(test.want, " ", ".") + "@example.com",
					Username: "u",
				},
				Server: mailserver.Details{
					Name: "Office", Host: "mail.example.com", Port: 587, Security: mailserver.StartTLS,
					TimeoutS: mailserver.DefaultTimeoutS,
				},
			}
			if diff := cmp.Diff(want, sender); err != nil || diff != "" {
				t.Errorf("%v, sender (-want +got):\n%s", err, diff)
			}
		})
	}
}

func noticeOfCompany(o *office) commands.MailPurpose {
	return commands.MailPurpose{Feature: mailmessage.SecurityNotice, CompanyID: o.company}
}

func TestALinkOfAnAdministratorNeedsASenderSetUpBySuperusers(t *testing.T) {
	t.Parallel()
	mail := domain.Permissions{"mail": all}
	for name, test := range map[string]struct {
		feature   string
		superuser bool
		withheld  bool
	}{
		"reset link of a superuser": {mailmessage.PasswordReset, true, true},
		"first login of one":        {mailmessage.FirstLogin, true, true},
		"notice to a superuser":     {mailmessage.SecurityNotice, true, false},
		"reset link of anybody":     {mailmessage.PasswordReset, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			o.retire(t, companyRoute, globalRoute, companyDefault)
			if test.superuser {
				must(t)(o.ChangeUser(t.Context(), admin(), o.anna,
					commands.ChangeUser{Patch: user.Patch{Superuser: new(true)}}))
			}
			must(t)(o.ChangeMailServer(t.Context(), person(t, o.Handler, uuid.New(), mail), o.server,
				mailserver.Patch{Name: new("Renamed")}))
			_, err := o.MailSenderFor(t.Context(), commands.MailPurpose{Feature: test.feature, UserID: o.anna})
			if test.withheld != refused(err, commands.ErrNoMailAccount.Code) || !test.withheld && err != nil {
				t.Errorf("answered %v, withheld should be %v", err, test.withheld)
			}
		})
	}
}

func TestASenderWithoutItsServer(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	must(t)(o.RetireMailServer(t.Context(), admin(), o.server, ""))
	if _, err := o.MailSenderOf(t.Context(), o.accounts[preferred]); !refused(err, domain.CodeRetired) {
		t.Errorf("at a retired server: %v", err)
	}
	if _, err := o.MailSenderOf(t.Context(), uuid.New()); !refused(err, domain.CodeNotFound) {
		t.Errorf("an account that is not there: %v", err)
	}
}

func TestMailSetUpRefersToWhatIsInUse(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	ctx := t.Context()
	o.retire(t, preferred)
	for name, test := range map[string]struct {
		do    func() error
		wrong []string
	}{
		"new account": {func() error {
			_, err := o.CreateMailAccount(ctx, admin(), mailaccount.Details{ServerID: uuid.New(), Address: "x"}, "\x00")
			return err
		}, []string{"address", "server_id", "password"}},
		"another server": {func() error {
			_, err := o.ChangeMailAccount(ctx, admin(), o.accounts[siteDefault],
				mailaccount.Patch{ServerID: new(uuid.New())}, new("\x00"))
			return err
		}, []string{"server_id", "password"}},
		"route": {func() error {
			_, err := o.SetMailRoute(ctx, admin(), settings.MailRoute{Feature: mailmessage.FirstLogin},
				o.accounts[preferred])
			return err
		}, []string{"mail_account_id"}},
		"route of a company": {func() error {
			_, err := o.SetMailRoute(ctx, admin(),
				settings.MailRoute{Feature: mailmessage.FirstLogin, CompanyID: uuid.New()}, uuid.Nil)
			return err
		}, []string{"company_id"}},
		"site": {func() error {
			_, err := o.ChangeSite(ctx, admin(), settings.SitePatch{DefaultMailAccountID: new(uuid.New())})
			return err
		}, []string{"default_mail_account_id"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := test.do()
			if diff := cmp.Diff(test.wrong, wrongFields(err)); diff != "" {
				t.Errorf("%v, wrong fields (-want +got):\n%s", err, diff)
			}
		})
	}
}
