package httpapi

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/secboard/secboard/domain/settings"
)

// Settings have defaults, change with a history, and can be read as they were.
func TestSettingsOfTheSite(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	fresh := a.call(t, a.admin, http.MethodGet, "/settings/site", nil)
	require.Equal(t, http.StatusOK, fresh.status, fresh)
	assert.Equal(t, "SecBoard", fresh.text("name"))
	assert.Nil(t, fresh.json["domain"])
	assert.Empty(t, fresh.header.Get("ETag"), "nothing was changed yet")

	changed := a.call(t, a.admin, http.MethodPatch, "/settings/site", map[string]any{
		"name": "Nova", "domain": "accounts.example.com", "default_language": "uk", "time_zone": "Europe/Kyiv",
	})
	require.Equal(t, http.StatusOK, changed.status, changed)
	assert.Equal(t, "Nova", changed.text("name"))
	assert.Equal(t, "https", changed.text("protocol"))
	assert.Equal(t, `"0"`, changed.header.Get("ETag"))
	between := time.Now().UTC().Format(time.RFC3339Nano)
	cleared := a.call(t, a.admin, http.MethodPatch, "/settings/site", map[string]any{"domain": nil}, with{"If-Match", `"0"`})
	require.Equal(t, http.StatusOK, cleared.status, cleared)
	assert.Nil(t, cleared.json["domain"])
	assert.Equal(t, http.StatusPreconditionFailed, a.call(t, a.admin, http.MethodPatch, "/settings/site", map[string]any{"name": "X"}, with{"If-Match", `"0"`}).status)

	then := a.call(t, a.admin, http.MethodGet, "/settings/site?as_of="+between, nil)
	assert.Equal(t, "accounts.example.com", then.text("domain"))
	assert.Equal(t, "SecBoard", a.call(t, a.admin, http.MethodGet, "/settings/site?as_of=2020-01-01", nil).text("name"))
	history := a.call(t, a.admin, http.MethodGet, "/settings/site/history", nil)
	require.Len(t, history.items(), 2, history)
	assert.Equal(t, []any{map[string]any{"field": "domain", "from": "accounts.example.com", "to": nil}}, history.items()[0]["changes"])

	wrong := a.call(t, a.admin, http.MethodPatch, "/settings/site", map[string]any{
		"name": nil, "domain": "https://x/", "protocol": "ftp", "time_zone": "Mars/Base", "default_email": "x", "default_language": "de",
		"default_mail_account_id": "y", "color": "red",
	})
	assert.Equal(t, http.StatusUnprocessableEntity, wrong.status, wrong)
	for _, field := range []string{"name", "domain", "protocol", "time_zone", "default_email", "default_language", "default_mail_account_id", "color"} {
		assert.Contains(t, wrong.wrong(), field)
	}
	unknown := a.call(t, a.admin, http.MethodPatch, "/settings/site", map[string]any{"default_mail_account_id": "01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11"})
	assert.Equal(t, map[string]string{"default_mail_account_id": "unknown_mail_account"}, unknown.wrong(), unknown)
}

// The security settings count at once for whoever asks about them, and are for superusers to change.
func TestSettingsOfSecurity(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	before, err := a.ReadModels.Security(t.Context())
	require.NoError(t, err)
	assert.Equal(t, settings.DefaultSecurity, before)
	_, clerk := a.person(t, "clerk@example.com", everything())
	assert.Equal(t, http.StatusOK, a.call(t, clerk, http.MethodGet, "/settings/security", nil).status)
	refused := a.call(t, clerk, http.MethodPatch, "/settings/security", map[string]any{"lockout_attempts": 100})
	assert.Equal(t, http.StatusForbidden, refused.status, refused)

	changed := a.call(t, a.admin, http.MethodPatch, "/settings/security", map[string]any{"lockout_attempts": 3, "session_idle_minutes": 5})
	require.Equal(t, http.StatusOK, changed.status, changed)
	assert.EqualValues(t, 3, changed.json["lockout_attempts"])
	assert.EqualValues(t, 15, changed.json["lockout_minutes"])
	want := settings.DefaultSecurity
	want.LockoutAttempts, want.SessionIdle = 3, 5
	assert.EventuallyWithT(t, func(c *assert.CollectT) {
		now, err := a.ReadModels.Security(t.Context())
		assert.NoError(c, err)
		assert.Equal(c, want, now)
	}, patience, 50*time.Millisecond)
	a.wire.cut()
	during, err := a.ReadModels.Security(t.Context())
	require.NoError(t, err, "an outage of the database opens no door")
	assert.Equal(t, want, during)
	a.wire.mend()
	assert.EventuallyWithT(t, func(c *assert.CollectT) {
		history, err := a.send(t.Context(), a.admin, http.MethodGet, basePath+"/settings/security/history", nil)
		assert.NoError(c, err)
		assert.Len(c, history.items(), 1)
	}, patience, 50*time.Millisecond)

	wrong := a.call(t, a.admin, http.MethodPatch, "/settings/security", map[string]any{"lockout_attempts": 1, "session_minutes": nil, "session_idle_minutes": "long"})
	assert.Equal(t, http.StatusUnprocessableEntity, wrong.status, wrong)
	assert.Len(t, wrong.wrong(), 3, wrong)
}

// The checklist of a new installation turns true by itself, item by item.
func TestTheSetupChecklist(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	done := func(token string) map[string]bool {
		checklist := a.call(t, token, http.MethodGet, "/setup", nil)
		require.Equal(t, http.StatusOK, checklist.status, checklist)
		found := map[string]bool{}
		for _, item := range checklist.items() {
			assert.NotEmpty(t, item["detail"])
			assert.NotEmpty(t, item["link"])
			found[item["code"].(string)] = item["done"].(bool)
		}
		return found
	}
	assert.Equal(t, map[string]bool{
		"superuser": true, "keyset": true, "site": false, "https": true, "allowed_hosts": false, "superusers_two_factor": false,
		"company": false, "group": false, "mail_account": false, "directory": false,
	}, done(a.admin))
	a.create(t, "/companies", map[string]any{"name": "Nova"})
	a.create(t, "/groups", map[string]any{"name": "Auditors"})
	_, reader := a.person(t, "reader@example.com", everything())
	for path, body := range map[string]map[string]any{
		"/settings/site": {"domain": "accounts.example.com"}, "/users/" + a.adminID.String(): {"require_two_factor": true},
	} {
		changed := a.call(t, a.admin, http.MethodPatch, path, body)
		require.Equal(t, http.StatusOK, changed.status, changed)
	}
	assert.Equal(t, map[string]bool{
		"superuser": true, "keyset": true, "site": true, "https": true, "allowed_hosts": false, "superusers_two_factor": true,
		"company": true, "group": true, "mail_account": false, "directory": false,
	}, done(reader))
	limited := a.call(t, a.admin, http.MethodGet, "/setup", nil)
	assert.Equal(t, "two_factor_setup_required", limited.text("code"), "the requirement holds at once, also in this session")
}
