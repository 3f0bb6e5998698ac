package demo

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/domain/user"
)

const day = 24 * time.Hour

// hostModules are the modules of the host platform.
var hostModules = [][2]string{
	{"assets", "Assets"}, {"risks", "Risks"}, {"controls", "Controls"}, {"compliance", "Compliance"},
	{"incidents", "Incidents"},
	{"documents", "Documents"}, {"tasks", "Tasks"}, {"vendors", "Vendors"}, {"reports", "Reports"},
}

// organization is what people are put into.
type organization struct {
	companies []*firm
	roles     map[string]uuid.UUID
	groups    map[string]uuid.UUID // the global ones
}

type firm struct {
	id         uuid.UUID
	name       string
	mailDomain string
	people     int
	speaks     language
	responders uuid.UUID // the company's own group
}

var (
	read   = domain.Actions{View: true, ShowLink: true}
	report = domain.Actions{View: true, Export: true, ShowLink: true}
	work   = domain.Actions{View: true, Add: true, Edit: true, ShowLink: true}
	full   = domain.Actions{View: true, Add: true, Edit: true, Export: true, ShowLink: true}
)

var roles = []role.Details{
	{Name: "Employee", Description: "Everybody who works here", Widgets: []string{"my_tasks", "announcements"}},
	{Name: "Security Officer", Description: "Runs the protection of information", Widgets: []string{
		"risk_heatmap", "open_incidents", "control_status",
	}},
	{Name: "Risk Manager", Description: "Keeps the risk register", Widgets: []string{"risk_heatmap", "risk_trend"}},
	{Name: "Compliance Officer", Description: "Responsible for laws and standards", Widgets: []string{
		"compliance_score", "overdue_controls",
	}},
	{Name: "Auditor", Description: "Checks and reports, changes nothing", Widgets: []string{
		"audit_findings", "control_status",
	}},
	{Name: "IT Administrator", Description: "Runs systems and networks", Widgets: []string{
		"asset_inventory", "open_incidents",
	}},
	{Name: "Executive", Description: "Member of the management", Widgets: []string{
		"risk_heatmap", "compliance_score", "cost_of_incidents",
	}},
	{Name: "Pandemic Coordinator", Description: "Organizes work from home", Widgets: []string{"announcements"}},
}

var groups = []group.Details{
	{Name: "All staff", Description: "What everybody may see", Permissions: domain.Permissions{
		"documents": read, "tasks": work,
	}},
	{Name: "Security team", Description: "Risks, controls and incidents", Permissions: domain.Permissions{
		"assets": full, "risks": full, "controls": full, "incidents": full, "users": read,
	}},
	{Name: "Risk owners", Description: "Assess and treat risks", Permissions: domain.Permissions{
		"risks": work, "controls": read, "reports": report,
	}},
	{Name: "Compliance", Description: "Laws, standards and evidence", Permissions: domain.Permissions{
		"compliance": full, "controls": work, "documents": full,
	}},
	{Name: "Auditors", Description: "Read everything, change nothing", Permissions: domain.Permissions{
		"assets": read, "risks": report, "controls": report, "compliance": report, "incidents": report,
		"documents": read, "vendors": read, "reports": report,
		"users": read, "groups": read, "roles": read, "companies": read, "audit": report}},
	{Name: "IT operations", Description: "Assets and their incidents", Permissions: domain.Permissions{
		"assets": work, "incidents": work,
	}},
	{Name: "Vendor managers", Description: "Suppliers and their assessments", Permissions: domain.Permissions{
		"vendors": full, "documents": work,
	}},
	{Name: "Executives", Description: "The view of the management", Permissions: domain.Permissions{
		"reports": report, "risks": read, "compliance": read,
	}},
	{Name: "Help desk", Description: "Creates accounts and helps people sign in", Permissions: domain.Permissions{
		"users": work, "groups": read, "roles": read, "companies": read,
	}},
	{Name: "Remote work 2021", Description: "Documents about working from home", Permissions: domain.Permissions{
		"documents": read,
	}},
}

