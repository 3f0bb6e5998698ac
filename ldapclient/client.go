// Package ldapclient signs people in at an Active Directory or another LDAP directory, and reads their entries there.
// Passwords travel through verified TLS only, referrals are not followed, and no call outlasts its time-out or its
// context.
package ldapclient

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/targets"
)

// pageSize is half of what Active Directory gives at most in one answer.
const pageSize = 500

// maxPages is how many pages a directory may give: a million entries. It is counted, since a cookie that comes again
// tells nothing: some servers give each page the same one.
const maxPages = 2000

// Config says how to reach one directory. Its methods open a connection each and may run at the same time.
type Config struct {
	// URLs of servers of the same directory, "ldaps://host[:636]" or "ldap://host[:389]", tried in order.
	URLs []string
	// StartTLS is required for ldap:// URLs: nothing is sent in clear. For ldaps:// it changes nothing.
	StartTLS bool
	// CAPEM are the only authorities whose certificates are accepted; empty for those of the system.
	CAPEM string
	// BaseDN is where the search for people starts. Groups are looked for in the whole domain.
	BaseDN string
	// BindDN is the account that searches: a DN, or in Active Directory also name@domain or DOMAIN\name. Empty:
	// anonymous.
	BindDN       string
	BindPassword string `json:"-"`
	UserFilter   string
	Attributes   Attributes
	// Groups asks for the groups of whom is found, NestedGroups for those too that contain these. That needs Active
	// Directory; elsewhere only memberOf is known. Of an account that is a direct member of more than 1500 groups
	// memberOf comes in parts that are not asked for: there NestedGroups finds them all.
	Groups       bool
	NestedGroups bool
	// Targets are the addresses that may be connected to.
	Targets targets.Policy
	// Timeout bounds all that one server is asked in one call, for Entries each page.
	Timeout time.Duration
}

// String keeps the password out of whatever prints a Config.
func (c Config) String() string {
	return fmt.Sprintf("directory %s, base_dn %s, bind_dn %s", strings.Join(c.URLs, ", "), c.BaseDN, c.BindDN)
}

// Attributes are the names that the directory gives to what we read, for example "givenName". Without a name it is not
// read; Email must have one.
type Attributes struct {
	Email, FirstName, LastName, Phone, Department, Position string
}

// shown leaves out the names of attributes that hold secrets: they are not read, whatever the settings say.
func (a Attributes) shown() Attributes {
	for _, name := range []*string{&a.Email, &a.FirstName, &a.LastName, &a.Phone, &a.Department, &a.Position} {
		if directory.SecretAttribute(*name) {
			*name = ""
		}
	}
	return a
}

// SignIn finds the one entry of the e-mail address and binds as it. It answers no error, *Refused with the entry where
// one was found (without its groups), or what keeps the directory from telling now: then *Failure, or several of them
// where several servers were tried.
func (c Config) SignIn(ctx context.Context, email, password string) (Entry, error) {
	switch {
	case user.NormalizeEmail(email) == "":
		return Entry{}, &Refused{Unknown}
	case password == "" || strings.ContainsRune(password, 0):
		// A bind without a password is an anonymous one, which succeeds; and a server in C takes only what is before
		// the NUL.
		return Entry{}, &Refused{WrongPassword}
	}
	var found Entry
	err := c.onOneServer(ctx, func(ctx context.Context, s *session) error {
		raw, err := s.find(ctx, email)
		if err != nil {
			return err
		}
		found = c.entry(raw, email, time.Now())
		if err := s.bindAs(ctx, raw.DN, password); err != nil {
			return err
		}
		// Not every gateway in front of a directory asks it at each bind.
		if found.Disabled {
			return &Refused{Disabled}
		}
		if found.Expired {
			return &Refused{AccountExpired}
		}
		if !c.Groups {
			return nil
		}
		if c.BindDN != "" { // back to the account that may search
			if failure := s.bind(ctx); failure != nil {
				return failure
			}
		}
		found.Groups, err = s.groups(ctx, raw)
		return err
	})
	if _, refused := errors.AsType[*Refused](err); err != nil && !refused {
		return Entry{}, err
	}
	return found, err
}

