package scenario_test

import (
	"testing"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/scenario"
)

// A story is one test of one decision.
func ExampleGiven() {
	var t *testing.T // of the test

	rename := func(to string) func(company.State) ([]domain.Event, error) {
		return func(c company.State) ([]domain.Event, error) { return company.Change(c, company.Patch{Name: &to}) }
	}
	acme := company.Created{Name: "Acme"}

	scenario.Given[company.State](acme).When(rename("Nova")).
		Then(t, company.Renamed{Name: domain.Changed[string]{From: "Acme", To: "Nova"}})
	scenario.Given[company.State](acme).When(rename("Acme")).Then(t) // nothing changes
	scenario.Given[company.State](acme).When(rename(" ")).ThenInvalid(t, "name")
	scenario.Given[company.State](acme, company.Retired{}).When(rename("Nova")).ThenRefused(t, domain.CodeRetired)
}
