package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/secboard/secboard/mailing/mailtest"
	"github.com/secboard/secboard/postgres/pgtest"
)

// TestNoMailIsLostByKill has 500 mails under way, kills the process twice with SIGKILL, and finds every mail delivered.
// A kill makes copies only of the mails that were being handed over, and a copy has the Message-ID of the original.
func TestNoMailIsLostByKill(t *testing.T) {
	t.Parallel()
	const people, connections, kills = 250, 4, 2
	binary := build(t)
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"),
		"SECBOARD_DATA=" + filepath.Join(pgtest.TempDir(t), "data"), "SECBOARD_LISTEN=127.0.0.1:0",
		settingTargets + "=127.0.0.0/8", "SECBOARD_PUBLIC_URL=https://accounts.example.com",
		bootstrapEmail + "=" + rootEmail, bootstrapPassword + "=" + rootPassword,
	}
	sink := mailtest.NewSink(t)
	sink.Answer(func(mailtest.Message) error {
		<-time.After(50 * time.Millisecond) // so that many are under way when the process is killed
		return nil
	})
	process, api := launch(t, binary, env)
	api.signIn(rootEmail, rootPassword)
	server := api.want(http.StatusCreated, http.MethodPost, "/api/v1/mail/servers", map[string]any{
		// an attempt that is cut short is taken up soon
		"name": "Sink", "host": sink.Host, "port": sink.Port, "security": "none", "timeout_s": 1,
	})["id"]
	account := api.want(http.StatusCreated, http.MethodPost, "/api/v1/mail/accounts",
		map[string]any{"server_id": server, "address": "accounts@example.com"})["id"]
	api.want(http.StatusOK, http.MethodPatch, "/api/v1/settings/site",
		map[string]any{"default_mail_account_id": account})

	wanted := map[string]bool{}
	var mu sync.Mutex
	var clients sync.WaitGroup
	for worker := range 5 {
		clients.Go(func() {
			for i := worker; i < people; i += 5 {
				before, after := fmt.Sprintf("before%d@example.com", i), fmt.Sprintf("after%d@example.com", i)
				id := api.want(http.StatusCreated, http.MethodPost, "/api/v1/users",
					map[string]any{"email": before})["id"].(string)
				api.want(http.StatusOK, http.MethodPatch, "/api/v1/users/"+id, map[string]any{"email": after})
				mu.Lock()
				wanted[before], wanted[after] = true, true
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	for round := range kills {
		taken := len(sink.Taken())
		if taken+50 > len(wanted) {
			t.Fatalf("round %d: %d of %d mails were taken before the kill", round, taken, len(wanted))
		}
		sink.Wait(t, taken+30)
		process.kill(t)
		process, api = launch(t, binary, env)
	}
	api.signIn(rootEmail, rootPassword)
	finished := time.Now().Add(2 * deadline)
	for open := len(wanted); open > 0; {
		if time.Now().After(finished) {
			t.Fatalf("%d mails are not sent: %v\n%s", open,
				api.do(http.MethodGet, "/api/v1/mail/messages?state=queued&limit=3", nil).body, process.stderr)
		}
		<-time.After(200 * time.Millisecond)
		open = 0
		for _, mail := range api.all("/api/v1/mail/messages") {
			if mail["state"] != "sent" {
				open++
			}
		}
	}
	process.stop(t)

	ids, copies := map[string]string{}, 0
	for _, mail := range sink.Taken() {
		id := mail.Header(t, "Message-ID")
		if to, again := ids[id]; again {
			copies++
			if to != mail.To {
				t.Errorf("%s went to %s and to %s", id, to, mail.To)
			}
		}
		ids[id] = mail.To
		delete(wanted, mail.To)
	}
	if len(wanted) > 0 || len(ids) != 2*people {
		t.Errorf("%d mails arrived; lost are those to %v", len(ids), wanted)
	}
	if copies > kills*connections {
		t.Errorf("%d copies, more than were being handed over at %d kills", copies, kills)
	}
	t.Logf("%d mails, %d kills: none lost, %d copies", len(ids), kills, copies)
}
