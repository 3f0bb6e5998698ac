package ldapclient_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/ldapclient"
	"github.com/secboard/secboard/ldapclient/sambatest"
	"github.com/secboard/secboard/targets/targetstest"
)

// everyCharacter is a password that anything which quotes wrongly would damage.
const everyCharacter = `p@ss%2F"ü&=+\,#<>;(*)|!'$` + "`" + ` {0}€`

func config(d *sambatest.Domain) ldapclient.Config {
	return ldapclient.Config{
		URLs: []string{d.URL}, CAPEM: d.CAPEM, BaseDN: d.BaseDN, BindDN: d.BindDN, BindPassword: d.BindPassword,
		UserFilter: "(objectClass=user)",
		Attributes: ldapclient.Attributes{
			Email: "mail", FirstName: "givenName", LastName: "sn", Phone: "telephoneNumber", Department: "department",
			Position: "title",
		},
		Timeout: patience, Targets: targetstest.Loopback,
	}
}

func TestSignInGivesTheEntry(t *testing.T) {
	t.Parallel()
	d := sambatest.New(t)
	dn := d.AddUser(t, sambatest.User{
		Name: `Ünal, "Anna" + Co`, Password: everyCharacter, Email: "Anna.Unal@Example.com",
		FirstName: "Anna", LastName: "Ünal", Phone: "+49 30 1234", Department: "Risk", Position: "Auditor",
	})

	got, err := config(d).SignIn(t.Context(), " anna.unal@example.COM", everyCharacter)
	if err != nil {
		t.Fatal(err)
	}
	if got.GUID != guidOf(t, d, dn) {
		t.Fatalf("got.GUID = %q, want %q", got.GUID, guidOf(t, d, dn))
	}
	got.GUID = ""
	if gotNow := cmp.Diff(ldapclient.Entry{
		DN: got.DN, Email: "Anna.Unal@Example.com", FirstName: "Anna", LastName: "Ünal", Phone: "+49 30 1234",
		Department: "Risk", Position: "Auditor",
	}, got); gotNow != "" {
		t.Fatalf("got %q, want nothing", gotNow)
	}

	renamed := d.Rename(t, dn, "Anna Yildiz")
	again, err := config(d).SignIn(t.Context(), "anna.unal@example.com", everyCharacter)
	if err != nil {
		t.Fatal(err)
	}
	if again.GUID != guidOf(t, d, renamed) {
		t.Fatalf("it stays with the entry: got %q, want %q", again.GUID, guidOf(t, d, renamed))
	}
	if again.DN == got.DN {
		t.Fatalf("again.DN = %q, want anything but %q", again.DN, got.DN)
	}
}

// guidOf is the GUID as Active Directory writes it.
func guidOf(t *testing.T, d *sambatest.Domain, dn string) string {
	t.Helper()
	b := []byte(d.Get(t, dn, "objectGUID")[0])
	return fmt.Sprintf("%x-%x-%x-%x-%x", reversed(b[:4]), reversed(b[4:6]), reversed(b[6:8]), b[8:10], b[10:])
}

func reversed(b []byte) []byte {
	b = slices.Clone(b)
	slices.Reverse(b)
	return b
}

func TestSignInThroughStartTLS(t *testing.T) {
	t.Parallel()
	d := sambatest.New(t)
	d.AddUser(t, sambatest.User{Name: "Anna", Password: "secret", Email: "anna@example.com"})
	c := config(d)
	c.URLs, c.StartTLS = []string{"ldap://" + d.Address}, true
	_, err := c.SignIn(t.Context(), "anna@example.com", "secret")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.SignIn(t.Context(), "anna@example.com", "wrong")
	requireRefused(t, ldapclient.WrongPassword, err)
}

