// Package role decides about platform roles: who somebody is, and the widgets of the executive view that come with it.
package role

import "github.com/secboard/secboard/domain"

// Kind is the first part of a role's stream name.
const Kind = "role"

// Events is the catalogue of the role's events.
var Events = []domain.Event{Created{}, Renamed{}, DescriptionChanged{}, WidgetsChanged{}, Retired{}}

// Created starts a role.
type Created struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Widgets     []string `json:"widgets,omitempty"`
}

// Renamed gives the role another name.
type Renamed struct {
	Name domain.Changed[string] `json:"name"`
}

// DescriptionChanged replaces the description.
type DescriptionChanged struct {
	Description domain.Changed[string] `json:"description"`
}

// WidgetsChanged replaces the widgets, in the order in which they are shown.
type WidgetsChanged struct {
	Widgets domain.Changed[[]string] `json:"widgets"`
}

// Retired takes the role out of use: it can't be given any more and counts for nobody.
type Retired struct {
	Reason string `json:"reason,omitempty"`
}

func (Created) EventType() string            { return "role.created" }
func (Renamed) EventType() string            { return "role.renamed" }
func (DescriptionChanged) EventType() string { return "role.description_changed" }
func (WidgetsChanged) EventType() string     { return "role.widgets_changed" }
func (Retired) EventType() string            { return "role.retired" }

func (e Created) Summary() string          { return "role " + e.Name + " created" }
func (e Renamed) Summary() string          { return "renamed from " + e.Name.From + " to " + e.Name.To }
func (DescriptionChanged) Summary() string { return "description changed" }
func (WidgetsChanged) Summary() string     { return "widgets changed" }
func (e Retired) Summary() string          { return "retired" + domain.Because(e.Reason) }
