package mailaccount

import (
	"strings"
	"unicode"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// Details are a mail account's own data, without its password.
type Details struct {
	ServerID    uuid.UUID
	Address     string // of the sender
	DisplayName string // of the sender
	Username    string // at the server; "" signs in to none
}

// State is what deciding about a mail account needs; its zero value is one that does not exist.
type State struct {
	domain.Lifecycle
	Details  Details
	Password domain.Sealed // in the context of the account's stream
}

// Evolve folds one event into the state.
func (s *State) Evolve(event domain.Event) {
	switch e := event.(type) {
	case Created:
		s.Exists, s.Details = true, Details(e)
	case ServerChanged:
		s.Details.ServerID = e.ServerID.To
	case SenderChanged:
		domain.Apply(&s.Details.Address, e.Address)
		domain.Apply(&s.Details.DisplayName, e.DisplayName)
	case UsernameChanged:
		s.Details.Username = e.Username.To
	case PasswordSet:
		s.Password = e.Password
	case PasswordRemoved:
		s.Password = nil
	case Retired:
		s.Retired = true
	}
}

// SubjectName is its address.
func (s State) SubjectName() string { return s.Details.Address }

// Normalized trims the texts.
func (d Details) Normalized() Details {
	for _, text := range []*string{&d.Address, &d.DisplayName, &d.Username} {
		*text = strings.TrimSpace(*text)
	}
	return d
}

// Validate reports every wrong field. An unknown server is for the caller to refuse.
func (d Details) Validate() error {
	return Patch{ServerID: &d.ServerID, Address: &d.Address, DisplayName: &d.DisplayName,
		Username: &d.Username}.Validate()
}

// PasswordProblem says what is wrong with a password for a server, or "".
func PasswordProblem(password string) string {
	switch {
	case len(password) > 1024:
		return "must have at most 1024 bytes"
	case strings.ContainsFunc(password, unicode.IsControl):
		return "must not contain control characters"
	}
	return ""
}

// Create starts a mail account; password is nil for none.
func Create(s State, details Details, password domain.Sealed) ([]domain.Event, error) {
	return domain.Create(s.Lifecycle, details, func(d Details) []domain.Event {
		if password.Set() {
			return []domain.Event{Created(d), PasswordSet{Password: password}}
		}
		return []domain.Event{Created(d)}
	})
}

// Patch changes a mail account; nil leaves a field as it is.
type Patch struct {
	ServerID                       *uuid.UUID
	Address, DisplayName, Username *string
	Password                       *domain.Sealed // an empty one removes the password
}

// ApplyTo gives the details as they will be.
func (p Patch) ApplyTo(d Details) Details {
	domain.Set(&d.ServerID, p.ServerID)
	domain.Set(&d.Address, p.Address)
	domain.Set(&d.DisplayName, p.DisplayName)
	domain.Set(&d.Username, p.Username)
	return d.Normalized()
}

// Validate reports every wrong field that the patch names.
func (p Patch) Validate() error {
	d := p.ApplyTo(Details{})
	var invalid domain.Invalid
	if p.ServerID != nil && d.ServerID == uuid.Nil {
		invalid.Add("server_id", domain.CodeRequired, "must name a mail server")
	}
	if p.Address != nil {
		if problem := domain.EmailProblem(d.Address); problem != "" {
			invalid.Add("address", domain.CodeEmail, "%s", problem)
		}
	}
	invalid.Text("display_name", d.DisplayName, false, 200)
	invalid.Text("username", d.Username, false, 254)
	return invalid.Err()
}

// Change applies a patch: one event for each thing that changes.
func Change(s State, patch Patch) ([]domain.Event, error) {
	if err := s.Usable(); err != nil {
		return nil, err
	}
	if err := patch.Validate(); err != nil {
		return nil, err
	}
	wanted := patch.ApplyTo(s.Details)
	var events []domain.Event
	if server, ok := domain.Change(s.Details.ServerID, &wanted.ServerID); ok {
		events = append(events, ServerChanged{ServerID: server})
	}
	var sender SenderChanged
	sender.Address, _ = domain.Change(s.Details.Address, &wanted.Address)
	sender.DisplayName, _ = domain.Change(s.Details.DisplayName, &wanted.DisplayName)
	if sender != (SenderChanged{}) {
		events = append(events, sender)
	}
	if username, ok := domain.Change(s.Details.Username, &wanted.Username); ok {
		events = append(events, UsernameChanged{Username: username})
	}
	switch {
	case patch.Password == nil:
	case patch.Password.Set():
		events = append(events, PasswordSet{Password: *patch.Password})
	case s.Password.Set():
		events = append(events, PasswordRemoved{})
	}
	return events, nil
}

// Retire takes the account out of use; doing it again changes nothing.
func Retire(s State, reason string) ([]domain.Event, error) {
	return domain.Retire(s.Lifecycle, kindName, reason, func(reason string) domain.Event {
		return Retired{Reason: reason}
	})
}

// kindName is what people call the aggregate.
const kindName = "mail account"

// Usable says why the account can't be changed or used, or nil.
func (s State) Usable() error { return s.CheckUsable(kindName, s.Details.Address) }
