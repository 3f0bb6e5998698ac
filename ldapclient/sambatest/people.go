package sambatest

import (
	"encoding/binary"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/go-ldap/ldap/v3"
)

// Values of userAccountControl: a normal account, …
const (
	enabled         = "512"
	disabled        = "514"
	withoutPassword = "544"
)

// User is an account to be added. What is empty is not set.
type User struct {
	Name     string // the common name
	Password string // without one nobody can sign in
	Email    string // mail

	FirstName, LastName, Phone, Department, Position string // givenName, sn, telephoneNumber, department, title
}

// AddUser adds an enabled account to the test's unit.
func (d *Domain) AddUser(t testing.TB, u User) (dn string) {
	t.Helper()
	request := u.request(d)
	d.asAdministrator(t, func(conn *ldap.Conn) error { return conn.Add(request) })
	return request.DN
}

// AddUsers adds n accounts on one connection.
func (d *Domain) AddUsers(t testing.TB, n int, user func(i int) User) {
	t.Helper()
	d.asAdministrator(t, func(conn *ldap.Conn) error {
		for i := range n {
			if err := conn.Add(user(i).request(d)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (u User) request(d *Domain) *ldap.AddRequest {
	request := ldap.NewAddRequest(d.dn(u.Name), nil)
	request.Attribute("objectClass", []string{"user"})
	request.Attribute("sAMAccountName", []string{unique("u")})
	if u.Password == "" {
		request.Attribute("userAccountControl", []string{withoutPassword})
	} else {
		request.Attribute("userAccountControl", []string{enabled})
		request.Attribute("unicodePwd", []string{passwordValue(u.Password)})
	}
	for name, value := range map[string]string{
		"mail": u.Email, "givenName": u.FirstName, "sn": u.LastName, "telephoneNumber": u.Phone,
		"department": u.Department, "title": u.Position,
	} {
		if value != "" {
			request.Attribute(name, []string{value})
		}
	}
	return request
}

// AddGroup adds a group with members to the test's unit.
func (d *Domain) AddGroup(t testing.TB, name string, members ...string) (dn string) {
	t.Helper()
	dn = d.dn(name)
	attributes := map[string][]string{"objectClass": {"group"}, "sAMAccountName": {unique("g")}}
	if len(members) > 0 {
		attributes["member"] = members
	}
	d.add(t, dn, attributes)
	return dn
}

// Set replaces all values of an attribute.
func (d *Domain) Set(t testing.TB, dn, attribute string, values ...string) {
	t.Helper()
	d.asAdministrator(t, func(conn *ldap.Conn) error {
		request := ldap.NewModifyRequest(dn, nil)
		request.Replace(attribute, values)
		return conn.Modify(request)
	})
}

// Get gives the values of an attribute, as bytes in strings.
func (d *Domain) Get(t testing.TB, dn, attribute string) (values []string) {
	t.Helper()
	d.asAdministrator(t, func(conn *ldap.Conn) error {
		result, err := conn.Search(&ldap.SearchRequest{BaseDN: dn, Scope: ldap.ScopeBaseObject,
			Filter: "(objectClass=*)", Attributes: []string{attribute}})
		if err == nil && len(result.Entries) > 0 {
			values = result.Entries[0].GetAttributeValues(attribute)
		}
		return err
	})
	return values
}

// Remove removes an entry.
func (d *Domain) Remove(t testing.TB, dn string) {
	t.Helper()
	d.asAdministrator(t, func(conn *ldap.Conn) error { return conn.Del(ldap.NewDelRequest(dn, nil)) })
}

// Rename gives an entry another common name, and with that another DN.
func (d *Domain) Rename(t testing.TB, dn, name string) (renamed string) {
	t.Helper()
	d.asAdministrator(t, func(conn *ldap.Conn) error {
		return conn.ModifyDN(ldap.NewModifyDNRequest(dn, strings.TrimSuffix(d.dn(name), ","+d.BaseDN), true, ""))
	})
	return d.dn(name)
}

// SetPassword changes the password as an administrator does.
func (d *Domain) SetPassword(t testing.TB, dn, password string) {
	t.Helper()
	d.Set(t, dn, "unicodePwd", passwordValue(password))
}

// Disable disables an account.
func (d *Domain) Disable(t testing.TB, dn string) {
	t.Helper()
	d.Set(t, dn, "userAccountControl", disabled)
}

// Enable enables a disabled account.
func (d *Domain) Enable(t testing.TB, dn string) {
	t.Helper()
	d.Set(t, dn, "userAccountControl", enabled)
}

// Expire sets the day from which the account is no longer valid.
func (d *Domain) Expire(t testing.TB, dn string, at time.Time) {
	t.Helper()
	const unixInFileTime = 116444736000000000 // 1970 in units of 100 ns since 1601
	d.Set(t, dn, "accountExpires", strconv.FormatInt(at.UnixNano()/100+unixInFileTime, 10))
}

// MustChange has the account choose another password before anything else. SetPassword does it for the account.
func (d *Domain) MustChange(t testing.TB, dn string) { t.Helper(); d.Set(t, dn, "pwdLastSet", "0") }

// ExpirePassword makes the account's password older than the domain lets it become. Over LDAP nobody may do that, and
// no policy lets a password expire within a day: it is written into the server's database.
func (d *Domain) ExpirePassword(t testing.TB, dn string) {
	t.Helper()
	const script = `
import sys, ldb
from samba.auth import system_session
from samba.dsdb import DSDB_CONTROL_BYPASS_PASSWORD_HASH_OID
from samba.param import LoadParm
from samba.samdb import SamDB
directory, dn = sys.argv[1:]
parameters = LoadParm()
parameters.load(directory + "/smb.conf")
database = SamDB(url=directory + "/private/sam.ldb", lp=parameters, session_info=system_session())
change = ldb.Message(ldb.Dn(database, dn))
change["pwdLastSet"] = ldb.MessageElement("129000000000000000", ldb.FLAG_MOD_REPLACE, "pwdLastSet") # in 2009
database.modify(change, controls=["local_oid:" + DSDB_CONTROL_BYPASS_PASSWORD_HASH_OID + ":0"])
`
	// Samba's modules belong to the system's Python.
	if err := command(t.Context(), "/usr/bin/python3", "-c", script, d.server.dir, dn); err != nil {
		t.Fatal(err)
	}
}

// Lock locks the account by wrong passwords.
func (d *Domain) Lock(t testing.TB, dn string) {
	t.Helper()
	for range LockoutThreshold {
		_, err := d.server.bind(dn, unique("wrong"))
		if !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
			t.Fatalf("bind with a wrong password: %v", err)
		}
	}
}

// Unlock undoes Lock.
func (d *Domain) Unlock(t testing.TB, dn string) { t.Helper(); d.Set(t, dn, "lockoutTime", "0") }

// AllowNoHours forbids the account to sign in at any hour of the week.
func (d *Domain) AllowNoHours(t testing.TB, dn string) {
	t.Helper()
	d.Set(t, dn, "logonHours", string(make([]byte, 21)))
}

// AllowOnlyAt lets the account sign in at one computer only.
func (d *Domain) AllowOnlyAt(t testing.TB, dn, computer string) {
	t.Helper()
	d.Set(t, dn, "userWorkstations", computer)
}

func (d *Domain) add(t testing.TB, dn string, attributes map[string][]string) {
	t.Helper()
	d.asAdministrator(t, func(conn *ldap.Conn) error {
		request := ldap.NewAddRequest(dn, nil)
		for name, values := range attributes {
			request.Attribute(name, values)
		}
		return conn.Add(request)
	})
}

// passwordValue is a password as unicodePwd wants it: in quotes, UTF-16LE.
func passwordValue(password string) string {
	var value []byte
	for _, unit := range utf16.Encode([]rune(`"` + password + `"`)) {
		value = binary.LittleEndian.AppendUint16(value, unit)
	}
	return string(value)
}

func (d *Domain) dn(name string) string {
	// Samba refuses an equals sign that is not escaped, which the standard and the library leave alone.
	return "CN=" + strings.ReplaceAll(ldap.EscapeDN(name), "=", `\=`) + "," + d.BaseDN
}
