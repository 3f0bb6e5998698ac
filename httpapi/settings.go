package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
)

type siteChanges struct {
	Name                 Optional[string] `json:"name,omitzero" maxLength:"200" nullable:"false" example:"Nova Energy SecBoard"`
	Domain               Optional[string] `json:"domain,omitzero" maxLength:"253" example:"accounts.example.com" doc:"Host name under which people reach it, with a port if need be; links in mails lead there"`
	Protocol             Optional[string] `json:"protocol,omitzero" enum:"https,http" nullable:"false"`
	ProjectType          Optional[string] `json:"project_type,omitzero" maxLength:"100"`
	TimeZone             Optional[string] `json:"time_zone,omitzero" maxLength:"100" nullable:"false" example:"Europe/Kyiv"`
	DefaultEmail         Optional[string] `json:"default_email,omitzero" maxLength:"254"`
	DefaultMailAccountID Optional[string] `json:"default_mail_account_id,omitzero" format:"uuid" doc:"Sends where no other mail account is chosen"`
	DefaultLanguage      Optional[string] `json:"default_language,omitzero" enum:"en,uk,ru" nullable:"false" doc:"Of pages and mails for people who chose none"`
}

func (b *siteChanges) patch(problems *domain.Invalid) settings.SitePatch {
	return settings.SitePatch{
		Name: b.Name.patch("name", problems), Domain: b.Domain.patch("domain", problems), Protocol: b.Protocol.patch("protocol", problems),
		ProjectType: b.ProjectType.patch("project_type", problems), TimeZone: b.TimeZone.patch("time_zone", problems),
		DefaultEmail: b.DefaultEmail.patch("default_email", problems), DefaultLanguage: b.DefaultLanguage.patch("default_language", problems),
		DefaultMailAccountID: converted("default_mail_account_id", b.DefaultMailAccountID.patch("default_mail_account_id", problems), problems, readID),
	}
}

// Resolve lets the domain check the body beside the schema.
func (b *siteChanges) Resolve(huma.Context) []error {
	var problems domain.Invalid
	_, err := settings.ChangeSite(settings.SiteState{}, b.patch(&problems))
	merge(&problems, err)
	return findings(problems)
}

type securityChanges struct {
	LockoutAttempts Optional[int] `json:"lockout_attempts,omitzero" nullable:"false" minimum:"3" maximum:"100" doc:"So many wrong passwords or codes within the window lock an account out"`
	LockoutWindow   Optional[int] `json:"lockout_window_minutes,omitzero" nullable:"false" minimum:"1" maximum:"1440"`
	LockoutLength   Optional[int] `json:"lockout_minutes,omitzero" nullable:"false" minimum:"1" maximum:"1440" doc:"After which the lockout opens by itself"`
	SessionIdle     Optional[int] `json:"session_idle_minutes,omitzero" nullable:"false" minimum:"1" maximum:"10080" doc:"Without a request, after which a session ends"`
	SessionLength   Optional[int] `json:"session_minutes,omitzero" nullable:"false" minimum:"1" maximum:"43200" doc:"After which a session ends in any case"`
}

func (b *securityChanges) patch(problems *domain.Invalid) settings.SecurityPatch {
	return settings.SecurityPatch{
		LockoutAttempts: readNumber("lockout_attempts", b.LockoutAttempts, problems),
		LockoutWindow:   readNumber("lockout_window_minutes", b.LockoutWindow, problems),
		LockoutLength:   readNumber("lockout_minutes", b.LockoutLength, problems),
		SessionIdle:     readNumber("session_idle_minutes", b.SessionIdle, problems),
		SessionLength:   readNumber("session_minutes", b.SessionLength, problems),
	}
}

// Resolve lets the domain check the body beside the schema.
func (b *securityChanges) Resolve(huma.Context) []error {
	var problems domain.Invalid
	_, err := settings.ChangeSecurity(settings.SecurityState{}, b.patch(&problems))
	merge(&problems, err)
	return findings(problems)
}

// readNumber is patch for a number, which null can't clear.
func readNumber(field string, o Optional[int], problems *domain.Invalid) *int {
	if o.Null {
		problems.Add(field, "type", "must be a whole number")
		return nil
	}
	return o.patch(field, problems)
}

type changeSiteRequest struct {
	ChangeHeaders
	Body siteChanges
}

type changeSecurityRequest struct {
	ChangeHeaders
	Body securityChanges
}

type getSettingsRequest struct {
	QueryHeaders
	PointInTime
}

type settingsHistoryRequest struct {
	QueryHeaders
	HistoryParams
}

