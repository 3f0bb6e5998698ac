package user_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/scenario"
	"github.com/secboard/secboard/domain/user"
)

var (
	acme, other = uuid.UUID{1}, uuid.UUID{2}
	riskReaders = user.Group{ID: uuid.UUID{10}, Name: "Risk readers", CompanyID: acme, Permissions: domain.Permissions{
		"risks": {View: true, Export: true},
	}}
	everybody = user.Group{
		ID: uuid.UUID{11}, Name: "Everybody", Permissions: domain.Permissions{"reports": {View: true}},
	}
	auditor = user.Role{ID: uuid.UUID{20}, Name: "Auditor"}

	super = user.By{Superuser: true}
	anna  = user.Registered{Email: "anna@acme.example", FirstName: "Anna", CompanyID: acme, Source: user.SourceLocal}
)

type decision = func(user.State) ([]domain.Event, error)

func change(by user.By, patch user.Patch) decision {
	return func(s user.State) ([]domain.Event, error) { return user.Change(s, by, patch) }
}

func TestRegisterGivesEverythingInOneDecision(t *testing.T) {
	scenario.Given[user.State]().
		When(func(s user.State) ([]domain.Event, error) {
			return user.Register(s, super,
				user.Details{Email: " anna@acme.example ", FirstName: "Anna", CompanyID: acme},
				user.Grants{Inactive: true, Superuser: true, RequireTwoFactor: true, Roles: []user.Role{auditor},
					Groups: []user.Group{riskReaders, riskReaders}})
		}).
		Then(t, anna, user.Deactivated{}, user.SuperuserGranted{}, user.TwoFactorRequired{},
			user.RoleGiven{RoleID: auditor.ID, RoleName: "Auditor"},
			user.GroupJoined{GroupID: riskReaders.ID, GroupName: "Risk readers"})
}

func TestRegisterReportsEveryWrongField(t *testing.T) {
	start, _ := domain.ParseDate("2026-05-02")
	end, _ := domain.ParseDate("2026-05-01")
	scenario.Given[user.State]().
		When(func(s user.State) ([]domain.Event, error) {
			return user.Register(s, super, user.Details{
				Email: "Anna <anna@acme.example>", FirstName: "A\x00", Phone: strings.Repeat("1", 51), StartDate: start,
				EndDate: end,
			}, user.Grants{})
		}).
		ThenInvalid(t, "email", "first_name", "phone", "end_date")
}

func TestEmailAddresses(t *testing.T) {
	for address, valid := range map[string]bool{
		"anna@acme.example": true, "o'brien+x@acme.example": true, "ганна@приклад.укр": true,
		"": false, "anna": false, "anna@": false, "@acme.example": false, "anna@acme.example\n": true,
		"an na@acme.example":   false,
		"a\u009b@acme.example": false, "a\u202e@acme.example": false, "a@\u2066acme.example": false,
		"a\u200f@acme.example": false,
		`"a b"@acme.example`:   false, "a\x00@acme.example": false, strings.Repeat("a", 250) + "@b.cd": false,
		"a@b, c@d":                false,
		"an\u200bna@acme.example": false, "an\u00a0na@acme.example": false, "anna@acme\u2028.example": false,
	} {
		t.Run(fmt.Sprintf("%.40q", address), func(t *testing.T) {
			err := user.Details{Email: address}.Normalized().Validate()
			if (err == nil) != valid {
				t.Errorf("%q: valid %v wanted, got %v", address, valid, err)
			}
		})
	}
	if user.EmailClaim("jose\u0301@acme.example") != user.EmailClaim("JOS\u00c9@acme.example") {
		t.Error("an accent makes two addresses of one")
	}
}