func TestWhatActiveDirectoryRefuses(t *testing.T) {
	t.Parallel()
	d := sambatest.New(t)
	for _, c := range []struct {
		reason ldapclient.Reason
		make   func(t testing.TB, dn string)
		flag   func(ldapclient.Entry) bool
	}{
		{ldapclient.Disabled, d.Disable, func(e ldapclient.Entry) bool { return e.Disabled }},
		{ldapclient.AccountExpired, func(t testing.TB, dn string) {
			d.Expire(t, dn, time.Now().Add(-time.Hour))
		}, func(e ldapclient.Entry) bool { return e.Expired }},
		{ldapclient.MustChange, d.MustChange, func(e ldapclient.Entry) bool { return e.MustChange }},
		{ldapclient.PasswordExpired, d.ExpirePassword, func(e ldapclient.Entry) bool { return e.PasswordExpired }},
		{ldapclient.Locked, d.Lock, func(e ldapclient.Entry) bool { return e.Locked }},
		{ldapclient.Hours, d.AllowNoHours, nil},
		{ldapclient.Workstation, func(t testing.TB, dn string) { d.AllowOnlyAt(t, dn, "RECEPTION") }, nil},
	} {
		t.Run(string(c.reason), func(t *testing.T) {
			t.Parallel()
			email := string(c.reason) + "@example.com"
			dn := d.AddUser(t, sambatest.User{Name: string(c.reason), Password: "secret", Email: email})
			_, err := config(d).SignIn(t.Context(), email, "secret")
			if err != nil {
				t.Fatalf("before: %v", err)
			}
			c.make(t, dn)

			_, err = config(d).SignIn(t.Context(), email, "secret")
			requireRefused(t, c.reason, err)

			steps, found, err := config(d).Test(t.Context(), email, "secret")
			if err != nil {
				t.Fatal(err)
			}
			if got := failedStep(t, steps); got != directory.StepUserBind {
				t.Fatalf("failedStep(t, steps) = %q, want %q", got, directory.StepUserBind)
			}
			flags := []bool{found.Disabled, found.Expired, found.MustChange, found.PasswordExpired, found.Locked}
			if c.flag == nil {
				if slices.Contains(flags, true) {
					t.Fatalf("%v contains true", flags)
				}
				return
			}
			if !c.flag(*found) {
				t.Fatal("the flag shows it")
			}
			if got := slices.DeleteFunc(flags, func(set bool) bool { return !set }); len(got) != 1 {
				t.Fatalf("and no other does: %+v: got has %d elements, want 1: %v", found, len(got), got)
			}
		})
	}
}

func TestAccountsThatAreFineShowNoFlag(t *testing.T) {
	t.Parallel()
	d := sambatest.New(t)
	dn := d.AddUser(t, sambatest.User{Name: "Anna", Password: "secret", Email: "anna@example.com"})
	d.Expire(t, dn, time.Now().Add(time.Hour))
	d.Lock(t, dn)
	d.Unlock(t, dn)
	d.Disable(t, dn)
	d.Enable(t, dn)
	got, err := config(d).SignIn(t.Context(), "anna@example.com", "secret")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ldapclient.Entry{DN: got.DN, GUID: got.GUID, Email: "anna@example.com"}, got); diff != "" {
		t.Fatalf("got (-want +got):\n%s", diff)
	}
}

func TestWhomSignInDoesNotLetIn(t *testing.T) {
	t.Parallel()
	d := sambatest.New(t)
	anna := d.AddUser(t, sambatest.User{Name: "Anna", Password: "secret", Email: "anna@example.com"})
	d.AddUser(t, sambatest.User{Name: "Müller", Password: "secret", Email: "müller@example.com"})
	d.AddUser(t, sambatest.User{Name: "Twin one", Password: "secret", Email: "twin@example.com"})
	d.AddUser(t, sambatest.User{Name: "Twin two", Password: "secret", Email: "TWIN@example.com"})
	d.AddUser(t, sambatest.User{Name: "Star", Password: "secret", Email: "star*@example.com"})

	for name, c := range map[string]struct {
		email, password string
		reason          ldapclient.Reason
	}{
		"another password":                 {"anna@example.com", "Secret", ldapclient.WrongPassword},
		"no password":                      {"anna@example.com", "", ldapclient.WrongPassword},
		"nobody's address":                 {"nobody@example.com", "secret", ldapclient.Unknown},
		"no address":                       {"", "secret", ldapclient.Unknown},
		"two entries":                      {"twin@example.com", "secret", ldapclient.Ambiguous},
		"an asterisk":                      {"*", "secret", ldapclient.Unknown},
		"a part and an asterisk":           {"anna*", "secret", ldapclient.Unknown},
		"the end of a filter":              {"x)(|(mail=anna@example.com)", "secret", ldapclient.Unknown},
		"a bracket":                        {"anna@example.com)(", "secret", ldapclient.Unknown},
		"a filter that would match":        {"nobody@example.com)(objectClass=*", "secret", ldapclient.Unknown},
		"an address without its umlaut":    {"muller@example.com", "secret", ldapclient.Unknown},
		"a DN instead of an address":       {anna, "secret", ldapclient.Unknown},
		"a control character":              {"anna@example.com\x00", "secret", ldapclient.Unknown},
		"a password with a NUL at its end": {"anna@example.com", "secret\x00", ldapclient.WrongPassword},
		"a password that is a NUL":         {"anna@example.com", "\x00", ldapclient.WrongPassword},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := config(d).SignIn(t.Context(), c.email, c.password)
			requireRefused(t, c.reason, err)
		})
	}
	t.Run("an asterisk in the address itself", func(t *testing.T) {
		t.Parallel()
		_, err := config(d).SignIn(t.Context(), "star*@example.com", "secret")
		if err != nil {
			t.Fatal(err)
		}
	})
	t.Run("who doesn't match the filter", func(t *testing.T) {
		t.Parallel()
		c := config(d)
		c.UserFilter = "(&(objectClass=user)(cn=Star))"
		_, err := c.SignIn(t.Context(), "anna@example.com", "secret")
		requireRefused(t, ldapclient.Unknown, err)
	})
}

