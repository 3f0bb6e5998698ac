package company_test

import (
	"testing"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/scenario"
)

var acme = company.Created{Name: "Acme"}

func TestRename(t *testing.T) {
	name := " Acme Ltd "
	rename := func(s company.State) ([]domain.Event, error) { return company.Change(s, company.Patch{Name: &name}) }
	scenario.Given[company.State](acme).When(rename).Then(t,
		company.Renamed{Name: domain.Changed[string]{From: "Acme", To: "Acme Ltd"}})
	scenario.Given[company.State](company.Created{Name: "Acme Ltd"}).When(rename).Then(t)
	scenario.Given[company.State](acme, company.Retired{}).When(rename).ThenRefused(t, domain.CodeRetired)
	scenario.Given[company.State]().When(rename).ThenRefused(t, domain.CodeNotFound)

	empty := "  "
	scenario.Given[company.State](acme).
		When(func(s company.State) ([]domain.Event, error) { return company.Change(s, company.Patch{Name: &empty}) }).
		ThenInvalid(t, "name")
}

func TestRetireOnce(t *testing.T) {
	retire := func(s company.State) ([]domain.Event, error) { return company.Retire(s, "sold") }
	scenario.Given[company.State](acme).When(retire).Then(t, company.Retired{Reason: "sold"})
	scenario.Given[company.State](acme, company.Retired{}).When(retire).Then(t)
}

func TestDefaultMailAccount(t *testing.T) {
	account := uuid.UUID{7}
	set := func(id uuid.UUID) func(company.State) ([]domain.Event, error) {
		return func(s company.State) ([]domain.Event, error) { return company.SetDefaultMailAccount(s, id) }
	}
	chosen := company.DefaultMailAccountSet{MailAccountID: domain.Changed[uuid.UUID]{To: account}}
	scenario.Given[company.State](acme).When(set(account)).Then(t, chosen)
	scenario.Given[company.State](acme, chosen).When(set(account)).Then(t)
	scenario.Given[company.State](acme, chosen).When(set(uuid.Nil)).
		Then(t, company.DefaultMailAccountSet{MailAccountID: domain.Changed[uuid.UUID]{From: account}})
}
