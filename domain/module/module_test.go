package module_test

import (
	"testing"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/module"
	"github.com/secboard/secboard/domain/scenario"
)

func register(key, name string) func(module.State) ([]domain.Event, error) {
	return func(s module.State) ([]domain.Event, error) { return module.Register(s, key, name) }
}

func TestRegisterAndRename(t *testing.T) {
	risks := module.Registered{Key: "risks", Name: "Risks"}
	scenario.Given[module.State]().When(register("risks", "Risks")).Then(t, risks)
	scenario.Given[module.State](risks).When(register("risks", "Risks")).Then(t)
	scenario.Given[module.State](risks).When(register("risks", "Risk register")).
		Then(t, module.Renamed{Name: domain.Changed[string]{From: "Risks", To: "Risk register"}})
}

func TestKeys(t *testing.T) {
	scenario.Given[module.State]().When(register("Risks!", "")).ThenInvalid(t, "key", "name")
	scenario.Given[module.State]().When(register("users", "Users")).ThenInvalid(t, "key")
}
