package httpapi

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/pause/pausetest"
)

// Settings have defaults, change with a history, and can be read as they were.
func TestSettingsOfTheSite(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	fresh := a.call(t, a.admin, http.MethodGet, "/settings/site", nil)
	if fresh.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", fresh, fresh.status, http.StatusOK)
	}
	if got := fresh.text("name"); got != "SecBoard" {
		t.Errorf(`name = %q, want "SecBoard"`, got)
	}
	if fresh.json["domain"] != nil {
		t.Errorf("domain = %v, want nil", fresh.json["domain"])
	}
	if got := fresh.header.Get("ETag"); got != "" {
		t.Errorf("nothing was changed yet: got %q, want nothing", got)
	}

	changed := a.call(t, a.admin, http.MethodPatch, "/settings/site", map[string]any{
		"name": "Nova", "domain": "accounts.example.com", "default_language": "uk", "time_zone": "Europe/Kyiv",
	})
	if changed.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", changed, changed.status, http.StatusOK)
	}
	if got := changed.text("name"); got != "Nova" {
		t.Errorf(`name = %q, want "Nova"`, got)
	}
	if got := changed.text("protocol"); got != "https" {
		t.Errorf(`protocol = %q, want "https"`, got)
	}
	if got := changed.header.Get("ETag"); got != `"0"` {
		t.Errorf("ETag = %q, want %q", got, `"0"`)
	}
	between := time.Now().UTC().Format(time.RFC3339Nano)
	cleared := a.call(t, a.admin, http.MethodPatch, "/settings/site", map[string]any{"domain": nil},
		with{"If-Match", `"0"`})
	if cleared.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", cleared, cleared.status, http.StatusOK)
	}
	if cleared.json["domain"] != nil {
		t.Errorf("domain = %v, want nil", cleared.json["domain"])
	}
	if got := a.call(t, a.admin, http.MethodPatch, "/settings/site", map[string]any{"name": "X"},
		with{"If-Match", `"0"`}).status; got != http.StatusPreconditionFailed {
		t.Errorf("got %v, want %v", got, http.StatusPreconditionFailed)
	}

	then := a.call(t, a.admin, http.MethodGet, "/settings/site?as_of="+between, nil)
	if got := then.text("domain"); got != "accounts.example.com" {
		t.Errorf(`domain = %q, want "accounts.example.com"`, got)
	}
	if got := a.call(t, a.admin, http.MethodGet, "/settings/site?as_of=2020-01-01",
		nil).text("name"); got != "SecBoard" {
		t.Errorf(`got %q, want "SecBoard"`, got)
	}
	history := a.call(t, a.admin, http.MethodGet, "/settings/site/history", nil)
	if got := history.items(); len(got) != 2 {
		t.Fatalf("%v: got has %d elements, want 2: %v", history, len(got), got)
	}
	if diff := cmp.Diff([]any{map[string]any{"field": "domain", "from": "accounts.example.com", "to": nil}},
		history.items()[0]["changes"]); diff != "" {
		t.Errorf("history.items()[0][\"changes\"] (-want +got):\n%s", diff)
	}

	wrong := a.call(t, a.admin, http.MethodPatch, "/settings/site", map[string]any{
		"name": nil, "domain": "https://x/", "protocol": "ftp", "time_zone": "Mars/Base", "default_email": "x",
		"default_language":        "de",
		"default_mail_account_id": "y", "color": "red",
	})
	if wrong.status != http.StatusUnprocessableEntity {
		t.Errorf("%v: got %v, want %v", wrong, wrong.status, http.StatusUnprocessableEntity)
	}
	for _, field := range []string{
		"name", "domain", "protocol", "time_zone", "default_email", "default_language", "default_mail_account_id",
		"color",
	} {
		if _, found := wrong.wrong()[field]; !found {
			t.Errorf("%v lacks %v", wrong.wrong(), field)
		}
	}
	unknown := a.call(t, a.admin, http.MethodPatch, "/settings/site",
		map[string]any{"default_mail_account_id": "01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11"})
	if diff := cmp.Diff(map[string]string{"default_mail_account_id": "unknown_mail_account"},
		unknown.wrong()); diff != "" {
		t.Errorf("%v (-want +got):\n%s", unknown, diff)
	}
}