// Entries gives all entries that match the user filter, a page at a time, without their groups. An error is the last
// thing it gives; what came before is then not all there is.
func (c Config) Entries(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var s *session
		err := c.onOneServer(ctx, func(_ context.Context, opened *session) error {
			s = opened.keep()
			return nil
		})
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer s.close()
		request, failure := s.people("")
		if failure != nil {
			yield(Entry{}, failure)
			return
		}
		for page, err := range s.pages(ctx, request) {
			if err != nil {
				yield(Entry{}, s.server.failure(directory.StepSearch, c.explainSearch(err)))
				return
			}
			now := time.Now()
			for _, raw := range page {
				if !yield(c.entry(raw, "", now), nil) {
					return
				}
			}
		}
	}
}

// onOneServer opens a session on the first server that can be used and has ask use it. A server that fails on the way
// is left for the next; a refusal, and what each server would answer in the same way, is final.
func (c Config) onOneServer(ctx context.Context, ask func(context.Context, *session) error) error {
	if len(c.URLs) == 0 {
		return noServer()
	}
	var failed failures
	for _, url := range c.URLs {
		err := func() error {
			ctx, cancel := c.limit(ctx)
			defer cancel()
			s, err := c.open(ctx, url, new(steps))
			if err != nil {
				return err
			}
			defer s.release()
			return ask(ctx, s)
		}()
		var failure *Failure
		if err == nil || !errors.As(err, &failure) {
			return err
		}
		failed = append(failed, failure)
		if failure.final || ctx.Err() != nil {
			break
		}
	}
	if len(failed) == 1 {
		return failed[0]
	}
	return failed
}

func (c Config) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, c.Timeout, &timedOut{after: c.Timeout})
}

// people is the search for all that user_filter matches, or for those among them who have the e-mail address.
func (s *session) people(email string) (*ldap.SearchRequest, *Failure) {
	c := s.config
	if c.BaseDN == "" {
		return nil, s.server.failure(directory.StepSearch,
			misconfigured("no base_dn is set", "Set it to where the search for people starts, such as "+
				"DC=example,DC=com."))
	}
	// Compiled by itself, it can't end our brackets.
	if _, err := ldap.CompileFilter(c.UserFilter); err != nil {
		return nil, s.server.failure(directory.StepSearch, c.explainSearch(err))
	}
	// Settings from before such attributes were refused may still name them.
	if err := directory.CheckFilter(c.UserFilter); err != nil {
		return nil, s.server.failure(directory.StepSearch,
			misconfigured(fmt.Sprintf("the user_filter %s", err), "Correct user_filter."))
	}
	if directory.SecretAttribute(c.Attributes.Email) {
		return nil, s.server.failure(directory.StepSearch,
			misconfigured(fmt.Sprintf("the attribute %s of attr_email holds a secret", c.Attributes.Email),
				"Set attr_email to the attribute with the e-mail address, such as mail."))
	}
	for _, name := range c.attributes() {
		if !attributeName.MatchString(name) {
			return nil, s.server.failure(directory.StepSearch,
				misconfigured(fmt.Sprintf("the text %q is not the name of an attribute", name),
					"Correct the attr_… setting that has it."))
		}
	}
	filter := c.UserFilter
	if email != "" {
		filter = fmt.Sprintf("(&%s(%s=%s))", filter, c.Attributes.Email, ldap.EscapeFilter(user.NormalizeEmail(email)))
	}
	return s.request(c.BaseDN, ldap.ScopeWholeSubtree, filter, c.attributes()), nil
}

// find gives the one entry that has the e-mail address. A directory compares more loosely than we do, some without
// accents: what it found is compared again.
func (s *session) find(ctx context.Context, email string) (*ldap.Entry, error) {
	request, failure := s.people(email)
	if failure != nil {
		return nil, failure
	}
	request.SizeLimit = 20
	result, err := s.search(ctx, request)
	more := ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded)
	if err != nil && !more {
		return nil, s.server.failure(directory.StepSearch, s.config.explainSearch(err))
	}
	var found []*ldap.Entry
	hidden := false
	for _, raw := range result.Entries {
		addresses := raw.GetEqualFoldAttributeValues(s.config.Attributes.Email)
		hidden = hidden || len(addresses) == 0
		for _, address := range addresses {
			if user.NormalizeEmail(address) == user.NormalizeEmail(email) {
				found = append(found, raw)
				break
			}
		}
	}
	switch {
	case len(found) > 1 || more:
		return nil, &Refused{Ambiguous}
	case len(found) == 1:
		return found[0], nil
	case hidden:
		return nil, &Refused{NoEmail}
	}
	return nil, &Refused{Unknown}
}
