package mailserver

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/secboard/secboard/domain"
)

// Ways to protect the connection.
const (
	StartTLS = "starttls" // begins in clear and must become TLS before anything is said
	TLS      = "tls"      // from the first byte
	None     = "none"
)

// Securities lists the ways in the order in which they are shown.
var Securities = []string{StartTLS, TLS, None}

// DefaultTimeoutS is how long one step of the dialogue may take, in seconds, unless the server says otherwise.
const DefaultTimeoutS = 30

// Details are a mail server's own data.
type Details struct {
	Name     string
	Host     string // name or IP address
	Port     int
	Security string // StartTLS, TLS or None
	TimeoutS int    // seconds; for one step of the dialogue
}

// State is what deciding about a mail server needs; its zero value is one that does not exist.
type State struct {
	domain.Lifecycle
	Details Details
}

// Evolve folds one event into the state.
func (s *State) Evolve(event domain.Event) {
	switch e := event.(type) {
	case Created:
		s.Exists, s.Details = true, Details(e)
	case Renamed:
		s.Details.Name = e.Name.To
	case ConnectionChanged:
		domain.Apply(&s.Details.Host, e.Host)
		domain.Apply(&s.Details.Port, e.Port)
		domain.Apply(&s.Details.Security, e.Security)
		domain.Apply(&s.Details.TimeoutS, e.TimeoutS)
	case Retired:
		s.Retired = true
	}
}

// SubjectName is its name.
func (s State) SubjectName() string { return s.Details.Name }

// Normalized trims the texts and fills in the time-out.
func (d Details) Normalized() Details {
	d.Name, d.Host = strings.TrimSpace(d.Name), strings.ToLower(strings.TrimSpace(d.Host))
	if d.TimeoutS == 0 {
		d.TimeoutS = DefaultTimeoutS
	}
	return d
}

var hostName = regexp.MustCompile(
	`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)*\.?$`)

// Validate reports every wrong field.
func (d Details) Validate() error {
	return Patch{Name: &d.Name, Host: &d.Host, Port: &d.Port, Security: &d.Security, TimeoutS: &d.TimeoutS}.Validate()
}

// Create starts a mail server.
func Create(s State, details Details) ([]domain.Event, error) {
	return domain.Create(s.Lifecycle, details, func(d Details) []domain.Event { return []domain.Event{Created(d)} })
}

// Patch changes a mail server; nil leaves a field as it is.
type Patch struct {
	Name, Host, Security *string
	Port, TimeoutS       *int
}

// ApplyTo gives the details as they will be.
func (p Patch) ApplyTo(d Details) Details {
	domain.Set(&d.Name, p.Name)
	domain.Set(&d.Host, p.Host)
	domain.Set(&d.Security, p.Security)
	domain.Set(&d.Port, p.Port)
	domain.Set(&d.TimeoutS, p.TimeoutS)
	return d.Normalized()
}

// Validate reports every wrong field that the patch names.
func (p Patch) Validate() error {
	d := p.ApplyTo(Details{})
	var invalid domain.Invalid
	if p.Name != nil {
		invalid.Text("name", d.Name, true, 200)
	}
	if p.Host != nil {
		invalid.Text("host", d.Host, true, 253)
		if _, err := netip.ParseAddr(d.Host); err != nil && d.Host != "" && !hostName.MatchString(d.Host) {
			invalid.Add("host", domain.CodeHost,
				"must be a host name such as smtp.example.com or an IP address, without a port")
		}
	}
	if p.Port != nil && (d.Port < 1 || d.Port > 65535) {
		invalid.Add("port", domain.CodeRange, "must be between 1 and 65535; usually 587 for starttls, 465 for tls "+
			"and 25 for none")
	}
	if p.Security != nil && !slices.Contains(Securities, d.Security) {
		invalid.Add("security", domain.CodeEnum, "must be starttls, tls or none")
	}
	if p.TimeoutS != nil && (d.TimeoutS < 1 || d.TimeoutS > 120) {
		invalid.Add("timeout_s", domain.CodeRange, "must be between 1 and 120 seconds")
	}
	return invalid.Err()
}

// Change applies a patch: one event for the name, one for the connection.
func Change(s State, patch Patch) ([]domain.Event, error) {
	if err := s.Usable(); err != nil {
		return nil, err
	}
	if err := patch.Validate(); err != nil {
		return nil, err
	}
	wanted := patch.ApplyTo(s.Details)
	var events []domain.Event
	if name, ok := domain.Change(s.Details.Name, &wanted.Name); ok {
		events = append(events, Renamed{Name: name})
	}
	var connection ConnectionChanged
	connection.Host, _ = domain.Change(s.Details.Host, &wanted.Host)
	connection.Port, _ = domain.Change(s.Details.Port, &wanted.Port)
	connection.Security, _ = domain.Change(s.Details.Security, &wanted.Security)
	connection.TimeoutS, _ = domain.Change(s.Details.TimeoutS, &wanted.TimeoutS)
	if connection != (ConnectionChanged{}) {
		events = append(events, connection)
	}
	return events, nil
}

// Retire takes the server out of use; doing it again changes nothing.
func Retire(s State, reason string) ([]domain.Event, error) {
	return domain.Retire(s.Lifecycle, kindName, reason, func(reason string) domain.Event {
		return Retired{Reason: reason}
	})
}

// kindName is what people call the aggregate.
const kindName = "mail server"

// Usable says why the server can't be changed or used, or nil.
func (s State) Usable() error { return s.CheckUsable(kindName, s.Details.Name) }

// Redirects says whether an event decides where what is sent to the server goes to, or how well it is protected on its
// way.
func Redirects(event domain.Event) bool {
	switch e := event.(type) {
	case Created:
		return true
	case ConnectionChanged:
		e.TimeoutS = domain.Changed[int]{}
		return e != ConnectionChanged{}
	}
	return false
}