func TestChangeGivesOneEventForEachThing(t *testing.T) {
	name, department, end := "Hanna", "Risk", domain.Date{}
	until, _ := domain.ParseDate("2026-12-31")
	registered := anna
	registered.EndDate = until
	scenario.Given[user.State](registered).
		When(change(super,
			user.Patch{FirstName: &name, Department: &department, EndDate: &end, Groups: &[]user.Group{everybody}})).
		Then(t,
			user.NameChanged{FirstName: domain.Changed[string]{From: "Anna", To: "Hanna"}},
			user.DepartmentChanged{Department: domain.Changed[string]{To: "Risk"}},
			user.AccessPeriodChanged{EndDate: domain.Changed[domain.Date]{From: until}},
			user.GroupJoined{GroupID: everybody.ID, GroupName: "Everybody"})
}

func TestChangeToTheSameChangesNothing(t *testing.T) {
	email, active, company := " anna@acme.example", true, acme
	scenario.Given[user.State](anna).
		When(change(super, user.Patch{Email: &email, Active: &active, CompanyID: &company, Groups: &[]user.Group{}})).
		Then(t)
}

func TestGroupsOfAnotherCompany(t *testing.T) {
	foreign := riskReaders
	foreign.CompanyID = other
	join := func(g user.Group) decision {
		return func(s user.State) ([]domain.Event, error) { return user.JoinGroup(s, super, g) }
	}
	scenario.Given[user.State](anna).When(join(foreign)).ThenRefused(t, "group_of_other_company")
	scenario.Given[user.State](anna).When(join(everybody)).Then(t,
		user.GroupJoined{GroupID: everybody.ID, GroupName: "Everybody"})

	member := user.GroupJoined{GroupID: riskReaders.ID, GroupName: "Risk readers"}
	to := other
	scenario.Given[user.State](anna, member).
		When(change(super, user.Patch{CompanyID: &to, Groups: &[]user.Group{riskReaders}})).
		ThenRefused(t, "group_of_other_company")
	scenario.Given[user.State](anna, member).
		When(change(super, user.Patch{CompanyID: &to, Groups: &[]user.Group{everybody}})).
		Then(t, user.CompanyChanged{CompanyID: domain.Changed[uuid.UUID]{From: acme, To: other}},
			user.GroupLeft{GroupID: riskReaders.ID, GroupName: "Risk readers"},
			user.GroupJoined{GroupID: everybody.ID, GroupName: "Everybody"})
}

func TestNobodyGivesWhatHeDoesNotHave(t *testing.T) {
	clerk := user.By{Granted: domain.Granted{uuid.Nil: {"users": {Edit: true}, "risks": {View: true}}}}
	join := func(by user.By) decision {
		return func(s user.State) ([]domain.Event, error) { return user.JoinGroup(s, by, riskReaders) }
	}
	scenario.Given[user.State](anna).When(join(clerk)).ThenRefused(t, domain.CodeForbidden)
	clerk.Granted[uuid.Nil]["risks"] = domain.Actions{View: true, Export: true}
	scenario.Given[user.State](anna).When(join(clerk)).Then(t,
		user.GroupJoined{GroupID: riskReaders.ID, GroupName: "Risk readers"})

	yes := true
	scenario.Given[user.State](anna).When(change(clerk, user.Patch{Superuser: &yes})).ThenRefused(t,
		domain.CodeForbidden)
}

func TestASuperuserIsChangedOnlyBySuperusers(t *testing.T) {
	email := "mine@acme.example"
	scenario.Given[user.State](anna, user.SuperuserGranted{}).
		When(change(user.By{Granted: domain.Granted{uuid.Nil: {"users": {Edit: true}}}}, user.Patch{Email: &email})).
		ThenRefused(t, domain.CodeForbidden)
}

func TestNobodyClosesTheOwnAccount(t *testing.T) {
	self := user.By{Superuser: true, Self: true}
	no := false
	scenario.Given[user.State](anna).
		When(func(s user.State) ([]domain.Event, error) { return user.Deactivate(s, self, "") }).ThenRefused(t,
		"own_account")
	scenario.Given[user.State](anna,
		user.SuperuserGranted{}).When(change(self, user.Patch{Superuser: &no})).ThenRefused(t, "own_account")
}

