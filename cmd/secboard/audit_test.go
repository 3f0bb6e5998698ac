package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secboard/secboard/pause/pausetest"

	"github.com/secboard/secboard/postgres/pgtest"
	"github.com/secboard/secboard/projections"
)

// What people typed in does nothing to a terminal, wherever it is shown.
func TestWhatIsShownLeavesTheTerminalAlone(t *testing.T) {
	t.Parallel()
	var shown strings.Builder
	p := &program{stdout: &shown}
	nasty := "a\u009b2J\u202eb\x1b[31m\tc\n"
	row := []string{nasty, "Ганна"}
	entry := projections.HistoryEntry{Summary: nasty, Actor: projections.Actor{Name: &nasty},
		Changes: []projections.HistoryChange{{From: nasty, To: []string{nasty}}}}
	d := doctor{doctorCmd: &doctorCmd{}, p: p, findings: []finding{{Detail: nasty, Fix: nasty}}}
	if err := errors.Join(p.table([][]string{row}), p.showEntry(&entry, "")); err != nil {
		t.Fatal(err)
	}
	if err := d.report(); !errors.Is(err, errProblemsFound) {
		t.Fatal(err)
	}
	for _, sign := range []string{"\u009b", "\u202e", "\x1b", "\t"} {
		if strings.Contains(shown.String(), sign) {
			t.Errorf("%q is in %q", sign, shown.String())
		}
	}
	if !strings.Contains(shown.String(), "Ганна") || row[0] != nasty {
		t.Errorf("%q is shown of %q", shown.String(), row)
	}
}

