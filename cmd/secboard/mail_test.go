package main

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secboard/secboard/mailing/mailtest"
	"github.com/secboard/secboard/pause/pausetest"
	"github.com/secboard/secboard/postgres/pgtest"
)

// Links lead to SECBOARD_PUBLIC_URL, and doctor tries each mail account without sending anything.
func TestServeSendsMailAndDoctorTriesIt(t *testing.T) {
	t.Parallel()
	env := settings{
		"SECBOARD_DATA": filepath.Join(pgtest.TempDir(t), "data"), "SECBOARD_DATABASE_URL": pgtest.NewDatabaseURL(t),
		"SECBOARD_PUBLIC_URL": "https://accounts.example.com/",
	}.with(bootstrapEmail, rootEmail).with(bootstrapPassword, rootPassword)
	sink := mailtest.NewSink(t)
	_, api := serve(t, env)
	api.signIn(rootEmail, rootPassword)
	server := api.want(http.StatusCreated, http.MethodPost, "/api/v1/mail/servers",
		map[string]any{"name": "Sink", "host": sink.Host, "port": sink.Port, "security": "none"})["id"]
	account := api.want(http.StatusCreated, http.MethodPost, "/api/v1/mail/accounts",
		map[string]any{"server_id": server, "address": "accounts@example.com"})["id"]
	api.want(http.StatusOK, http.MethodPatch, "/api/v1/settings/site",
		map[string]any{"default_mail_account_id": account, "domain": "elsewhere.example.com"})
	if got := api.do(http.MethodPost, "/api/v1/password-resets",
		map[string]any{"email": rootEmail}); got.status != http.StatusAccepted {
		t.Fatalf("asking for a link: %d %v", got.status, got.body)
	}
	mail := sink.Wait(t, 1)[0]
	if text := mail.Part(t, "text/plain"); !strings.Contains(text, "\nhttps://accounts.example.com/password_reset/") {
		t.Error(text)
	}
	if counted := api.metrics(); !strings.Contains(counted,
		`secboard_events_appended_total{type="mailserver.created"} 1`+"\n") {
		t.Errorf("what people do is not counted: %s", counted)
	}
	command(t, env, "", "doctor").expect(t, exitDone, "accounts@example.com can send through 127.0.0.1")
	command(t, env.with(settingTargets, ""), "", "doctor").expect(t, exitFailed, "127.0.0.1 is a loopback address",
		"("+settingTargets+")")
	api.want(http.StatusOK, http.MethodPatch, "/api/v1/mail/servers/"+server.(string), map[string]any{"port": 1})
	command(t, env, "", "doctor").expect(t, exitFailed, "accounts@example.com: ")
	if taken := len(sink.Taken()); taken != 1 {
		t.Errorf("%d mails were taken", taken)
	}
}

