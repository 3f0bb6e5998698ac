package httpapi

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
)

// allowedActions are a module's actions in a body; what is left out is not allowed.
type allowedActions struct {
	View     bool `json:"view,omitempty"`
	Add      bool `json:"add,omitempty"`
	Edit     bool `json:"edit,omitempty"`
	Delete   bool `json:"delete,omitempty"`
	Export   bool `json:"export,omitempty"`
	ShowLink bool `json:"show_link,omitempty"`
}

// permissionsOf gives the permissions of a body.
func permissionsOf(_ string, modules map[string]allowedActions, _ *domain.Invalid) domain.Permissions {
	permissions := domain.Permissions{}
	for module, actions := range modules {
		permissions[module] = domain.Actions(actions)
	}
	return permissions
}

type newGroup struct {
	Name        string                    `json:"name" maxLength:"200" example:"Risk analysts" doc:"Unique within its company, or among the global groups; case-sensitive"`
	Description string                    `json:"description,omitempty" maxLength:"2000"`
	CompanyID   string                    `json:"company_id,omitempty" format:"uuid" nullable:"true" doc:"null for a global group"`
	Permissions map[string]allowedActions `json:"permissions,omitempty" example:"{\"risks\":{\"view\":true,\"export\":true}}" doc:"What the members may do, by the key of the module"`
}

func (b *newGroup) command(problems *domain.Invalid) group.Details {
	details := group.Details{
		Name: b.Name, Description: b.Description, CompanyID: readID("company_id", b.CompanyID, problems),
		Permissions: permissionsOf("permissions", b.Permissions, problems),
	}
	merge(problems, details.Normalized().Validate(nil)) // the command knows the modules
	return details
}

type groupChanges struct {
	Name        Optional[string]                    `json:"name,omitzero" maxLength:"200" nullable:"false"`
	Description Optional[string]                    `json:"description,omitzero" maxLength:"2000"`
	CompanyID   Optional[string]                    `json:"company_id,omitzero" format:"uuid" doc:"null makes the group global; it can't be moved to a company"`
	Permissions Optional[map[string]allowedActions] `json:"permissions,omitzero" doc:"Replaces all permissions; only a superuser can add one that the caller doesn't have"`
}

func (b *groupChanges) command(problems *domain.Invalid) group.Patch {
	patch := group.Patch{
		Name: b.Name.patch("name", problems), Description: b.Description.patch("description", problems),
		CompanyID:   converted("company_id", b.CompanyID.patch("company_id", problems), problems, readID),
		Permissions: converted("permissions", b.Permissions.patch("permissions", problems), problems, permissionsOf),
	}
	merge(problems, patch.Validate(nil)) // the command knows the modules
	return patch
}

type listGroupsRequest struct {
	NamedList
	CompanyID uuid.UUID `query:"company_id" format:"uuid"`
}

type membersRequest struct {
	QueryHeaders
	PageParams
	PointInTime
	ByID
}

func (s *server) groups() resource[projections.Group] {
	return resource[projections.Group]{
		path: "/groups", name: "group", tag: "Groups", module: "groups", kind: group.Kind,
		read: byID(s.ReadModels.Group), asOf: byIDAsOf(s.ReadModels.GroupAsOf),
		revision: func(g projections.Group) eventstore.Revision { return g.Revision },
		belongs:  func(g projections.Group) uuid.UUID { return idOf(g.CompanyID) },
	}
}

func (s *server) addGroups() {
	groups := s.groups()
	registerCreate[newGroup](s, groups, operation{
		summary: "Create an access group", description: "A person may do whatever at least one of their groups " +
			"allows.",
		example: map[string]any{
			"name":        "Risk analysts",
			"permissions": map[string]any{"risks": map[string]any{"view": true, "export": true}},
		},
	}, s.Commands.CreateGroup)
	register(s, operation{
		method: http.MethodGet, path: "/groups", id: "list-groups", tag: groups.tag,
		required: groups.needs(domain.View), summary: "List access groups",
	}, func(ctx context.Context, in *listGroupsRequest) (*list[projections.Group], error) {
		return listOf(s.ReadModels.Groups(ctx, projections.GroupFilter{
			Query: in.Query, CompanyID: infoOf(ctx).reach.within(in.CompanyID), Retired: in.Retired.pointer(),
		}, in.request()))
	})
	registerGet(s, groups, "One group, now or as it was")
	register(s, operation{
		method: http.MethodGet, path: "/groups/{id}/members", id: "list-group-members", tag: groups.tag,
		required: groups.needs(domain.View),
		summary:  "Members of a group, now or at a time", description: "Each with the time since when, and who " +
			"added them.",
	}, func(ctx context.Context, in *membersRequest) (*list[projections.Member], error) {
		if _, err := groups.get(ctx, in.ID.String(), in.AsOf); err != nil {
			return nil, err
		}
		return listOf(s.ReadModels.GroupMembers(ctx, in.ID, in.AsOf.end(), in.request()))
	})
	registerChange[groupChanges](s, groups, operation{summary: "Change a group"}, s.Commands.ChangeGroup)
	registerActForReason(s, groups, "retire", operation{
		summary:     "Retire a group",
		description: "Nobody can join it any more and it grants nothing; its name is free again.",
	}, s.Commands.RetireGroup)
	registerHistory(s, groups)
}
