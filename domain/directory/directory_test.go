package directory_test

import (
	"testing"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/scenario"
)

var (
	superuser = directory.By{Superuser: true}
	clerk     = directory.By{}
	sealed    = domain.Sealed("sealed")
)

func settings() directory.Settings {
	s := directory.Defaults
	s.Name, s.URLs, s.BaseDN = "AD", []string{"ldaps://dc1.example.com"}, "DC=example,DC=com"
	return s
}

func connected(t *testing.T, by directory.By, bindPassword domain.Sealed) domain.Event {
	t.Helper()
	s := settings()
	if bindPassword.Set() {
		s.BindDN = "CN=reader"
	}
	events, err := directory.Connect(directory.State{}, by, s, bindPassword)
	if err != nil {
		t.Fatal(err)
	}
	return events[0]
}

func change(by directory.By, patch directory.Patch) func(directory.State) ([]domain.Event, error) {
	return func(s directory.State) ([]domain.Event, error) { return directory.Change(s, by, patch) }
}

func TestConnectReportsEveryWrongField(t *testing.T) {
	t.Parallel()
	wrong := settings()
	wrong.Name, wrong.URLs, wrong.CAPEM, wrong.BaseDN, wrong.UserFilter = "",
		[]string{"ldap://a.example", "ldaps://b.example", "file:///etc"}, "x", "no dn", "(("
	wrong.Attributes.Email, wrong.TimeoutSeconds, wrong.CheckMinutes, wrong.CheckLimit, wrong.BindDN = "", 61, 1, 0,
		"CN=x"
	scenario.Given[directory.State]().
		When(func(s directory.State) ([]domain.Event, error) { return directory.Connect(s, superuser, wrong, nil) }).
		ThenInvalid(t, "name", "urls.2", "urls", "ca_pem", "base_dn", "bind_password", "user_filter", "attr_email",
			"timeout_s", "check_minutes", "check_limit_percent")
}

func TestPasswordsNeverTravelInClear(t *testing.T) {
	t.Parallel()
	urls, yes := []string{"ldap://dc1.example.com"}, true
	scenario.Given[directory.State](connected(t, superuser, nil)).When(
		change(superuser, directory.Patch{URLs: &urls})).ThenInvalid(t, "start_tls")
	scenario.Given[directory.State](connected(t, superuser, nil)).When(
		change(superuser, directory.Patch{URLs: &urls, StartTLS: &yes})).
		Then(t, directory.ServerChanged{
			URLs:     domain.Changed[[]string]{From: []string{"ldaps://dc1.example.com"}, To: urls},
			StartTLS: domain.Changed[bool]{To: true},
		})
}

// Each thing that changes is one event, and what stays is none.
func TestChangeSaysWhatChanged(t *testing.T) {
	t.Parallel()
	name, company, phone, sync, off, limit := "AD 2", uuid.UUID{1}, "", true, false, 5
	patch := directory.Patch{
		Name: &name, CompanyID: &company, Attributes: directory.AttributesPatch{Phone: &phone}, SyncGroups: &sync,
		Enabled: &off, CheckLimit: &limit,
	}
	changed := []domain.Event{
		directory.Renamed{Name: domain.Changed[string]{From: "AD", To: "AD 2"}},
		directory.CompanyChanged{CompanyID: domain.Changed[uuid.UUID]{To: company}},
		directory.AttributesChanged{AttrPhone: domain.Changed[string]{From: "telephoneNumber"}},
		directory.GroupSyncChanged{SyncGroups: domain.Changed[bool]{To: true}},
		directory.CheckChanged{CheckLimit: domain.Changed[int]{From: 20, To: 5}},
		directory.SwitchedOff{},
	}
	scenario.Given[directory.State](connected(t, superuser, nil)).When(change(superuser, patch)).Then(t, changed...)
	scenario.Given[directory.State](append([]domain.Event{connected(t, superuser, nil)}, changed...)...).When(
		change(superuser, patch)).Then(t)
}

