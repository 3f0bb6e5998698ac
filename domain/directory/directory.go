package directory

import (
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-ldap/ldap/v3"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/claim"
)

// Settings are what a connection is set up with, but for its bind password.
type Settings struct {
	Name           string
	CompanyID      uuid.UUID // uuid.Nil: serves all companies
	URLs           []string  // ldap:// or ldaps://, tried in this order
	StartTLS       bool
	CAPEM          string // certificates that the server's must come from; empty: those of the system
	BaseDN         string
	BindDN         string // empty: searches anonymously
	UserFilter     string
	TimeoutSeconds int // of each step
	Attributes     Attributes
	SyncGroups     bool
	NestedGroups   bool
	CheckMinutes   int // 0: accounts are checked when people sign in only
	CheckLimit     int // percent of the accounts that one check may change without confirmation
	Enabled        bool
}

// Attributes are names of attributes of an entry; an empty one is not read.
type Attributes struct{ Email, FirstName, LastName, Phone, Department, Position string }

// Timeout bounds each step of asking the directory.
func (s Settings) Timeout() time.Duration { return time.Duration(s.TimeoutSeconds) * time.Second }

// Defaults are the settings that a new connection has where nothing else is given: those of an Active Directory.
var Defaults = Settings{
	UserFilter: "(objectClass=user)", TimeoutSeconds: 5, CheckMinutes: 60, CheckLimit: 20, Enabled: true,
	Attributes: Attributes{
		Email: "mail", FirstName: "givenName", LastName: "sn", Phone: "telephoneNumber", Department: "department",
		Position: "title",
	},
}

// State is what deciding about a connection needs; its zero value is one that does not exist.
type State struct {
	Exists       bool
	Settings     Settings
	BindPassword domain.Sealed
	Vouched      bool // a superuser approved who may get in through it
	Stopped      bool // a check waits for somebody to confirm its changes
}

// Evolve folds one event into the state.
func (s *State) Evolve(event domain.Event) {
	set := &s.Settings
	switch e := event.(type) {
	case Connected:
		*s = State{Exists: true, BindPassword: e.BindPassword, Vouched: e.Vouched, Settings: Settings{
			Name: e.Name, CompanyID: e.CompanyID, URLs: e.URLs, StartTLS: e.StartTLS, CAPEM: e.CAPEM, BaseDN: e.BaseDN,
			BindDN:     e.BindDN,
			UserFilter: e.UserFilter, TimeoutSeconds: e.TimeoutSeconds,
			Attributes: Attributes{
				e.AttrEmail, e.AttrFirstName, e.AttrLastName, e.AttrPhone, e.AttrDepartment, e.AttrPosition,
			},
			SyncGroups: e.SyncGroups, NestedGroups: e.NestedGroups, CheckMinutes: e.CheckMinutes,
			CheckLimit: e.CheckLimit, Enabled: e.Enabled,
		}}
	case Renamed:
		set.Name = e.Name.To
	case CompanyChanged:
		set.CompanyID = e.CompanyID.To
	case ServerChanged:
		if e.URLs.To != nil {
			set.URLs = e.URLs.To
		}
		domain.Apply(&set.StartTLS, e.StartTLS)
		domain.Apply(&set.CAPEM, e.CAPEM)
		domain.Apply(&set.BaseDN, e.BaseDN)
		domain.Apply(&set.BindDN, e.BindDN)
		domain.Apply(&set.UserFilter, e.UserFilter)
	case TimeoutChanged:
		set.TimeoutSeconds = e.TimeoutSeconds.To
	case BindPasswordSet:
		s.BindPassword = e.Password
	case BindPasswordRemoved:
		s.BindPassword = nil
	case AttributesChanged:
		domain.Apply(&set.Attributes.Email, e.AttrEmail)
		domain.Apply(&set.Attributes.FirstName, e.AttrFirstName)
		domain.Apply(&set.Attributes.LastName, e.AttrLastName)
		domain.Apply(&set.Attributes.Phone, e.AttrPhone)
		domain.Apply(&set.Attributes.Department, e.AttrDepartment)
		domain.Apply(&set.Attributes.Position, e.AttrPosition)
	case GroupSyncChanged:
		domain.Apply(&set.SyncGroups, e.SyncGroups)
		domain.Apply(&set.NestedGroups, e.NestedGroups)
	case CheckChanged:
		domain.Apply(&set.CheckMinutes, e.CheckMinutes)
		domain.Apply(&set.CheckLimit, e.CheckLimit)
	case SwitchedOn:
		set.Enabled = true
	case SwitchedOff:
		set.Enabled = false
	case VouchedFor:
		s.Vouched = true
	case VouchLost:
		s.Vouched = false
	case CheckStopped:
		s.Stopped = true
	case CheckResumed:
		s.Stopped = false
	}
}

