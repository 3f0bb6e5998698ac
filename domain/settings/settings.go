// Package settings decides about the settings of the installation: of the site, of its security, of its contacts, and
// which mail account sends what.
package settings

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/signin"
)

// Kind is the first part of the settings' stream names.
const Kind = "settings"

// Names are what people call the settings of each stream.
var Names = map[string]string{
	"site": "Site settings", "security": "Security settings", "contact": "Contact settings",
	"mailroutes": "Mail routes",
}

// Streams of settings.
const (
	SiteStream     = "settings-site"
	SecurityStream = "settings-security"
)

// Events is the catalogue of the settings' events.
var Events = []domain.Event{SiteChanged{}, SecurityChanged{}, ContactChanged{}, MailRouteSet{}}

// SiteChanged changes settings of the site; a field that stays is left out.
type SiteChanged struct {
	Name                 domain.Changed[string]    `json:"name,omitzero"`
	Domain               domain.Changed[string]    `json:"domain,omitzero"`
	Protocol             domain.Changed[string]    `json:"protocol,omitzero"`
	ProjectType          domain.Changed[string]    `json:"project_type,omitzero"`
	TimeZone             domain.Changed[string]    `json:"time_zone,omitzero"`
	DefaultEmail         domain.Changed[string]    `json:"default_email,omitzero"`
	DefaultMailAccountID domain.Changed[uuid.UUID] `json:"default_mail_account_id,omitzero"`
	DefaultLanguage      domain.Changed[string]    `json:"default_language,omitzero"`
}

// SecurityChanged changes settings of the security; a field that stays is left out. Times are in minutes.
type SecurityChanged struct {
	LockoutAttempts domain.Changed[int] `json:"lockout_attempts,omitzero"`
	LockoutWindow   domain.Changed[int] `json:"lockout_window_minutes,omitzero"`
	LockoutLength   domain.Changed[int] `json:"lockout_minutes,omitzero"`
	SessionIdle     domain.Changed[int] `json:"session_idle_minutes,omitzero"`
	SessionLength   domain.Changed[int] `json:"session_minutes,omitzero"`
}

func (SiteChanged) EventType() string     { return "settings.site_changed" }
func (SecurityChanged) EventType() string { return "settings.security_changed" }

func (SiteChanged) Summary() string     { return "site settings changed" }
func (SecurityChanged) Summary() string { return "security settings changed" }

// Site is how the installation presents itself.
type Site struct {
	Name                 string
	Domain               string
	Protocol             string
	ProjectType          string
	TimeZone             string
	DefaultEmail         string
	DefaultMailAccountID uuid.UUID
	DefaultLanguage      string
}

// DefaultSite is what counts before anything is set.
var DefaultSite = Site{Name: "SecBoard", Protocol: "https", TimeZone: "UTC", DefaultLanguage: "en"}

// URL is the address of the installation for people, without a slash at the end; "" while its domain is not set.
func (s Site) URL() string {
	if s.Domain == "" {
		return ""
	}
	return s.Protocol + "://" + s.Domain
}

// SiteState is the fold of the site's settings; its zero value stands for DefaultSite.
type SiteState struct {
	site Site
	set  bool
}

// Site gives the settings in force.
func (s SiteState) Site() Site {
	if !s.set {
		return DefaultSite
	}
	return s.site
}

// Evolve folds one event into the state.
func (s *SiteState) Evolve(event domain.Event) {
	e, ok := event.(SiteChanged)
	if !ok {
		return
	}
	s.site, s.set = s.Site(), true
	domain.Apply(&s.site.Name, e.Name)
	domain.Apply(&s.site.Domain, e.Domain)
	domain.Apply(&s.site.Protocol, e.Protocol)
	domain.Apply(&s.site.ProjectType, e.ProjectType)
	domain.Apply(&s.site.TimeZone, e.TimeZone)
	domain.Apply(&s.site.DefaultEmail, e.DefaultEmail)
	domain.Apply(&s.site.DefaultMailAccountID, e.DefaultMailAccountID)
	domain.Apply(&s.site.DefaultLanguage, e.DefaultLanguage)
}

// SitePatch changes the site's settings; nil leaves a field.
type SitePatch struct {
	Name, Domain, Protocol, ProjectType, TimeZone, DefaultEmail, DefaultLanguage *string
	DefaultMailAccountID                                                         *uuid.UUID
}

// ChangeSite applies a patch. An unknown mail account is for the caller to refuse.
func ChangeSite(s SiteState, patch SitePatch) ([]domain.Event, error) {
	if err := patch.Validate(); err != nil {
		return nil, err
	}
	patch = patch.normalized()
	current := s.Site()
	var event SiteChanged
	event.Name, _ = domain.Change(current.Name, patch.Name)
	event.Domain, _ = domain.Change(current.Domain, patch.Domain)
	event.Protocol, _ = domain.Change(current.Protocol, patch.Protocol)
	event.ProjectType, _ = domain.Change(current.ProjectType, patch.ProjectType)
	event.TimeZone, _ = domain.Change(current.TimeZone, patch.TimeZone)
	event.DefaultEmail, _ = domain.Change(current.DefaultEmail, patch.DefaultEmail)
	event.DefaultMailAccountID, _ = domain.Change(current.DefaultMailAccountID, patch.DefaultMailAccountID)
	event.DefaultLanguage, _ = domain.Change(current.DefaultLanguage, patch.DefaultLanguage)
	if event == (SiteChanged{}) {
		return nil, nil
	}
	return []domain.Event{event}, nil
}

