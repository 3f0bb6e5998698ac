package domain

import (
	"maps"
	"regexp"
	"slices"
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

// OfSecBoard is what p allows in SecBoard's own modules: in administering accounts and access, not in the host
// platform.
func (p Permissions) OfSecBoard() Permissions {
	own := Permissions{}
	for _, module := range OwnModules {
		if actions, ok := p[module]; ok {
			own[module] = actions
		}
	}
	return own
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
