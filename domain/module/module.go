// Package module decides about the registry of the host platform's modules, which permissions refer to.
package module

import (
	"slices"
	"strings"

	"github.com/secboard/secboard/domain"
)

// Kind is the first part of a module's stream name; the second is its key.
const Kind = "module"

// Events is the catalogue of the module's events.
var Events = []domain.Event{Registered{}, Renamed{}}

// Registered makes a module known.
type Registered struct {
	Key  string `json:"key"`
	Name string `json:"name"`
}

// Renamed changes the name that people see.
type Renamed struct {
	Name domain.Changed[string] `json:"name"`
}

func (Registered) EventType() string { return "module.registered" }
func (Renamed) EventType() string    { return "module.renamed" }

func (e Registered) Summary() string { return "module " + e.Name + " registered" }
func (e Renamed) Summary() string    { return "renamed from " + e.Name.From + " to " + e.Name.To }

// State of one module.
type State struct {
	Exists bool
	Name   string
}

// Evolve folds one event into the state.
func (s *State) Evolve(event domain.Event) {
	switch e := event.(type) {
	case Registered:
		s.Exists, s.Name = true, e.Name
	case Renamed:
		s.Name = e.Name.To
	}
}

// SubjectName is its name.
func (s State) SubjectName() string { return s.Name }

// Register makes a module known under a key, or renames it.
func Register(s State, key, name string) ([]domain.Event, error) {
	name = strings.TrimSpace(name)
	var invalid domain.Invalid
	if !domain.ModuleKey.MatchString(key) {
		invalid.Add("key", domain.CodePattern, "must be lower-case letters, digits and underscores, starting with a "+
			"letter, at most 50 characters")
	}
	if slices.Contains(domain.OwnModules, key) {
		invalid.Add("key", domain.CodeReserved, "%s is one of SecBoard's own modules and can't be registered", key)
	}
	invalid.Text("name", name, true, 200)
	if err := invalid.Err(); err != nil {
		return nil, err
	}
	if !s.Exists {
		return []domain.Event{Registered{Key: key, Name: name}}, nil
	}
	if changed, ok := domain.Change(s.Name, &name); ok {
		return []domain.Event{Renamed{Name: changed}}, nil
	}
	return nil, nil
}
