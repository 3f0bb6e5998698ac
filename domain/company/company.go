package company

import (
	"strings"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/claim"
)

// State is what deciding about a company needs; its zero value is a company that does not exist.
type State struct {
	domain.Lifecycle
	Name               string
	CabinetPassword    domain.Sealed
	DefaultMailAccount uuid.UUID
}

// Evolve folds one event into the state.
func (s *State) Evolve(event domain.Event) {
	switch e := event.(type) {
	case Created:
		s.Exists, s.Name = true, e.Name
	case Renamed:
		s.Name = e.Name.To
	case CabinetPasswordSet:
		s.CabinetPassword = e.Hash
	case DefaultMailAccountSet:
		s.DefaultMailAccount = e.MailAccountID.To
	case Retired:
		s.Retired = true
	}
}

// SubjectName is its name.
func (s State) SubjectName() string { return s.Name }

// Claim is the unique name that the company holds; none before it exists and after it is retired.
func (s State) Claim() claim.Key {
	if !s.Exists || s.Retired {
		return claim.Key{}
	}
	return NameClaim(s.Name)
}

// NameClaim is the key under which a company's name is unique, case-sensitively.
func NameClaim(name string) claim.Key { return claim.Key{Kind: "companyname", Value: name} }

// Details are the fields of a new company.
type Details struct{ Name string }

// Normalized trims the texts.
func (d Details) Normalized() Details {
	d.Name = strings.TrimSpace(d.Name)
	return d
}

// Validate reports every wrong field.
func (d Details) Validate() error { return Patch{Name: &d.Name}.Validate() }

// Create starts a company with the given details.
func Create(s State, details Details) ([]domain.Event, error) {
	return domain.Create(s.Lifecycle, details, func(d Details) []domain.Event { return []domain.Event{Created(d)} })
}

// Patch changes a company; nil leaves a field as it is.
type Patch struct{ Name *string }

// ApplyTo gives the details as they will be.
func (p Patch) ApplyTo(d Details) Details {
	domain.Set(&d.Name, p.Name)
	return d.Normalized()
}

// Validate reports every wrong field that the patch names.
func (p Patch) Validate() error {
	var invalid domain.Invalid
	if p.Name != nil {
		invalid.Text("name", p.ApplyTo(Details{}).Name, true, 200)
	}
	return invalid.Err()
}

// Change applies a patch: one event for each thing that changes.
func Change(s State, patch Patch) ([]domain.Event, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	if err := patch.Validate(); err != nil {
		return nil, err
	}
	wanted := patch.ApplyTo(Details{Name: s.Name})
	if name, ok := domain.Change(s.Name, &wanted.Name); ok {
		return []domain.Event{Renamed{Name: name}}, nil
	}
	return nil, nil
}

// SetCabinetPassword replaces the cabinet password by its sealed hash.
func SetCabinetPassword(s State, hash domain.Sealed) ([]domain.Event, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	return []domain.Event{CabinetPasswordSet{Hash: hash}}, nil
}

// SetDefaultMailAccount chooses the default mail account; uuid.Nil for none.
func SetDefaultMailAccount(s State, id uuid.UUID) ([]domain.Event, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	if changed, ok := domain.Change(s.DefaultMailAccount, &id); ok {
		return []domain.Event{DefaultMailAccountSet{MailAccountID: changed}}, nil
	}
	return nil, nil
}

// Retire takes the company out of use; doing it again changes nothing.
func Retire(s State, reason string) ([]domain.Event, error) {
	return domain.Retire(s.Lifecycle, Kind, reason, func(reason string) domain.Event { return Retired{Reason: reason} })
}

func (s State) usable() error { return s.CheckUsable(Kind, s.Name) }
