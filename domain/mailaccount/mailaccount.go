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
	Exists   bool
	Retired  bool
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
	var invalid domain.Invalid
	if d.ServerID == uuid.Nil {
		invalid.Add("server_id", "required", "must name a mail server")
	}
	if problem := domain.EmailProblem(d.Address); problem != "" {
		invalid.Add("address", "email", "%s", problem)
	}
	invalid.Text("display_name", d.DisplayName, false, 200)
	invalid.Text("username", d.Username, false, 254)
	return invalid.Err()
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
	details = details.Normalized()
	if err := details.Validate(); err != nil {
		return nil, err
	}
	if s.Exists {
		return nil, nil
	}
	events := []domain.Event{Created(details)}
	if password.Set() {
		events = append(events, PasswordSet{Password: password})
	}
	return events, nil
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

// Change applies a patch: one event for each thing that changes.
func Change(s State, patch Patch) ([]domain.Event, error) {
	if err := s.Usable(); err != nil {
		return nil, err
	}
	wanted := patch.ApplyTo(s.Details)
	if err := wanted.Validate(); err != nil {
		return nil, err
	}
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
	reason, err := domain.Reason(reason, false)
	if err != nil {
		return nil, err
	}
	if !s.Exists {
		return nil, s.Usable()
	}
	if s.Retired {
		return nil, nil
	}
	return []domain.Event{Retired{Reason: reason}}, nil
}

// Usable says why the account can't be changed or used, or nil.
func (s State) Usable() error {
	if !s.Exists {
		return domain.Refusef(domain.CodeNotFound, "there is no such mail account")
	}
	if s.Retired {
		return domain.Refusef(domain.CodeRetired, "the mail account %s is retired and can't be changed", s.Details.Address)
	}
	return nil
}