// Whoever reads the metrics may ask for links too, and must not see which address has an account.
func TestTheMetricsTellNoAddress(t *testing.T) {
	t.Parallel()
	env := settings{
		"SECBOARD_DATA": filepath.Join(pgtest.TempDir(t), "data"), "SECBOARD_DATABASE_URL": pgtest.NewDatabaseURL(t),
		"SECBOARD_PUBLIC_URL": "https://accounts.example.com",
	}.with(bootstrapEmail, rootEmail).with(bootstrapPassword, rootPassword)
	sink := mailtest.NewSink(t)
	_, api := serve(t, env)
	api.signIn(rootEmail, rootPassword)
	server := api.want(http.StatusCreated, http.MethodPost, "/api/v1/mail/servers",
		map[string]any{"name": "Sink", "host": sink.Host, "port": sink.Port, "security": "none"})["id"]
	account := api.want(http.StatusCreated, http.MethodPost, "/api/v1/mail/accounts",
		map[string]any{"server_id": server, "address": "accounts@example.com"})["id"]
	api.want(http.StatusOK, http.MethodPatch, "/api/v1/settings/site",
		map[string]any{"default_mail_account_id": account})

	token := api.token
	ask := func(email string) (changed []string) {
		t.Helper()
		before := strings.Split(api.metrics(), "\n")
		api.token = ""
		if got := api.do(http.MethodPost, "/api/v1/password-resets",
			map[string]any{"email": email}); got.status != http.StatusAccepted {
			t.Fatalf("asking for a link: %d %v", got.status, got.body)
		}
		if got := api.do(http.MethodPost, "/api/v1/sessions",
			map[string]any{"email": email, "password": "wrong"}); got.status != http.StatusUnauthorized {
			t.Fatalf("signing in: %d %v", got.status, got.body)
		}
		if email == rootEmail {
			sink.Wait(t, 1)
			pausetest.Until(t, "the mail is recorded as sent", func() bool {
				api.token = token
				return api.all("/api/v1/mail/messages")[0]["state"] == "sent"
			})
		}
		for _, line := range strings.Split(api.metrics(), "\n") {
			ours, aboutTime := strings.HasPrefix(line, "secboard_"),
				strings.Contains(line, "_seconds_sum") || strings.Contains(line, "_seconds_bucket") ||
					strings.Contains(line, "/mail/messages")
			if ours && !aboutTime && !slices.Contains(before, line) {
				changed = append(changed, line[:strings.LastIndex(line, " ")])
			}
		}
		return changed
	}
	unknown, known := ask("nobody@example.com"), ask(rootEmail)
	if len(unknown) == 0 || !slices.Equal(unknown, known) {
		t.Errorf("an unknown address changes %q, a known one %q", unknown, known)
	}
}

// Metrics and profiles are on a port of their own, and nothing else is.
func TestMetricsHaveAListenerOfTheirOwn(t *testing.T) {
	t.Parallel()
	env := settings{
		"SECBOARD_DATA": filepath.Join(pgtest.TempDir(t), "data"), "SECBOARD_DATABASE_URL": pgtest.NewDatabaseURL(t),
	}
	i, api := serve(t, env)
	own := strings.TrimSuffix(api.page, "/metrics")
	for url, want := range map[string]int{
		api.url + "/metrics": http.StatusNotFound, api.url + "/debug/pprof/": http.StatusNotFound,
		own + "/metrics": http.StatusOK, own + "/debug/pprof/": http.StatusOK,
		own + "/debug/pprof/goroutine?debug=1": http.StatusOK, own + "/debug/pprof/cmdline": http.StatusNotFound,
		own + "/healthz": http.StatusNotFound, own + "/api/v1/users": http.StatusNotFound,
	} {
		t.Run(url, func(t *testing.T) {
			response, err := http.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			if err := response.Body.Close(); err != nil || response.StatusCode != want {
				t.Errorf("got %d, want %d (%v)", response.StatusCode, want, err)
			}
		})
	}
	// The port of another instance is an error only where it was asked for.
	taken := env.with(settingMetrics, strings.TrimPrefix(own, "http://")).
		with("SECBOARD_DATA", filepath.Join(pgtest.TempDir(t), "other"))
	command(t, taken, "", "serve", "--listen", "127.0.0.1:0").expect(t, exitFailed, settingMetrics, "in use")
	if status := i.stop(); status != exitDone {
		t.Errorf("it ended with status %d: %s", status, i.stderr)
	}
	none, _ := serve(t, env.with(settingMetrics, noMetrics))
	if strings.Contains(none.first, "Metrics:") {
		t.Errorf("it has metrics: %s", none.first)
	}
}

func TestPublicURLMustBeAnAddress(t *testing.T) {
	t.Parallel()
	for _, wrong := range []string{
		"accounts.example.com", "https://accounts.example.com/secboard", "ftp://x", "https://user@x", "https://",
	} {
		t.Run(wrong, func(t *testing.T) {
			env := settings{"SECBOARD_DATA": t.TempDir(), "SECBOARD_PUBLIC_URL": wrong}
			command(t, env, "", "serve").expect(t, exitUsage, "SECBOARD_PUBLIC_URL", "https://accounts.example.com")
		})
	}
}