// establish starts the installation: its administrators, modules, companies, roles and groups.
func (s *script) establish() *organization {
	org := &organization{
		companies: []*firm{
			{name: "Дніпро Енерго", mailDomain: "dnipro-energo.example", people: 92, speaks: ukrainian},
			{name: "Northgate Logistics Ltd", mailDomain: "northgate.example", people: 58, speaks: english},
			{name: "Карпатський Банк", mailDomain: "karpatybank.example", people: 46, speaks: ukrainian},
		},
		roles: map[string]uuid.UUID{}, groups: map[string]uuid.UUID{},
	}
	at := s.start
	next := func() time.Time { at = at.Add(time.Duration(20+s.random.IntN(300)) * time.Second); return at }

	s.administrator(at, s.end, user.Details{Email: AdminEmail, FirstName: "Demo", LastName: "Administrator",
		Position: "Platform administrator"}, "192.0.2.10")
	for _, m := range hostModules {
		s.create(next(), s.id(at), true, func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
			_, err := h.RegisterModule(ctx, caller, m[0], m[1])
			return err
		})
	}
	for _, f := range org.companies {
		f.id = s.id(next())
		s.create(at, f.id, true, func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
			_, err := h.CreateCompany(ctx, caller, company.Details{Name: f.name})
			return err
		})
	}
	for _, details := range roles {
		id := s.id(next())
		org.roles[details.Name] = id
		s.create(at, id, true, func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
			_, err := h.CreateRole(ctx, caller, details)
			return err
		})
	}
	all := slices.Clone(groups)
	for _, f := range org.companies {
		all = append(all,
			group.Details{Name: "Incident responders", Description: "On call at " + f.name, CompanyID: f.id,
				Permissions: domain.Permissions{"incidents": work, "assets": read}})
	}
	for _, details := range all {
		id := s.id(next())
		if details.CompanyID == uuid.Nil {
			org.groups[details.Name] = id
		}
		for _, f := range org.companies {
			if f.id == details.CompanyID {
				f.responders = id
			}
		}
		s.create(at, id, true, func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
			_, err := h.CreateGroup(ctx, caller, details)
			return err
		})
	}
	s.administrator(s.start.Add(5*time.Hour), s.start.Add(1150*day), user.Details{
		Email: "oksana.kravets@demo.secboard.local", FirstName: "Оксана", LastName: "Кравець",
		Position: "Security administrator",
	}, "198.51.100.23")
	s.administrator(s.start.Add(390*day+9*time.Hour), s.end, user.Details{Email: "james.archer@demo.secboard.local",
		FirstName: "James", LastName: "Archer", Position: "Identity administrator"}, "203.0.113.77")
	s.administrator(s.start.Add(1120*day+8*time.Hour), s.end, user.Details{Email: "iryna.bilyk@demo.secboard.local",
		FirstName: "Ірина", LastName: "Білик", Position: "Security administrator"}, "198.51.100.41")
	return org
}

var agents = []string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 " +
		"Safari/605.1.15",
	"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
}

// administrator adds an account that may do everything for a time, and that acts in the steps of that time.
func (s *script) administrator(from, until time.Time, details user.Details, ip string) {
	id := s.id(from)
	s.create(from, id, true, func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
		_, err := h.RegisterUser(ctx, caller,
			commands.RegisterUser{Details: details, Superuser: true, RequireTwoFactor: from.After(s.start.Add(day))})
		return err
	})
	s.admins = append(s.admins,
		&admin{id: id, ip: ip, userAgent: agents[len(s.admins)%len(agents)], from: from.Add(time.Minute), until: until})
	if until.Before(s.end) {
		no := false
		s.add(until.Add(time.Hour), id, func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
			_, err := h.ChangeUser(ctx, caller, id, commands.ChangeUser{Patch: user.Patch{Superuser: &no}})
			return err
		})
		s.steps[len(s.steps)-1].alone = true // after it the account can do nothing more
		s.add(until.Add(8*day), id, func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
			_, err := h.DeactivateUser(ctx, caller, id, "left the company after handing over")
			return err
		})
	}
}

