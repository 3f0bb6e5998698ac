package directory

import (
	"slices"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// By is who decides, as far as the rules ask.
type By struct{ Superuser bool }

// Connect starts a connection. bindPassword is sealed, empty for none.
func Connect(s State, by By, settings Settings, bindPassword domain.Sealed) ([]domain.Event, error) {
	settings = settings.Normalized()
	if err := settings.Validate(bindPassword.Set()); err != nil {
		return nil, err
	}
	if s.Exists {
		return nil, nil
	}
	a := settings.Attributes
	return []domain.Event{Connected{
		Name: settings.Name, CompanyID: settings.CompanyID, URLs: settings.URLs, StartTLS: settings.StartTLS,
		CAPEM:  settings.CAPEM,
		BaseDN: settings.BaseDN, BindDN: settings.BindDN, BindPassword: bindPassword,
		HasBindPassword: bindPassword.Set(),
		UserFilter:      settings.UserFilter, TimeoutSeconds: settings.TimeoutSeconds,
		AttrEmail: a.Email, AttrFirstName: a.FirstName, AttrLastName: a.LastName, AttrPhone: a.Phone,
		AttrDepartment: a.Department, AttrPosition: a.Position,
		SyncGroups: settings.SyncGroups, NestedGroups: settings.NestedGroups, CheckMinutes: settings.CheckMinutes,
		CheckLimit: settings.CheckLimit,
		Enabled:    settings.Enabled, Vouched: by.Superuser,
	}}, nil
}

// Patch changes a connection; nil leaves a field as it is.
type Patch struct {
	Name           *string
	CompanyID      *uuid.UUID
	URLs           *[]string
	StartTLS       *bool
	CAPEM          *string
	BaseDN         *string
	BindDN         *string
	BindPassword   *domain.Sealed // an empty one removes it
	UserFilter     *string
	TimeoutSeconds *int
	Attributes     AttributesPatch
	SyncGroups     *bool
	NestedGroups   *bool
	CheckMinutes   *int
	CheckLimit     *int
	Enabled        *bool
	Vouch          bool // a superuser approves the connection as it then is
}

// AttributesPatch changes Attributes; nil leaves a field as it is.
type AttributesPatch struct{ Email, FirstName, LastName, Phone, Department, Position *string }

// ApplyTo is the settings as the patch wants them, texts trimmed.
func (p Patch) ApplyTo(s Settings) Settings {
	domain.Set(&s.Name, p.Name)
	domain.Set(&s.CompanyID, p.CompanyID)
	domain.Set(&s.URLs, p.URLs)
	domain.Set(&s.StartTLS, p.StartTLS)
	domain.Set(&s.CAPEM, p.CAPEM)
	domain.Set(&s.BaseDN, p.BaseDN)
	domain.Set(&s.BindDN, p.BindDN)
	domain.Set(&s.UserFilter, p.UserFilter)
	domain.Set(&s.TimeoutSeconds, p.TimeoutSeconds)
	domain.Set(&s.Attributes.Email, p.Attributes.Email)
	domain.Set(&s.Attributes.FirstName, p.Attributes.FirstName)
	domain.Set(&s.Attributes.LastName, p.Attributes.LastName)
	domain.Set(&s.Attributes.Phone, p.Attributes.Phone)
	domain.Set(&s.Attributes.Department, p.Attributes.Department)
	domain.Set(&s.Attributes.Position, p.Attributes.Position)
	domain.Set(&s.SyncGroups, p.SyncGroups)
	domain.Set(&s.NestedGroups, p.NestedGroups)
	domain.Set(&s.CheckMinutes, p.CheckMinutes)
	domain.Set(&s.CheckLimit, p.CheckLimit)
	domain.Set(&s.Enabled, p.Enabled)
	return s.Normalized()
}

// Validate reports every wrong field that the patch names. What depends on several, as start_tls on urls,
// Settings.Validate checks of the connection as it will be.
func (p Patch) Validate() error {
	s := p.ApplyTo(Settings{})
	var invalid domain.Invalid
	if p.Name != nil {
		invalid.Text("name", s.Name, true, 200)
	}
	if p.URLs != nil {
		validateURLs(&invalid, s.URLs)
	}
	validateCA(&invalid, s.CAPEM)
	validateDN(&invalid, "base_dn", s.BaseDN, p.BaseDN != nil)
	invalid.Text("bind_dn", s.BindDN, false, 1000)
	if p.UserFilter != nil {
		validateFilter(&invalid, s.UserFilter)
	}
	s.Attributes.validate(&invalid, p.Attributes.Email != nil && s.Attributes.Email == "")
	s.validateNumbers(&invalid, p)
	return invalid.Err()
}

// Change applies a patch: one event for each thing that changes.
//
// Whoever decides where entries come from decides who gets in. So the connection is approved only while all of that is
// as a superuser set it up, or approved it (also by an empty patch): changing something else approves nothing that
// others set up. And nobody else may send the bind password to another server without knowing it.
func Change(s State, by By, patch Patch) ([]domain.Event, error) {
	if !s.Exists {
		return nil, domain.Refusef(domain.CodeNotFound, "there is no such directory")
	}
	wanted := patch.ApplyTo(s.Settings)
	hasPassword := s.BindPassword.Set()
	if patch.BindPassword != nil {
		hasPassword = patch.BindPassword.Set()
	}
	if err := wanted.Validate(hasPassword); err != nil {
		return nil, err
	}
	if patch.Vouch && !by.Superuser {
		return nil, domain.Refusef(domain.CodeForbidden, "only a superuser can approve a directory")
	}
	var events []domain.Event
	if name, ok := domain.Change(s.Settings.Name, &wanted.Name); ok {
		events = append(events, Renamed{name})
	}
	entries := changeEntries(s, wanted)
	if patch.BindPassword != nil {
		switch {
		case patch.BindPassword.Set():
			entries = append(entries, BindPasswordSet{Password: *patch.BindPassword})
		case s.BindPassword.Set():
			entries = append(entries, BindPasswordRemoved{})
		}
	} else if hasPassword && !by.Superuser && elsewhere(s.Settings, wanted) {
		var invalid domain.Invalid
		invalid.Add("bind_password", domain.CodeRequired,
			"must be entered again when urls, start_tls or ca_pem change: it is not sent to another server")
		return nil, invalid.Err()
	}
	events = append(events, entries...)
	if timeout, ok := domain.Change(s.Settings.TimeoutSeconds, &wanted.TimeoutSeconds); ok {
		events = append(events, TimeoutChanged{timeout})
	}
	if checked := changeCheck(s.Settings, wanted); checked != (CheckChanged{}) {
		events = append(events, checked)
	}
	switch {
	case wanted.Enabled && !s.Settings.Enabled:
		events = append(events, SwitchedOn{})
	case !wanted.Enabled && s.Settings.Enabled:
		events = append(events, SwitchedOff{})
	}
	switch {
	case by.Superuser && !s.Vouched && (len(entries) > 0 || patch.Vouch || patch == (Patch{})):
		events = append(events, VouchedFor{})
	case !by.Superuser && s.Vouched && len(entries) > 0:
		events = append(events, VouchLost{})
	}
	return events, nil
}

// elsewhere says whether passwords would go to something that may not be the former server.
func elsewhere(current, wanted Settings) bool {
	return !slices.Equal(current.URLs, wanted.URLs) || current.StartTLS != wanted.StartTLS ||
		current.CAPEM != wanted.CAPEM
}

// changeEntries are the changes on which depends who gets in, and as whom.
func changeEntries(s State, wanted Settings) []domain.Event {
	current := s.Settings
	var events []domain.Event
	if company, ok := domain.Change(current.CompanyID, &wanted.CompanyID); ok {
		events = append(events, CompanyChanged{company})
	}
	var server ServerChanged
	changed := !slices.Equal(current.URLs, wanted.URLs)
	if changed {
		server.URLs = domain.Changed[[]string]{From: current.URLs, To: wanted.URLs}
	}
	noting(&server.StartTLS, current.StartTLS, wanted.StartTLS, &changed)
	noting(&server.CAPEM, current.CAPEM, wanted.CAPEM, &changed)
	noting(&server.BaseDN, current.BaseDN, wanted.BaseDN, &changed)
	noting(&server.BindDN, current.BindDN, wanted.BindDN, &changed)
	noting(&server.UserFilter, current.UserFilter, wanted.UserFilter, &changed)
	if changed {
		events = append(events, server)
	}
	var attributes AttributesChanged
	changed = false
	from, to := current.Attributes, wanted.Attributes
	noting(&attributes.AttrEmail, from.Email, to.Email, &changed)
	noting(&attributes.AttrFirstName, from.FirstName, to.FirstName, &changed)
	noting(&attributes.AttrLastName, from.LastName, to.LastName, &changed)
	noting(&attributes.AttrPhone, from.Phone, to.Phone, &changed)
	noting(&attributes.AttrDepartment, from.Department, to.Department, &changed)
	noting(&attributes.AttrPosition, from.Position, to.Position, &changed)
	if changed {
		events = append(events, attributes)
	}
	var groups GroupSyncChanged
	changed = false
	noting(&groups.SyncGroups, current.SyncGroups, wanted.SyncGroups, &changed)
	noting(&groups.NestedGroups, current.NestedGroups, wanted.NestedGroups, &changed)
	if changed {
		events = append(events, groups)
	}
	return events
}

func changeCheck(current, wanted Settings) (event CheckChanged) {
	event.CheckMinutes, _ = domain.Change(current.CheckMinutes, &wanted.CheckMinutes)
	event.CheckLimit, _ = domain.Change(current.CheckLimit, &wanted.CheckLimit)
	return event
}

func noting[T comparable](field *domain.Changed[T], from, to T, changed *bool) {
	if from != to {
		*field, *changed = domain.Changed[T]{From: from, To: to}, true
	}
}