func TestGroups(t *testing.T) {
	t.Parallel()
	d := sambatest.New(t)
	anna := d.AddUser(t, sambatest.User{Name: "Anna, (the first)*", Password: "secret", Email: "anna@example.com"})
	odd := `Risk, "Über" <all> + \more#=; (x)*`
	direct := d.AddGroup(t, odd, anna)
	around := d.AddGroup(t, "Around", direct)
	top := d.AddGroup(t, "Top", around)
	d.Set(t, direct, "member", anna, top) // a circle
	d.AddGroup(t, "Others")

	c := config(d)
	sign := func() []string {
		e, err := c.SignIn(t.Context(), "anna@example.com", "secret")
		if err != nil {
			t.Fatal(err)
		}
		return e.Groups
	}
	if got := sign(); got != nil {
		t.Fatalf("not asked for: got %v, want nil", got)
	}
	c.Groups = true
	if diff := cmp.Diff([]string{"Domain Users", odd}, sign()); diff != "" {
		t.Fatalf("sign() (-want +got):\n%s", diff)
	}
	c.NestedGroups = true
	nested := []string{"Around", "Domain Users", odd, "Top", "Users"} // Domain Users is in the built-in Users
	if diff := cmp.Diff(nested, sign()); diff != "" {
		t.Fatalf("sign() (-want +got):\n%s", diff)
	}

	_, found, err := c.Test(t.Context(), "anna@example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(nested, found.Groups); diff != "" {
		t.Fatalf("found.Groups (-want +got):\n%s", diff)
	}
}

func TestEntriesComeInPages(t *testing.T) {
	t.Parallel()
	d := sambatest.New(t)
	const people = 1201 // more than Active Directory gives at once
	d.AddUsers(t, people, func(i int) sambatest.User {
		return sambatest.User{Name: fmt.Sprintf("Person %d", i), Email: fmt.Sprintf("person%d@example.com", i)}
	})
	c := config(d)
	seen := map[string]bool{}
	for entry, err := range c.Entries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if seen[entry.GUID] {
			t.Fatal("given twice")
		}
		seen[entry.GUID] = true
	}
	if len(seen) != people+1 {
		t.Fatalf("with the searching account: got has %d elements, want %d: %v", len(seen), people+1, seen)
	}

	c.UserFilter = "(cn=Person 12*)"
	n := 0
	for entry, err := range c.Entries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(entry.Email, "person12") {
			t.Fatal(`not strings.HasPrefix(entry.Email, "person12")`)
		}
		n++
	}
	if n != 1+10+1 {
		t.Fatalf("n = %v, want %v", n, 1+10+1)
	} // 12, 120 to 129, 1200
}

func TestEntriesCanBeLeft(t *testing.T) {
	t.Parallel()
	d := sambatest.New(t)
	for _, err := range config(d).Entries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range config(d).Entries(ctx) {
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("%v, want %v", err, context.Canceled)
		}
	}
}