// BelongsTo is the company that it serves; uuid.Nil for all.
func (s State) BelongsTo() uuid.UUID { return s.Settings.CompanyID }

// SubjectName is its name.
func (s State) SubjectName() string { return s.Settings.Name }

// Claim is the unique name that the connection holds; none before it exists.
func (s State) Claim() claim.Key {
	if !s.Exists {
		return claim.Key{}
	}
	return claim.Key{Kind: "directoryname", Value: s.Settings.Name}
}

// Normalized trims the texts.
func (s Settings) Normalized() Settings {
	for _, text := range []*string{
		&s.Name, &s.CAPEM, &s.BaseDN, &s.BindDN, &s.UserFilter, &s.Attributes.Email, &s.Attributes.FirstName,
		&s.Attributes.LastName,
		&s.Attributes.Phone, &s.Attributes.Department, &s.Attributes.Position,
	} {
		*text = strings.TrimSpace(*text)
	}
	s.URLs = slices.Clone(s.URLs)
	for i := range s.URLs {
		s.URLs[i] = strings.TrimSpace(s.URLs[i])
	}
	return s
}

// Validate reports every wrong field. hasPassword says whether there is a bind password.
func (s Settings) Validate(hasPassword bool) error {
	var invalid domain.Invalid
	invalid.Text("name", s.Name, true, 200)
	validateURLs(&invalid, s.URLs)
	s.validateProtection(&invalid)
	validateCA(&invalid, s.CAPEM)
	validateDN(&invalid, "base_dn", s.BaseDN, true)
	s.validateBind(&invalid, hasPassword)
	validateFilter(&invalid, s.UserFilter)
	s.Attributes.validate(&invalid, s.Attributes.Email == "")
	s.validateNumbers(&invalid, Patch{TimeoutSeconds: &s.TimeoutSeconds, CheckLimit: &s.CheckLimit})
	return invalid.Err()
}

func validateFilter(invalid *domain.Invalid, filter string) {
	invalid.Text("user_filter", filter, true, 2000)
	if _, err := ldap.CompileFilter(filter); err != nil && filter != "" {
		invalid.Add("user_filter", domain.CodeFilter, "is not an LDAP filter such as (objectClass=user): %s",
			reasonOf(err))
	}
	if err := CheckFilter(filter); err != nil {
		invalid.Add("user_filter", domain.CodeSecretAttribute, "%s", err)
	}
}

func (a Attributes) validate(invalid *domain.Invalid, lacksEmail bool) {
	if lacksEmail {
		invalid.Add("attr_email", domain.CodeRequired, "must not be empty: people are found by their e-mail address")
	}
	for _, attribute := range []struct{ field, name string }{
		{"attr_email", a.Email}, {"attr_first_name", a.FirstName}, {"attr_last_name", a.LastName},
		{"attr_phone", a.Phone}, {"attr_department", a.Department}, {"attr_position", a.Position},
	} {
		switch {
		case attribute.name == "":
		case !isAttribute(attribute.name):
			invalid.Add(attribute.field, domain.CodeAttribute,
				"must be the name of an attribute, of letters, digits and hyphens")
		case SecretAttribute(attribute.name):
			invalid.Add(attribute.field, domain.CodeSecretAttribute,
				"must not be %s, which holds a secret: name an attribute that everybody may see", attribute.name)
		}
	}
}

// validateNumbers checks the numbers that a patch names.
func (s Settings) validateNumbers(invalid *domain.Invalid, named Patch) {
	if named.TimeoutSeconds != nil {
		invalid.Between("timeout_s", s.TimeoutSeconds, 1, 60)
	}
	if s.CheckMinutes != 0 {
		invalid.Between("check_minutes", s.CheckMinutes, 5, 7*24*60)
	}
	if named.CheckLimit != nil {
		invalid.Between("check_limit_percent", s.CheckLimit, 1, 100)
	}
}

