// Package group decides about access groups: what their members may do in which module.
package group

import (
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// Kind is the first part of a group's stream name.
const Kind = "group"

// Events is the catalogue of the group's events.
var Events = []domain.Event{Created{}, Renamed{}, DescriptionChanged{}, MadeGlobal{}, PermissionsChanged{}, Retired{}}

// Created starts a group. CompanyID is uuid.Nil for a global group.
type Created struct {
	Name        string             `json:"name"`
	Description string             `json:"description,omitempty"`
	CompanyID   uuid.UUID          `json:"company_id,omitzero"`
	Permissions domain.Permissions `json:"permissions"`
}

// Renamed gives the group another name.
type Renamed struct {
	Name domain.Changed[string] `json:"name"`
}

// DescriptionChanged replaces the description.
type DescriptionChanged struct {
	Description domain.Changed[string] `json:"description"`
}

// MadeGlobal opens the group of one company to all companies.
type MadeGlobal struct {
	CompanyID domain.Changed[uuid.UUID] `json:"company_id"`
}

// PermissionsChanged replaces what the members may do.
type PermissionsChanged struct {
	Permissions domain.Changed[domain.Permissions] `json:"permissions"`
}

// Retired takes the group out of use: nobody can join any more and it grants nothing.
type Retired struct {
	Reason string `json:"reason,omitempty"`
}

func (Created) EventType() string            { return "group.created" }
func (Renamed) EventType() string            { return "group.renamed" }
func (DescriptionChanged) EventType() string { return "group.description_changed" }
func (MadeGlobal) EventType() string         { return "group.made_global" }
func (PermissionsChanged) EventType() string { return "group.permissions_changed" }
func (Retired) EventType() string            { return "group.retired" }

func (e Created) Summary() string          { return "group " + e.Name + " created" }
func (e Renamed) Summary() string          { return "renamed from " + e.Name.From + " to " + e.Name.To }
func (DescriptionChanged) Summary() string { return "description changed" }
func (MadeGlobal) Summary() string         { return "opened to all companies" }
func (PermissionsChanged) Summary() string { return "permissions changed" }
func (e Retired) Summary() string          { return "retired" + domain.Because(e.Reason) }

// Changes lists the first permissions one by one, as PermissionsChanged does.
func (e Created) Changes() []domain.FieldChange {
	changes := []domain.FieldChange{{Field: "name", To: e.Name}}
	if e.Description != "" {
		changes = append(changes, domain.FieldChange{Field: "description", To: e.Description})
	}
	if e.CompanyID != uuid.Nil {
		changes = append(changes, domain.FieldChange{Field: "company_id", To: e.CompanyID})
	}
	return append(changes, domain.PermissionChanges(nil, e.Permissions)...)
}

// Changes lists each permission that differs.
func (e PermissionsChanged) Changes() []domain.FieldChange {
	return domain.PermissionChanges(e.Permissions.From, e.Permissions.To)
}
