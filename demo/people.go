package demo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
)

// department is where people work: its positions from first to last, and what comes with working there.
type department struct {
	name      string
	positions []string
	role      string // of those above the first position; "" for none
	group     string // of everybody in it; "" for none
	share     int    // of all people, in percent
}

var departments = []department{
	{"Information Security", []string{"Security Analyst", "Senior Security Analyst", "Head of Information Security"},
		"Security Officer", "Security team", 8},
	{"IT Operations", []string{"Support Engineer", "Systems Administrator", "Senior Systems Administrator",
		"IT Manager"}, "IT Administrator", "IT operations", 14},
	{"Risk Management", []string{"Risk Analyst", "Senior Risk Analyst", "Chief Risk Officer"}, "Risk Manager",
		"Risk owners", 5},
	{"Compliance", []string{"Compliance Specialist", "Compliance Manager", "Chief Compliance Officer"}, "Compliance " +
		"Officer", "Compliance", 6},
	{"Internal Audit", []string{"Internal Auditor", "Senior Auditor", "Head of Internal Audit"}, "Auditor", "Auditors",
		4},
	{"Procurement", []string{"Buyer", "Senior Buyer", "Head of Procurement"}, "", "Vendor managers", 7},
	{"Human Resources", []string{"HR Specialist", "HR Business Partner", "HR Director"}, "", "Help desk", 6},
	{"Finance", []string{"Accountant", "Senior Accountant", "Financial Controller"}, "", "", 11},
	{"Operations", []string{"Operations Specialist", "Shift Lead", "Operations Manager", "Operations Director"}, "", "",
		27},
	{"Sales", []string{"Account Manager", "Key Account Manager", "Sales Director"}, "", "", 12},
}

var leaving = []string{
	"left the company", "contract ended", "retired", "moved abroad", "resigned", "redundancy in the department",
	"joined a customer",
}

var pausing = []string{"parental leave", "sabbatical", "military service", "long illness"}

// person is an employee as the script has left him or her.
type person struct {
	user.Details
	id        uuid.UUID
	firm      *firm
	woman     bool
	given     name
	dept      department
	level     int
	roles     map[uuid.UUID]bool
	groups    map[uuid.UUID]bool
	twoFactor bool
}

// employ adds the working lives of everybody.
func (s *script) employ(org *organization) {
	emails := map[string]bool{}
	for _, f := range org.companies {
		for i := range f.people {
			begin := s.start.Add(6 * time.Hour)
			joined := s.between(begin, begin.Add(40*day)) // the accounts of those who were there already
			if i > f.people/2 {
				joined = s.between(begin.Add(40*day), s.end.Add(-40*day))
			}
			switch {
			case i < 2:
				s.startsSoon(org, s.recruit(org, f, emails))
			case s.chance(12):
				s.contract(org, s.recruit(org, f, emails), joined)
			default:
				s.career(org, s.recruit(org, f, emails), joined, emails)
			}
		}
	}
}

// recruit makes up somebody.
func (s *script) recruit(org *organization, f *firm, emails map[string]bool) *person {
	p := &person{firm: f, woman: s.chance(50), dept: s.department()}
	p.given = pick(s.random, f.speaks.men)
	if p.woman {
		p.given = pick(s.random, f.speaks.women)
	}
	p.FirstName, p.CompanyID = p.given.written, f.id
	s.rename(p, emails)
	p.Phone = s.phone(p)
	for p.level < len(p.dept.positions)-2 && s.chance(20) {
		p.level++
	}
	p.settle(org)
	return p
}

// rename gives somebody another family name, and an e-mail address that nobody had.
func (s *script) rename(p *person, emails map[string]bool) {
	for {
		family := pick(s.random, p.firm.speaks.family)
		email := p.given.latin + "." + family.latin + "@" + p.firm.mailDomain
		if !emails[email] && family.written != p.LastName {
			emails[email] = true
			p.LastName, p.Email = family.written, email
			return
		}
	}
}

