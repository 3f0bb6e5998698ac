package httpapi

import (
	"context"
	"net/http"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
)

type newRole struct {
	Name        string   `json:"name" maxLength:"200" example:"Chief information security officer" doc:"Unique, case-sensitive"`
	Description string   `json:"description,omitempty" maxLength:"2000"`
	Widgets     []string `json:"widgets,omitempty" maxItems:"100" example:"[\"open_risks\",\"audit_calendar\"]" doc:"Widgets of the executive view, in the order in which they are shown"`
}

func (b *newRole) command(problems *domain.Invalid) role.Details {
	details := role.Details{Name: b.Name, Description: b.Description, Widgets: b.Widgets}
	merge(problems, details.Normalized().Validate())
	return details
}

type roleChanges struct {
	Name        Optional[string]   `json:"name,omitzero" maxLength:"200" nullable:"false"`
	Description Optional[string]   `json:"description,omitzero" maxLength:"2000"`
	Widgets     Optional[[]string] `json:"widgets,omitzero" maxItems:"100" doc:"Replaces the whole list"`
}

func (b *roleChanges) command(problems *domain.Invalid) role.Patch {
	patch := role.Patch{
		Name: b.Name.patch("name", problems), Description: b.Description.patch("description", problems),
		Widgets: b.Widgets.patch("widgets", problems),
	}
	merge(problems, patch.Validate())
	return patch
}

func (s *server) roles() resource[projections.Role] {
	return resource[projections.Role]{
		path: "/roles", name: "role", tag: "Roles", module: "roles", kind: role.Kind,
		read: byID(s.ReadModels.Role), asOf: byIDAsOf(s.ReadModels.RoleAsOf),
		revision: func(r projections.Role) eventstore.Revision { return r.Revision },
	}
}

func (s *server) addRoles() {
	roles := s.roles()
	registerCreate[newRole](s, roles, operation{
		summary:     "Create a platform role",
		description: "A role says who somebody is; what somebody may do comes from groups.",
	}, s.Commands.CreateRole)
	register(s, operation{
		method: http.MethodGet, path: "/roles", id: "list-roles", tag: roles.tag, required: needs("roles", domain.View),
		summary: "List platform roles",
	}, func(ctx context.Context, in *NamedList) (*list[projections.Role], error) {
		return listOf(s.ReadModels.Roles(ctx, projections.RoleFilter{Query: in.Query, Retired: in.Retired.pointer()},
			in.request()))
	})
	registerGet(s, roles, "One role, now or as it was")
	registerChange[roleChanges](s, roles, operation{summary: "Change a role"}, s.Commands.ChangeRole)
	registerActForReason(s, roles, "retire", operation{
		summary: "Retire a role",
		description: "It can't be given to anybody any more and no longer counts for those who have it; its name " +
			"is free again.",
	}, s.Commands.RetireRole)
	registerHistory(s, roles)
}
