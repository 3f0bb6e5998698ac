package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secboard/secboard/mailing/mailtest"
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
	counted := api.metrics()
	// by a request, and beside requests
	for _, recorded := range []string{"signin.reset_link_requested", "mailmessage.queued", "mailmessage.sending"} {
		if !strings.Contains(counted, `secboard_events_appended_total{type="`+recorded+`"} 1`+"\n") {
			t.Errorf("%s is not counted", recorded)
		}
	}
	command(t, env, "", "doctor").expect(t, exitDone, "accounts@example.com can send through 127.0.0.1")
	api.want(http.StatusOK, http.MethodPatch, "/api/v1/mail/servers/"+server.(string), map[string]any{"port": 1})
	command(t, env, "", "doctor").expect(t, exitFailed, "accounts@example.com: ")
	if taken := len(sink.Taken()); taken != 1 {
		t.Errorf("%d mails were taken", taken)
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
