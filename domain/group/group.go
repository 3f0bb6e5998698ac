package group

import (
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/claim"
)

// State is what deciding about a group needs; its zero value is a group that does not exist.
type State struct {
	domain.Lifecycle
	Name        string
	Description string
	CompanyID   uuid.UUID
	Permissions domain.Permissions
	Mark        int // how often it came to give its members more: see Widens
}

// Widens says whether a group gives its members more from an event on than before, or gives it to more of them.
func Widens(event domain.Event) bool {
	switch e := event.(type) {
	case MadeGlobal:
		return true
	case PermissionsChanged:
		return len(e.Permissions.To.Missing(e.Permissions.From)) > 0
	}
	return false
}

// Evolve folds one event into the state.
func (s *State) Evolve(event domain.Event) {
	if Widens(event) {
		s.Mark++
	}
	switch e := event.(type) {
	case Created:
		s.Exists, s.Name, s.Description, s.CompanyID, s.Permissions = true, e.Name, e.Description, e.CompanyID,
			e.Permissions
	case Renamed:
		s.Name = e.Name.To
	case DescriptionChanged:
		s.Description = e.Description.To
	case MadeGlobal:
		s.CompanyID = uuid.Nil
	case PermissionsChanged:
		s.Permissions = e.Permissions.To
	case Retired:
		s.Retired = true
	}
}

// BelongsTo is the company whose accounts may be members; uuid.Nil for all.
func (s State) BelongsTo() uuid.UUID { return s.CompanyID }

// SubjectName is its name.
func (s State) SubjectName() string { return s.Name }

// Claim is the unique name that the group holds; none before it exists and after it is retired.
func (s State) Claim() claim.Key {
	if !s.Exists || s.Retired {
		return claim.Key{}
	}
	return NameClaim(s.CompanyID, s.Name)
}

// NameClaim is the key under which a group's name is unique within its company, or among the global groups.
func NameClaim(companyID uuid.UUID, name string) claim.Key {
	return claim.Key{Kind: "groupname", Value: companyID.String() + "/" + name}
}

// Details are the fields of a new group.
type Details struct {
	Name        string
	Description string
	CompanyID   uuid.UUID
	Permissions domain.Permissions
}

// Normalized trims the texts and drops modules without an allowed action.
func (d Details) Normalized() Details {
	d.Name, d.Description = strings.TrimSpace(d.Name), strings.TrimSpace(d.Description)
	d.Permissions = d.Permissions.Normalized()
	return d
}

// Validate reports every wrong field. known says whether a module is registered or one of SecBoard's own; nil checks
// the form of its key only.
func (d Details) Validate(known func(module string) bool) error {
	return Patch{Name: &d.Name, Description: &d.Description, Permissions: &d.Permissions}.Validate(known)
}

// Create starts a group with the given details.
func Create(s State, details Details, known func(module string) bool) ([]domain.Event, error) {
	details = details.Normalized()
	if err := details.Validate(known); err != nil {
		return nil, err
	}
	if s.Exists {
		return nil, nil
	}
	return []domain.Event{Created(details)}, nil
}

// Patch changes a group; nil leaves a field as it is, CompanyID pointing to uuid.Nil makes it global.
type Patch struct {
	Name        *string
	Description *string
	CompanyID   *uuid.UUID
	Permissions *domain.Permissions
}

// ApplyTo gives the details as they will be.
func (p Patch) ApplyTo(d Details) Details {
	domain.Set(&d.Name, p.Name)
	domain.Set(&d.Description, p.Description)
	domain.Set(&d.CompanyID, p.CompanyID)
	domain.Set(&d.Permissions, p.Permissions)
	return d.Normalized()
}

// Validate reports every wrong field that the patch names. known is as in Details.Validate.
func (p Patch) Validate(known func(module string) bool) error {
	d := p.ApplyTo(Details{})
	var invalid domain.Invalid
	if p.Name != nil {
		invalid.Text("name", d.Name, true, 200)
	}
	invalid.Prose("description", d.Description, false, 2000)
	for _, module := range slices.Sorted(maps.Keys(d.Permissions)) {
		if !domain.ModuleKey.MatchString(module) || known != nil && !known(module) {
			invalid.Add("permissions."+module, domain.CodeUnknownModule,
				"there is no module %q: GET /modules lists them, PUT /modules/{key} registers one", module)
		}
	}
	return invalid.Err()
}

// Change applies a patch: one event for each thing that changes. A group can be opened to all companies but not be
// moved to one: its members of other companies would silently lose what it grants.
func Change(s State, patch Patch, known func(module string) bool) ([]domain.Event, error) {
	if err := s.CheckUsable(Kind, s.Name); err != nil {
		return nil, err
	}
	if err := patch.Validate(known); err != nil {
		return nil, err
	}
	wanted := patch.ApplyTo(Details{s.Name, s.Description, s.CompanyID, s.Permissions})
	var events []domain.Event
	if name, ok := domain.Change(s.Name, &wanted.Name); ok {
		events = append(events, Renamed{name})
	}
	if description, ok := domain.Change(s.Description, &wanted.Description); ok {
		events = append(events, DescriptionChanged{description})
	}
	if company, ok := domain.Change(s.CompanyID, &wanted.CompanyID); ok {
		if company.To != uuid.Nil {
			return nil, domain.Refusef(domain.CodeGroupCompanyFixed,
				"the group %s can be opened to all companies (company_id null), but can't be moved to one: create "+
					"a group in that company", s.Name)
		}
		events = append(events, MadeGlobal{company})
	}
	if !maps.Equal(s.Permissions, wanted.Permissions) {
		events = append(events,
			PermissionsChanged{domain.Changed[domain.Permissions]{From: s.Permissions, To: wanted.Permissions}})
	}
	return events, nil
}

// Retire takes the group out of use; doing it again changes nothing.
func Retire(s State, reason string) ([]domain.Event, error) {
	return domain.Retire(s.Lifecycle, Kind, reason, func(reason string) domain.Event { return Retired{Reason: reason} })
}

// MayWiden says whether an event may bring the group more members: directories name groups.
func MayWiden(event domain.Event) bool {
	switch event.(type) {
	case Renamed, MadeGlobal:
		return true
	}
	return false
}