// The audit on the command line, attached to `serve`, without it, and from the log alone.
func TestTheAuditOnTheCommandLine(t *testing.T) {
	t.Parallel()
	dir := pgtest.TempDir(t)
	env := settings{"SECBOARD_DATA": filepath.Join(dir, "data")}
	command(t, env, "", "audit", "events").expect(t, exitFailed, "read models can't be used yet", "secboard serve")
	running, api := serve(t, env.with(bootstrapEmail, rootEmail).with(bootstrapPassword, rootPassword))
	api.signIn(rootEmail, rootPassword)
	text := func(body map[string]any, field string) string { value, _ := body[field].(string); return value }
	group := text(api.want(http.StatusCreated, http.MethodPost, "/api/v1/groups", map[string]any{
		"name": "Readers", "permissions": map[string]any{"users": map[string]bool{"view": true}},
	}), "id")
	anna := text(api.want(http.StatusCreated, http.MethodPost, "/api/v1/users",
		map[string]any{"email": "anna@example.com", "first_name": "Anna", "group_ids": []string{group}}), "id")
	api.want(http.StatusOK, http.MethodPatch, "/api/v1/users/"+anna,
		map[string]string{"email": "hanna@example.com", "first_name": "Hanna"})

	attached := command(t, env, "", "audit", "account", "hanna@example.com", "--history")
	attached.expect(t, exitDone, "Hanna", "users", "view", "Readers", "email: anna@example.com → hanna@example.com",
		"joined the group Readers", "by "+rootEmail)
	command(t, env, "", "audit", "account", "hanna@example.com", "--as-of", "2020-01-01").expect(t, exitFailed,
		"none at that time")
	command(t, env, "", "audit", "account", "hanna@example.com", "--as-of", "0001-01-01T00:00:00Z").expect(t,
		exitFailed, "none at that time")
	command(t, env, "", "audit", "account", "nobody@example.com").expect(t, exitFailed,
		"no account has the e-mail address")
	command(t, env, "", "audit", "events", "--subject", "hanna@example.com", "--type", "user.group").expect(t, exitDone,
		"user Hanna: joined the group Readers")
	command(t, env, "", "audit", "events", "--subject", "secboard").expect(t, exitDone, "installation initialized")
	command(t, env, "", "audit", "events", "--subject", strings.ToUpper(anna), "--type", "user.group").expect(t,
		exitDone, "user Hanna: joined the group Readers")
	command(t, env, "", "audit", "events", "--subject", "nobody@example.com").expect(t, exitFailed,
		"no account has the e-mail address nobody@example.com")
	command(t, env, "", "audit", "events", "--from", "soon").expect(t, exitUsage, "--from")
	command(t, env, "", "audit", "events", "--ip", "notanip").expect(t, exitUsage, "--ip", `"notanip"`, "203.0.113.9")
	command(t, env, "", "audit", "events", "--ip", "::ffff:127.0.0.1", "--type", "user.group").expect(t, exitDone,
		"joined the group Readers")
	command(t, env, "", "audit", "access", "--module", "users", "--action", "view").expect(t, exitDone, rootEmail,
		"superuser", "hanna@example.com", "Readers")
	command(t, env, "", "audit", "access", "--action", "fly").expect(t, exitUsage, "--action")

	// Following shows what happens while it runs.
	closed := make(chan answer, 1)
	go func() {
		got, err := api.try(http.MethodPost, "/api/v1/users/"+anna+"/deactivate", map[string]string{"reason": "left"})
		if err != nil {
			t.Error(err)
		}
		closed <- got
	}()
	following := begin(t, env, "user.deactivated", "audit", "events", "--follow", "--type", "user.", "--limit", "1")
	if status := following.stop(); status != exitDone {
		t.Error(status, following.stderr)
	}
	if got := <-closed; got.status != http.StatusOK {
		t.Fatal(got)
	}
	// And goes on when serve has stopped and started again.
	var shown, said syncBuffer
	ctx, end := context.WithCancel(t.Context())
	defer end()
	ended := make(chan int, 1)
	go func() {
		ended <- newProgram(env, strings.NewReader(""), &shown, &said).run(ctx,
			[]string{"audit", "events", "--follow", "--type", "company."})
	}()
	company := func(name string) {
		api.want(http.StatusCreated, http.MethodPost, "/api/v1/companies", map[string]string{"name": name})
		pausetest.Until(t, "following does not show the company "+name, func() bool {
			return strings.Contains(shown.String(), name)
		})
	}
	company("Before Ltd")
	if status := running.stop(); status != exitDone {
		t.Fatal(status)
	}
	pausetest.Until(t, "following does not say that the database is away", func() bool {
		return strings.Contains(said.String(), "does not answer")
	})
	running, api = serve(t, env)
	api.signIn(rootEmail, rootPassword)
	company("After Ltd")
	if end(); <-ended != exitDone || !strings.Contains(said.String(), "answers again") {
		t.Error(said.String())
	}
	if status := running.stop(); status != exitDone {
		t.Fatal(status)
	}

	// Without serve the read models are brought up to the log first: this account was not in them.
	command(t, env, "another fine password\n", "superuser", "create", "--email", "late@example.com",
		"--password-stdin").expect(t, exitDone)
	alone := command(t, env, "", "audit", "access", "--json")
	alone.expect(t, exitDone, "late@example.com")
	var listed struct{ Items []map[string]any }
	if err := json.Unmarshal([]byte(alone.stdout), &listed); err != nil || len(listed.Items) == 0 {
		t.Fatal(err, alone.stdout)
	}
	command(t, env, "", "audit", "events", "--type", "audit.", "--limit", "0").expect(t, exitDone,
		"looked at an account on the server", "asked who may view in users", "by the operator "+operatorName())

	// From here on there is no Postgres.
	if err := os.Rename(filepath.Join(env["SECBOARD_DATA"], "postgres"), filepath.Join(dir, "postgres")); err != nil {
		t.Fatal(err)
	}
	replayed := command(t, env, "", "audit", "replay", "--account", "anna@example.com")
	replayed.expect(t, exitDone, "e-mail changed from anna@example.com to hanna@example.com",
		"first_name: Anna → Hanna", "active: true → false", "No permissions")
	if strings.Contains(replayed.stdout, "late@example.com") {
		t.Error("it shows another account", replayed.stdout)
	}
	position := ""
	for _, line := range strings.Split(replayed.stdout, "\n") {
		if strings.Contains(line, "user.group_joined") {
			position = strings.Fields(line)[1]
		}
	}
	earlier := command(t, env, "", "audit", "replay", "--account", anna, "--until", position)
	earlier.expect(t, exitDone, "anna@example.com", "active", "view")
	if strings.Contains(earlier.stdout, "hanna@") {
		t.Error("it continues too far", earlier.stdout)
	}
	command(t, env, "", "audit", "replay", "--account", "nobody@example.com").expect(t, exitFailed,
		"no account has or had")
	for _, until := range []string{"0", "soon"} {
		t.Run(until, func(t *testing.T) {
			command(t, env, "", "audit", "replay", "--until", until).expect(t, exitUsage, "--until",
				"2026-11-23 (UTC), or a position from 1 on")
		})
	}
	command(t, env, "", "audit", "replay", "--json").expect(t, exitDone, `"accounts":[`, `"users.view"`,
		`"type":"group.created"`)

	whole := command(t, env, "", "audit", "export")
	whole.expect(t, exitDone, "events exported")
	file := filepath.Join(dir, "events.ndjson")
	if err := os.WriteFile(file, []byte(whole.stdout)[:len(whole.stdout)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, env, "", "audit", "export", "-o", file).expect(t, exitFailed, "exists already")
	command(t, env, "", "audit", "export", "-o", file, "--resume").expect(t, exitDone, "events exported")
	copied, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(copied), whole.stdout) ||
		strings.Count(string(copied), "audit.exported") != 1 {
		t.Error(err, string(copied))
	}
	notes := filepath.Join(dir, "notes.txt")
	for _, mine := range []string{"my notes\n", "my notes", `{"my":"notes"}`} {
		t.Run(mine, func(t *testing.T) {
			if err := os.WriteFile(notes, []byte(mine), 0o600); err != nil {
				t.Fatal(err)
			}
			command(t, env, "", "audit", "export", "-o", notes, "--resume").expect(t, exitFailed, "not from an export")
			if kept, err := os.ReadFile(notes); err != nil || string(kept) != mine {
				t.Error("it touched another file", err)
			}
		})
	}
	command(t, env, "", "audit", "export", "--resume").expect(t, exitUsage, "--output")
	keyless := settings{"SECBOARD_DATA": env["SECBOARD_DATA"], "SECBOARD_KEYSET": filepath.Join(dir, "nothing.json")}
	unmade := filepath.Join(dir, "unmade.ndjson")
	command(t, keyless, "", "audit", "export", "-o", unmade).expect(t, exitFailed, "SECBOARD_KEYSET")
	if _, err := os.Stat(unmade); !os.IsNotExist(err) {
		t.Error("an export that did not begin leaves a file", err)
	}
	if _, err := os.Stat(filepath.Join(env["SECBOARD_DATA"], "postgres")); !os.IsNotExist(err) {
		t.Error("Postgres was started", err)
	}
}

func TestASubjectThatIsNoAccountIsNotLookedUp(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "risks"} {
		t.Run(text, func(t *testing.T) {
			if id, err := subjectID(t.Context(), nil, text); id != text || err != nil {
				t.Errorf("%q: %q, %v", text, id, err)
			}
		})
	}
}
