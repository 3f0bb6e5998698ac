package group_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/scenario"
)

var (
	acme    = uuid.UUID{1}
	readers = group.Created{Name: "Readers", CompanyID: acme, Permissions: domain.Permissions{"risks": {View: true}}}
)

func known(module string) bool { return module == "risks" || module == "reports" }

func change(patch group.Patch) func(group.State) ([]domain.Event, error) {
	return func(s group.State) ([]domain.Event, error) { return group.Change(s, patch, known) }
}

func TestCreateDropsModulesThatGrantNothing(t *testing.T) {
	scenario.Given[group.State]().
		When(func(s group.State) ([]domain.Event, error) {
			return group.Create(s, group.Details{Name: " Readers ", CompanyID: acme,
				Permissions: domain.Permissions{"risks": {View: true}, "reports": {}}}, known)
		}).Then(t, readers)
}

func TestCreateReportsEveryWrongField(t *testing.T) {
	scenario.Given[group.State]().
		When(func(s group.State) ([]domain.Event, error) {
			return group.Create(s, group.Details{
				Description: "\x00", Permissions: domain.Permissions{"riks": {View: true}, "Bad key": {View: true}},
			}, known)
		}).ThenInvalid(t, "name", "description", "permissions.Bad key", "permissions.riks")
}

func TestChangePermissions(t *testing.T) {
	wanted := domain.Permissions{"risks": {Export: true}, "reports": {ShowLink: true}}
	event := group.PermissionsChanged{
		Permissions: domain.Changed[domain.Permissions]{From: readers.Permissions, To: wanted},
	}
	scenario.Given[group.State](readers).When(change(group.Patch{Permissions: &wanted})).Then(t, event)
	scenario.Given[group.State](readers, event).When(change(group.Patch{Permissions: &wanted})).Then(t)

	want := []domain.FieldChange{
		{Field: "permissions.reports.show_link", From: false, To: true},
		{Field: "permissions.risks.view", From: true, To: false},
		{Field: "permissions.risks.export", From: false, To: true},
	}
	if diff := cmp.Diff(want, domain.ChangesOf(event)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func TestAGroupIsOpenedToAllButNotMoved(t *testing.T) {
	global, other := uuid.Nil, uuid.UUID{2}
	scenario.Given[group.State](readers).When(change(group.Patch{CompanyID: &global})).
		Then(t, group.MadeGlobal{CompanyID: domain.Changed[uuid.UUID]{From: acme}})
	scenario.Given[group.State](readers).When(change(group.Patch{CompanyID: &other})).ThenRefused(t,
		"group_company_fixed")
}

func TestARetiredGroupFreesItsNameAndChangesNoMore(t *testing.T) {
	var s group.State
	s.Evolve(readers)
	if s.Claim() != group.NameClaim(acme, "Readers") {
		t.Errorf("claim %v", s.Claim())
	}
	s.Evolve(group.Retired{})
	if s.Claim().Kind != "" {
		t.Errorf("a retired group still claims %v", s.Claim())
	}
	name := "New"
	scenario.Given[group.State](readers, group.Retired{}).When(change(group.Patch{Name: &name})).ThenRefused(t,
		domain.CodeRetired)
	scenario.Given[group.State](readers, group.Retired{}).
		When(func(s group.State) ([]domain.Event, error) { return group.Retire(s, "again") }).Then(t)
}