// phone makes up another number for somebody.
func (s *script) phone(p *person) string {
	for {
		number := fmt.Sprintf("+380 44 %03d %02d %02d", s.random.IntN(900)+100, s.random.IntN(100), s.random.IntN(100))
		if p.firm.mailDomain == "northgate.example" {
			number = fmt.Sprintf("+44 20 7946 %04d", s.random.IntN(1000)) // reserved for fiction
		}
		if number != p.Phone {
			return number
		}
	}
}

// department picks one, the larger ones more often.
func (s *script) department() department {
	for {
		if dept := pick(s.random, departments); s.chance(3 * dept.share) {
			return dept
		}
	}
}

// settle gives somebody what comes with the department and the position.
func (p *person) settle(org *organization) {
	p.Department, p.Position = p.dept.name, p.dept.positions[p.level]
	p.roles = map[uuid.UUID]bool{org.roles["Employee"]: true}
	p.groups = map[uuid.UUID]bool{org.groups["All staff"]: true}
	if p.dept.group != "" {
		p.groups[org.groups[p.dept.group]] = true
	}
	if p.dept.role != "" && p.level > 0 {
		p.roles[org.roles[p.dept.role]] = true
	}
	if p.level == len(p.dept.positions)-1 {
		p.roles[org.roles["Executive"]] = true
		p.groups[org.groups["Executives"]] = true
	}
}

func ids(set map[uuid.UUID]bool) []uuid.UUID {
	return slices.SortedFunc(maps.Keys(set), func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
}

func (s *script) register(p *person, at time.Time) {
	p.id = s.id(at)
	command := commands.RegisterUser{
		Details: p.Details, RoleIDs: ids(p.roles), GroupIDs: ids(p.groups), RequireTwoFactor: p.twoFactor,
	}
	s.create(at, p.id, false, func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
		_, err := h.RegisterUser(ctx, caller, command)
		return err
	})
}

func (s *script) change(p *person, at time.Time, change commands.ChangeUser) {
	id := p.id
	s.add(at, id, func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
		_, err := h.ChangeUser(ctx, caller, id, change)
		return err
	})
}

// resettle changes department, position, roles and groups in one go.
func (s *script) resettle(org *organization, p *person, at time.Time) {
	before := *p
	p.settle(org)
	dept, position := p.Department, p.Position
	patch := commands.ChangeUser{Patch: user.Patch{Department: &dept, Position: &position}}
	if !maps.Equal(before.roles, p.roles) {
		roles := ids(p.roles)
		patch.RoleIDs = &roles
	}
	if !maps.Equal(before.groups, p.groups) {
		groups := ids(p.groups)
		patch.GroupIDs = &groups
	}
	s.change(p, at, patch)
}

func (s *script) deactivate(p *person, at time.Time, reason string) {
	id := p.id
	s.add(at, id, func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
		_, err := h.DeactivateUser(ctx, caller, id, reason)
		return err
	})
}

func (s *script) activate(p *person, at time.Time) {
	id := p.id
	s.add(at, id, func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
		_, err := h.ActivateUser(ctx, caller, id)
		return err
	})
}

func (s *script) join(p *person, at time.Time, groupID uuid.UUID) {
	id := p.id
	p.groups[groupID] = true
	s.add(at, id, func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
		_, err := h.JoinGroup(ctx, caller, id, groupID)
		return err
	})
}

func (s *script) leave(p *person, at time.Time, groupID uuid.UUID) {
	id := p.id
	delete(p.groups, groupID)
	s.add(at, id, func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
		_, err := h.LeaveGroup(ctx, caller, id, groupID)
		return err
	})
}

// startsSoon: the account is there, the first day of access is still to come.
func (s *script) startsSoon(org *organization, p *person) {
	p.StartDate = domain.DateOf(s.end.Add(time.Duration(5+s.random.IntN(30)) * day))
	s.register(p, s.between(s.end.Add(-20*day), s.end.Add(-4*day)))
}

