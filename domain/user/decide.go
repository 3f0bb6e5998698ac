package user

import (
	"cmp"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// Grants is what else an account is given: an active or inactive start, rights, roles and groups.
type Grants struct {
	Inactive         bool
	Superuser        bool
	RequireTwoFactor bool
	Roles            []Role
	Groups           []Group
}

// Role is a role as it is when it is given.
type Role struct {
	ID      uuid.UUID
	Name    string
	Retired bool
}

// Group is a group as it is when it is joined.
type Group struct {
	ID          uuid.UUID
	Name        string
	CompanyID   uuid.UUID // uuid.Nil: global
	Permissions domain.Permissions
	Retired     bool
}

// By is who decides, as far as the rules ask: what that actor may do, and whether the account is the actor's own.
type By struct {
	Superuser bool
	Granted   domain.Granted
	Self      bool
}

// Register starts an account and gives it what grants says, as one list of events.
func Register(s State, by By, details Details, grants Grants) ([]domain.Event, error) {
	details = details.Normalized()
	if err := details.Validate(); err != nil {
		return nil, err
	}
	if s.Exists {
		return nil, nil
	}
	events := []domain.Event{Registered{
		Email: details.Email, FirstName: details.FirstName, LastName: details.LastName, Phone: details.Phone,
		CompanyID: details.CompanyID, Department: details.Department, Position: details.Position,
		StartDate: details.StartDate, EndDate: details.EndDate, Source: SourceLocal,
	}}
	s.Evolve(events[0])
	active := !grants.Inactive
	more, err := Change(s, by, Patch{
		Active: &active, Superuser: &grants.Superuser, RequireTwoFactor: &grants.RequireTwoFactor,
		Roles: &grants.Roles, Groups: &grants.Groups,
	})
	if err != nil {
		return nil, err
	}
	return append(events, more...), nil
}

// Patch changes an account; nil leaves a field as it is, a pointer to the zero value clears it.
type Patch struct {
	Email            *string
	FirstName        *string
	LastName         *string
	Phone            *string
	CompanyID        *uuid.UUID
	Department       *string
	Position         *string
	StartDate        *domain.Date
	EndDate          *domain.Date
	Active           *bool
	Superuser        *bool
	RequireTwoFactor *bool
	Roles            *[]Role
	Groups           *[]Group // with a CompanyID that changes, all groups that the account is to have then
}

// ApplyTo is the details as the patch wants them, texts trimmed.
func (p Patch) ApplyTo(d Details) Details {
	d.Email = *cmp.Or(p.Email, &d.Email)
	d.FirstName = *cmp.Or(p.FirstName, &d.FirstName)
	d.LastName = *cmp.Or(p.LastName, &d.LastName)
	d.Phone = *cmp.Or(p.Phone, &d.Phone)
	d.CompanyID = *cmp.Or(p.CompanyID, &d.CompanyID)
	d.Department = *cmp.Or(p.Department, &d.Department)
	d.Position = *cmp.Or(p.Position, &d.Position)
	d.StartDate = *cmp.Or(p.StartDate, &d.StartDate)
	d.EndDate = *cmp.Or(p.EndDate, &d.EndDate)
	return d.Normalized()
}

// Validate reports every wrong field that the patch names. Whether a last day alone comes before the first day that the
// account has, only the account's details tell.
func (p Patch) Validate() error {
	d := p.ApplyTo(Details{})
	var invalid domain.Invalid
	if p.Email != nil {
		if message := domain.EmailProblem(d.Email); message != "" {
			invalid.Add("email", domain.CodeEmail, "%s", message)
		}
	}
	invalid.Text("first_name", d.FirstName, false, 100)
	invalid.Text("last_name", d.LastName, false, 100)
	invalid.Text("phone", d.Phone, false, 50)
	invalid.Text("department", d.Department, false, 200)
	invalid.Text("position", d.Position, false, 200)
	if !d.StartDate.IsZero() && !d.EndDate.IsZero() && d.EndDate.Before(d.StartDate) {
		invalid.Add("end_date", domain.CodeBeforeStartDate, "must not be before start_date (%s)", d.StartDate)
	}
	return invalid.Err()
}

// Change applies a patch: one event for each thing that changes.
func Change(s State, by By, patch Patch) ([]domain.Event, error) {
	if err := s.changeable(by); err != nil {
		return nil, err
	}
	wanted := patch.ApplyTo(s.Details)
	if err := wanted.Validate(); err != nil {
		return nil, err
	}
	if by.Self && !by.Superuser && NormalizeEmail(wanted.Email) != NormalizeEmail(s.Details.Email) {
		return nil, domain.Refusef(domain.CodeOwnAccount,
			"you can't change the e-mail address of your own account: ask another administrator")
	}
	if by.Self && (wanted.StartDate != s.Details.StartDate || wanted.EndDate != s.Details.EndDate) {
		return nil, domain.Refusef(domain.CodeOwnAccount,
			"you can't change the first and the last day of your own account: ask another administrator")
	}
	events := changeDetails(s.Details, wanted, !by.Superuser)
	for _, decide := range []func() ([]domain.Event, error){
		func() ([]domain.Event, error) { return changeActive(s, by, patch.Active, "") },
		func() ([]domain.Event, error) { return changeSuperuser(s, by, patch.Superuser) },
		func() ([]domain.Event, error) { return changeRequirement(s, by, patch.RequireTwoFactor) },
		func() ([]domain.Event, error) { return changeRoles(s, patch.Roles) },
		func() ([]domain.Event, error) { return changeGroups(s, by, wanted.CompanyID, patch.Groups) },
	} {
		more, err := decide()
		if err != nil {
			return nil, err
		}
		events = append(events, more...)
	}
	return events, nil
}

// changeDetails gives an event for each thing that changes. doubtful is that of a changed address.
func changeDetails(current, wanted Details, doubtful bool) []domain.Event {
	var events []domain.Event
	if email, ok := domain.Change(current.Email, &wanted.Email); ok {
		events = append(events, EmailChanged{Email: email, Doubtful: doubtful})
	}
	first, firstChanged := domain.Change(current.FirstName, &wanted.FirstName)
	last, lastChanged := domain.Change(current.LastName, &wanted.LastName)
	if firstChanged || lastChanged {
		events = append(events, NameChanged{first, last})
	}
	if phone, ok := domain.Change(current.Phone, &wanted.Phone); ok {
		events = append(events, PhoneChanged{phone})
	}
	if company, ok := domain.Change(current.CompanyID, &wanted.CompanyID); ok {
		events = append(events, CompanyChanged{company})
	}
	if department, ok := domain.Change(current.Department, &wanted.Department); ok {
		events = append(events, DepartmentChanged{department})
	}
	if position, ok := domain.Change(current.Position, &wanted.Position); ok {
		events = append(events, PositionChanged{position})
	}
	start, startChanged := domain.Change(current.StartDate, &wanted.StartDate)
	end, endChanged := domain.Change(current.EndDate, &wanted.EndDate)
	if startChanged || endChanged {
		events = append(events, AccessPeriodChanged{start, end})
	}
	return events
}

// Deactivate closes the account. Doing it twice changes nothing.
func Deactivate(s State, by By, reason string) ([]domain.Event, error) {
	reason, err := domain.Reason(reason, false)
	if err != nil {
		return nil, err
	}
	if err := s.changeable(by); err != nil {
		return nil, err
	}
	active := false
	return changeActive(s, by, &active, reason)
}

// Activate opens the account again.
func Activate(s State, by By) ([]domain.Event, error) {
	active := true
	return Change(s, by, Patch{Active: &active})
}

func changeActive(s State, by By, active *bool, reason string) ([]domain.Event, error) {
	switch {
	case active == nil || *active == s.Active:
		return nil, nil
	case *active:
		return []domain.Event{Activated{}}, nil
	case by.Self:
		return nil, domain.Refusef(domain.CodeOwnAccount,
			"you can't deactivate your own account: ask another administrator")
	}
	return []domain.Event{Deactivated{Reason: reason}}, nil
}

// changeRequirement requires two-factor, or lifts it: then a confirmed device, also a voluntary one, is not asked for
// any more.
func changeRequirement(s State, by By, required *bool) ([]domain.Event, error) {
	switch {
	case required == nil:
		return nil, nil
	case *required:
		if s.TwoFactorRequired {
			return nil, nil
		}
		return []domain.Event{TwoFactorRequired{}}, nil
	case !s.TwoFactorRequired && !s.TwoFactor.Challenges():
		return nil, nil
	case by.Self:
		return nil, domain.Refusef(domain.CodeOwnAccount,
			"you can't lift the two-factor requirement for your own account: ask another administrator")
	}
	return []domain.Event{TwoFactorRequirementLifted{}}, nil
}

// GiveRole gives the account one role more.
func GiveRole(s State, by By, role Role) ([]domain.Event, error) {
	if err := s.changeable(by); err != nil {
		return nil, err
	}
	if _, has := s.Roles[role.ID]; has {
		return nil, nil
	}
	if role.Retired {
		return nil, domain.Refusef(domain.CodeRetired, "the role %s is retired and can't be given: choose another one",
			role.Name)
	}
	return []domain.Event{RoleGiven{RoleID: role.ID, RoleName: role.Name}}, nil
}

// TakeRole takes a role away.
func TakeRole(s State, by By, id uuid.UUID) ([]domain.Event, error) {
	if err := s.changeable(by); err != nil {
		return nil, err
	}
	name, has := s.Roles[id]
	if !has {
		return nil, nil
	}
	return []domain.Event{RoleTaken{RoleID: id, RoleName: name}}, nil
}

func changeRoles(s State, roles *[]Role) ([]domain.Event, error) {
	if roles == nil {
		return nil, nil
	}
	var events []domain.Event
	for _, id := range sortedIDs(s.Roles) {
		if !slices.ContainsFunc(*roles, func(r Role) bool { return r.ID == id }) {
			events = append(events, RoleTaken{RoleID: id, RoleName: s.Roles[id]})
		}
	}
	for _, role := range *roles {
		given, err := GiveRole(s, By{Superuser: true}, role)
		if err != nil {
			return nil, err
		}
		for _, event := range given {
			s.Roles = maps.Clone(s.Roles)
			s.Evolve(event)
			events = append(events, event)
		}
	}
	return events, nil
}

// JoinGroup makes the account a member of one group more.
func JoinGroup(s State, by By, group Group) ([]domain.Event, error) {
	if err := s.changeable(by); err != nil {
		return nil, err
	}
	return joinGroup(s, by, s.Details.CompanyID, group)
}

func joinGroup(s State, by By, companyID uuid.UUID, group Group) ([]domain.Event, error) {
	if _, member := s.Groups[group.ID]; member {
		return nil, nil
	}
	if group.Retired {
		return nil, domain.Refusef(domain.CodeRetired,
			"the group %s is retired and can't be joined: choose another one",
			group.Name)
	}
	if group.CompanyID != uuid.Nil && group.CompanyID != companyID {
		return nil, groupOfOtherCompany(group.Name)
	}
	offered := domain.Granted{group.CompanyID: group.Permissions}
	if missing := offered.Missing(by.Granted); len(missing) > 0 && !by.Superuser {
		return nil, domain.Refusef(domain.CodeForbidden,
			"the group %s grants %s, which you don't have yourself: only somebody who has it, or a superuser, can "+
				"give it",
			group.Name, missing[0])
	}
	return []domain.Event{GroupJoined{GroupID: group.ID, GroupName: group.Name}}, nil
}

// LeaveGroup ends a membership.
func LeaveGroup(s State, by By, id uuid.UUID) ([]domain.Event, error) {
	if err := s.changeable(by); err != nil {
		return nil, err
	}
	name, member := s.Groups[id]
	if !member {
		return nil, nil
	}
	return []domain.Event{GroupLeft{GroupID: id, GroupName: name}}, nil
}

func changeGroups(s State, by By, companyID uuid.UUID, groups *[]Group) ([]domain.Event, error) {
	if groups == nil {
		return nil, nil
	}
	var events []domain.Event
	for _, id := range sortedIDs(s.Groups) {
		if !slices.ContainsFunc(*groups, func(g Group) bool { return g.ID == id }) {
			events = append(events, GroupLeft{GroupID: id, GroupName: s.Groups[id]})
		}
	}
	for _, group := range *groups {
		if _, member := s.Groups[group.ID]; member && group.CompanyID != uuid.Nil && group.CompanyID != companyID {
			return nil, groupOfOtherCompany(group.Name)
		}
		joined, err := joinGroup(s, by, companyID, group)
		if err != nil {
			return nil, err
		}
		for _, event := range joined {
			s.Groups = maps.Clone(s.Groups)
			s.Evolve(event)
			events = append(events, event)
		}
	}
	return events, nil
}

// changeable refuses changes to what isn't there, and changes to a superuser by anybody who isn't one: whoever may
// change the e-mail address of an account can take it over.
func (s State) changeable(by By) error {
	if !s.Exists {
		return ErrNoAccount()
	}
	if s.Superuser && !by.Superuser {
		return domain.Refusef(domain.CodeForbidden, "only a superuser can change the account of a superuser")
	}
	return nil
}

// ErrNoAccount refuses what is about an account that does not exist.
func ErrNoAccount() error {
	return domain.Refusef(domain.CodeNotFound, "there is no such account")
}

func groupOfOtherCompany(name string) error {
	return domain.Refusef(domain.CodeGroupOfOtherCompany,
		"the group %s belongs to another company than the account: take the account out of it, or use a global group",
		name)
}

func sortedIDs(names map[uuid.UUID]string) []uuid.UUID {
	return slices.SortedFunc(maps.Keys(names), func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
}
