// Package user decides about accounts.
package user

import (
	"slices"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// Kind is the first part of an account's stream name.
const Kind = "user"

// Where an account's password is kept.
const (
	SourceLocal     = "local"
	SourceDirectory = "directory"
)

// Events is the catalogue of the account's events.
var Events = slices.Concat([]domain.Event{
	Registered{}, EmailChanged{}, NameChanged{}, PhoneChanged{}, CompanyChanged{}, DepartmentChanged{},
	PositionChanged{},
	AccessPeriodChanged{}, Activated{}, Deactivated{}, SuperuserGranted{}, SuperuserRevoked{}, SuperuserExercised{},
	TwoFactorRequired{}, TwoFactorRequirementLifted{}, LanguageChanged{}, PhotoChanged{}, PhotoRemoved{},
	RoleGiven{}, RoleTaken{}, GroupJoined{}, GroupLeft{},
}, credentialEvents, directoryEvents)

// Registered starts an account. CompanyID is uuid.Nil for none; StartDate and EndDate are the first and the last day
// of access, empty for no bound.
type Registered struct {
	Email      string      `json:"email" personal:"true"`
	FirstName  string      `json:"first_name,omitempty" personal:"true"`
	LastName   string      `json:"last_name,omitempty" personal:"true"`
	Phone      string      `json:"phone,omitempty" personal:"true"`
	CompanyID  uuid.UUID   `json:"company_id,omitzero"`
	Department string      `json:"department,omitempty"`
	Position   string      `json:"position,omitempty"`
	StartDate  domain.Date `json:"start_date,omitzero"`
	EndDate    domain.Date `json:"end_date,omitzero"`
	Source     string      `json:"source"`
}

// EmailChanged gives the account another e-mail address, which is also its user name.
//
// Doubtful: somebody changed it who is no superuser. Whoever set the password until then, or sets one by a link to the
// new address, may not be the person.
type EmailChanged struct {
	Email    domain.Changed[string] `json:"email" personal:"true"`
	Doubtful bool                   `json:"doubtful,omitempty"`
}

// NameChanged changes the first name, the last name or both; a part that stays is left out.
type NameChanged struct {
	FirstName domain.Changed[string] `json:"first_name,omitzero" personal:"true"`
	LastName  domain.Changed[string] `json:"last_name,omitzero" personal:"true"`
}

// PhoneChanged changes the phone number.
type PhoneChanged struct {
	Phone domain.Changed[string] `json:"phone" personal:"true"`
}

// CompanyChanged moves the account to another company, or out of any.
type CompanyChanged struct {
	CompanyID domain.Changed[uuid.UUID] `json:"company_id"`
}

// DepartmentChanged changes the department.
type DepartmentChanged struct {
	Department domain.Changed[string] `json:"department"`
}

// PositionChanged changes the position held in the company.
type PositionChanged struct {
	Position domain.Changed[string] `json:"position"`
}

// AccessPeriodChanged changes the first day, the last day or both; a bound that stays is left out.
type AccessPeriodChanged struct {
	StartDate domain.Changed[domain.Date] `json:"start_date,omitzero"`
	EndDate   domain.Changed[domain.Date] `json:"end_date,omitzero"`
}

// extends says whether the account can be used on a day on which it could not: what was opened before its access ended
// does not come back to life.
func (e AccessPeriodChanged) extends() bool {
	none := domain.Changed[domain.Date]{}
	earlier := e.StartDate != none && (e.StartDate.To.IsZero() ||
		!e.StartDate.From.IsZero() && e.StartDate.To.Before(e.StartDate.From))
	later := e.EndDate != none && (e.EndDate.To.IsZero() ||
		!e.EndDate.From.IsZero() && e.EndDate.From.Before(e.EndDate.To))
	return earlier || later
}

// Activated lets the account sign in again.
type Activated struct{}

// Deactivated closes the account at once.
type Deactivated struct {
	Reason string `json:"reason,omitempty"`
}

// SuperuserGranted lets the account do everything.
type SuperuserGranted struct{}

// SuperuserRevoked takes that back.
type SuperuserRevoked struct{}

// SuperuserExercised is recorded for a superuser who is about to limit another superuser. AccountID is the other's.
type SuperuserExercised struct {
	AccountID uuid.UUID `json:"account_id"`
}

// TwoFactorRequired asks for a second factor at every sign-in.
type TwoFactorRequired struct{}

// TwoFactorRequirementLifted no longer asks for it.
type TwoFactorRequirementLifted struct{}

// LanguageChanged chooses the language of mails and pages for the person.
type LanguageChanged struct {
	Language domain.Changed[string] `json:"language"`
}

// PhotoChanged replaces the photo: a JPEG, re-encoded by us.
type PhotoChanged struct {
	JPEG   []byte `json:"jpeg" history:"-" readmodel:"-" personal:"true"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

// PhotoRemoved takes the photo away.
type PhotoRemoved struct{}

// RoleGiven gives the account a role. RoleName is the name at that time.
type RoleGiven struct {
	RoleID   uuid.UUID `json:"role_id"`
	RoleName string    `json:"role_name" history:"-"`
}

// RoleTaken takes a role away.
type RoleTaken struct {
	RoleID   uuid.UUID `json:"role_id"`
	RoleName string    `json:"role_name" history:"-"`
}

// GroupJoined makes the account a member of a group. GroupName is the name at that time.
type GroupJoined struct {
	GroupID   uuid.UUID `json:"group_id"`
	GroupName string    `json:"group_name" history:"-"`
}

// GroupLeft ends a membership.
type GroupLeft struct {
	GroupID   uuid.UUID `json:"group_id"`
	GroupName string    `json:"group_name" history:"-"`
}

func (Registered) EventType() string                 { return "user.registered" }
func (EmailChanged) EventType() string               { return "user.email_changed" }
func (NameChanged) EventType() string                { return "user.name_changed" }
func (PhoneChanged) EventType() string               { return "user.phone_changed" }
func (CompanyChanged) EventType() string             { return "user.company_changed" }
func (DepartmentChanged) EventType() string          { return "user.department_changed" }
func (PositionChanged) EventType() string            { return "user.position_changed" }
func (AccessPeriodChanged) EventType() string        { return "user.access_period_changed" }
func (Activated) EventType() string                  { return "user.activated" }
func (Deactivated) EventType() string                { return "user.deactivated" }
func (SuperuserGranted) EventType() string           { return "user.superuser_granted" }
func (SuperuserRevoked) EventType() string           { return "user.superuser_revoked" }
func (SuperuserExercised) EventType() string         { return "user.superuser_exercised" }
func (TwoFactorRequired) EventType() string          { return "user.two_factor_required" }
func (TwoFactorRequirementLifted) EventType() string { return "user.two_factor_requirement_lifted" }
func (LanguageChanged) EventType() string            { return "user.language_changed" }
func (PhotoChanged) EventType() string               { return "user.photo_changed" }
func (PhotoRemoved) EventType() string               { return "user.photo_removed" }
func (RoleGiven) EventType() string                  { return "user.role_given" }
func (RoleTaken) EventType() string                  { return "user.role_taken" }
func (GroupJoined) EventType() string                { return "user.group_joined" }
func (GroupLeft) EventType() string                  { return "user.group_left" }

func (e Registered) Summary() string { return "account " + e.Email + " registered" }
func (e EmailChanged) Summary() string {
	return "e-mail changed from " + e.Email.From + " to " + e.Email.To
}
func (NameChanged) Summary() string         { return "name changed" }
func (PhoneChanged) Summary() string        { return "phone changed" }
func (CompanyChanged) Summary() string      { return "moved to another company" }
func (DepartmentChanged) Summary() string   { return "department changed" }
func (PositionChanged) Summary() string     { return "position changed" }
func (AccessPeriodChanged) Summary() string { return "access period changed" }
func (Activated) Summary() string           { return "activated" }
func (e Deactivated) Summary() string       { return "deactivated" + domain.Because(e.Reason) }
func (SuperuserGranted) Summary() string    { return "made a superuser" }
func (SuperuserRevoked) Summary() string    { return "no longer a superuser" }
func (SuperuserExercised) Summary() string {
	return "used superuser rights to limit the account of another superuser"
}
func (TwoFactorRequired) Summary() string          { return "two-factor sign-in required" }
func (TwoFactorRequirementLifted) Summary() string { return "two-factor sign-in no longer required" }
func (e LanguageChanged) Summary() string          { return "language changed to " + e.Language.To }
func (PhotoChanged) Summary() string               { return "photo changed" }
func (PhotoRemoved) Summary() string               { return "photo removed" }
func (e RoleGiven) Summary() string                { return "given the role " + e.RoleName }
func (e RoleTaken) Summary() string                { return "no longer has the role " + e.RoleName }
func (e GroupJoined) Summary() string              { return "joined the group " + e.GroupName }
func (e GroupLeft) Summary() string                { return "left the group " + e.GroupName }

// Changes of events whose change is not one of their fields, named as the fields of the HTTP API.

func (Activated) Changes() []domain.FieldChange { return flag("active", true) }
func (e Deactivated) Changes() []domain.FieldChange {
	return flag("active", false)
}
func (SuperuserGranted) Changes() []domain.FieldChange  { return flag("superuser", true) }
func (SuperuserRevoked) Changes() []domain.FieldChange  { return flag("superuser", false) }
func (TwoFactorRequired) Changes() []domain.FieldChange { return flag("require_two_factor", true) }
func (TwoFactorRequirementLifted) Changes() []domain.FieldChange {
	return flag("require_two_factor", false)
}
func (e RoleGiven) Changes() []domain.FieldChange {
	return []domain.FieldChange{{Field: "roles", To: e.RoleName}}
}
func (e RoleTaken) Changes() []domain.FieldChange {
	return []domain.FieldChange{{Field: "roles", From: e.RoleName}}
}
func (e GroupJoined) Changes() []domain.FieldChange {
	return []domain.FieldChange{{Field: "groups", To: e.GroupName}}
}
func (e GroupLeft) Changes() []domain.FieldChange {
	return []domain.FieldChange{{Field: "groups", From: e.GroupName}}
}

func flag(field string, to bool) []domain.FieldChange {
	return []domain.FieldChange{{Field: field, From: !to, To: to}}
}
