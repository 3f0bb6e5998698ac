package user

import (
	"strings"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// directoryEvents is the catalogue of what a directory does to an account.
var directoryEvents = []domain.Event{
	DirectoryLinked{}, DirectoryUnlinked{}, DirectoryEntryMoved{}, DirectoryDisabled{}, DirectoryEnabled{},
	GroupSynced{}, GroupsMissed{},
}

// DirectoryLinked binds the account to one entry of a directory, which keeps its password from now on. The GUID stays
// when the entry is renamed; another entry with the same e-mail address is somebody else.
type DirectoryLinked struct {
	DirectoryID uuid.UUID `json:"directory_id"`
	GUID        string    `json:"guid"`
	DN          string    `json:"dn" personal:"true"`
}

// DirectoryUnlinked forgets the entry: the next one with the account's e-mail address is bound.
type DirectoryUnlinked struct {
	DirectoryID uuid.UUID `json:"directory_id" history:"-"`
	GUID        string    `json:"guid" history:"-"`
	Reason      string    `json:"reason" history:"-"`
}

// DirectoryEntryMoved says that the entry has another distinguished name.
type DirectoryEntryMoved struct {
	DN domain.Changed[string] `json:"dn" personal:"true"`
}

// DirectoryDisabled closes the account because the directory does. Reason is one of the Closed constants.
type DirectoryDisabled struct {
	Reason string `json:"reason"`
}

// DirectoryEnabled opens it again.
type DirectoryEnabled struct{}

// GroupSynced makes the account a member of a group because its entry is in a directory group of the same name.
type GroupSynced struct {
	GroupID     uuid.UUID `json:"group_id"`
	GroupName   string    `json:"group_name"`
	DirectoryID uuid.UUID `json:"directory_id"`
}

// GroupsMissed lists the directory groups of the entry with almost the name of a group here that give none; it replaces
// the former list.
type GroupsMissed struct {
	Groups []string `json:"groups"` // each with why, as a sentence
}

// Why a directory closes an account.
const (
	ClosedDisabled = "disabled" // the entry is disabled
	ClosedVanished = "vanished" // there is no such entry any more, or the user filter leaves it out
)

func (DirectoryLinked) EventType() string     { return "user.directory_linked" }
func (DirectoryUnlinked) EventType() string   { return "user.directory_unlinked" }
func (DirectoryEntryMoved) EventType() string { return "user.directory_entry_moved" }
func (DirectoryDisabled) EventType() string   { return "user.directory_disabled" }
func (DirectoryEnabled) EventType() string    { return "user.directory_enabled" }
func (GroupSynced) EventType() string         { return "user.group_synced" }
func (GroupsMissed) EventType() string        { return "user.groups_missed" }

func (DirectoryLinked) Summary() string { return "bound to an entry of the directory" }
func (e DirectoryUnlinked) Summary() string {
	return "no longer bound to an entry of the directory" + domain.Because(e.Reason)
}
func (DirectoryEntryMoved) Summary() string { return "moved within the directory" }
func (e DirectoryDisabled) Summary() string {
	if e.Reason == ClosedVanished {
		return "closed by the directory: its entry no longer exists"
	}
	return "closed by the directory: its entry is disabled"
}
func (DirectoryEnabled) Summary() string { return "opened again by the directory" }
func (e GroupSynced) Summary() string {
	return "joined the group " + e.GroupName + ", as in the directory"
}
func (e GroupsMissed) Summary() string {
	if len(e.Groups) == 0 {
		return "directory groups now give all groups of the same name here"
	}
	return "directory groups that don't give the group of that name here: " + strings.Join(e.Groups, "; ")
}

// Changes names the fields as the HTTP API does.

func (e DirectoryUnlinked) Changes() []domain.FieldChange {
	return []domain.FieldChange{{Field: "directory_id", From: e.DirectoryID}, {Field: "guid", From: e.GUID}}
}
func (DirectoryDisabled) Changes() []domain.FieldChange { return flag("directory_disabled", true) }
func (DirectoryEnabled) Changes() []domain.FieldChange  { return flag("directory_disabled", false) }
func (e GroupSynced) Changes() []domain.FieldChange {
	return []domain.FieldChange{
		{Field: "groups", To: e.GroupName}, {Field: "source", To: SourceDirectory},
		{Field: "directory_id", To: e.DirectoryID},
	}
}

// DirectoryLink says to which entry of a directory an account is bound.
type DirectoryLink struct {
	ID       uuid.UUID // of the connection; uuid.Nil: bound to no entry
	GUID     string
	DN       string
	Disabled bool   // the directory closed the account
	Reason   string // why it did
	Missed   string // the last GroupsMissed, in one text
}

// Linked says whether the account is bound to an entry.
func (l DirectoryLink) Linked() bool { return l.ID != uuid.Nil }

func (s *State) evolveDirectory(event domain.Event) {
	link := &s.Directory
	switch e := event.(type) {
	case DirectoryLinked:
		link.ID, link.GUID, link.DN = e.DirectoryID, e.GUID, e.DN
		s.Source = SourceDirectory
	case DirectoryUnlinked:
		*link = DirectoryLink{}
	case DirectoryEntryMoved:
		link.DN = e.DN.To
	case DirectoryDisabled:
		link.Disabled, link.Reason = true, e.Reason
	case DirectoryEnabled:
		link.Disabled, link.Reason = false, ""
	case PasswordSet: // by the operator: from now on the account is a local one
		*link = DirectoryLink{}
		s.Source = SourceLocal
	case GroupSynced:
		s.Groups[e.GroupID] = e.GroupName
	case GroupsMissed:
		link.Missed = strings.Join(e.Groups, "\n")
	}
}