// reorganize adds what happens to companies, roles and groups over the years.
func (s *script) reorganize(org *organization) {
	text := func(value string) *string { return &value }
	permissions := func(change domain.Permissions, of string) *domain.Permissions {
		for _, details := range groups {
			if details.Name == of {
				wanted := details.Permissions.Union(nil)
				for module, actions := range change {
					wanted[module] = actions
				}
				return &wanted
			}
		}
		panic("no group " + of)
	}
	changeGroup := func(after int, id uuid.UUID, patch group.Patch) {
		s.add(s.start.Add(time.Duration(after)*day+9*time.Hour), id,
			func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
				_, err := h.ChangeGroup(ctx, caller, id, patch)
				return err
			})
	}
	changeRole := func(after int, id uuid.UUID, patch role.Patch) {
		s.add(s.start.Add(time.Duration(after)*day+10*time.Hour), id,
			func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
				_, err := h.ChangeRole(ctx, caller, id, patch)
				return err
			})
	}
	changeGroup(140, org.groups["Risk owners"],
		group.Patch{Permissions: permissions(domain.Permissions{"risks": full}, "Risk owners")})
	changeGroup(310, org.groups["IT operations"],
		group.Patch{Permissions: permissions(domain.Permissions{"assets": full}, "IT operations")})
	changeGroup(520, org.groups["All staff"],
		group.Patch{Permissions: permissions(domain.Permissions{"documents": report}, "All staff"),
			Description: text("What everybody may see and work on")})
	// the export was too much
	changeGroup(700, org.groups["All staff"], group.Patch{Permissions: permissions(nil, "All staff")})
	changeGroup(830, org.groups["Vendor managers"], group.Patch{Name: text("Supplier management")})
	changeGroup(1010, org.companies[2].responders, group.Patch{Description: text("On call at the bank, day and night")})
	changeGroup(1300, org.groups["Executives"],
		group.Patch{Permissions: permissions(domain.Permissions{"incidents": read}, "Executives")})
	changeGroup(1480, org.groups["Security team"],
		group.Patch{Permissions: permissions(domain.Permissions{"vendors": read, "users": {}}, "Security team")})
	changeRole(260, org.roles["Executive"],
		role.Patch{Widgets: &[]string{"risk_heatmap", "compliance_score", "cost_of_incidents", "vendor_risk"}})
	changeRole(900, org.roles["Security Officer"], role.Patch{Name: text("Information Security Officer")})
	changeRole(1220, org.roles["Compliance Officer"],
		role.Patch{Description: text("Responsible for laws, standards and the protection of personal data")})

	northgate := org.companies[1]
	s.add(s.start.Add(960*day+11*time.Hour), northgate.id,
		func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
			_, err := h.ChangeCompany(ctx, caller, northgate.id, company.Patch{Name: text("Northgate Group plc")})
			return err
		})
	s.add(s.start.Add(760*day+10*time.Hour), org.groups["Remote work 2021"],
		func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
			_, err := h.RetireGroup(ctx, caller, org.groups["Remote work 2021"],
				"working from home is part of the general rules now")
			return err
		})
	s.add(s.start.Add(761*day+10*time.Hour), org.roles["Pandemic Coordinator"],
		func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
			_, err := h.RetireRole(ctx, caller, org.roles["Pandemic Coordinator"], "no longer needed")
			return err
		})
	s.add(s.start.Add(1400*day+13*time.Hour), s.id(s.start),
		func(ctx context.Context, h *commands.Handler, caller commands.Caller) error {
			_, err := h.RegisterModule(ctx, caller, "vendors", "Vendors and suppliers")
			return err
		})
}