// ChangesLinkAddress says whether an event changes where links in mails lead to.
func ChangesLinkAddress(event domain.Event) bool {
	changed, ok := event.(SiteChanged)
	return ok && (changed.Domain != domain.Changed[string]{} || changed.Protocol != domain.Changed[string]{})
}

// normalized trims the texts. Those of the caller stay as they are.
func (p SitePatch) normalized() SitePatch {
	for _, text := range []**string{&p.Name, &p.Domain, &p.ProjectType, &p.DefaultEmail} {
		if *text != nil {
			*text = new(strings.TrimSpace(**text))
		}
	}
	return p
}

// Validate reports every wrong field that the patch names.
func (p SitePatch) Validate() error {
	p = p.normalized()
	var invalid domain.Invalid
	if p.Name != nil {
		invalid.Text("name", *p.Name, true, 200)
	}
	if p.ProjectType != nil {
		invalid.Text("project_type", *p.ProjectType, false, 100)
	}
	if p.Domain != nil && *p.Domain != "" {
		if parsed, err := url.Parse("https://" + *p.Domain); err != nil || parsed.Host != *p.Domain ||
			strings.ContainsAny(*p.Domain, "@/?# ") {
			invalid.Add("domain", domain.CodeDomain, "must be a host name such as accounts.example.com, with a port "+
				"if needed")
		}
	}
	if p.Protocol != nil && *p.Protocol != "http" && *p.Protocol != "https" {
		invalid.Add("protocol", domain.CodeProtocol, "must be https or http")
	}
	if p.TimeZone != nil {
		if _, err := time.LoadLocation(*p.TimeZone); err != nil || *p.TimeZone == "" || *p.TimeZone == "Local" {
			invalid.Add("time_zone", domain.CodeTimeZone, "must be a time zone such as Europe/Kyiv or UTC")
		}
	}
	if p.DefaultEmail != nil && *p.DefaultEmail != "" {
		if message := domain.EmailProblem(*p.DefaultEmail); message != "" {
			invalid.Add("default_email", domain.CodeEmail, "%s", message)
		}
	}
	if p.DefaultLanguage != nil && !slices.Contains(domain.Languages, *p.DefaultLanguage) {
		invalid.Add("default_language", domain.CodeUnknownLanguage, "must be en, uk or ru")
	}
	return invalid.Err()
}

// Security is when accounts are locked out and sessions end. Times are in minutes.
type Security struct {
	LockoutAttempts int
	LockoutWindow   int
	LockoutLength   int
	SessionIdle     int
	SessionLength   int
}

// DefaultSecurity is what counts before anything is set.
var DefaultSecurity = Security{
	LockoutAttempts: 5, LockoutWindow: 15, LockoutLength: 15, SessionIdle: 30, SessionLength: 12 * 60,
}

// Lockout is the policy for signing in.
func (s Security) Lockout() signin.Policy {
	return signin.Policy{
		Attempts: s.LockoutAttempts, Within: time.Duration(s.LockoutWindow) * time.Minute,
		For: time.Duration(s.LockoutLength) * time.Minute,
	}
}

// SecurityState is the fold of the security settings; its zero value stands for DefaultSecurity.
type SecurityState struct {
	security Security
	set      bool
}

// Security gives the settings in force.
func (s SecurityState) Security() Security {
	if !s.set {
		return DefaultSecurity
	}
	return s.security
}

// Evolve folds one event into the state.
func (s *SecurityState) Evolve(event domain.Event) {
	e, ok := event.(SecurityChanged)
	if !ok {
		return
	}
	s.security, s.set = s.Security(), true
	domain.Apply(&s.security.LockoutAttempts, e.LockoutAttempts)
	domain.Apply(&s.security.LockoutWindow, e.LockoutWindow)
	domain.Apply(&s.security.LockoutLength, e.LockoutLength)
	domain.Apply(&s.security.SessionIdle, e.SessionIdle)
	domain.Apply(&s.security.SessionLength, e.SessionLength)
}

// SecurityPatch changes the security settings; nil leaves a field.
type SecurityPatch struct {
	LockoutAttempts, LockoutWindow, LockoutLength, SessionIdle, SessionLength *int
}

// Validate reports every wrong field that the patch names.
func (p SecurityPatch) Validate() error {
	var invalid domain.Invalid
	for _, number := range []struct {
		field     string
		value     *int
		low, high int
	}{
		{"lockout_attempts", p.LockoutAttempts, 3, 100},
		{"lockout_window_minutes", p.LockoutWindow, 1, 24 * 60},
		{"lockout_minutes", p.LockoutLength, 1, 24 * 60},
		{"session_idle_minutes", p.SessionIdle, 1, 7 * 24 * 60},
		{"session_minutes", p.SessionLength, 1, 30 * 24 * 60},
	} {
		if number.value != nil {
			invalid.Between(number.field, *number.value, number.low, number.high)
		}
	}
	return invalid.Err()
}

// ChangeSecurity applies a patch.
func ChangeSecurity(s SecurityState, patch SecurityPatch) ([]domain.Event, error) {
	if err := patch.Validate(); err != nil {
		return nil, err
	}
	current := s.Security()
	var event SecurityChanged
	event.LockoutAttempts, _ = domain.Change(current.LockoutAttempts, patch.LockoutAttempts)
	event.LockoutWindow, _ = domain.Change(current.LockoutWindow, patch.LockoutWindow)
	event.LockoutLength, _ = domain.Change(current.LockoutLength, patch.LockoutLength)
	event.SessionIdle, _ = domain.Change(current.SessionIdle, patch.SessionIdle)
	event.SessionLength, _ = domain.Change(current.SessionLength, patch.SessionLength)
	if event == (SecurityChanged{}) {
		return nil, nil
	}
	return []domain.Event{event}, nil
}