func TestNobodyChangesWhatLimitsTheOwnAccount(t *testing.T) {
	self := user.By{Superuser: true, Self: true}
	last, _ := domain.ParseDate("2030-12-31")
	never, no := domain.Date{}, false
	limited := user.AccessPeriodChanged{EndDate: domain.Changed[domain.Date]{To: last}}
	enrolled := []domain.Event{anna, user.TwoFactorPrepared{Secret: domain.Sealed("x")}, user.TwoFactorEnrolled{}}
	scenario.Given[user.State](anna).When(change(self, user.Patch{EndDate: &last})).ThenRefused(t, "own_account")
	scenario.Given[user.State](anna).When(change(self, user.Patch{StartDate: &last})).ThenRefused(t, "own_account")
	scenario.Given[user.State](anna, limited).When(change(self, user.Patch{EndDate: &never})).ThenRefused(t,
		"own_account")
	scenario.Given[user.State](anna, limited).When(change(self, user.Patch{EndDate: &last})).Then(t)
	scenario.Given[user.State](anna).When(change(super, user.Patch{EndDate: &last})).Then(t, limited)

	scenario.Given[user.State](anna,
		user.TwoFactorRequired{}).When(change(self, user.Patch{RequireTwoFactor: &no})).ThenRefused(t, "own_account")
	scenario.Given[user.State](enrolled...).When(change(self, user.Patch{RequireTwoFactor: &no})).ThenRefused(t,
		"own_account")
	reset := func(by user.By) decision {
		return func(s user.State) ([]domain.Event, error) { return user.ResetTwoFactor(s, by, "lost") }
	}
	scenario.Given[user.State](enrolled...).When(reset(self)).ThenRefused(t, "own_account")
	scenario.Given[user.State](enrolled...).When(reset(super)).Then(t, user.TwoFactorReset{Reason: "lost"})
}

func TestLiftingTwoFactorHoldsForAVoluntaryDeviceToo(t *testing.T) {
	no := false
	enrolled := []domain.Event{anna, user.TwoFactorPrepared{Secret: domain.Sealed("x")}, user.TwoFactorEnrolled{}}
	scenario.Given[user.State](enrolled...).When(change(super, user.Patch{RequireTwoFactor: &no})).Then(t,
		user.TwoFactorRequirementLifted{})
	scenario.Given[user.State](append(enrolled, user.TwoFactorRequirementLifted{})...).When(
		change(super, user.Patch{RequireTwoFactor: &no})).Then(t)
	scenario.Given[user.State](anna).When(change(super, user.Patch{RequireTwoFactor: &no})).Then(t)
}

