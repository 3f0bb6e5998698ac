package ldapclient_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/ldapclient"
	"github.com/secboard/secboard/ldapclient/sambatest"
)

// Settings from before such attributes were refused still name them.
func TestSecretAttributesAreNotReadWhateverTheSettingsSay(t *testing.T) {
	t.Parallel()
	f := newFake(t, false, nil)
	var searched atomic.Pointer[[]string]
	f.behave.Store(&behaviour{search: func(e *exchange) {
		f.mu.Lock()
		wanted := slices.Clone(f.wanted)
		f.mu.Unlock()
		searched.Store(&wanted)
		// Some servers send what nobody asked for.
		e.anna("givenName=Anna", "ms-Mcs-AdmPwd=LAPS-word", "msDS-ManagedPassword=machine", "title=Auditor")
		e.result(ldap.ApplicationSearchResultDone, 0, "")
	}})
	c := f.config()
	c.Attributes = ldapclient.Attributes{
		Email: "mail", FirstName: "givenName", LastName: "msDS-ManagedPassword", Phone: "ms-mcs-admpwd",
		Department: "userPassword",
	}

	steps, found, err := c.Test(t.Context(), "anna@example.com", "")
	if err != nil || found == nil {
		t.Fatalf("found %v, %v: %v", found, err, steps)
	}
	want := ldapclient.Entry{DN: annaDN, Email: "anna@example.com", FirstName: "Anna"}
	if diff := cmp.Diff(want, *found); diff != "" {
		t.Errorf("what is found (-want +got):\n%s", diff)
	}
	if signedIn, err := c.SignIn(t.Context(), "anna@example.com", "secret"); err != nil ||
		!cmp.Equal(want, signedIn) {
		t.Errorf("signing in gives %+v, %v", signedIn, err)
	}
	for entry, err := range c.Entries(t.Context()) {
		if err != nil || !cmp.Equal(want, entry) {
			t.Errorf("a check reads %+v, %v", entry, err)
		}
	}
	asked := strings.Join(*searched.Load(), " ")
	if !strings.Contains(asked, "givenName") || strings.Contains(strings.ToLower(asked), "admpwd") ||
		strings.Contains(asked, "Password") {
		t.Errorf("asked for %s", asked)
	}
}

func TestNothingIsSearchedByASecret(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*ldapclient.Config){
		"in user_filter": func(c *ldapclient.Config) { c.UserFilter = "(&(objectClass=user)(ms-Mcs-AdmPwd=a*))" },
		"as attr_email":  func(c *ldapclient.Config) { c.Attributes.Email = "ms-Mcs-AdmPwd" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, false, nil)
			c := f.config()
			change(&c)
			_, err := c.SignIn(t.Context(), "anna@example.com", "secret")
			requireStep(t, directory.StepSearch, err)
			steps, _, err := c.Test(t.Context(), "", "")
			if err != nil || failedStep(t, steps) != directory.StepSearch {
				t.Errorf("the test gives %v, %v", steps, err)
			}
			for _, err := range c.Entries(t.Context()) {
				requireStep(t, directory.StepSearch, err)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.asked) > 0 {
				t.Errorf("searched %d times", len(f.asked))
			}
		})
	}
}

// A real directory, whose administrator may read everything.
func TestATestShowsOfAnEntryOnlyWhatIsMapped(t *testing.T) {
	t.Parallel()
	d := sambatest.New(t)
	dn := d.AddUser(t, sambatest.User{Name: "Anna", Password: "secret", Email: "anna@example.com", Phone: "123"})
	d.Set(t, dn, "userPKCS12", "pkcs-word")
	c := config(d)
	c.Attributes.Phone = "userPKCS12"
	_, found, err := c.Test(t.Context(), "anna@example.com", "secret")
	if err != nil || found == nil {
		t.Fatalf("found %v, %v", found, err)
	}
	if found.Phone != "" {
		t.Errorf("shows %q", found.Phone)
	}
}
