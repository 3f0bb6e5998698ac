package httpapi

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/secboard/secboard/ldapclient/sambatest"
)

// connectSamba connects a real Active Directory and gives the connection's id.
func (a *api) connectSamba(t *testing.T, d *sambatest.Domain, more map[string]any) string {
	t.Helper()
	body := map[string]any{
		"urls": []string{d.URL}, "ca_pem": d.CAPEM, "base_dn": d.BaseDN, "bind_dn": d.BindDN,
		"bind_password": d.BindPassword, "timeout_s": 30,
	}
	for field, value := range more {
		body[field] = value
	}
	return a.connect(t, "Samba", body)
}

// Against a real domain controller: who gets in, into which groups, and what an administrator is told about the rest.
func TestSigningInThroughActiveDirectory(t *testing.T) {
	t.Parallel()
	d, a := sambatest.New(t), newAPI(t)
	mail := func(name string) string { return name + "@people.example.org" } // not the domain's own name: no UPN
	add := func(name string) string {
		return d.AddUser(t, sambatest.User{
			Name: name, Password: directoryPassword, Email: mail(name), FirstName: "Olena", LastName: "Kovalenko",
			Phone: "+380 44 000", Department: "Risk", Position: "Analyst",
		})
	}
	olena := add("olena")
	direct := d.AddGroup(t, "Analysts", olena)
	d.AddGroup(t, "Everyone in risk", direct)
	d.AddGroup(t, "AUDITORS", olena)
	for _, name := range []string{"Analysts", "Everyone in risk", "Auditors"} {
		a.create(t, "/groups",
			map[string]any{"name": name, "permissions": map[string]any{"users": map[string]any{"view": true}}})
	}
	id := a.connectSamba(t, d, map[string]any{"sync_groups": true})
	groupsOf := func(in answered) (names []any) {
		for _, group := range in.json["user"].(map[string]any)["groups"].([]any) {
			names = append(names, group.(map[string]any)["name"])
		}
		return names
	}

	in := a.signInAs(t, mail("Olena"), directoryPassword)
	if in.status != http.StatusCreated {
		t.Fatalf("%v: got %v, want %v", in, in.status, http.StatusCreated)
	}
	account, token := in.json["user"].(map[string]any), in.text("token")
	if diff := cmp.Diff([]any{"Olena", "Kovalenko", "+380 44 000", "Risk", "Analyst", olena}, []any{
		account["first_name"], account["last_name"], account["phone"], account["department"], account["position"],
		account["directory_dn"],
	}); diff != "" {
		t.Errorf("got (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{"Analysts"}, groupsOf(in)); diff != "" {
		t.Errorf("exact names only, nested ones not unless asked for (-want +got):\n%s", diff)
	}
	if got := fmt.Sprint(a.directoryCheckOf(t, account["id"].(string))["detail"]); !strings.Contains(got,
		`"AUDITORS": the group "Auditors" is spelled differently`) {
		t.Errorf("%q lacks %q", got, `"AUDITORS": the group "Auditors" is spelled differently`)
	}
	nested := a.call(t, a.admin, http.MethodPatch, "/directories/"+id, map[string]any{"nested_groups": true})
	if nested.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", nested, nested.status, http.StatusOK)
	}
	joined := groupsOf(a.signInAs(t, mail("olena"), directoryPassword))
	byName := cmpopts.SortSlices(func(a, b any) bool { return fmt.Sprint(a) < fmt.Sprint(b) })
	if diff := cmp.Diff([]any{"Analysts", "Everyone in risk"}, joined, byName); diff != "" {
		t.Errorf("her groups (-want +got):\n%s", diff)
	}

	for _, injected := range []string{"*)(mail=*", "*", mail("ol*"), `\2a`, mail("olena") + ")(cn=*"} {
		t.Run(injected, func(t *testing.T) {
			if got := a.signInAs(t, injected, directoryPassword).status; got != http.StatusUnauthorized {
				t.Errorf("got %v, want %v", got, http.StatusUnauthorized)
			}
		})
	}
	if got := a.signInAs(t, mail("olena"), directoryPassword+"x").status; got != http.StatusUnauthorized {
		t.Errorf(`a.signInAs(t, mail("olena"), directoryPassword+"x").status = %v, want %v`, got,
			http.StatusUnauthorized)
	}

	t.Log("each reason is told to administrators")
	for name, c := range map[string]struct {
		close func(testing.TB, string)
		says  string
	}{
		"expired": {func(t testing.TB, dn string) {
			d.Expire(t, dn, time.Now().Add(-time.Hour))
		}, "the account had expired"},
		"change": {d.MustChange, "had to be changed"},
		"old":    {d.ExpirePassword, "the password had expired"},
		"locked": {d.Lock, "locked the account"},
		"hours":  {d.AllowNoHours, "at that hour"},
	} {
		t.Run(name, func(t *testing.T) {
			dn := add(name)
			if got := a.signInAs(t, mail(name), directoryPassword).status; got != http.StatusCreated {
				t.Fatalf("got %v, want %v", got, http.StatusCreated)
			}
			c.close(t, dn)
			refused := a.signInAs(t, mail(name), directoryPassword)
			if got := refused.text("code"); got != "invalid_credentials" {
				t.Errorf(`%s: got %q, want "invalid_credentials"`, refused, got)
			}
			check := a.directoryCheckOf(t, a.accountOf(t, mail(name))["id"].(string))
			if check["ok"] != false {
				t.Errorf("got %v, want false", check["ok"])
			}
			if got := fmt.Sprint(check["detail"]); !strings.Contains(got, c.says) {
				t.Errorf("%q lacks %q", got, c.says)
			}
		})
	}

	t.Log("a disabled entry closes the account, an enabled one opens it")
	d.Disable(t, olena)
	if got := a.signInAs(t, mail("olena"), directoryPassword).status; got != http.StatusUnauthorized {
		t.Errorf(`a.signInAs(t, mail("olena"), directoryPassword).status = %v, want %v`, got, http.StatusUnauthorized)
	}
	check := a.directoryCheckOf(t, account["id"].(string))
	if got := fmt.Sprint(check["detail"]); !strings.Contains(got, "its entry is disabled (by Samba") {
		t.Errorf(`%q lacks "its entry is disabled (by Samba"`, got)
	}
	if got := a.call(t, token, http.MethodGet, "/me", nil).status; got != http.StatusUnauthorized {
		t.Errorf(`a.call(t, token, http.MethodGet, "/me", nil).status = %v, want %v`, got, http.StatusUnauthorized)
	}
	if got := a.accountOf(t, mail("olena"))["state"]; got != "directory_disabled" {
		t.Errorf(`a.accountOf(t, mail("olena"))["state"] = %q, want "directory_disabled"`, got)
	}
	d.Enable(t, olena)
	if got := a.signInAs(t, mail("olena"), directoryPassword).status; got != http.StatusCreated {
		t.Errorf(`a.signInAs(t, mail("olena"), directoryPassword).status = %v, want %v`, got, http.StatusCreated)
	}

	t.Log("the test tells it all without a sign-in")
	tried := a.call(t, a.admin, http.MethodPost, "/directories/"+id+"/test",
		map[string]any{"email": mail("olena"), "password": directoryPassword})
	if tried.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", tried, tried.status, http.StatusOK)
	}
	if tried.json["ok"] != true {
		t.Errorf("%v: got %v, want true", tried, tried.json["ok"])
	}
	if steps, _ := tried.json["steps"].([]any); len(steps) != 6 {
		t.Errorf("%d steps, want 6: %v", len(steps), steps)
	}
	if diff := cmp.Diff(account["id"], tried.json["found"].(map[string]any)["user_id"]); diff != "" {
		t.Errorf("found.(map[string]any)[\"user_id\"] (-want +got):\n%s", diff)
	}
	if got := string(tried.body); strings.Contains(got, d.BindPassword) {
		t.Errorf("%q contains %q", got, d.BindPassword)
	}
	tried = a.call(t, a.admin, http.MethodPost, "/directories/"+id+"/test", map[string]any{"email": mail("locked")})
	if got := tried.json["found"].(map[string]any)["flags"].(map[string]any)["locked"]; got != true {
		t.Errorf("%v: got %v, want true", tried, got)
	}

	t.Log("two entries with one address are nobody")
	d.AddUser(t, sambatest.User{Name: "olena 2", Password: directoryPassword, Email: mail("olena")})
	if got := a.signInAs(t, mail("olena"), directoryPassword).status; got != http.StatusUnauthorized {
		t.Errorf(`a.signInAs(t, mail("olena"), directoryPassword).status = %v, want %v`, got, http.StatusUnauthorized)
	}
	if got := fmt.Sprint(a.directoryCheckOf(t, account["id"].(string))["detail"]); !strings.Contains(got,
		"several entries") {
		t.Errorf(`%q lacks "several entries"`, got)
	}

	t.Log("an entry that is gone closes its account in the next check")
	d.Remove(t, olena)
	ran := a.call(t, a.admin, http.MethodPost, "/directories/"+id+"/check", nil)
	if ran.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", ran, ran.status, http.StatusOK)
	}
	if ran.json["applied"] != true {
		t.Errorf("%v: got %v, want true", ran, ran.json["applied"])
	}
	a.catchUp(t, a.head(t))
	if got := a.accountOf(t, mail("olena"))["state"]; got != "directory_disabled" {
		t.Errorf(`a.accountOf(t, mail("olena"))["state"] = %q, want "directory_disabled"`, got)
	}
	for _, secret := range []string{d.BindPassword, directoryPassword} {
		if got := a.log.String(); strings.Contains(got, secret) {
			t.Errorf("%q contains %q", got, secret)
		}
		if got := a.count(t, `SELECT count(*) FROM history h WHERE h::text LIKE '%' || $1 || '%'`, secret); got != 0 {
			t.Errorf("got %v, want nothing", got)
		}
	}
}

