package main

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/pause"
	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/postgres/pgtest"
	"github.com/secboard/secboard/projections/engine"
)

func TestRebuildAndVerifyFromTheCommandLine(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pgtest.TempDir(t), "data")
	env := settings{"SECBOARD_DATA": dir, bootstrapEmail: rootEmail, bootstrapPassword: rootPassword}
	i, api := serve(t, env)
	api.signIn(rootEmail, rootPassword)
	company := api.want(http.StatusCreated, http.MethodPost, "/api/v1/companies",
		map[string]string{"name": "Nova"})["id"].(string)

	t.Log("while serve runs")
	command(t, env, "", "projections", "verify", "--all").expect(t, exitDone, "match the", "history")
	changeByHand(t, dir, "UPDATE companies SET name = 'Nobody'")
	command(t, env, "", "projections", "verify", "companies", "users").expect(t, exitFailed, "companies", company,
		"name", `"Nobody"`, `"Nova"`)
	var verified engine.Rebuild
	asked := command(t, env, "", "projections", "verify", "companies", "--json")
	if err := json.Unmarshal([]byte(asked.stdout), &verified); err != nil || asked.status != exitFailed ||
		len(verified.Differences) != 1 {
		t.Error(asked, err)
	}
	command(t, env, "", "projections", "rebuild", "--all").expect(t, exitDone, "Rebuilt from", "reading", "swapping")
	if got := api.want(http.StatusOK, http.MethodGet, "/api/v1/companies/"+company, nil)["name"]; got != "Nova" {
		t.Error(got)
	}
	later := api.want(http.StatusCreated, http.MethodPost, "/api/v1/companies",
		map[string]string{"name": "Later"})["id"].(string)
	command(t, env, "", "projections", "rebuild", "--rollback").expect(t, exitDone, "in place again")
	if got := api.want(http.StatusOK, http.MethodGet, "/api/v1/companies/"+company, nil)["name"]; got != "Nobody" {
		t.Error(got)
	}
	api.want(http.StatusOK, http.MethodGet, "/api/v1/companies/"+later, nil)
	command(t, env, "", "projections", "rebuild", "--abort").expect(t, exitDone, "No rebuild is under way")
	if status := i.stop(); status != exitDone {
		t.Error(status)
	}

	t.Log("and without it")
	command(t, env, "", "projections", "rebuild", "companies").expect(t, exitDone, "Rebuilt from")
	command(t, env, "", "projections", "verify", "--all").expect(t, exitDone, "match the")
	command(t, env, "", "projections", "rebuild").expect(t, exitUsage, "--all")
	command(t, env, "", "projections", "rebuild", "users", "--all").expect(t, exitUsage, "either")
	command(t, env, "", "projections", "verify", "nobody").expect(t, exitUsage, `"nobody"`, "history")

	t.Log("and before the first start")
	fresh := settings{"SECBOARD_DATA": filepath.Join(pgtest.TempDir(t), "new")}
	command(t, fresh, "", "projections", "rebuild", "--all").expect(t, exitFailed, "migrate up")
	command(t, fresh, "", "migrate", "up").expect(t, exitDone)
	command(t, fresh, "", "projections", "rebuild", "--rollback").expect(t, exitFailed, "no former read models")
	command(t, fresh, "", "projections", "rebuild", "--all").expect(t, exitDone, "Rebuilt from 0 events")
}

// changeByHand changes the local Postgres of a data directory behind everybody's back.
func TestARebuildWhoseEndCannotBeRecordedFails(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pgtest.TempDir(t), "data")
	env := settings{"SECBOARD_DATA": dir, bootstrapEmail: rootEmail, bootstrapPassword: rootPassword}
	i, _ := serve(t, env)
	changeByHand(t, dir,
		`CREATE FUNCTION app.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the disk is full'; END $$`)
	changeByHand(t, dir, `CREATE TRIGGER refuse BEFORE UPDATE ON app.rebuilds FOR EACH ROW WHEN (NEW.ended_at IS NOT
		NULL) EXECUTE FUNCTION app.refuse()`)
	command(t, env, "", "projections", "verify", "companies").expect(t, exitFailed, "the disk is full")
	if status := i.stop(); status != exitDone {
		t.Error(status)
	}
}

func changeByHand(t *testing.T, dir, statement string) {
	t.Helper()
	url, err := postgres.LocalURL(dir)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// TestAKilledRebuildChangesNothing kills the rebuilding process with SIGKILL at ten random moments. The live read
// models stay as they are, or were swapped whole, and the next rebuild cleans up and succeeds.
func TestAKilledRebuildChangesNothing(t *testing.T) {
	t.Parallel()
	binary := build(t)
	dir := filepath.Join(pgtest.TempDir(t), "data")
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "SECBOARD_DATA=" + dir}
	launch(t, binary, append(env, "SECBOARD_LISTEN=127.0.0.1:0"), "--demo")
	rebuilding := func(ctx context.Context, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, binary, append([]string{"projections"}, args...)...)
		cmd.Env = env
		return cmd
	}
	started := time.Now()
	if out, err := rebuilding(t.Context(), "rebuild", "--all").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	whole := time.Since(started)
	url, err := postgres.LocalURL(dir)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	before := hashes(t, pool)
	killed := 0
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.Int64N(int64(whole))))
		out, err := rebuilding(ctx, "rebuild", "--all").CombinedOutput()
		if ctx.Err() != nil && err != nil {
			killed++
		} else if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		cancel()
		if after := hashes(t, pool); !maps.Equal(before, after) {
			t.Fatalf("the live read models changed from %v to %v", before, after)
		}
	}
	if killed == 0 {
		t.Error("no rebuild was killed before its end")
	}
	// Postgres takes a moment to notice that the last one is dead.
	var out []byte
	waiting, stop := context.WithTimeout(t.Context(), deadline)
	defer stop()
	for pause.For(waiting, 50*time.Millisecond) {
		if out, err = rebuilding(t.Context(), "rebuild", "--all").CombinedOutput(); err == nil ||
			!strings.Contains(string(out), "under way") {
			break
		}
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := rebuilding(t.Context(), "verify", "--all").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if after := hashes(t, pool); !maps.Equal(before, after) {
		t.Errorf("the rebuilt read models are %v, not %v", after, before)
	}
	var next bool
	if err := pool.QueryRow(t.Context(), "SELECT to_regnamespace('readmodels_next') IS NOT NULL").Scan(
		&next); err != nil || next {
		t.Error("the killed rebuilds left tables behind", err)
	}
	var interrupted int
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM app.rebuilds WHERE state = 'interrupted'").Scan(
		&interrupted); err != nil || interrupted > killed {
		t.Error(interrupted, killed, err)
	}
}

// hashes are those of the tables that show accounts, without the checkpoints.
func hashes(t *testing.T, pool *pgxpool.Pool) map[string]string {
	t.Helper()
	sums := map[string]string{}
	for _, table := range []string{
		"users", "user_roles", "memberships", "companies", "roles", "groups", "sign_ins", "history",
	} {
		var sum string
		query := "SELECT count(*) || ' ' || coalesce(sum(hash_record_extended(t, 0)), 0) FROM " + table + " t"
		if err := pool.QueryRow(t.Context(), query).Scan(&sum); err != nil {
			t.Fatal(err)
		}
		sums[table] = sum
	}
	return sums
}
