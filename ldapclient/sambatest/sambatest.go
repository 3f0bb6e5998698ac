// Package sambatest gives tests a real Active Directory: a Samba domain controller on a loopback address of its own.
// Each test process starts one when a test first asks, which ends and disappears with the process, however that ends.
// Each test gets an organisational unit of its own, so that tests can run in parallel.
//
// It needs root, because a domain controller owns files of other users, and Debian's packages of Samba.
package sambatest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"sync"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// DomainDN is the root of every Domain.
const DomainDN = "DC=corp,DC=example,DC=com"

// LockoutThreshold is the number of wrong passwords in a row that locks an account.
const LockoutThreshold = 3

const (
	realm         = "CORP.EXAMPLE.COM"
	workgroup     = "CORP"
	administrator = "CN=Administrator,CN=Users," + DomainDN
)

// Domain is a directory as one test sees it.
type Domain struct {
	Address string // the loopback IP address of the server; LDAP on port 389, LDAPS on 636
	URL     string // ldaps://…
	CAPEM   string // who issued the server's certificate, which is for Address
	BaseDN  string // the organisational unit of this test
	// BindDN is an ordinary account of it, which may search as every account may.
	BindDN       string
	BindPassword string

	server *server
}

// New gives the test an organisational unit in the domain of this process.
func New(t testing.TB) *Domain {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s.domain(t)
}

// NewServer starts a server for this test alone, for one that stops it or changes the whole domain.
func NewServer(t testing.TB) *Domain {
	t.Helper()
	s, err := start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.remove(); err != nil {
			t.Error(err)
		}
	})
	return s.domain(t)
}

var shared = sync.OnceValues(func() (*server, error) {
	return start(context.Background()) // longer than the first test
})

// Stop ends the server of NewServer. Its address refuses connections then.
func (d *Domain) Stop(t testing.TB) {
	t.Helper()
	if err := d.server.stop(); err != nil {
		t.Fatal(err)
	}
}

// Start starts it again after Stop, with what it held.
func (d *Domain) Start(t testing.TB) {
	t.Helper()
	if err := d.server.run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (s *server) domain(t testing.TB) *Domain {
	t.Helper()
	d := &Domain{
		Address: s.address,
		URL:     "ldaps://" + s.address,
		CAPEM:   string(s.caPEM),
		BaseDN:  "OU=" + unique("test") + "," + DomainDN,
		server:  s,
	}
	d.add(t, d.BaseDN, map[string][]string{"objectClass": {"organizationalUnit"}})
	d.BindPassword = unique("Search-")
	d.BindDN = d.AddUser(t, User{Name: "searcher", Password: d.BindPassword})
	return d
}

// asAdministrator runs do on a connection that may change the domain.
func (d *Domain) asAdministrator(t testing.TB, do func(*ldap.Conn) error) {
	t.Helper()
	conn, err := d.server.bind(administrator, administratorPassword)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(do(conn), conn.Close()); err != nil {
		t.Fatal(err)
	}
}

// unique is a name that nothing else has, of 12 characters more than prefix.
func unique(prefix string) string {
	random := make([]byte, 6)
	if _, err := rand.Read(random); err != nil {
		panic(err) // rand.Read never fails
	}
	return prefix + hex.EncodeToString(random)
}
