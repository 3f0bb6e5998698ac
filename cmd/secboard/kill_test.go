package main

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/secboard/secboard/postgres/pgtest"
)

// TestNothingAcknowledgedIsLostByKill creates accounts over HTTP, kills the process in the middle with SIGKILL, starts
// it again, and finds every account that was answered 201 once, none twice, and each history as it was.
func TestNothingAcknowledgedIsLostByKill(t *testing.T) {
	t.Parallel()
	binary := build(t)
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"),
		"SECBOARD_DATA=" + filepath.Join(pgtest.TempDir(t), "data"), "SECBOARD_LISTEN=127.0.0.1:0",
		bootstrapEmail + "=" + rootEmail, bootstrapPassword + "=" + rootPassword,
	}
	acknowledged := map[string]string{} // e-mail address by id
	histories := map[string]any{}
	for round := range 3 {
		process, api := launch(t, binary, env)
		api.signIn(rootEmail, rootPassword)

		listed := map[string]string{}
		for _, account := range api.all("/api/v1/users") {
			id, email := account["id"].(string), account["email"].(string)
			for otherID, other := range listed {
				if strings.EqualFold(other, email) {
					t.Errorf("round %d: %s is there twice, as %s and %s", round, email, id, otherID)
				}
			}
			listed[id] = email
		}
		for id, email := range acknowledged {
			if listed[id] != email {
				t.Errorf("round %d: the account %s (%s) was answered 201 and is not there", round, email, id)
			}
		}
		for id, before := range histories {
			if now := api.history(id); !reflect.DeepEqual(now, before) {
				t.Errorf("round %d: the history of %s was\n%v\nand is\n%v", round, id, before, now)
			}
		}
		if round == 2 {
			process.stop(t)
			break
		}
		// The histories as they are after one crash have to stay the same over the next one.
		for id := range acknowledged {
			if len(histories) == 40 {
				break
			}
			histories[id] = api.history(id)
		}
		made := api.createUntilKilled(process, round)
		if len(made) < 20 {
			t.Errorf("round %d: only %d accounts were made before the kill", round, len(made))
		}
		maps.Copy(acknowledged, made)
	}
	if len(histories) < 20 {
		t.Errorf("only %d histories were compared", len(histories))
	}
}

// createUntilKilled has four clients create accounts one after the other, and kills the server in the middle.
func (c *client) createUntilKilled(process *process, round int) map[string]string {
	made := map[string]string{}
	var mu sync.Mutex
	var count atomic.Int64
	var clients sync.WaitGroup
	for worker := range 4 {
		clients.Go(func() {
			for i := 0; ; i++ {
				email := fmt.Sprintf("person-%d-%d-%d@example.com", round, worker, i)
				got, err := c.try(http.MethodPost, "/api/v1/users",
					map[string]string{"email": email, "first_name": "Ганна"})
				if err != nil {
					return // killed: whether this one was made is open
				}
				if got.status != http.StatusCreated {
					c.t.Errorf("creating %s was answered %d %v", email, got.status, got.body)
					return
				}
				mu.Lock()
				made[got.body["id"].(string)] = email
				mu.Unlock()
				if count.Add(1) == 60 {
					process.kill(c.t)
				}
			}
		})
	}
	clients.Wait()
	return made
}

func (c *client) history(id string) any {
	c.t.Helper()
	return c.want(http.StatusOK, http.MethodGet, "/api/v1/users/"+id+"/history", nil)["items"]
}

// process is the built program.
type process struct {
	command *exec.Cmd
	stderr  *bytes.Buffer
}

func launch(t *testing.T, binary string, env []string, args ...string) (*process, *client) {
	t.Helper()
	p := &process{command: exec.Command(binary, append([]string{"serve"}, args...)...), stderr: &bytes.Buffer{}}
	p.command.Env = env
	p.command.Stderr = p.stderr
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.command.ProcessState == nil {
			p.kill(t)
		}
	})
	scanner := bufio.NewScanner(stdout)
	for scanner.Scan() {
		if _, url, found := strings.Cut(scanner.Text(), "listens on "); found {
			return p, &client{t: t, url: url}
		}
	}
	t.Fatalf("it does not listen: %v\n%s", p.command.Wait(), p.stderr)
	return nil, nil
}

func (p *process) kill(t testing.TB) {
	t.Helper()
	if err := p.command.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := p.command.Wait(); err == nil {
		t.Error("it ended before it was killed")
	}
}

// stop interrupts the process, which then has to end with status 0.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.command.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := p.command.Wait(); err != nil {
		t.Errorf("after an interrupt: %v\n%s", err, p.stderr)
	}
}