func TestOnlyASuperuserVouches(t *testing.T) {
	t.Parallel()
	filter, name := "(objectClass=person)", "Other"
	filtered := directory.ServerChanged{UserFilter: domain.Changed[string]{From: "(objectClass=user)", To: filter}}
	scenario.Given[directory.State](connected(t, superuser, nil)).When(
		change(clerk, directory.Patch{UserFilter: &filter})).Then(t, filtered, directory.VouchLost{})
	scenario.Given[directory.State](connected(t, superuser, nil)).When(change(clerk, directory.Patch{Name: &name})).
		Then(t, directory.Renamed{Name: domain.Changed[string]{From: "AD", To: "Other"}})
	scenario.Given[directory.State](connected(t, clerk, nil)).When(change(superuser, directory.Patch{})).Then(t,
		directory.VouchedFor{})
	scenario.Given[directory.State](connected(t, clerk, nil)).When(
		change(superuser, directory.Patch{Vouch: true})).Then(t, directory.VouchedFor{})
	scenario.Given[directory.State](connected(t, clerk, nil)).When(
		change(superuser, directory.Patch{UserFilter: &filter})).
		Then(t, filtered, directory.VouchedFor{})
	scenario.Given[directory.State](connected(t, clerk, nil)).When(
		change(clerk, directory.Patch{UserFilter: &filter})).Then(t, filtered)
	scenario.Given[directory.State](connected(t, clerk, nil)).When(
		change(clerk, directory.Patch{Vouch: true})).ThenRefused(t, domain.CodeForbidden)
	minutes, same := 30, "AD"
	scenario.Given[directory.State](connected(t, clerk, nil)).When(
		change(superuser, directory.Patch{CheckMinutes: &minutes})).
		Then(t, directory.CheckChanged{CheckMinutes: domain.Changed[int]{From: 60, To: 30}})
	scenario.Given[directory.State](connected(t, clerk, nil)).When(
		change(superuser, directory.Patch{Name: &same})).Then(t)
}

func TestTheBindPasswordGoesToNoOtherServerUnseen(t *testing.T) {
	t.Parallel()
	urls, another := []string{"ldaps://elsewhere.example.com"}, domain.Sealed("another")
	given := []domain.Event{connected(t, superuser, sealed)}
	scenario.Given[directory.State](given...).When(change(clerk, directory.Patch{URLs: &urls})).ThenInvalid(t,
		"bind_password")
	moved := directory.ServerChanged{
		URLs: domain.Changed[[]string]{From: []string{"ldaps://dc1.example.com"}, To: urls},
	}
	scenario.Given[directory.State](given...).When(change(superuser, directory.Patch{URLs: &urls})).Then(t, moved)
	scenario.Given[directory.State](given...).When(change(clerk, directory.Patch{URLs: &urls, BindPassword: &another})).
		Then(t, moved, directory.BindPasswordSet{Password: another}, directory.VouchLost{})
	none, anonymous := domain.Sealed(nil), ""
	scenario.Given[directory.State](given...).When(
		change(superuser, directory.Patch{BindPassword: &none, BindDN: &anonymous})).
		Then(t, directory.ServerChanged{BindDN: domain.Changed[string]{From: "CN=reader"}},
			directory.BindPasswordRemoved{})
}

func TestACheckThatWouldChangeTooMuchStops(t *testing.T) {
	t.Parallel()
	end := func(f directory.Findings, confirmed bool) func(directory.State) ([]domain.Event, error) {
		return func(s directory.State) ([]domain.Event, error) { return directory.EndCheck(s, f, confirmed) }
	}
	given := connected(t, superuser, nil) // 20 %
	few, fits := directory.Findings{Accounts: 3, Entries: 1, Close: 2},
		directory.Findings{Accounts: 100, Entries: 80, Close: 15, Open: 5}
	many, empty := directory.Findings{Accounts: 100, Entries: 79, Close: 16, Open: 5},
		directory.Findings{Accounts: 1, Close: 1}
	scenario.Given[directory.State](given).When(end(few, false)).Then(t)
	scenario.Given[directory.State](given).When(end(fits, false)).Then(t)
	stopped := directory.CheckStopped{
		Accounts: 100, Close: 16, Open: 5, Reason: "that is more than check_limit_percent allows at once",
	}
	scenario.Given[directory.State](given).When(end(many, false)).Then(t, stopped)
	scenario.Given[directory.State](given).When(end(empty, false)).
		Then(t, directory.CheckStopped{Accounts: 1, Close: 1, Reason: "the directory returned no entries at " +
			"all: check " +
			"base_dn and user_filter"})
	scenario.Given[directory.State](given, stopped).When(end(many, false)).Then(t)
	scenario.Given[directory.State](given, stopped).When(end(many, true)).Then(t,
		directory.CheckResumed{Confirmed: true})
	scenario.Given[directory.State](given, stopped).When(end(fits, false)).Then(t, directory.CheckResumed{})
}
