package main

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/secboard/secboard/postgres/pgtest"
)

// A log goes from a running embedded node into a file, from there into a node on TCP, as an EventStoreDB would be, from
// that into a new data directory, and there everybody can sign in as before.
func TestEventsMoveFromStoreToStore(t *testing.T) {
	t.Parallel()
	base := pgtest.TempDir(t)
	dir, file := filepath.Join(base, "data"), filepath.Join(base, "events.zst")
	env := settings{"SECBOARD_DATA": dir, bootstrapEmail: rootEmail, bootstrapPassword: rootPassword}
	i, api := serve(t, env)
	api.signIn(rootEmail, rootPassword)
	company := api.want(http.StatusCreated, http.MethodPost, "/api/v1/companies",
		map[string]string{"name": "Nova"})["id"].(string)
	command(t, env, "", "events", "backup", "-o", file).expect(t, exitDone, "events were written to", "keyset")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	command(t, env, "", "events", "backup", "-o", file).expect(t, exitFailed, "exists already")
	api.want(http.StatusCreated, http.MethodPost, "/api/v1/companies", map[string]string{"name": "Later"})
	command(t, env, "", "events", "restore", file).expect(t, exitFailed, "not empty", "nothing was written")
	if status := i.stop(); status != exitDone {
		t.Error(status)
	}

	node := begin(t, settings{"SECBOARD_DATA": filepath.Join(base, "remote")}, "SECBOARD_EVENTSTORE_URL", "eventstore",
		"serve", "--insecure", "--listen", "127.0.0.1:0")
	remote := settings{
		"SECBOARD_DATA":           filepath.Join(base, "unused"),
		"SECBOARD_EVENTSTORE_URL": node.found(`SECBOARD_EVENTSTORE_URL='([^']+)'`),
	}
	command(t, remote, "", "events", "restore", file).expect(t, exitDone, "restored, read back and compared")
	command(t, remote, "", "events", "restore", file).expect(t, exitDone, "already, and nothing else")
	second := filepath.Join(base, "second.zst")
	command(t, remote, "", "events", "backup", "-o", second).expect(t, exitDone)

	restored := settings{
		"SECBOARD_DATA": filepath.Join(base, "restored"), "SECBOARD_KEYSET": filepath.Join(dir, "keyset.json"),
	}
	command(t, restored, "", "events", "restore", second, "--json").expect(t, exitDone, `"restored"`)
	_, again := serve(t, restored)
	again.signIn(rootEmail, rootPassword)
	if name := again.want(http.StatusOK, http.MethodGet, "/api/v1/companies/"+company, nil)["name"]; name != "Nova" {
		t.Error(name)
	}

	nowhere := filepath.Join(base, "nowhere")
	command(t, settings{"SECBOARD_DATA": nowhere}, "", "events", "restore", file+"x").expect(t, exitFailed,
		"no such file")
	if _, err := os.Stat(nowhere); err == nil {
		t.Error("a store was made for a file that is not there")
	}

	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(base, "cut.zst")
	if err := os.WriteFile(cut, content[:len(content)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	empty := settings{"SECBOARD_DATA": filepath.Join(base, "empty")}
	command(t, empty, "", "events", "restore", cut).expect(t, exitFailed, "not a complete backup")
	command(t, empty, "", "events", "restore", file).expect(t, exitDone, "restored, read back and compared")
}
