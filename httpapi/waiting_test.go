package httpapi

import (
	"context"
	"iter"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/httpapi/load"
)

// hanging is a directory that does not answer: it tells who asks, until it may go on.
type hanging struct {
	*servers
	arrived chan struct{}
	stop    chan struct{} // closed: it answers again
}

func (h hanging) wait() {
	h.arrived <- struct{}{}
	<-h.stop
}

func (h hanging) SignIn(ctx context.Context, server directory.Server, email, password string) (directory.Entry, error) {
	if server.Name == "silent" {
		h.wait()
	}
	return h.servers.SignIn(ctx, server, email, password)
}

func (h hanging) Test(ctx context.Context, server directory.Server,
	email, password string) ([]directory.Step, *directory.Entry, error) {
	h.wait()
	return h.servers.Test(ctx, server, email, password)
}

func (h hanging) Entries(ctx context.Context, server directory.Server) iter.Seq2[directory.Entry, error] {
	return func(yield func(directory.Entry, error) bool) {
		h.wait()
		h.servers.Entries(ctx, server)(yield)
	}
}

func TestWhoWaitsForSomebodyOutsideKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	h := hanging{servers: newServers(), arrived: make(chan struct{}, 100), stop: make(chan struct{})}
	limits := load.NewDirectory(h)
	var pauses atomic.Bool
	a := newAPI(t, func(o *Options) {
		o.Commands.Directory = limits
		o.Commands.Pause = load.Pause(func(context.Context, time.Duration) bool {
			if pauses.Load() {
				h.wait()
			}
			return true
		})
	})
	finish := sync.OnceFunc(func() { close(h.stop) })
	t.Cleanup(finish)
	a.connect(t, "healthy", nil)
	silent := a.connect(t, "silent", nil)
	h.put("healthy", directory.Entry{DN: "CN=mia", GUID: "mia", Email: "mia@example.com"})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	})
	port := listener.Addr().(*net.TCPAddr).Port
	server := a.create(t, "/mail/servers",
		map[string]any{"name": "Silent", "host": "127.0.0.1", "port": port, "security": "none"})
	account := a.create(t, "/mail/accounts", map[string]any{"server_id": server, "address": "secboard@example.com"})
	a.Commands.Log = stallingLog{a.Commands.Log, func() error { h.wait(); return nil }}
	a.limiter.Most = 1

	export := a.routes[slices.IndexFunc(a.routes, func(o operation) bool { return o.id == "audit-export" })].waiting
	for _, waiting := range []*load.Waiting{limits.SignIns, limits.Tests, a.testMails, export} {
		waiting.Most = 1
	}
	credentials := func(email, password string) map[string]any {
		return map[string]any{"email": email, "password": password}
	}
	var waiting sync.WaitGroup
	for _, c := range []struct {
		name, method, path string
		body               any
		refused            bool // while another one waits
		status             int  // of the one that waited
	}{
		{"a sign-in at a directory", http.MethodPost, "/sessions",
			credentials("anna@example.com", directoryPassword), true, http.StatusUnauthorized},
		// A refusal looks the same whether or not the address is one that the silent directory would be asked about.
		{"a refused sign-in", http.MethodPost, "/sessions", credentials("mia@example.com", "wrong"), false,
			http.StatusServiceUnavailable},
		{"a test of a directory", http.MethodPost, "/directories/" + silent + "/test", map[string]any{}, true,
			http.StatusOK},
		{"an export", http.MethodGet, "/audit/export", nil, true, http.StatusOK},
		{"a test mail", http.MethodPost, "/mail/accounts/" + account + "/test",
			map[string]any{"to": "me@example.com"}, true, http.StatusOK},
	} {
		pauses.Store(c.status == http.StatusServiceUnavailable)
		waiting.Go(func() {
			answer := a.call(t, a.admin, c.method, c.path, c.body)
			if answer.status != c.status {
				t.Errorf("%s: %s: got %v, want %v", c.path, answer, answer.status, c.status)
			}
		})
		if strings.HasPrefix(c.path, "/mail/") {
			conn, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			waiting.Go(func() {
				<-h.stop
				if err := conn.Close(); err != nil {
					t.Error(err)
				}
			})
		} else {
			<-h.arrived
		}
		t.Run("while "+c.name+" waits", func(t *testing.T) {
			if got := a.call(t, a.admin, http.MethodGet, "/me", nil).status; got != http.StatusOK {
				t.Fatalf("got %v, want %v", got, http.StatusOK)
			}
			if c.refused {
				refused := a.call(t, a.admin, c.method, c.path, c.body)
				if refused.status != http.StatusServiceUnavailable {
					t.Errorf("%s: got %v, want %v", refused, refused.status, http.StatusServiceUnavailable)
				}
				if got := refused.text("code"); got != "unavailable" {
					t.Errorf(`code = %q, want "unavailable"`, got)
				}
				if got := refused.header.Get("Retry-After"); got != "5" {
					t.Errorf(`Retry-After = %q, want "5"`, got)
				}
			}
		})
	}
	check := a.call(t, a.admin, http.MethodGet, "/directories/"+silent+"/check", nil)
	if check.status != http.StatusServiceUnavailable {
		t.Errorf("a check waits as a test does: %s: got %v, want %v", check, check.status,
			http.StatusServiceUnavailable)
	}
	signedIn := a.signInAs(t, "mia@example.com", directoryPassword)
	if signedIn.status != http.StatusCreated {
		t.Errorf("another directory answers: %s: got %v, want %v", signedIn, signedIn.status, http.StatusCreated)
	}

	finish()
	waiting.Wait()
	if got := a.limiter.AtWork(); got != 0 {
		t.Errorf("a.limiter.AtWork() = %v, want nothing", got)
	}
	check = a.call(t, a.admin, http.MethodGet, "/directories/"+silent+"/check", nil)
	if check.status != http.StatusOK {
		t.Errorf("%v: got %v, want %v", check, check.status, http.StatusOK)
	}
}