// What an event makes void of what was opened before it.
func TestWhatDoesNotOutlastAnEvent(t *testing.T) {
	t.Parallel()
	day := func(text string) domain.Date {
		parsed, err := domain.ParseDate(text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	var never domain.Date
	period := func(startFrom, startTo, endFrom, endTo domain.Date) user.AccessPeriodChanged {
		return user.AccessPeriodChanged{
			StartDate: domain.Changed[domain.Date]{From: startFrom, To: startTo},
			EndDate:   domain.Changed[domain.Date]{From: endFrom, To: endTo},
		}
	}
	june, july := day("2026-06-30"), day("2026-07-31")
	for name, c := range map[string]struct {
		event                domain.Event
		links, sessions, own bool // own: even the session in which it was caused
	}{
		"made superuser":        {user.SuperuserGranted{}, true, true, true},
		"no longer superuser":   {user.SuperuserRevoked{}, false, false, false},
		"joined a group":        {user.GroupJoined{GroupID: uuid.UUID{1}}, true, true, false},
		"left a group":          {user.GroupLeft{GroupID: uuid.UUID{1}}, false, false, false},
		"a password":            {user.PasswordSet{Hash: domain.Sealed("x")}, true, true, false},
		"the same, hashed anew": {user.PasswordRehashed{Hash: domain.Sealed("x")}, false, false, false},
		"a link used":           {user.FirstLoginUsed{}, true, true, true},
		"a device":              {user.TwoFactorEnrolled{}, true, true, false},
		"a device required":     {user.TwoFactorRequired{}, true, true, false},
		"a device lost":         {user.TwoFactorReset{}, true, true, true},
		"another address":       {user.EmailChanged{}, true, false, false},
		"another name":          {user.NameChanged{}, false, false, false},
		"closed":                {user.Deactivated{}, true, true, true},
		"closed by a directory": {user.DirectoryDisabled{}, true, true, true},
		"bound to a directory":  {user.DirectoryLinked{DirectoryID: uuid.UUID{41}}, true, false, false},
		"signed out everywhere": {user.SessionsEnded{}, true, true, true},
		"a later last day":      {period(never, never, june, july), true, true, true},
		"no last day any more":  {period(never, never, june, never), true, true, true},
		"an earlier last day":   {period(never, never, july, june), false, false, false},
		"a first last day":      {period(never, never, never, june), false, false, false},
		"an earlier first day":  {period(july, june, never, never), true, true, true},
		"no first day any more": {period(july, never, never, never), true, true, true},
		"a later first day":     {period(june, july, never, never), false, false, false},
		"a first first day":     {period(never, july, never, never), false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s user.State
			s.Evolve(anna)
			before := s.Mark
			s.Evolve(c.event)
			if got := s.Mark != before; got != c.links {
				t.Errorf("links and challenges are void: %t", got)
			}
			if got := user.EndsSessions(c.event); got != c.sessions {
				t.Errorf("sessions end: %t", got)
			}
			if got := user.EndsSessions(c.event) && !user.KeepsOwnSession(c.event); got != c.own {
				t.Errorf("so does the session of whoever caused it: %t", got)
			}
		})
	}
}

// Whoever may change an address could set the password that way, and change it back.
func TestAPasswordIsDoubtful(t *testing.T) {
	t.Parallel()
	moved := user.EmailChanged{
		Email: domain.Changed[string]{From: "anna@acme.example", To: "a@acme.example"}, Doubtful: true,
	}
	back := user.EmailChanged{Email: domain.Changed[string]{From: "a@acme.example", To: "anna@acme.example"}}
	set := user.PasswordSet{Hash: domain.Sealed("x")}
	for name, c := range map[string]struct {
		given              []domain.Event
		vouched, hasRights bool
		doubtful           bool
	}{
		"sent as superusers set it up":    {[]domain.Event{anna}, true, false, false},
		"sent as somebody else set it up": {[]domain.Event{anna}, false, false, true},
		"to an address of somebody else":  {[]domain.Event{anna, moved}, true, false, true},
		"to one that a superuser knows":   {[]domain.Event{anna, moved, back}, true, false, false},
		"who gave rights knows it":        {[]domain.Event{anna, moved}, true, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scenario.Given[user.State](c.given...).When(func(s user.State) ([]domain.Event, error) {
				return user.UseResetLink(s, uuid.UUID{40}, domain.Sealed("x"), c.vouched, c.hasRights), nil
			}).Then(t, user.PasswordSet{Hash: domain.Sealed("x"), Link: uuid.UUID{40}, Doubtful: c.doubtful})
		})
	}
	for name, c := range map[string]struct {
		given    []domain.Event
		doubtful bool
	}{
		"set before somebody changed the address": {[]domain.Event{anna, set, moved}, true},
		"still so when it was changed back":       {[]domain.Event{anna, set, moved, back}, true},
		"set anew":                                {[]domain.Event{anna, set, moved, back, set}, false},
		"the address changed by a superuser":      {[]domain.Event{anna, set, back}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s user.State
			for _, event := range c.given {
				s.Evolve(event)
			}
			if s.PasswordDoubtful != c.doubtful {
				t.Errorf("doubtful: %t", s.PasswordDoubtful)
			}
		})
	}
}

