package role_test

import (
	"testing"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/domain/scenario"
)

var auditor = role.Created{Name: "Auditor", Widgets: []string{"open_risks", "incidents"}}

func TestCreateReportsEveryWrongField(t *testing.T) {
	scenario.Given[role.State]().
		When(func(s role.State) ([]domain.Event, error) {
			return role.Create(s, role.Details{Name: " ", Widgets: []string{"a", "", "a"}})
		}).ThenInvalid(t, "name", "widgets.1", "widgets.2")
}

func TestChangeGivesOneEventForEachThing(t *testing.T) {
	name, widgets := "Chief auditor", []string{"incidents", "open_risks"}
	patch := role.Patch{Name: &name, Widgets: &widgets}
	change := func(s role.State) ([]domain.Event, error) { return role.Change(s, patch) }
	events := []domain.Event{
		role.Renamed{Name: domain.Changed[string]{From: "Auditor", To: "Chief auditor"}},
		role.WidgetsChanged{Widgets: domain.Changed[[]string]{From: auditor.Widgets, To: widgets}},
	}
	scenario.Given[role.State](auditor).When(change).Then(t, events...)
	scenario.Given[role.State](auditor, events[0], events[1]).When(change).Then(t)
	scenario.Given[role.State](auditor, role.Retired{}).When(change).ThenRefused(t, domain.CodeRetired)
	scenario.Given[role.State]().When(change).ThenRefused(t, domain.CodeNotFound)
}
