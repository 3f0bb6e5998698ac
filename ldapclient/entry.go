package ldapclient

import (
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain/user"
)

// Entry is a person in the directory.
type Entry struct {
	DN string
	// GUID is the objectGUID in Active Directory's own notation, elsewhere the entryUUID; empty where there is neither.
	// It stays when the entry is moved or renamed.
	GUID string

	Email, FirstName, LastName, Phone, Department, Position string

	// The flags are those of Active Directory, false elsewhere. A password that must be changed is not expired as well.
	Disabled, Locked, Expired, PasswordExpired, MustChange bool

	// Groups are the common names, sorted, without those that have none. Nil unless asked for, and of Config.Entries.
	Groups []string
}

// What Active Directory says about an account.
// https://learn.microsoft.com/windows/win32/adschema/attributes-all
const (
	attrAccountControl = "userAccountControl"
	// the flags that depend on the domain's policy and the time
	attrComputedControl = "msDS-User-Account-Control-Computed"
	attrAccountExpires  = "accountExpires"
	attrLockoutTime     = "lockoutTime"
	attrPasswordSet     = "pwdLastSet"
	attrGUID            = "objectGUID"
	attrSID             = "objectSid"
	attrPrimaryGroup    = "primaryGroupID"
	attrMemberOf        = "memberOf"
	attrEntryUUID       = "entryUUID" // RFC 4530

	controlDisabled        = 0x2
	controlLocked          = 0x10
	controlPasswordExpired = 0x800000
)

// attributes are what is read of a person.
func (c Config) attributes() []string {
	a := c.Attributes.shown()
	names := []string{
		a.Email, attrAccountControl, attrComputedControl, attrAccountExpires, attrLockoutTime,
		attrPasswordSet,
		attrGUID, attrEntryUUID, attrSID, attrPrimaryGroup, attrMemberOf,
	}
	for _, name := range []string{a.FirstName, a.LastName, a.Phone, a.Department, a.Position} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// entry reads what was found. email picks the value of an attribute that has several; without it the first is taken.
func (c Config) entry(raw *ldap.Entry, email string, now time.Time) Entry {
	value := func(attribute string) string {
		if attribute == "" {
			return ""
		}
		return strings.ToValidUTF8(strings.TrimSpace(raw.GetEqualFoldAttributeValue(attribute)), "\uFFFD")
	}
	number := func(attribute string) int64 {
		n, err := strconv.ParseInt(value(attribute), 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	a := c.Attributes.shown()
	e := Entry{
		DN:         raw.DN,
		GUID:       guid(raw),
		Email:      value(a.Email),
		FirstName:  value(a.FirstName),
		LastName:   value(a.LastName),
		Phone:      value(a.Phone),
		Department: value(a.Department),
		Position:   value(a.Position),
	}
	for _, address := range raw.GetEqualFoldAttributeValues(a.Email) {
		if email != "" && user.NormalizeEmail(address) == user.NormalizeEmail(email) {
			e.Email = strings.TrimSpace(address)
		}
	}

	computed := number(attrComputedControl)
	e.Disabled = number(attrAccountControl)&controlDisabled != 0
	if value(attrComputedControl) != "" {
		e.Locked = computed&controlLocked != 0
	} else {
		e.Locked = number(attrLockoutTime) != 0 // it stays after the lockout ended, until the next sign-in
	}
	if expires := number(attrAccountExpires); expires > 0 {
		e.Expired = !fileTime(expires).After(now)
	}
	e.MustChange = value(attrPasswordSet) == "0" &&
		(value(attrComputedControl) == "" || computed&controlPasswordExpired != 0)
	e.PasswordExpired = computed&controlPasswordExpired != 0 && !e.MustChange
	return e
}

// fileTime is Windows' time: units of 100 ns since 1601. "Never" is 1<<63-1, which time.Time can hold.
func fileTime(ticks int64) time.Time {
	const toUnix = 11644473600 // seconds
	return time.Unix(ticks/1e7-toUnix, ticks%1e7*100)
}

// guid is the objectGUID as Active Directory's tools write it: its first three parts are little-endian.
func guid(raw *ldap.Entry) string {
	b := raw.GetEqualFoldRawAttributeValue(attrGUID)
	if len(b) != 16 {
		if id, err := uuid.Parse(raw.GetEqualFoldAttributeValue(attrEntryUUID)); err == nil {
			return id.String()
		}
		return ""
	}
	var id uuid.UUID
	binary.BigEndian.PutUint32(id[0:], binary.LittleEndian.Uint32(b[0:]))
	binary.BigEndian.PutUint16(id[4:], binary.LittleEndian.Uint16(b[4:]))
	binary.BigEndian.PutUint16(id[6:], binary.LittleEndian.Uint16(b[6:]))
	copy(id[8:], b[8:])
	return id.String()
}