func validateURLs(invalid *domain.Invalid, urls []string) {
	if len(urls) == 0 {
		invalid.Add("urls", domain.CodeRequired, "must name at least one server, such as ldaps://dc1.example.com")
	}
	if len(urls) > 10 {
		invalid.Add("urls", domain.CodeTooMany, "must have at most 10 entries")
	}
	for i, text := range urls {
		field := "urls." + strconv.Itoa(i)
		parsed, err := url.Parse(text)
		switch {
		case err != nil || parsed.Hostname() == "" || parsed.User != nil || strings.Trim(parsed.Path, "/") != "" ||
			parsed.RawQuery != "" || parsed.Fragment != "":
			invalid.Add(field, domain.CodeURL,
				"must be the address of a server alone, such as ldaps://dc1.example.com or ldap://dc1.example.com:389")
		case parsed.Scheme != "ldap" && parsed.Scheme != "ldaps":
			invalid.Add(field, domain.CodeScheme, "must begin with ldaps:// or, with start_tls, with ldap://")
		}
	}
	if plain, tls := schemes(urls); plain && tls {
		invalid.Add("urls", domain.CodeMixed, "must be all ldaps://, or all ldap:// with start_tls")
	}
}

// schemes says whether addresses of servers begin in clear, and whether some begin with TLS.
func schemes(urls []string) (plain, tls bool) {
	for _, text := range urls {
		if parsed, err := url.Parse(text); err == nil {
			plain, tls = plain || parsed.Scheme == "ldap", tls || parsed.Scheme == "ldaps"
		}
	}
	return plain, tls
}

// validateProtection refuses to send passwords in clear.
func (s Settings) validateProtection(invalid *domain.Invalid) {
	switch plain, tls := schemes(s.URLs); {
	case plain && tls: // validateURLs says so
	case plain && !s.StartTLS:
		invalid.Add("start_tls", domain.CodeNeedsTLS,
			"must be true with ldap:// addresses, or passwords would be sent unencrypted: set it, or use ldaps://")
	case tls && s.StartTLS:
		invalid.Add("start_tls", domain.CodeConflict,
			"must be false with ldaps:// addresses: they begin with TLS already")
	}
}

func validateCA(invalid *domain.Invalid, text string) {
	if text == "" {
		return
	}
	if len(text) > 100_000 {
		invalid.Add("ca_pem", domain.CodeTooLong, "must have at most 100000 characters")
		return
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) }) {
		invalid.Add("ca_pem", domain.CodePEM, "must not contain control characters")
		return
	}
	found := 0
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if found == 0 || strings.TrimSpace(string(rest)) != "" {
				invalid.Add("ca_pem", domain.CodePEM,
					"must be certificates in PEM form, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----")
			}
			return
		}
		if block.Type != "CERTIFICATE" {
			invalid.Add("ca_pem", domain.CodePEM, "must contain certificates only, and no private key")
			return
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			invalid.Add("ca_pem", domain.CodePEM, "contains a block that is not a certificate")
			return
		}
		found++
	}
}

func validateDN(invalid *domain.Invalid, field, text string, required bool) {
	invalid.Text(field, text, required, 1000)
	if _, err := ldap.ParseDN(text); err != nil && text != "" {
		invalid.Add(field, domain.CodeDN, "is not a distinguished name such as DC=example,DC=com")
	}
}

// validateBind checks who SecBoard signs in as to search. With Active Directory that may also be user@domain or
// DOMAIN\user, so bind_dn is not checked to be a DN.
func (s Settings) validateBind(invalid *domain.Invalid, hasPassword bool) {
	invalid.Text("bind_dn", s.BindDN, false, 1000)
	switch {
	case s.BindDN != "" && !hasPassword:
		invalid.Add("bind_password", domain.CodeRequired,
			"must be given with bind_dn: without a password a directory treats everybody as anonymous")
	case s.BindDN == "" && hasPassword:
		invalid.Add("bind_dn", domain.CodeRequired, "must be given with bind_password")
	}
}

func isAttribute(name string) bool {
	return len(name) <= 100 && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
	})
}

// reasonOf is an LDAP library's message without its own prefixes.
func reasonOf(err error) string {
	text := err.Error()
	if _, after, found := strings.Cut(text, "ldap: "); found {
		return after
	}
	return text
}