// relay is a wire to a server, at another port of its address, for a test that breaks it.
type relay struct {
	net.Listener
	to     string
	mode   atomic.Int32
	broken chan struct{}
}

const (
	passes = iota
	hangs  // accepts and says nothing
	cuts   // ends in the middle of the first answer
)

func newRelay(t *testing.T, address string) *relay {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: listener, to: address + ":636", broken: make(chan struct{})}
	t.Cleanup(func() {
		close(r.broken)
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go r.carry(conn)
		}
	}()
	return r
}

func (r *relay) carry(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // the other side may have
	mode := r.mode.Load()
	if mode == hangs {
		<-r.broken
		return
	}
	server, err := net.Dial("tcp", r.to) //nolint:noctx // ends with the connection
	if err != nil {
		return
	}
	defer server.Close()                         //nolint:errcheck // the other side may have
	go func() { _, _ = io.Copy(server, conn) }() // ends when either side closes
	if mode == cuts {
		_, _ = io.CopyN(conn, server, 100) // into the certificate
		return
	}
	_, _ = io.Copy(conn, server)
}

// A controller that is stopped, silent or cut off keeps only its own people out, none of them for ever, and nothing
// has to be done when it is back.
func TestAnActiveDirectoryThatBreaks(t *testing.T) {
	t.Parallel()
	d, a := sambatest.NewServer(t), newAPI(t)
	a.account(t, annasEmail, annasPassword)
	const email = "olena@people.example.org"
	d.AddUser(t, sambatest.User{Name: "olena", Password: directoryPassword, Email: email})
	id := a.connectSamba(t, d, nil)
	if got := a.signInAs(t, email, directoryPassword).status; got != http.StatusCreated {
		t.Fatalf("a.signInAs(t, email, directoryPassword).status = %v, want %v", got, http.StatusCreated)
	}

	away := func(how string) {
		t.Helper()
		answer := a.signInAs(t, email, directoryPassword)
		if answer.status != http.StatusServiceUnavailable {
			t.Errorf("%s: %s: got %v, want %v", how, answer, answer.status, http.StatusServiceUnavailable)
		}
		if got := a.signInAs(t, annasEmail, annasPassword).status; got != http.StatusCreated {
			t.Errorf("%s: got %v, want %v", how, got, http.StatusCreated)
		}
	}
	d.Stop(t)
	away("stopped")
	d.Start(t)
	if got := a.signInAs(t, email, directoryPassword).status; got != http.StatusCreated {
		t.Errorf("it is back: got %v, want %v", got, http.StatusCreated)
	}

	wire := newRelay(t, d.Address)
	moved := a.call(t, a.admin, http.MethodPatch, "/directories/"+id,
		map[string]any{"urls": []string{"ldaps://" + wire.Addr().String()}})
	if moved.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", moved, moved.status, http.StatusOK)
	}
	setTimeout := func(t *testing.T, seconds int) {
		t.Helper()
		changed := a.call(t, a.admin, http.MethodPatch, "/directories/"+id, map[string]any{"timeout_s": seconds})
		if changed.status != http.StatusOK {
			t.Fatalf("%v: got %v, want %v", changed, changed.status, http.StatusOK)
		}
	}
	for mode, how := range map[int32]string{hangs: "silent", cuts: "cut"} {
		t.Run(how, func(t *testing.T) {
			setTimeout(t, 2)
			wire.mode.Store(mode)
			away(how)
			tried := a.call(t, a.admin, http.MethodPost, "/directories/"+id+"/test", nil)
			if tried.status != http.StatusOK {
				t.Fatalf("%v: got %v, want %v", tried, tried.status, http.StatusOK)
			}
			if tried.json["ok"] != false {
				t.Errorf("%s: got %v, want false", tried, tried.json["ok"])
			}
			setTimeout(t, 30)
			wire.mode.Store(passes)
			if got := a.signInAs(t, email, directoryPassword).status; got != http.StatusCreated {
				t.Errorf("afterwards: got %v, want %v", got, http.StatusCreated)
			}
		})
	}
	elsewhere := a.call(t, a.admin, http.MethodPatch, "/directories/"+id,
		map[string]any{"urls": []string{"ldaps://localhost:636"}})
	if elsewhere.status != http.StatusOK {
		t.Fatalf("%v: got %v, want %v", elsewhere, elsewhere.status, http.StatusOK)
	}
	away("nobody there, or another name in the certificate")
}
