package role

import (
	"slices"
	"strconv"
	"strings"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/claim"
)

// State is what deciding about a role needs; its zero value is a role that does not exist.
type State struct {
	domain.Lifecycle
	Name        string
	Description string
	Widgets     []string
}

// Evolve folds one event into the state.
func (s *State) Evolve(event domain.Event) {
	switch e := event.(type) {
	case Created:
		s.Exists, s.Name, s.Description, s.Widgets = true, e.Name, e.Description, e.Widgets
	case Renamed:
		s.Name = e.Name.To
	case DescriptionChanged:
		s.Description = e.Description.To
	case WidgetsChanged:
		s.Widgets = e.Widgets.To
	case Retired:
		s.Retired = true
	}
}

// SubjectName is its name.
func (s State) SubjectName() string { return s.Name }

// Claim is the unique name that the role holds; none before it exists and after it is retired.
func (s State) Claim() claim.Key {
	if !s.Exists || s.Retired {
		return claim.Key{}
	}
	return NameClaim(s.Name)
}

// NameClaim is the key under which a role's name is unique, case-sensitively.
func NameClaim(name string) claim.Key { return claim.Key{Kind: "rolename", Value: name} }

// Details are the fields of a new role.
type Details struct {
	Name        string
	Description string
	Widgets     []string
}

// Normalized trims the texts.
func (d Details) Normalized() Details {
	d.Name, d.Description = strings.TrimSpace(d.Name), strings.TrimSpace(d.Description)
	return d
}

// Validate reports every wrong field.
func (d Details) Validate() error {
	return Patch{Name: &d.Name, Description: &d.Description, Widgets: &d.Widgets}.Validate()
}

// Create starts a role with the given details.
func Create(s State, details Details) ([]domain.Event, error) {
	return domain.Create(s.Lifecycle, details, func(d Details) []domain.Event { return []domain.Event{Created(d)} })
}

// Patch changes a role; nil leaves a field as it is.
type Patch struct {
	Name        *string
	Description *string
	Widgets     *[]string
}

// ApplyTo gives the details as they will be.
func (p Patch) ApplyTo(d Details) Details {
	domain.Set(&d.Name, p.Name)
	domain.Set(&d.Description, p.Description)
	domain.Set(&d.Widgets, p.Widgets)
	return d.Normalized()
}

// Validate reports every wrong field that the patch names.
func (p Patch) Validate() error {
	d := p.ApplyTo(Details{})
	var invalid domain.Invalid
	if p.Name != nil {
		invalid.Text("name", d.Name, true, 200)
	}
	invalid.Prose("description", d.Description, false, 2000)
	if len(d.Widgets) > 100 {
		invalid.Add("widgets", domain.CodeTooMany, "must have at most 100 entries")
	}
	for i, widget := range d.Widgets {
		field := "widgets." + strconv.Itoa(i)
		invalid.Text(field, widget, true, 100)
		if slices.Contains(d.Widgets[:i], widget) {
			invalid.Add(field, domain.CodeDuplicate, "%q is in the list already", widget)
		}
	}
	return invalid.Err()
}

// Change applies a patch: one event for each thing that changes.
func Change(s State, patch Patch) ([]domain.Event, error) {
	if err := s.CheckUsable(Kind, s.Name); err != nil {
		return nil, err
	}
	if err := patch.Validate(); err != nil {
		return nil, err
	}
	wanted := patch.ApplyTo(Details{s.Name, s.Description, s.Widgets})
	var events []domain.Event
	if name, ok := domain.Change(s.Name, &wanted.Name); ok {
		events = append(events, Renamed{name})
	}
	if description, ok := domain.Change(s.Description, &wanted.Description); ok {
		events = append(events, DescriptionChanged{description})
	}
	if !slices.Equal(s.Widgets, wanted.Widgets) {
		events = append(events, WidgetsChanged{domain.Changed[[]string]{From: s.Widgets, To: wanted.Widgets}})
	}
	return events, nil
}

// Retire takes the role out of use; doing it again changes nothing.
func Retire(s State, reason string) ([]domain.Event, error) {
	return domain.Retire(s.Lifecycle, Kind, reason, func(reason string) domain.Event { return Retired{Reason: reason} })
}
