package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/secboard/secboard/pause/pausetest"

	"github.com/secboard/secboard/postgres/pgtest"
	"github.com/secboard/secboard/projections/engine"
)

// TestARebuildOverHTTPIsAProcessOfItsOwn starts rebuilds as operators do, also while another process does one.
func TestARebuildOverHTTPIsAProcessOfItsOwn(t *testing.T) {
	t.Parallel()
	env := settings{
		"SECBOARD_DATA": filepath.Join(pgtest.TempDir(t), "data"), bootstrapEmail: rootEmail,
		bootstrapPassword: rootPassword,
	}
	i, api := serve(t, env)
	api.signIn(rootEmail, rootPassword)
	const path = "/api/v1/projections/rebuilds"
	end := func(id any) (now map[string]any) {
		t.Helper()
		pausetest.Until(t, "the rebuild does not end", func() bool {
			now = api.want(http.StatusOK, http.MethodGet, path+"/"+id.(string), nil)
			return now["ended_at"] != nil
		})
		return now
	}
	begun := api.want(http.StatusAccepted, http.MethodPost, path,
		map[string]any{"names": []string{"users", "groups"}, "verify_only": true})
	if got := end(begun["id"]); got["state"] != engine.RebuildDone || got["mode"] != engine.ModeVerify ||
		len(got["names"].([]any)) != 2 {
		t.Error(got)
	}
	api.want(http.StatusUnprocessableEntity, http.MethodPost, path, map[string]any{"names": []string{"--all"}})

	process := newProgram(env, nil, nil, nil)
	other := exec.CommandContext(t.Context(), process.executable, "projections", "rebuild-process", "--mode", "rebuild")
	other.Env = process.environment()
	output, err := other.StdoutPipe()
	if err == nil {
		err = other.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	steps := bufio.NewScanner(output)
	type step struct{ Rebuild *engine.Rebuild }
	var first step
	if !steps.Scan() || json.Unmarshal(steps.Bytes(), &first) != nil || first.Rebuild == nil {
		t.Fatal(steps.Text(), steps.Err())
	}
	if err := other.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	pausetest.Until(t, "nobody says that another one is running", func() bool {
		got := api.do(http.MethodPost, path, map[string]any{"all": true})
		if got.status != http.StatusConflict && got.status != http.StatusServiceUnavailable { // a busy machine
			t.Fatalf("another rebuild beside the first: %d %v", got.status, got.body)
		}
		return got.body["code"] == "rebuild_running"
	})
	command(t, env, "", "projections", "rebuild", "--all").expect(t, exitFailed,
		"another rebuild of read models is under way", "--abort")
	if err := other.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	last := first
	for steps.Scan() {
		last = step{}
		if err := json.Unmarshal(steps.Bytes(), &last); err != nil {
			t.Fatal(err)
		}
	}
	// It ends. That it stood still for longer than a query may take, on a busy machine, may be why.
	if err := other.Wait(); !last.Rebuild.Ended() || (err == nil) != (last.Rebuild.Error == nil) {
		t.Error(last.Rebuild, err)
	}
	begun = api.want(http.StatusAccepted, http.MethodPost, path, map[string]any{"all": true})
	if got := end(begun["id"]); got["state"] != engine.RebuildDone {
		t.Error(got)
	}
	if status := i.stop(); status != exitDone {
		t.Error(status)
	}
}