func TestOnlyALastingSuperuserLimitsAnother(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	later, _ := domain.ParseDate("2026-05-02")
	boris := uuid.UUID{30}
	exercise := func(s user.State) ([]domain.Event, error) { return user.ExerciseSuperuser(s, boris, now) }
	scenario.Given[user.State](anna, user.SuperuserGranted{}).When(exercise).Then(t,
		user.SuperuserExercised{AccountID: boris})
	for name, given := range map[string][]domain.Event{
		"no superuser":  {anna},
		"no longer one": {anna, user.SuperuserGranted{}, user.SuperuserRevoked{}},
		"inactive":      {anna, user.SuperuserGranted{}, user.Deactivated{}},
		"until a day": {
			anna, user.SuperuserGranted{}, user.AccessPeriodChanged{EndDate: domain.Changed[domain.Date]{To: later}},
		},
		"not yet": {
			anna, user.SuperuserGranted{}, user.AccessPeriodChanged{StartDate: domain.Changed[domain.Date]{To: later}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			scenario.Given[user.State](given...).When(exercise).ThenRefused(t, domain.CodeForbidden)
		})
	}
}

func TestDeactivateAndActivate(t *testing.T) {
	deactivate := func(s user.State) ([]domain.Event, error) { return user.Deactivate(s, super, " left ") }
	activate := func(s user.State) ([]domain.Event, error) { return user.Activate(s, super) }
	scenario.Given[user.State](anna).When(deactivate).Then(t, user.Deactivated{Reason: "left"})
	scenario.Given[user.State](anna, user.Deactivated{}).When(deactivate).Then(t)
	scenario.Given[user.State](anna, user.Deactivated{}).When(activate).Then(t, user.Activated{})
	scenario.Given[user.State]().When(deactivate).ThenRefused(t, domain.CodeNotFound)
}

func TestRetiredRolesAndGroupsAreNotGiven(t *testing.T) {
	role, group := auditor, everybody
	role.Retired, group.Retired = true, true
	scenario.Given[user.State](anna).
		When(func(s user.State) ([]domain.Event, error) { return user.GiveRole(s, super, role) }).ThenRefused(t,
		domain.CodeRetired)
	scenario.Given[user.State](anna).
		When(func(s user.State) ([]domain.Event, error) { return user.JoinGroup(s, super, group) }).ThenRefused(t,
		domain.CodeRetired)
}

func TestHistoryLinesOfAChange(t *testing.T) {
	until, _ := domain.ParseDate("2026-12-31")
	for name, test := range map[string]struct {
		event domain.Event
		want  []domain.FieldChange
	}{
		"a change has old and new": {
			user.NameChanged{LastName: domain.Changed[string]{From: "Old", To: "New"}},
			[]domain.FieldChange{{Field: "last_name", From: "Old", To: "New"}},
		},
		"nothing is null": {
			user.AccessPeriodChanged{EndDate: domain.Changed[domain.Date]{To: until}},
			[]domain.FieldChange{{Field: "end_date", From: nil, To: until}},
		},
		"a beginning has no old values": {anna, []domain.FieldChange{
			{Field: "email", To: "anna@acme.example"}, {Field: "first_name", To: "Anna"},
			{Field: "company_id", To: acme}, {Field: "source", To: "local"},
		}},
		"flags": {
			user.SuperuserGranted{}, []domain.FieldChange{{Field: "superuser", From: false, To: true}},
		},
		"secrets are left out": {user.PasswordSet{Hash: domain.Sealed("x")}, []domain.FieldChange{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, domain.ChangesOf(test.event), cmp.Comparer(func(a, b domain.Date) bool {
				return a == b
			})); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}