func (s *server) siteSettings() resource[projections.Site] {
	return resource[projections.Site]{
		path:     "/settings",
		read:     func(ctx context.Context, _ string) (projections.Site, error) { return s.ReadModels.Site(ctx) },
		revision: func(site projections.Site) eventstore.Revision { return site.Revision },
	}
}

func (s *server) securitySettings() resource[projections.SecuritySettings] {
	return resource[projections.SecuritySettings]{
		path: "/settings",
		read: func(ctx context.Context, _ string) (projections.SecuritySettings, error) {
			return s.ReadModels.SecuritySettings(ctx)
		},
		revision: func(security projections.SecuritySettings) eventstore.Revision { return security.Revision },
	}
}

func (s *server) addSettings() {
	const tag = "Settings"
	register(s, operation{
		method: http.MethodGet, path: "/settings/site", id: "get-site-settings", tag: tag, required: needs("settings", domain.View),
		summary: "How the installation presents itself, now or as it was",
	}, s.getSite)
	registerCommand(s, operation{
		method: http.MethodPatch, path: "/settings/site", id: "change-site-settings", tag: tag, required: needs("settings", domain.Edit),
		summary: "Change the settings of the site",
		example: map[string]any{"name": "Nova Energy SecBoard", "domain": "accounts.example.com", "time_zone": "Europe/Kyiv", "default_language": "uk"},
	}, s.changeSite)
	register(s, operation{
		method: http.MethodGet, path: "/settings/security", id: "get-security-settings", tag: tag, required: needs("settings", domain.View),
		summary: "When accounts are locked out and sessions end, now or as it was",
	}, s.getSecurity)
	registerCommand(s, operation{
		method: http.MethodPatch, path: "/settings/security", id: "change-security-settings", tag: tag, required: superuserOnly,
		summary: "Change when accounts are locked out and sessions end", description: "It counts within 2 s, for sessions under way too.",
		example: map[string]any{"lockout_attempts": 5, "session_idle_minutes": 30},
	}, s.changeSecurity)
	for _, name := range []string{"site", "security"} {
		register(s, operation{
			method: http.MethodGet, path: "/settings/" + name + "/history", id: name + "-settings-history", tag: tag,
			required: needs("settings", domain.View).seesHistory(), summary: "History of the " + name + " settings, newest first",
		}, func(ctx context.Context, in *settingsHistoryRequest) (*list[projections.HistoryEntry], error) {
			return listOf(s.ReadModels.History(ctx, in.filter(projections.SettingsKind, name), projections.PageRequest{Limit: in.Limit, Cursor: in.Cursor}))
		})
	}
}

func (s *server) getSite(ctx context.Context, in *getSettingsRequest) (*one[projections.Site], error) {
	var found projections.Site
	var err error
	if at := in.AsOf.end(); at != nil {
		found, err = s.ReadModels.SiteAsOf(ctx, *at)
	} else {
		found, err = s.ReadModels.Site(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &one[projections.Site]{ETag: etag(found.Revision), Body: found}, nil
}

func (s *server) changeSite(ctx context.Context, in *changeSiteRequest) (*answer[projections.Site], error) {
	var problems domain.Invalid
	patch := in.Body.patch(&problems)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	caller, err := s.changer(ctx, in.ChangeHeaders)
	if err != nil {
		return nil, err
	}
	result, err := s.Commands.ChangeSite(ctx, caller, patch)
	if err != nil {
		return nil, err
	}
	return s.siteSettings().changed(ctx, s, in.Prefer, result)
}

func (s *server) getSecurity(ctx context.Context, in *getSettingsRequest) (*one[projections.SecuritySettings], error) {
	var found projections.SecuritySettings
	var err error
	if at := in.AsOf.end(); at != nil {
		found, err = s.ReadModels.SecuritySettingsAsOf(ctx, *at)
	} else {
		found, err = s.ReadModels.SecuritySettings(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &one[projections.SecuritySettings]{ETag: etag(found.Revision), Body: found}, nil
}

func (s *server) changeSecurity(ctx context.Context, in *changeSecurityRequest) (*answer[projections.SecuritySettings], error) {
	var problems domain.Invalid
	patch := in.Body.patch(&problems)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	caller, err := s.changer(ctx, in.ChangeHeaders)
	if err != nil {
		return nil, err
	}
	result, err := s.Commands.ChangeSecurity(ctx, caller, patch)
	if err != nil {
		return nil, err
	}
	return s.securitySettings().changed(ctx, s, in.Prefer, result)
}