// contract is work for a limited time: some of it is extended, most of it has ended by now.
func (s *script) contract(org *organization, p *person, joined time.Time) {
	until := joined.Add(time.Duration(120+s.random.IntN(260)) * day)
	p.Position = "Contractor"
	p.StartDate, p.EndDate = domain.DateOf(joined), domain.DateOf(until)
	s.register(p, joined)
	for s.chance(45) {
		at := until.Add(-time.Duration(6+s.random.IntN(20)) * day)
		until = until.Add(time.Duration(90+s.random.IntN(180)) * day)
		end := domain.DateOf(until)
		s.change(p, at, commands.ChangeUser{Patch: user.Patch{EndDate: &end}})
	}
	if s.chance(50) {
		s.deactivate(p, until.Add(3*day), "contract ended")
	}
}

// career is the time of an employee, event after event, until it ends or today comes.
func (s *script) career(org *organization, p *person, joined time.Time, emails map[string]bool) {
	if s.chance(60) {
		p.StartDate = domain.DateOf(joined)
	}
	early := joined.Before(s.start.Add(50 * day))
	if early && s.chance(30) {
		p.groups[org.groups["Remote work 2021"]] = true
	}
	if early && s.chance(4) {
		p.roles[org.roles["Pandemic Coordinator"]] = true
	}
	s.register(p, joined)
	for at := joined; ; {
		at = s.between(at.Add(45*day), at.Add(330*day))
		if !at.Before(s.end) {
			return
		}
		switch dice := s.random.IntN(100); {
		case dice < 20 && (p.level < len(p.dept.positions)-2 || p.level < len(p.dept.positions)-1 && s.chance(20)):
			p.level++
			s.resettle(org, p, at)
		case dice < 34:
			for former := p.dept.name; p.dept.name == former; {
				p.dept = s.department()
			}
			p.level = min(p.level, len(p.dept.positions)-2)
			s.resettle(org, p, at)
		case dice < 50:
			phone := s.phone(p)
			p.Phone = phone
			s.change(p, at, commands.ChangeUser{Patch: user.Patch{Phone: &phone}})
		case dice < 57 && p.woman:
			s.rename(p, emails)
			last, email := p.LastName, p.Email
			s.change(p, at, commands.ChangeUser{Patch: user.Patch{LastName: &last}})
			s.change(p, at.Add(26*time.Hour), commands.ChangeUser{Patch: user.Patch{Email: &email}})
		case dice < 68 && p.groups[p.firm.responders]:
			s.leave(p, at, p.firm.responders)
		case dice < 68:
			s.join(p, at, p.firm.responders)
		case dice < 76 && !p.twoFactor:
			p.twoFactor = true
			yes := true
			s.change(p, at, commands.ChangeUser{Patch: user.Patch{RequireTwoFactor: &yes}})
		case dice < 81:
			s.deactivate(p, at, pick(s.random, pausing))
			at = at.Add(time.Duration(90+s.random.IntN(240)) * day)
			s.activate(p, at)
		case dice < 84:
			s.transfer(org, p, at)
		case dice < 87:
			s.deactivate(p, at, pick(s.random, leaving))
			return
		case dice < 89:
			end := domain.DateOf(at.Add(time.Duration(20+s.random.IntN(20)) * day))
			s.change(p, at, commands.ChangeUser{Patch: user.Patch{EndDate: &end}}) // notice was given
			s.deactivate(p, end.Time().Add(33*time.Hour), pick(s.random, leaving))
			return
		}
	}
}

// transfer moves somebody to another company, out of the groups of the former one.
func (s *script) transfer(org *organization, p *person, at time.Time) {
	to := pick(s.random, org.companies)
	if to == p.firm {
		return
	}
	delete(p.groups, p.firm.responders)
	p.firm = to
	groups := ids(p.groups)
	s.change(p, at, commands.ChangeUser{Patch: user.Patch{CompanyID: &to.id}, GroupIDs: &groups})
}
