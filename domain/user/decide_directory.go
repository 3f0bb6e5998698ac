package user

import (
	"slices"
	"strings"
	"unicode"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/directory"
)

// Why a directory's yes does not let somebody in.
var (
	ErrOtherEntry = domain.Refusef(domain.CodeOtherDirectoryEntry,
		"the account is bound to another entry of the directory: unlink it first, if it is the same person")
	ErrEntryTaken = domain.Refusef(domain.CodeEntryOfAnotherAccount,
		"the entry of the directory is bound to another account: unlink that one first, if the entry is this person's")
	ErrOwnLogin    = domain.Refusef(domain.CodeLocalAccount, "the account has a local password: sign in with it")
	ErrNotApproved = domain.Refusef(domain.CodeDirectoryNotVouched,
		"a superuser has to approve the connection before people with rights can sign in through it")
)

// DirectoryEntry is an entry of a directory with the connection through which it was found.
type DirectoryEntry struct {
	DirectoryID uuid.UUID
	CompanyID   uuid.UUID // of the connection; uuid.Nil: serves all
	Vouched     bool      // as directory.State
	Entry       directory.Entry
	Groups      []Group  // that the entry's directory groups name, if the connection gives groups
	Missed      []string // those with nearly such a name
	Synced      bool     // the connection gives groups
}

// RegisterFromDirectory starts an account for somebody whom a directory knows. Nothing is given but groups.
func RegisterFromDirectory(s State, found DirectoryEntry) ([]domain.Event, error) {
	if s.Exists {
		return nil, nil
	}
	d := detailsOf(found.Entry, Details{Email: strings.TrimSpace(found.Entry.Email), CompanyID: found.CompanyID})
	if err := d.Validate(); err != nil {
		return nil, err
	}
	events := []domain.Event{Registered{
		Email: d.Email, FirstName: d.FirstName, LastName: d.LastName, Phone: d.Phone, CompanyID: d.CompanyID,
		Department: d.Department, Position: d.Position, Source: SourceDirectory,
	}}
	s.Evolve(events[0])
	more, err := SyncFromDirectory(s, found)
	return append(events, more...), err
}

// MayDoSomething says whether the account has rights that somebody else could want.
func (s State) MayDoSomething() bool { return s.Superuser || len(s.Groups) > 0 }

// Person is the account as the choice of directories sees it.
func (s State) Person() directory.Person {
	return directory.Person{
		Known: s.Exists, CompanyID: s.Details.CompanyID, ConnectionID: s.Directory.ID, Rights: s.MayDoSomething(),
	}
}

// SyncFromDirectory brings an account up to date with its entry, after the directory accepted its password: bound on
// the first time, opened again, its names, and groups more. What the directory does not have, or does not show, is left
// alone.
func SyncFromDirectory(s State, found DirectoryEntry) ([]domain.Event, error) {
	link, entry := s.Directory, found.Entry
	switch {
	case !s.Exists:
		return nil, ErrNoAccount()
	case s.Password.Set():
		return nil, ErrOwnLogin
	case !found.Vouched && s.MayDoSomething():
		return nil, ErrNotApproved
	case link.Linked() && link.GUID != entry.GUID, link.Linked() && link.ID != found.DirectoryID && !found.Vouched:
		return nil, ErrOtherEntry
	}
	var events []domain.Event
	switch {
	case link.ID != found.DirectoryID:
		events = append(events, DirectoryLinked{DirectoryID: found.DirectoryID, GUID: entry.GUID, DN: entry.DN})
	case link.DN != entry.DN:
		events = append(events, DirectoryEntryMoved{domain.Changed[string]{From: link.DN, To: entry.DN}})
	}
	if link.Disabled && entry.Refusal() != directory.Disabled {
		events = append(events, DirectoryEnabled{})
	}
	wanted := detailsOf(entry, s.Details)
	if NormalizeEmail(entry.Email) != NormalizeEmail(s.Details.Email) {
		wanted.Email = strings.TrimSpace(entry.Email)
	}
	if err := wanted.Validate(); err != nil {
		return nil, err
	}
	events = append(events, changeDetails(s.Details, wanted, false)...)
	return append(events, syncGroups(s, found)...), nil
}

// syncGroups joins the groups that the directory names, and says which it nearly names. It ends no membership.
func syncGroups(s State, found DirectoryEntry) []domain.Event {
	if !found.Synced || !found.Vouched {
		return nil
	}
	var events []domain.Event
	joined := map[uuid.UUID]bool{}
	for _, group := range found.Groups {
		_, member := s.Groups[group.ID]
		if member || joined[group.ID] || group.Retired || group.CompanyID != uuid.Nil &&
			group.CompanyID != s.Details.CompanyID {
			continue
		}
		joined[group.ID] = true
		events = append(events, GroupSynced{GroupID: group.ID, GroupName: group.Name, DirectoryID: found.DirectoryID})
	}
	if strings.Join(found.Missed, "\n") != s.Directory.Missed {
		events = append(events, GroupsMissed{Groups: slices.Clone(found.Missed)})
	}
	return events
}

// detailsOf takes from an entry what it has, in a form that an account can hold.
func detailsOf(entry directory.Entry, d Details) Details {
	for _, field := range []struct {
		to    *string
		value string
		max   int
	}{
		{&d.FirstName, entry.FirstName, 100}, {&d.LastName, entry.LastName, 100}, {&d.Phone, entry.Phone, 50},
		{&d.Department, entry.Department, 200}, {&d.Position, entry.Position, 200},
	} {
		if text := fitting(field.value, field.max); text != "" {
			*field.to = text
		}
	}
	return d.Normalized()
}

// fitting is a text of a directory without what an account can't hold: directories check less.
func fitting(text string, max int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	runes := []rune(strings.TrimSpace(text))
	return strings.TrimSpace(string(runes[:min(len(runes), max)]))
}

// SyncClosing closes an account because the directory closed its entry, or opens it again (reason ""). It concerns only
// accounts that are bound to that very entry, and accounts with rights only while a superuser has approved the
// connection: whoever else may change it could close them otherwise.
func SyncClosing(s State, directoryID uuid.UUID, approved bool, guid, reason string) ([]domain.Event, error) {
	link := s.Directory
	switch {
	case !approved && s.MayDoSomething():
		return nil, nil
	case !s.Exists || s.Password.Set() || link.ID != directoryID || link.GUID != guid:
		return nil, nil
	case reason == "" && link.Disabled:
		return []domain.Event{DirectoryEnabled{}}, nil
	case reason != "" && !link.Disabled:
		return []domain.Event{DirectoryDisabled{Reason: reason}}, nil
	}
	return nil, nil
}

// UnlinkDirectory forgets the entry that the account is bound to, so that a new one of the same person can take its
// place.
func UnlinkDirectory(s State, by By, reason string) ([]domain.Event, error) {
	reason, err := domain.Reason(reason, true)
	if err != nil {
		return nil, err
	}
	if err := s.changeable(by); err != nil {
		return nil, err
	}
	if !s.Directory.Linked() {
		return nil, nil
	}
	return []domain.Event{DirectoryUnlinked{DirectoryID: s.Directory.ID, GUID: s.Directory.GUID, Reason: reason}}, nil
}
