package domain

import (
	"bytes"
	"maps"
	"regexp"
	"slices"

	"github.com/google/uuid"
)

// Action is one thing that can be allowed in a module.
type Action string

// The six actions.
const (
	View     Action = "view"
	Add      Action = "add"
	Edit     Action = "edit"
	Delete   Action = "delete"
	Export   Action = "export"
	ShowLink Action = "show_link"
)

// AllActions lists the actions in the order in which they are shown.
var AllActions = []Action{View, Add, Edit, Delete, Export, ShowLink}

// OwnModules are SecBoard's own modules; those of the host platform are registered.
var OwnModules = []string{
	"users", "roles", "groups", "companies", "mail", "directory", "settings", "audit", "projections",
}

// Actions says which actions are allowed in one module.
type Actions struct {
	View     bool `json:"view"`
	Add      bool `json:"add"`
	Edit     bool `json:"edit"`
	Delete   bool `json:"delete"`
	Export   bool `json:"export"`
	ShowLink bool `json:"show_link"`
}

// Allows says whether one action is allowed.
func (a Actions) Allows(action Action) bool {
	switch action {
	case View:
		return a.View
	case Add:
		return a.Add
	case Edit:
		return a.Edit
	case Delete:
		return a.Delete
	case Export:
		return a.Export
	case ShowLink:
		return a.ShowLink
	}
	return false
}

func (a Actions) union(b Actions) Actions {
	return Actions{a.View || b.View, a.Add || b.Add, a.Edit || b.Edit, a.Delete || b.Delete, a.Export ||
		b.Export, a.ShowLink || b.ShowLink}
}

func (a Actions) without(b Actions) Actions {
	return Actions{
		a.View && !b.View, a.Add && !b.Add, a.Edit && !b.Edit, a.Delete && !b.Delete, a.Export && !b.Export,
		a.ShowLink && !b.ShowLink,
	}
}

// Permissions maps the key of a module to what is allowed there. A module with no allowed action is left out.
type Permissions map[string]Actions

// Normalized drops the modules in which nothing is allowed.
func (p Permissions) Normalized() Permissions {
	kept := make(Permissions, len(p))
	for module, actions := range p {
		if actions != (Actions{}) {
			kept[module] = actions
		}
	}
	return kept
}

// Allows says whether the action is allowed in the module.
func (p Permissions) Allows(module string, action Action) bool { return p[module].Allows(action) }

// Union is what either allows.
func (p Permissions) Union(other Permissions) Permissions {
	union := maps.Clone(p)
	if union == nil {
		union = Permissions{}
	}
	for module, actions := range other {
		union[module] = union[module].union(actions)
	}
	return union
}

// Missing lists what p allows and held does not, as "module.action", sorted.
func (p Permissions) Missing(held Permissions) []string {
	var missing []string
	for _, module := range slices.Sorted(maps.Keys(p)) {
		for _, action := range AllActions {
			if p.Allows(module, action) && !held.Allows(module, action) {
				missing = append(missing, module+"."+string(action))
			}
		}
	}
	return missing
}

// Without is what p allows and other does not.
func (p Permissions) Without(other Permissions) Permissions {
	rest := Permissions{}
	for module, actions := range p {
		if more := actions.without(other[module]); more != (Actions{}) {
			rest[module] = more
		}
	}
	return rest
}

// Granted is what the groups of an account allow it, by the company for which they do: uuid.Nil stands for everywhere.
// In SecBoard's own modules, what a company's group allows concerns only what belongs to that company.
type Granted map[uuid.UUID]Permissions

// Grant adds what a group of a company allows.
func (g Granted) Grant(company uuid.UUID, permissions Permissions) {
	if permissions = permissions.Normalized(); len(permissions) > 0 {
		g[company] = g[company].Union(permissions)
	}
}

// Allows says whether an action is allowed on what belongs to a company; uuid.Nil: on what belongs to none, or to all.
func (g Granted) Allows(company uuid.UUID, module string, action Action) bool {
	return g[uuid.Nil].Allows(module, action) || g[company].Allows(module, action)
}

// Anywhere is everything that is allowed, wherever it is.
func (g Granted) Anywhere() Permissions {
	all := Permissions{}
	for _, permissions := range g {
		all = all.Union(permissions)
	}
	return all
}

// Reach says where an action is allowed: everywhere, or for the companies listed, in the order of their ids.
func (g Granted) Reach(module string, action Action) (everywhere bool, companies []uuid.UUID) {
	if g[uuid.Nil].Allows(module, action) {
		return true, nil
	}
	for company, permissions := range g {
		if permissions.Allows(module, action) {
			companies = append(companies, company)
		}
	}
	slices.SortFunc(companies, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	return false, companies
}

// Missing lists what g allows and held does not, for whom g allows it, as "module.action", sorted.
func (g Granted) Missing(held Granted) []string {
	var missing []string
	for company, permissions := range g {
		missing = append(missing, permissions.Missing(held[uuid.Nil].Union(held[company]))...)
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// PermissionChanges lists each module × action that differs, as "permissions.<module>.<action>".
func PermissionChanges(from, to Permissions) []FieldChange {
	modules := slices.Sorted(maps.Keys(from.Union(to)))
	var changes []FieldChange
	for _, module := range modules {
		for _, action := range AllActions {
			before, after := from.Allows(module, action), to.Allows(module, action)
			if before != after {
				changes = append(changes,
					FieldChange{Field: "permissions." + module + "." + string(action), From: before, To: after})
			}
		}
	}
	return changes
}

// ModuleKey is what a module's key must look like.
var ModuleKey = regexp.MustCompile(`^[a-z][a-z0-9_]{0,49}$`)
