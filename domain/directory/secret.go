package directory

import (
	"fmt"
	"slices"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// secretWords stand in the names of attributes that hold secrets in Active Directory, OpenLDAP, 389 Directory Server,
// FreeIPA, Samba and Kerberos. Schemas can be extended, so the words are refused and not only the known names.
var secretWords = []string{
	"password", "passwd", "passphrase", "pwd", "secret", "credential", "cleartext", "hash",
	"laps", "admpwd", // Windows LAPS and the LAPS before it
	"recovery", "msfve", "mstpm", "keypackage", // BitLocker
	"privatekey", "privkey", "symmetrickey", "masterkey", "principalkey", "keymaterial", "dpapi",
	"krbmkey", "krbextradata", "otpkey", "totp", "hotp", "oathseed", "kerberoskeys",
	"pkcs12", "pkcs8",
}

// secretNames are secret attributes whose names have none of the words.
var secretNames = []string{
	"currentvalue", "priorvalue", // secrets of the local security authority
	"initialauthincoming", "initialauthoutgoing", "trustauthincoming", "trustauthoutgoing",
	"olcrootpw", "rootpw", "pin", "securityanswer", "securityquestion", "webauthnkey", "ipapasskey", "passkey",
}

// publicNames have one of the words and hold only times, counts and flags of a password: filters ask for them.
var publicNames = []string{
	"pwdlastset", "badpwdcount", "badpasswordtime", "lastbadpasswordattempt",
	"msds-userpasswordexpirytimecomputed", "msds-passwordsettings",
	"pwdaccountlockedtime", "pwdchangedtime", "pwdfailuretime", "pwdgraceusetime", "pwdreset", "pwdpolicysubentry",
	"pwdlastsuccess", "pwdstarttime", "pwdendtime", "pwdaccounttmplockoutend",
	"passwordexpirationtime", "passwordexpwarned", "passwordretrycount", "passwordallowchangetime",
	"krbpasswordexpiration", "krblastpwdchange", "krbpwdpolicyreference", "loginpasswordexpiration",
	"sambapwdlastset", "sambapwdcanchange", "sambapwdmustchange", "sambabadpasswordcount", "sambabadpasswordtime",
}

// SecretAttribute says whether an attribute of an entry may hold a password, a key or what stands for one. Such an
// attribute is neither read nor searched for: what a search finds tells a value letter by letter.
func SecretAttribute(name string) bool {
	name, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(name)), ";") // without options
	if slices.Contains(publicNames, name) {
		return false
	}
	return slices.Contains(secretNames, name) ||
		slices.ContainsFunc(secretWords, func(word string) bool {
			return strings.Contains(strings.ReplaceAll(name, "-", ""), word)
		})
}

// CheckFilter says what of an LDAP filter may not be asked for: a secret attribute, an attribute by its number, which
// could be any, or all attributes at once. It answers nil, or a sentence without its subject, such as "asks for …". A
// text that is no filter is not checked.
func CheckFilter(filter string) error {
	compiled, err := ldap.CompileFilter(filter)
	if err != nil {
		return nil //nolint:nilerr // another rule says so
	}
	return checkFilter(compiled)
}

func checkFilter(part *ber.Packet) error {
	switch part.Tag {
	case ldap.FilterAnd, ldap.FilterOr, ldap.FilterNot:
		for _, child := range part.Children {
			if err := checkFilter(child); err != nil {
				return err
			}
		}
		return nil
	case ldap.FilterPresent:
		return checkAsked(part.Data.String())
	case ldap.FilterExtensibleMatch:
		for _, child := range part.Children {
			if child.Tag == ldap.MatchingRuleAssertionType {
				return checkAsked(child.Data.String())
			}
		}
		return fmt.Errorf("asks for all attributes at once: name one in front of the :=")
	default:
		return checkAsked(part.Children[0].Data.String())
	}
}

func checkAsked(name string) error {
	base, _, _ := strings.Cut(name, ";")
	switch {
	case SecretAttribute(base):
		return fmt.Errorf("asks for %s, which holds a secret", base)
	case !isAttribute(strings.ReplaceAll(base, "_", "-")) || base == "" || base[0] >= '0' && base[0] <= '9':
		return fmt.Errorf("asks for %q: write the attribute by its name, of letters, digits and hyphens", base)
	}
	return nil
}
