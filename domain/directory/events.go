// Package directory decides about connections to directory servers (Active Directory or another LDAP server) and about
// what an answer of theirs means for an account.
package directory

import (
	"strconv"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// Kind is the first part of a connection's stream name.
const Kind = "directory"

// Events is the catalogue of the connection's events.
var Events = []domain.Event{
	Connected{}, Renamed{}, CompanyChanged{}, ServerChanged{}, TimeoutChanged{}, BindPasswordSet{},
	BindPasswordRemoved{}, AttributesChanged{},
	GroupSyncChanged{}, CheckChanged{}, SwitchedOn{}, SwitchedOff{}, VouchedFor{}, VouchLost{}, CheckStopped{},
	CheckResumed{},
}

// Connected starts a connection. CompanyID is uuid.Nil for one that serves all companies.
type Connected struct {
	Name            string        `json:"name"`
	CompanyID       uuid.UUID     `json:"company_id,omitzero"`
	URLs            []string      `json:"urls"`
	StartTLS        bool          `json:"start_tls"`
	CAPEM           string        `json:"ca_pem,omitempty"`
	BaseDN          string        `json:"base_dn"`
	BindDN          string        `json:"bind_dn,omitempty"`
	BindPassword    domain.Sealed `json:"bind_password,omitempty" history:"-" secret:"true"`
	HasBindPassword bool          `json:"has_bind_password,omitempty"`
	UserFilter      string        `json:"user_filter"`
	TimeoutSeconds  int           `json:"timeout_s"`
	AttrEmail       string        `json:"attr_email"`
	AttrFirstName   string        `json:"attr_first_name,omitempty"`
	AttrLastName    string        `json:"attr_last_name,omitempty"`
	AttrPhone       string        `json:"attr_phone,omitempty"`
	AttrDepartment  string        `json:"attr_department,omitempty"`
	AttrPosition    string        `json:"attr_position,omitempty"`
	SyncGroups      bool          `json:"sync_groups"`
	NestedGroups    bool          `json:"nested_groups"`
	CheckMinutes    int           `json:"check_minutes"`
	CheckLimit      int           `json:"check_limit_percent"`
	Enabled         bool          `json:"enabled"`
	Vouched         bool          `json:"vouched"` // by a superuser
}

// Renamed gives the connection another name.
type Renamed struct {
	Name domain.Changed[string] `json:"name"`
}

// CompanyChanged lets the connection serve another company, or all of them.
type CompanyChanged struct {
	CompanyID domain.Changed[uuid.UUID] `json:"company_id"`
}

// ServerChanged changes where entries are looked for and how; a field that stays is left out.
type ServerChanged struct {
	URLs       domain.Changed[[]string] `json:"urls,omitzero"`
	StartTLS   domain.Changed[bool]     `json:"start_tls,omitzero"`
	CAPEM      domain.Changed[string]   `json:"ca_pem,omitzero"`
	BaseDN     domain.Changed[string]   `json:"base_dn,omitzero"`
	BindDN     domain.Changed[string]   `json:"bind_dn,omitzero"`
	UserFilter domain.Changed[string]   `json:"user_filter,omitzero"`
}

// TimeoutChanged changes how long each step of asking may take, in seconds.
type TimeoutChanged struct {
	TimeoutSeconds domain.Changed[int] `json:"timeout_s"`
}

// BindPasswordSet replaces the password with which SecBoard itself signs in to search.
type BindPasswordSet struct {
	Password domain.Sealed `json:"password" history:"-" secret:"true"`
}

// BindPasswordRemoved leaves the connection without one: it searches anonymously.
type BindPasswordRemoved struct{}

// AttributesChanged changes which attribute of an entry gives which field; one that stays is left out.
type AttributesChanged struct {
	AttrEmail      domain.Changed[string] `json:"attr_email,omitzero"`
	AttrFirstName  domain.Changed[string] `json:"attr_first_name,omitzero"`
	AttrLastName   domain.Changed[string] `json:"attr_last_name,omitzero"`
	AttrPhone      domain.Changed[string] `json:"attr_phone,omitzero"`
	AttrDepartment domain.Changed[string] `json:"attr_department,omitzero"`
	AttrPosition   domain.Changed[string] `json:"attr_position,omitzero"`
}

// GroupSyncChanged changes whether sign-ins bring people into the groups that they are in there.
type GroupSyncChanged struct {
	SyncGroups   domain.Changed[bool] `json:"sync_groups,omitzero"`
	NestedGroups domain.Changed[bool] `json:"nested_groups,omitzero"`
}

// CheckChanged changes how often all accounts of the connection are checked, in minutes (0: never), and how many
// percent of them one check may close or open before somebody is asked.
type CheckChanged struct {
	CheckMinutes domain.Changed[int] `json:"check_minutes,omitzero"`
	CheckLimit   domain.Changed[int] `json:"check_limit_percent,omitzero"`
}

// SwitchedOn lets people sign in through the connection again.
type SwitchedOn struct{}

// SwitchedOff stops that.
type SwitchedOff struct{}

// VouchedFor says that a superuser approves the connection as it is. Only then does it give groups, and sign in people
// who have rights: whoever can change a connection could otherwise become any of them.
type VouchedFor struct{}

// VouchLost says that somebody who is no superuser changed who may get in through the connection.
type VouchLost struct{}

// CheckStopped says that a check would have changed too many accounts at once and changed none. It waits for somebody
// to look.
type CheckStopped struct {
	Accounts int    `json:"accounts"` // that come from the connection
	Close    int    `json:"close"`    // of them would be closed
	Open     int    `json:"open"`     // and would be opened again
	Reason   string `json:"reason"`
}

// CheckResumed says that checks are resumed: somebody confirmed the changes, or they are no longer too many.
type CheckResumed struct {
	Confirmed bool `json:"confirmed"`
}

func (Connected) EventType() string           { return "directory.connected" }
func (Renamed) EventType() string             { return "directory.renamed" }
func (CompanyChanged) EventType() string      { return "directory.company_changed" }
func (ServerChanged) EventType() string       { return "directory.server_changed" }
func (TimeoutChanged) EventType() string      { return "directory.timeout_changed" }
func (BindPasswordSet) EventType() string     { return "directory.bind_password_set" }
func (BindPasswordRemoved) EventType() string { return "directory.bind_password_removed" }
func (AttributesChanged) EventType() string   { return "directory.attributes_changed" }
func (GroupSyncChanged) EventType() string    { return "directory.group_sync_changed" }
func (CheckChanged) EventType() string        { return "directory.check_changed" }
func (SwitchedOn) EventType() string          { return "directory.switched_on" }
func (SwitchedOff) EventType() string         { return "directory.switched_off" }
func (VouchedFor) EventType() string          { return "directory.vouched_for" }
func (VouchLost) EventType() string           { return "directory.vouch_lost" }
func (CheckStopped) EventType() string        { return "directory.check_stopped" }
func (CheckResumed) EventType() string        { return "directory.check_resumed" }

func (e Connected) Summary() string         { return "directory " + e.Name + " connected" }
func (e Renamed) Summary() string           { return "renamed from " + e.Name.From + " to " + e.Name.To }
func (CompanyChanged) Summary() string      { return "serves another company" }
func (ServerChanged) Summary() string       { return "server settings changed" }
func (TimeoutChanged) Summary() string      { return "time-out changed" }
func (BindPasswordSet) Summary() string     { return "bind password set" }
func (BindPasswordRemoved) Summary() string { return "bind password removed" }
func (AttributesChanged) Summary() string   { return "attributes changed" }
func (GroupSyncChanged) Summary() string    { return "group synchronisation changed" }
func (CheckChanged) Summary() string        { return "background check changed" }
func (SwitchedOn) Summary() string          { return "switched on" }
func (SwitchedOff) Summary() string         { return "switched off" }
func (VouchedFor) Summary() string          { return "approved by a superuser" }
func (VouchLost) Summary() string           { return "no longer approved by a superuser" }
func (e CheckStopped) Summary() string {
	return "check stopped before it changed " + strconv.Itoa(e.Close+e.Open) + " of " + strconv.Itoa(e.Accounts) +
		" accounts: " + e.Reason
}
func (e CheckResumed) Summary() string {
	if e.Confirmed {
		return "changes of the check confirmed"
	}
	return "checks resumed"
}

// Changes of events whose change is not one of their fields, named as the fields of the HTTP API.

func (BindPasswordSet) Changes() []domain.FieldChange {
	return []domain.FieldChange{{Field: "has_bind_password", To: true}}
}
func (BindPasswordRemoved) Changes() []domain.FieldChange { return flag("has_bind_password", false) }
func (SwitchedOn) Changes() []domain.FieldChange          { return flag("enabled", true) }
func (SwitchedOff) Changes() []domain.FieldChange         { return flag("enabled", false) }
func (VouchedFor) Changes() []domain.FieldChange          { return flag("vouched", true) }
func (VouchLost) Changes() []domain.FieldChange           { return flag("vouched", false) }

func flag(field string, to bool) []domain.FieldChange {
	return []domain.FieldChange{{Field: field, From: !to, To: to}}
}
