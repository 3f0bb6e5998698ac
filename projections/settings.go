package projections

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

// endOfTime is later than anything that is recorded: at that time, settings are as they are now.
var endOfTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// settingsRow is the settings of one stream. They have no table: they change so rarely that their history is folded
// whenever they are asked for, now as for any time before.
type settingsRow struct {
	lifetime
	site     settings.SiteState
	security settings.SecurityState
	contact  settings.ContactState
	routes   settings.MailRoutesState
}

func (s *settingsRow) Apply(e *eventstore.Envelope) error {
	s.site.Evolve(e.Event)
	s.security.Evolve(e.Event)
	s.contact.Evolve(e.Event)
	s.routes.Evolve(e.Event)
	return s.applied(e, true)
}

var settingsRows = engine.Aggregate[string, *settingsRow]{
	Kind: settings.Kind, Parse: func(name string) (string, error) { return name, nil },
	Fresh: func(string) *settingsRow { return &settingsRow{lifetime: lifetime{revision: eventstore.NoStream}} },
}

// settingsAt gives the settings of one stream at a time; before the first change the defaults.
func (r *ReadModels) settingsAt(ctx context.Context, stream string, at time.Time) (*settingsRow, error) {
	_, name := domain.SplitStream(stream)
	rows, err := settingsRows.AsOf(ctx, r.pool, []string{name}, at)
	if err != nil {
		return nil, err
	}
	if row := rows[name]; row != nil {
		return row, nil
	}
	return settingsRows.Fresh(name), nil
}

// Site is how the installation presents itself. UpdatedAt is nil and Revision eventstore.NoStream while nothing was
// changed.
type Site struct {
	Name                 string              `json:"name"`
	Domain               *string             `json:"domain"`
	Protocol             string              `json:"protocol"`
	ProjectType          *string             `json:"project_type"`
	TimeZone             string              `json:"time_zone"`
	DefaultEmail         *string             `json:"default_email"`
	DefaultMailAccountID *uuid.UUID          `json:"default_mail_account_id"`
	DefaultLanguage      string              `json:"default_language"`
	UpdatedAt            *time.Time          `json:"updated_at"`
	Revision             eventstore.Revision `json:"revision"`
}

// URL is the address of the installation for people, without a slash at the end; "" while its domain is not set.
func (s Site) URL() string {
	return settings.Site{Protocol: s.Protocol, Domain: valueOf(s.Domain)}.URL()
}

// Site gives the settings of the site as they are.
func (r *ReadModels) Site(ctx context.Context) (Site, error) { return r.SiteAsOf(ctx, endOfTime) }

// SiteAsOf gives the settings of the site as they were at a time.
func (r *ReadModels) SiteAsOf(ctx context.Context, at time.Time) (Site, error) {
	row, err := r.settingsAt(ctx, settings.SiteStream, at)
	if err != nil {
		return Site{}, err
	}
	s := row.site.Site()
	return Site{
		Name: s.Name, Domain: optional(s.Domain), Protocol: s.Protocol, ProjectType: optional(s.ProjectType),
		TimeZone:     s.TimeZone,
		DefaultEmail: optional(s.DefaultEmail), DefaultMailAccountID: optional(s.DefaultMailAccountID),
		DefaultLanguage: s.DefaultLanguage,
		UpdatedAt:       row.changedAt(), Revision: row.revision,
	}, nil
}

// SecuritySettings say when accounts are locked out and sessions end, in minutes. UpdatedAt and Revision as in Site.
type SecuritySettings struct {
	LockoutAttempts int                 `json:"lockout_attempts"`
	LockoutWindow   int                 `json:"lockout_window_minutes"`
	LockoutLength   int                 `json:"lockout_minutes"`
	SessionIdle     int                 `json:"session_idle_minutes"`
	SessionLength   int                 `json:"session_minutes"`
	UpdatedAt       *time.Time          `json:"updated_at"`
	Revision        eventstore.Revision `json:"revision"`
}

// SecuritySettings gives the security settings as they are.
func (r *ReadModels) SecuritySettings(ctx context.Context) (SecuritySettings, error) {
	return r.SecuritySettingsAsOf(ctx, endOfTime)
}

// SecuritySettingsAsOf gives the security settings as they were at a time.
func (r *ReadModels) SecuritySettingsAsOf(ctx context.Context, at time.Time) (SecuritySettings, error) {
	row, err := r.settingsAt(ctx, settings.SecurityStream, at)
	if err != nil {
		return SecuritySettings{}, err
	}
	s := row.security.Security()
	return SecuritySettings{
		LockoutAttempts: s.LockoutAttempts, LockoutWindow: s.LockoutWindow, LockoutLength: s.LockoutLength,
		SessionIdle: s.SessionIdle, SessionLength: s.SessionLength, UpdatedAt: row.changedAt(), Revision: row.revision,
	}, nil
}

func (s *settingsRow) changedAt() *time.Time { return optional(s.updatedAt.UTC()) }

// securityAge is how long the security settings may be out of date for whoever asks at every request.
const securityAge = 2 * time.Second

// securityTime is how long the database may take for them before the last known ones count.
const securityTime = 3 * time.Second

// cachedSecurity is the last answer of Security.
type cachedSecurity struct {
	asking singleflight.Group // one query for all who wait

	mu    sync.Mutex
	value settings.Security
	known bool
	asked time.Time
}

func (c *cachedSecurity) get() (value settings.Security, known, fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.value, c.known, c.known && time.Since(c.asked) < securityAge
}

// Security gives the security settings in force, at most 2 s old. While the database is away the last known ones count;
// an error comes only when there are none yet.
func (r *ReadModels) Security(ctx context.Context) (settings.Security, error) {
	value, known, fresh := r.security.get()
	if fresh {
		return value, nil
	}
	asked := r.security.asking.DoChan("", func() (any, error) { return r.askSecurity(context.WithoutCancel(ctx)) })
	select {
	case answer := <-asked:
		value, _ := answer.Val.(settings.Security)
		return value, answer.Err
	case <-ctx.Done():
		if known {
			return value, nil
		}
		return settings.Security{}, ctx.Err()
	}
}

func (r *ReadModels) askSecurity(ctx context.Context) (settings.Security, error) {
	ctx, cancel := context.WithTimeout(ctx, securityTime)
	defer cancel()
	row, err := r.settingsAt(ctx, settings.SecurityStream, endOfTime)
	cached := &r.security
	cached.mu.Lock()
	defer cached.mu.Unlock()
	if err != nil && !cached.known {
		return settings.Security{}, err
	}
	cached.asked = time.Now()
	if err == nil {
		cached.value, cached.known = row.security.Security(), true
	}
	return cached.value, nil
}
