package settings_test

import (
	"testing"
	"time"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/scenario"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/domain/signin"
)

func changeSite(patch settings.SitePatch) func(settings.SiteState) ([]domain.Event, error) {
	return func(s settings.SiteState) ([]domain.Event, error) { return settings.ChangeSite(s, patch) }
}

func changeSecurity(patch settings.SecurityPatch) func(settings.SecurityState) ([]domain.Event, error) {
	return func(s settings.SecurityState) ([]domain.Event, error) { return settings.ChangeSecurity(s, patch) }
}

func TestTheSiteIsChangedFieldByField(t *testing.T) {
	domainSet := settings.SiteChanged{Domain: domain.Changed[string]{To: "accounts.example.com"}}
	scenario.Given[settings.SiteState]().When(
		changeSite(settings.SitePatch{Domain: new(" accounts.example.com ")})).Then(t, domainSet)
	scenario.Given[settings.SiteState](domainSet).When(
		changeSite(settings.SitePatch{Domain: new("accounts.example.com"), Name: new("SecBoard")})).Then(t)
	scenario.Given[settings.SiteState](domainSet).When(
		changeSite(settings.SitePatch{Domain: new(""), DefaultLanguage: new("uk")})).
		Then(t, settings.SiteChanged{
			Domain:          domain.Changed[string]{From: "accounts.example.com"},
			DefaultLanguage: domain.Changed[string]{From: "en", To: "uk"},
		})
}

func TestAPatchIsNotChanged(t *testing.T) {
	patch := settings.SitePatch{Domain: new(" accounts.example.com ")}
	if _, err := settings.ChangeSite(settings.SiteState{}, patch); err != nil ||
		*patch.Domain != " accounts.example.com " {
		t.Errorf("the domain of the patch is %q, %v", *patch.Domain, err)
	}
}

func TestEveryWrongFieldOfTheSiteIsTold(t *testing.T) {
	scenario.Given[settings.SiteState]().When(changeSite(settings.SitePatch{
		Name: new("  "), Domain: new("https://accounts.example.com/x"), Protocol: new("gopher"), TimeZone: new("Kyiv"),
		DefaultEmail: new("nobody"), DefaultLanguage: new("tlh"),
	})).ThenInvalid(t, "name", "domain", "protocol", "time_zone", "default_email", "default_language")
	for _, host := range []string{"user@example.com", "example.com?x", "exa mple.com", "example.com/"} {
		t.Run(host, func(t *testing.T) {
			scenario.Given[settings.SiteState]().When(changeSite(settings.SitePatch{Domain: &host})).ThenInvalid(t,
				"domain")
		})
	}
}

func TestSecurityStartsFromItsDefaults(t *testing.T) {
	stricter := settings.SecurityChanged{LockoutAttempts: domain.Changed[int]{From: 5, To: 3}}
	scenario.Given[settings.SecurityState]().When(
		changeSecurity(settings.SecurityPatch{LockoutAttempts: new(3), SessionIdle: new(30)})).Then(t, stricter)
	var state settings.SecurityState
	state.Evolve(stricter)
	if want := (signin.Policy{Attempts: 3, Within: 15 * time.Minute,
		For: 15 * time.Minute}); state.Security().Lockout() != want {
		t.Errorf("the policy is %+v", state.Security().Lockout())
	}
}

func TestSecurityStaysWithinBounds(t *testing.T) {
	scenario.Given[settings.SecurityState]().When(changeSecurity(settings.SecurityPatch{
		LockoutAttempts: new(2), LockoutWindow: new(0), LockoutLength: new(24*60 + 1), SessionIdle: new(-1),
		SessionLength: new(30*24*60 + 1),
	})).ThenInvalid(t, "lockout_attempts", "lockout_window_minutes", "lockout_minutes", "session_idle_minutes",
		"session_minutes")
}
