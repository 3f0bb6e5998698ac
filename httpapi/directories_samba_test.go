package httpapi

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/secboard/secboard/ldapclient/sambatest"
)

// connectSamba connects a real Active Directory and gives the connection's id.
func (a *api) connectSamba(t *testing.T, d *sambatest.Domain, more map[string]any) string {
	t.Helper()
	body := map[string]any{
		"urls": []string{d.URL}, "ca_pem": d.CAPEM, "base_dn": d.BaseDN, "bind_dn": d.BindDN, "bind_password": d.BindPassword, "timeout_s": 30,
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
			Name: name, Password: directoryPassword, Email: mail(name), FirstName: "Olena", LastName: "Kovalenko", Phone: "+380 44 000", Department: "Risk", Position: "Analyst",
		})
	}
	olena := add("olena")
	direct := d.AddGroup(t, "Analysts", olena)
	d.AddGroup(t, "Everyone in risk", direct)
	d.AddGroup(t, "AUDITORS", olena)
	for _, name := range []string{"Analysts", "Everyone in risk", "Auditors"} {
		a.create(t, "/groups", map[string]any{"name": name, "permissions": map[string]any{"users": map[string]any{"view": true}}})
	}
	id := a.connectSamba(t, d, map[string]any{"sync_groups": true})
	groupsOf := func(in answered) (names []any) {
		for _, group := range in.json["user"].(map[string]any)["groups"].([]any) {
			names = append(names, group.(map[string]any)["name"])
		}
		return names
	}

	in := a.signInAs(t, mail("Olena"), directoryPassword)
	require.Equal(t, http.StatusCreated, in.status, in)
	account, token := in.json["user"].(map[string]any), in.text("token")
	assert.Equal(t, []any{"Olena", "Kovalenko", "+380 44 000", "Risk", "Analyst", olena}, []any{
		account["first_name"], account["last_name"], account["phone"], account["department"], account["position"], account["directory_dn"],
	})
	assert.Equal(t, []any{"Analysts"}, groupsOf(in), "exact names only, nested ones not unless asked for")
	assert.Contains(t, a.directoryCheckOf(t, account["id"].(string))["detail"], `"AUDITORS": the group "Auditors" is spelled differently`)
	nested := a.call(t, a.admin, http.MethodPatch, "/directories/"+id, map[string]any{"nested_groups": true})
	require.Equal(t, http.StatusOK, nested.status, nested)
	assert.ElementsMatch(t, []any{"Analysts", "Everyone in risk"}, groupsOf(a.signInAs(t, mail("olena"), directoryPassword)))

	for _, injected := range []string{"*)(mail=*", "*", mail("ol*"), `\2a`, mail("olena") + ")(cn=*"} {
		assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, injected, directoryPassword).status, injected)
	}
	assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, mail("olena"), directoryPassword+"x").status)

	t.Log("each reason is told to administrators")
	for name, c := range map[string]struct {
		close func(testing.TB, string)
		says  string
	}{
		"expired": {func(t testing.TB, dn string) { d.Expire(t, dn, time.Now().Add(-time.Hour)) }, "the account had expired"},
		"change":  {d.MustChange, "had to be changed"},
		"old":     {d.ExpirePassword, "the password had expired"},
		"locked":  {d.Lock, "locked the account"},
		"hours":   {d.AllowNoHours, "at that hour"},
	} {
		dn := add(name)
		require.Equal(t, http.StatusCreated, a.signInAs(t, mail(name), directoryPassword).status, name)
		c.close(t, dn)
		refused := a.signInAs(t, mail(name), directoryPassword)
		assert.Equal(t, "invalid_credentials", refused.text("code"), "%s: %s", name, refused)
		check := a.directoryCheckOf(t, a.accountOf(t, mail(name))["id"].(string))
		assert.Equal(t, false, check["ok"], name)
		assert.Contains(t, check["detail"], c.says)
	}

	t.Log("a disabled entry closes the account, an enabled one opens it")
	d.Disable(t, olena)
	assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, mail("olena"), directoryPassword).status)
	check := a.directoryCheckOf(t, account["id"].(string))
	assert.Contains(t, check["detail"], "its entry is disabled (by Samba")
	assert.Equal(t, http.StatusUnauthorized, a.call(t, token, http.MethodGet, "/me", nil).status)
	assert.Equal(t, "directory_disabled", a.accountOf(t, mail("olena"))["state"])
	d.Enable(t, olena)
	assert.Equal(t, http.StatusCreated, a.signInAs(t, mail("olena"), directoryPassword).status)

	t.Log("the test tells it all without a sign-in")
	tried := a.call(t, a.admin, http.MethodPost, "/directories/"+id+"/test", map[string]any{"email": mail("olena"), "password": directoryPassword})
	require.Equal(t, http.StatusOK, tried.status, tried)
	assert.Equal(t, true, tried.json["ok"], tried)
	assert.Len(t, tried.json["steps"], 6)
	assert.Equal(t, account["id"], tried.json["found"].(map[string]any)["user_id"])
	assert.NotContains(t, string(tried.body), d.BindPassword)
	tried = a.call(t, a.admin, http.MethodPost, "/directories/"+id+"/test", map[string]any{"email": mail("locked")})
	assert.Equal(t, true, tried.json["found"].(map[string]any)["flags"].(map[string]any)["locked"], tried)

	t.Log("two entries with one address are nobody")
	d.AddUser(t, sambatest.User{Name: "olena 2", Password: directoryPassword, Email: mail("olena")})
	assert.Equal(t, http.StatusUnauthorized, a.signInAs(t, mail("olena"), directoryPassword).status)
	assert.Contains(t, a.directoryCheckOf(t, account["id"].(string))["detail"], "several entries")

	t.Log("an entry that is gone closes its account in the next check")
	d.Remove(t, olena)
	ran := a.call(t, a.admin, http.MethodPost, "/directories/"+id+"/check", nil)
	require.Equal(t, http.StatusOK, ran.status, ran)
	assert.Equal(t, true, ran.json["applied"], ran)
	a.catchUp(t, a.head(t))
	assert.Equal(t, "directory_disabled", a.accountOf(t, mail("olena"))["state"])
	for _, secret := range []string{d.BindPassword, directoryPassword} {
		assert.NotContains(t, a.log.String(), secret)
		assert.Zero(t, a.count(t, `SELECT count(*) FROM history h WHERE h::text LIKE '%' || $1 || '%'`, secret))
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
	require.NoError(t, err)
	r := &relay{Listener: listener, to: address + ":636", broken: make(chan struct{})}
	t.Cleanup(func() {
		close(r.broken)
		assert.NoError(t, listener.Close())
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
	require.Equal(t, http.StatusCreated, a.signInAs(t, email, directoryPassword).status)

	away := func(how string) {
		t.Helper()
		answer := a.signInAs(t, email, directoryPassword)
		assert.Equal(t, http.StatusServiceUnavailable, answer.status, "%s: %s", how, answer)
		assert.Equal(t, http.StatusCreated, a.signInAs(t, annasEmail, annasPassword).status, how)
	}
	d.Stop(t)
	away("stopped")
	d.Start(t)
	assert.Equal(t, http.StatusCreated, a.signInAs(t, email, directoryPassword).status, "it is back")

	wire := newRelay(t, d.Address)
	moved := a.call(t, a.admin, http.MethodPatch, "/directories/"+id, map[string]any{"urls": []string{"ldaps://" + wire.Addr().String()}})
	require.Equal(t, http.StatusOK, moved.status, moved)
	setTimeout := func(seconds int) {
		changed := a.call(t, a.admin, http.MethodPatch, "/directories/"+id, map[string]any{"timeout_s": seconds})
		require.Equal(t, http.StatusOK, changed.status, changed)
	}
	for mode, how := range map[int32]string{hangs: "silent", cuts: "cut"} {
		setTimeout(2)
		wire.mode.Store(mode)
		away(how)
		tried := a.call(t, a.admin, http.MethodPost, "/directories/"+id+"/test", nil)
		require.Equal(t, http.StatusOK, tried.status, tried)
		assert.Equal(t, false, tried.json["ok"], "%s: %s", how, tried)
		setTimeout(30)
		wire.mode.Store(passes)
		assert.Equal(t, http.StatusCreated, a.signInAs(t, email, directoryPassword).status, "after "+how)
	}
	elsewhere := a.call(t, a.admin, http.MethodPatch, "/directories/"+id, map[string]any{"urls": []string{"ldaps://localhost:636"}})
	require.Equal(t, http.StatusOK, elsewhere.status, elsewhere)
	away("nobody there, or another name in the certificate")
}