// The security settings count at once for whoever asks about them, and are for superusers to change.
func TestSettingsOfSecurity(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	before, err := a.ReadModels.Security(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(settings.DefaultSecurity, before); diff != "" {
		t.Errorf("before (-want +got):\n%s", diff)
	}
	_, clerk := a.person(t, "clerk@example.com", everything())
	if got := a.call(t, clerk, http.MethodGet, "/settings/security", nil).status; got != http.StatusOK {
		t.Errorf("got %v, want %v", got, http.StatusOK)
	}
	refused := a.call(t, clerk, http.MethodPatch, "/settings/security", map[string]any{"lockout_attempts": 100})
	if refused.status != http.StatusForbidden {
		t.Errorf("%v: got %v, want %v", refused, refused.status, http.StatusForbidden)
	}

	changed := a.call(t, a.admin, http.MethodPatch, "/settings/security",
		map[string]any{"lockout_attempts": 3, "session_idle_minutes": 5})
	if changed.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", changed, changed.status, http.StatusOK)
	}
	if changed.json["lockout_attempts"] != 3.0 {
		t.Errorf("lockout_attempts = %v, want 3", changed.json["lockout_attempts"])
	}
	if changed.json["lockout_minutes"] != 15.0 {
		t.Errorf("lockout_minutes = %v, want 15", changed.json["lockout_minutes"])
	}
	want := settings.DefaultSecurity
	want.LockoutAttempts, want.SessionIdle = 3, 5
	pausetest.Until(t, "the settings are in force", func() bool {
		now, err := a.ReadModels.Security(t.Context())
		return err == nil && now == want
	})
	a.wire.cut()
	during, err := a.ReadModels.Security(t.Context())
	if err != nil {
		t.Fatalf("an outage of the database lets nobody in: %v", err)
	}
	if diff := cmp.Diff(want, during); diff != "" {
		t.Errorf("during (-want +got):\n%s", diff)
	}
	a.wire.mend()
	pausetest.Until(t, "the change stands in the history", func() bool {
		history, err := a.send(t.Context(), a.admin, http.MethodGet, basePath+"/settings/security/history", nil)
		return err == nil && len(history.items()) == 1
	})

	wrong := a.call(t, a.admin, http.MethodPatch, "/settings/security",
		map[string]any{"lockout_attempts": 1, "session_minutes": nil, "session_idle_minutes": "long"})
	if wrong.status != http.StatusUnprocessableEntity {
		t.Errorf("%v: got %v, want %v", wrong, wrong.status, http.StatusUnprocessableEntity)
	}
	if got := wrong.wrong(); len(got) != 3 {
		t.Errorf("%v: got has %d elements, want 3: %v", wrong, len(got), got)
	}
}

// The checklist of a new installation turns true by itself, item by item.
func TestTheSetupChecklist(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	done := func(token string) map[string]bool {
		checklist := a.call(t, token, http.MethodGet, "/setup", nil)
		if checklist.status != http.StatusOK {
			t.Fatalf("%v: got %v, want %v", checklist, checklist.status, http.StatusOK)
		}
		found := map[string]bool{}
		for _, item := range checklist.items() {
			if item["detail"] == "" || item["link"] == "" {
				t.Errorf("it says nothing: %v", item)
			}
			found[item["code"].(string)] = item["done"].(bool)
		}
		return found
	}
	if diff := cmp.Diff(map[string]bool{
		"superuser": true, "keyset": true, "site": false, "https": true, "allowed_hosts": false,
		"superusers_two_factor": false,
		"company":               false, "group": false, "mail_account": false, "directory": false,
	}, done(a.admin)); diff != "" {
		t.Errorf("done(a.admin) (-want +got):\n%s", diff)
	}
	a.create(t, "/companies", map[string]any{"name": "Nova"})
	a.create(t, "/groups", map[string]any{"name": "Auditors"})
	_, reader := a.person(t, "reader@example.com", everything())
	a.change(t, http.MethodPatch, "/settings/site", map[string]any{"domain": "accounts.example.com"})
	// The last, since it limits this session too.
	a.change(t, http.MethodPatch, "/users/"+a.adminID.String(), map[string]any{"require_two_factor": true})
	if diff := cmp.Diff(map[string]bool{
		"superuser": true, "keyset": true, "site": true, "https": true, "allowed_hosts": false,
		"superusers_two_factor": true,
		"company":               true, "group": true, "mail_account": false, "directory": false,
	}, done(reader)); diff != "" {
		t.Errorf("done(reader) (-want +got):\n%s", diff)
	}
	limited := a.call(t, a.admin, http.MethodGet, "/setup", nil)
	if got := limited.text("code"); got != "two_factor_setup_required" {
		t.Errorf(`the requirement holds at once, also in this session: got %q, want "two_factor_setup_required"`, got)
	}
}