func TestAnOutageEnds(t *testing.T) {
	t.Parallel()
	d := sambatest.NewServer(t)
	d.AddUser(t, sambatest.User{Name: "Anna", Password: "secret", Email: "anna@example.com"})
	c := config(d)
	c.URLs = []string{d.URL}
	_, err := c.SignIn(t.Context(), "anna@example.com", "secret")
	if err != nil {
		t.Fatal(err)
	}

	d.Stop(t)
	_, err = c.SignIn(t.Context(), "anna@example.com", "secret")
	var failure *ldapclient.Failure
	if !errors.As(err, &failure) {
		t.Fatalf("%T is not of the wanted type: %v", err, err)
	}
	if failure.Step != directory.StepConnect {
		t.Fatalf("failure.Step = %q, want %q", failure.Step, directory.StepConnect)
	}
	if got := err.Error(); !strings.Contains(got, "refuses the connection") {
		t.Fatalf(`%q lacks "refuses the connection"`, got)
	}

	other := sambatest.New(t)
	other.AddUser(t, sambatest.User{Name: "Anna", Password: "secret", Email: "anna@example.com"})
	both := config(other)
	both.URLs = []string{d.URL, other.URL}
	_, err = both.SignIn(t.Context(), "anna@example.com", "secret")
	if err != nil {
		t.Fatalf("the second server is there: %v", err)
	}

	d.Start(t)
	_, err = c.SignIn(t.Context(), "anna@example.com", "secret")
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnAdministratorSeesWhatWorks(t *testing.T) {
	t.Parallel()
	d := sambatest.New(t)
	dn := d.AddUser(t, sambatest.User{Name: "Anna", Password: "secret", Email: "anna@example.com"})
	c := config(d)
	reached := []string{"resolve", "connect", "tls", "bind"}

	steps, found, err := c.Test(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if found != nil {
		t.Fatalf("found = %v, want nil", found)
	}
	if diff := cmp.Diff(append(reached, "search"), worked(t, steps)); diff != "" {
		t.Fatalf("worked(t, steps) (-want +got):\n%s", diff)
	}

	steps, found, err = c.Test(t.Context(), "anna@example.com", "secret")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.ToLower(found.DN); got != strings.ToLower(dn) {
		t.Fatalf("strings.ToLower(found.DN) = %q, want %q", got, strings.ToLower(dn))
	}
	if diff := cmp.Diff(append(reached, "search", "user_bind"), worked(t, steps)); diff != "" {
		t.Fatalf("worked(t, steps) (-want +got):\n%s", diff)
	}

	c.URLs = []string{"ldaps://" + d.Address + ":1", d.URL}
	steps, found, err = c.Test(t.Context(), "anna@example.com", "secret")
	if err != nil {
		t.Fatal(err)
	}
	if found == nil {
		t.Fatalf("the second server tells: got %v, want something", found)
	}
	if got := failedStep(t, steps); got != "connect" {
		t.Fatalf(`and the first is named: got %q, want "connect"`, got)
	}
}

// Each way to set it up wrongly, the step that fails, and words that have to be in what the administrator reads.
func TestWhatIsSetUpWrongly(t *testing.T) {
	t.Parallel()
	d := sambatest.New(t)
	d.AddUser(t, sambatest.User{Name: "Anna", Password: "secret", Email: "anna@example.com"})
	d.AddUser(t, sambatest.User{Name: "No address", Password: "secret"})
	locked := d.AddUser(t, sambatest.User{Name: "locked", Password: "Bind-secret"})
	d.Lock(t, locked)

	for name, c := range map[string]struct {
		change      func(*ldapclient.Config)
		email       string
		step        string
		detail, fix string
	}{
		"no servers": {func(c *ldapclient.Config) { c.URLs = nil }, "", "resolve", "No server", "ldaps://"},
		"no URL": {func(c *ldapclient.Config) {
			c.URLs = []string{"dc1.example.com"}
		}, "", "resolve", "neither ldaps:// nor ldap://", "ldaps://"},
		"a password in the URL": {func(c *ldapclient.Config) {
			c.URLs = []string{"ldaps://a:Bind-secret@dc1"}
		}, "", "resolve", "user name or password", "ldaps://"},
		"no such host": {func(c *ldapclient.Config) {
			c.URLs = []string{"ldaps://dc1.invalid"}
		}, "", "resolve", "dc1.invalid", "DNS"},
		"a closed port": {func(c *ldapclient.Config) {
			c.URLs = []string{d.URL + ":1"}
		}, "", "connect", "nothing listens", "636"},
		"no TLS": {func(c *ldapclient.Config) {
			c.URLs = []string{"ldap://" + d.Address}
		}, "", "connect", "unencrypted", "start_tls"},
		"ldaps on a plain port": {func(c *ldapclient.Config) {
			c.URLs = []string{d.URL + ":389"}
		}, "", "tls", "", "ldaps://"},
		"StartTLS on a TLS port": {func(c *ldapclient.Config) {
			c.URLs, c.StartTLS = []string{"ldap://" + d.Address + ":636"}, true
		}, "", "tls", "", "ldaps://"},
		"an unknown authority": {func(c *ldapclient.Config) {
			c.CAPEM = ""
		}, "", "tls", "sambatest authority", "ca_pem"},
		"no certificate in ca": {func(c *ldapclient.Config) {
			c.CAPEM = "Bind-secret"
		}, "", "tls", "no certificate", "BEGIN CERTIFICATE"},
		"bind password": {func(c *ldapclient.Config) {
			c.BindPassword = "Bind-secret"
		}, "", "bind", "name or password", "bind_password"},
		"no bind password": {func(c *ldapclient.Config) {
			c.BindPassword = ""
		}, "", "bind", "bind_password is empty", "both"},
		"bind DN": {func(c *ldapclient.Config) {
			c.BindDN = "CN=nobody," + d.BaseDN
		}, "", "bind", "name or password", "bind_dn"},
		"a locked bind account": {func(c *ldapclient.Config) {
			c.BindDN, c.BindPassword = locked, "Bind-secret"
		}, "", "bind", "locked", "another account"},
		"anonymous": {func(c *ldapclient.Config) {
			c.BindDN, c.BindPassword = "", ""
		}, "", "search", "does not let", "bind_dn"},
		"no base DN": {func(c *ldapclient.Config) {
			c.BaseDN = ""
		}, "", "search", "no base_dn is set", "DC="},
		"a base that isn't": {func(c *ldapclient.Config) {
			c.BaseDN = "OU=nowhere," + d.BaseDN
		}, "", "search", "OU=nowhere", "base_dn"},
		"another domain": {func(c *ldapclient.Config) {
			c.BaseDN = "DC=other,DC=org"
		}, "", "search", "DC=other,DC=org", "base_dn"},
		"a base that is no DN": {func(c *ldapclient.Config) {
			c.BaseDN = "people"
		}, "", "search", "people", "base_dn"},
		"no filter": {func(c *ldapclient.Config) {
			c.UserFilter = "objectClass=user)(x=y"
		}, "", "search", "user_filter", "brackets"},
		"two filters": {func(c *ldapclient.Config) {
			c.UserFilter = "(a=b)(c=d)"
		}, "", "search", "user_filter", "brackets"},
		"no attribute": {func(c *ldapclient.Config) {
			c.Attributes.Phone = "phone number"
		}, "", "search", "phone number", "attr_"},
		"nobody matches": {func(c *ldapclient.Config) {
			c.UserFilter = "(objectClass=printQueue)"
		}, "", "search", "no entry", "user_filter"},
		"nobody has the address": {
			func(*ldapclient.Config) {}, "nobody@example.com", "search", "No entry", "attr_email",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := config(d)
			c.change(&settings)
			steps, found, err := settings.Test(t.Context(), c.email, "a person's secret")
			if err != nil {
				t.Fatal(err)
			}
			if found != nil {
				t.Fatalf("found = %v, want nil", found)
			}
			if got := failedStep(t, steps); got != c.step {
				t.Fatalf("failedStep(t, steps) = %q, want %q", got, c.step)
			}
			last := steps[len(steps)-1]
			if !strings.Contains(last.Detail, c.detail) {
				t.Fatalf("%q lacks %q", last.Detail, c.detail)
			}
			if !strings.Contains(last.Fix, c.fix) {
				t.Fatalf("%q lacks %q", last.Fix, c.fix)
			}
			if got := fmt.Sprint(steps); strings.Contains(got, "Bind-secret") {
				t.Fatalf(`%q contains "Bind-secret"`, got)
			}

			_, err = settings.SignIn(t.Context(), "nobody@example.com", "a person's secret")
			if err == nil {
				t.Fatal("no error")
			}
			if got := err.Error(); strings.Contains(got, "secret") {
				t.Fatalf(`%q contains "secret"`, got)
			}
		})
	}
}

func requireRefused(t *testing.T, reason ldapclient.Reason, err error) {
	t.Helper()
	var refused *ldapclient.Refused
	if !errors.As(err, &refused) {
		t.Fatalf("%T is not of the wanted type: %v", err, err)
	}
	if refused.Reason != reason {
		t.Fatalf("refused.Reason = %q, want %q", refused.Reason, reason)
	}
}

func failedStep(t *testing.T, steps []directory.Step) string {
	t.Helper()
	for _, step := range steps {
		if !step.OK {
			if step.Detail == "" {
				t.Fatalf("step.Detail = %q, want something", step.Detail)
			}
			if step.Fix == "" {
				t.Fatalf("step.Fix = %q, want something", step.Fix)
			}
			return step.Step
		}
	}
	t.Fatalf("all steps worked: %+v", steps)
	return ""
}

func worked(t *testing.T, steps []directory.Step) (names []string) {
	t.Helper()
	for _, step := range steps {
		if !step.OK {
			t.Fatalf("%+v", step)
		}
		names = append(names, step.Step)
	}
	return names
}
