package httpapi

import (
	"context"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
)

type siteChanges struct {
	Name                 Optional[string] `json:"name,omitzero" maxLength:"200" nullable:"false" example:"Nova Energy SecBoard"`
	Domain               Optional[string] `json:"domain,omitzero" maxLength:"253" example:"accounts.example.com" doc:"Host name under which people reach it, with a port if needed; links in mails lead there"`
	Protocol             Optional[string] `json:"protocol,omitzero" enum:"https,http" nullable:"false"`
	ProjectType          Optional[string] `json:"project_type,omitzero" maxLength:"100"`
	TimeZone             Optional[string] `json:"time_zone,omitzero" maxLength:"100" nullable:"false" example:"Europe/Kyiv"`
	DefaultEmail         Optional[string] `json:"default_email,omitzero" maxLength:"254"`
	DefaultMailAccountID Optional[string] `json:"default_mail_account_id,omitzero" format:"uuid" doc:"Mail account that sends where no other is chosen"`
	DefaultLanguage      Optional[string] `json:"default_language,omitzero" enum:"en,uk,ru" nullable:"false" doc:"Language of pages and mails for people who chose none"`
}

func (b *siteChanges) command(problems *domain.Invalid) settings.SitePatch {
	patch := settings.SitePatch{
		Name: b.Name.patch("name", problems), Domain: b.Domain.patch("domain", problems),
		Protocol:    b.Protocol.patch("protocol", problems),
		ProjectType: b.ProjectType.patch("project_type", problems), TimeZone: b.TimeZone.patch("time_zone", problems),
		DefaultEmail:    b.DefaultEmail.patch("default_email", problems),
		DefaultLanguage: b.DefaultLanguage.patch("default_language", problems),
		DefaultMailAccountID: converted("default_mail_account_id",
			b.DefaultMailAccountID.patch("default_mail_account_id", problems), problems, readID),
	}
	merge(problems, patch.Validate())
	return patch
}

type securityChanges struct {
	LockoutAttempts Optional[int] `json:"lockout_attempts,omitzero" nullable:"false" minimum:"3" maximum:"100" doc:"How many wrong passwords from one network lock it out of an account"`
	LockoutWindow   Optional[int] `json:"lockout_window_minutes,omitzero" nullable:"false" minimum:"1" maximum:"1440" doc:"Wrong passwords that are further apart don't add up"`
	LockoutLength   Optional[int] `json:"lockout_minutes,omitzero" nullable:"false" minimum:"1" maximum:"1440" doc:"After this time the lockout ends by itself"`
	SessionIdle     Optional[int] `json:"session_idle_minutes,omitzero" nullable:"false" minimum:"1" maximum:"10080" doc:"A session ends after this time without a request"`
	SessionLength   Optional[int] `json:"session_minutes,omitzero" nullable:"false" minimum:"1" maximum:"43200" doc:"After this time a session ends even if it is in use"`
}

func (b *securityChanges) command(problems *domain.Invalid) settings.SecurityPatch {
	patch := settings.SecurityPatch{
		LockoutAttempts: readNumber("lockout_attempts", b.LockoutAttempts, problems),
		LockoutWindow:   readNumber("lockout_window_minutes", b.LockoutWindow, problems),
		LockoutLength:   readNumber("lockout_minutes", b.LockoutLength, problems),
		SessionIdle:     readNumber("session_idle_minutes", b.SessionIdle, problems),
		SessionLength:   readNumber("session_minutes", b.SessionLength, problems),
	}
	merge(problems, patch.Validate())
	return patch
}

// readNumber is patch for a number, which null can't clear.
func readNumber(field string, o Optional[int], problems *domain.Invalid) *int {
	if o.Null {
		problems.Add(field, domain.CodeType, "must be a whole number")
		return nil
	}
	return o.patch(field, problems)
}

type changeSettingsRequest[B, C any, P body[B, C]] struct {
	ChangeHeaders
	CommandBody[B, C, P]
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
		path: "/settings/site", name: "site-settings", kind: settings.Kind,
		read: func(ctx context.Context, _ string) (projections.Site, error) { return s.ReadModels.Site(ctx) },
		asOf: func(ctx context.Context, _ string, at time.Time) (projections.Site, error) {
			return s.ReadModels.SiteAsOf(ctx, at)
		},
		revision: func(site projections.Site) eventstore.Revision { return site.Revision },
	}
}

func (s *server) securitySettings() resource[projections.SecuritySettings] {
	return resource[projections.SecuritySettings]{
		path: "/settings/security", name: "security-settings", kind: settings.Kind,
		read: func(ctx context.Context, _ string) (projections.SecuritySettings, error) {
			return s.ReadModels.SecuritySettings(ctx)
		},
		asOf: func(ctx context.Context, _ string, at time.Time) (projections.SecuritySettings, error) {
			return s.ReadModels.SecuritySettingsAsOf(ctx, at)
		},
		revision: func(security projections.SecuritySettings) eventstore.Revision { return security.Revision },
	}
}

func (s *server) addSettings() {
	registerSettings[siteChanges](s, s.siteSettings(), "Settings of the site, now or as they were", operation{
		required: needs("settings", domain.Edit), summary: "Change the settings of the site",
		example: map[string]any{"name": "Nova Energy SecBoard", "domain": "accounts.example.com",
			"time_zone": "Europe/Kyiv", "default_language": "uk"},
	}, s.Commands.ChangeSite)
	registerSettings[securityChanges](s, s.securitySettings(), "Lockout and session limits, now or "+
		"as they were", operation{
		required: superuserOnly, summary: "Change lockout and session limits",
		description: "Takes effect within 2 s, also for current sessions.",
		example:     map[string]any{"lockout_attempts": 5, "session_idle_minutes": 30},
	}, s.Commands.ChangeSecurity)
}

// registerSettings adds the query, the change and the history of settings, of which there is one each.
func registerSettings[B, T, C any, P body[B, C]](s *server, r resource[T], summary string, change operation,
	do func(context.Context, commands.Caller, C) (commands.Result, error)) {
	const tag = "Settings"
	register(s, operation{
		method: http.MethodGet, path: r.path, id: "get-" + r.name, tag: tag, required: needs("settings", domain.View),
		summary: summary,
	}, func(ctx context.Context, in *getSettingsRequest) (*one[T], error) { return r.get(ctx, "", in.AsOf) })
	change.method, change.path, change.id, change.tag = http.MethodPatch, r.path, "change-"+r.name, tag
	registerCommand(s, change, func(ctx context.Context, in *changeSettingsRequest[B, C, P]) (*answer[T], error) {
		caller, err := s.changer(ctx, in.ChangeHeaders)
		if err != nil {
			return nil, err
		}
		result, err := do(ctx, caller, in.command)
		if err != nil {
			return nil, err
		}
		return r.changed(ctx, s, in.Prefer, result)
	})
	register(s, operation{
		method: http.MethodGet, path: r.path + "/history", id: r.name + "-history", tag: tag,
		required: needs("settings", domain.View).seesHistory(),
		summary:  "History of the " + strings.ReplaceAll(r.name, "-", " ") + ", newest first",
	}, func(ctx context.Context, in *settingsHistoryRequest) (*list[projections.HistoryEntry], error) {
		return r.history(ctx, s, path.Base(r.path), in.HistoryParams)
	})
}
