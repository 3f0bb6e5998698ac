package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
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

// anyModule stands in for the registry of modules where only the form is checked; the command knows the modules.
func anyModule(string) bool { return true }

type newGroup struct {
	Name        string                    `json:"name" maxLength:"200" example:"Risk analysts" doc:"Unique within its company, or among the global groups; case-sensitive"`
	Description string                    `json:"description,omitempty" maxLength:"2000"`
	CompanyID   string                    `json:"company_id,omitempty" format:"uuid" nullable:"true" doc:"null for a global group"`
	Permissions map[string]allowedActions `json:"permissions,omitempty" example:"{\"risks\":{\"view\":true,\"export\":true}}" doc:"What the members may do, by the key of the module"`
}

func (b *newGroup) details(problems *domain.Invalid) group.Details {
	details := group.Details{
		Name: b.Name, Description: b.Description, CompanyID: readID("company_id", b.CompanyID, problems),
		Permissions: permissionsOf("permissions", b.Permissions, problems),
	}
	merge(problems, details.Normalized().Validate(anyModule))
	return details
}

// Resolve lets the domain check the body beside the schema.
func (b *newGroup) Resolve(huma.Context) []error {
	var problems domain.Invalid
	b.details(&problems)
	return findings(problems)
}

type groupChanges struct {
	Name        Optional[string]                    `json:"name,omitzero" maxLength:"200" nullable:"false"`
	Description Optional[string]                    `json:"description,omitzero" maxLength:"2000"`
	CompanyID   Optional[string]                    `json:"company_id,omitzero" format:"uuid" doc:"null makes the group global; it can't be moved to a company"`
	Permissions Optional[map[string]allowedActions] `json:"permissions,omitzero" doc:"Exactly these from now on; only a superuser can add one that the caller does not have"`
}

func (b *groupChanges) patch(problems *domain.Invalid) group.Patch {
	patch := group.Patch{
		Name: b.Name.patch("name", problems), Description: b.Description.patch("description", problems),
		CompanyID:   converted("company_id", b.CompanyID.patch("company_id", problems), problems, readID),
		Permissions: converted("permissions", b.Permissions.patch("permissions", problems), problems, permissionsOf),
	}
	// On a group without other data, so that only what the body names can be wrong.
	details := group.Details{Name: "some group"}
	if patch.Name != nil {
		details.Name = *patch.Name
	}
	if patch.Description != nil {
		details.Description = *patch.Description
	}
	if patch.Permissions != nil {
		details.Permissions = *patch.Permissions
	}
	merge(problems, details.Normalized().Validate(anyModule))
	return patch
}

// Resolve lets the domain check the body beside the schema.
func (b *groupChanges) Resolve(huma.Context) []error {
	var problems domain.Invalid
	b.patch(&problems)
	return findings(problems)
}

type createGroupRequest struct {
	CreateHeaders
	Body newGroup
}

type changeGroupRequest struct {
	ChangeHeaders
	ByID
	Body groupChanges
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
		path: "/groups",
		read: func(ctx context.Context, id string) (projections.Group, error) {
			parsed, err := uuid.Parse(id)
			if err != nil {
				return projections.Group{}, err
			}
			return s.ReadModels.Group(ctx, parsed)
		},
		revision: func(g projections.Group) eventstore.Revision { return g.Revision },
	}
}

func (s *server) addGroups() {
	const tag = "Groups"
	registerCommand(s, operation{
		method: http.MethodPost, path: "/groups", id: "create-group", tag: tag, status: http.StatusCreated, required: needs("groups", domain.Add),
		summary: "Create an access group", description: "What somebody may do is what the groups allow together.",
		example: map[string]any{"name": "Risk analysts", "permissions": map[string]any{"risks": map[string]any{"view": true, "export": true}}},
	}, s.createGroup)
	register(s, operation{
		method: http.MethodGet, path: "/groups", id: "list-groups", tag: tag, required: needs("groups", domain.View), summary: "List access groups",
	}, func(ctx context.Context, in *listGroupsRequest) (*list[projections.Group], error) {
		return listOf(s.ReadModels.Groups(ctx, projections.GroupFilter{
			Query: in.Query, CompanyID: given(in.CompanyID), Retired: in.Retired.pointer(),
		}, in.request()))
	})
	register(s, operation{
		method: http.MethodGet, path: "/groups/{id}", id: "get-group", tag: tag, required: needs("groups", domain.View), summary: "One group, now or as it was",
	}, s.getGroup)
	register(s, operation{
		method: http.MethodGet, path: "/groups/{id}/members", id: "list-group-members", tag: tag, required: needs("groups", domain.View),
		summary: "Members of a group, now or at a time", description: "With since when and by whom.",
	}, s.groupMembers)
	registerCommand(s, operation{
		method: http.MethodPatch, path: "/groups/{id}", id: "change-group", tag: tag, required: needs("groups", domain.Edit), summary: "Change a group",
	}, s.changeGroup)
	registerCommand(s, operation{
		method: http.MethodPost, path: "/groups/{id}/retire", id: "retire-group", tag: tag, required: needs("groups", domain.Edit),
		summary: "Take a group out of use", description: "Nobody can join it any more and it grants nothing; its name is free again.",
	}, func(ctx context.Context, in *actForReasonRequest) (*answer[projections.Group], error) {
		caller, err := s.changer(ctx, in.ChangeHeaders)
		if err != nil {
			return nil, err
		}
		result, err := s.Commands.RetireGroup(ctx, caller, in.ID, in.Body.reason())
		if err != nil {
			return nil, err
		}
		return s.groups().changed(ctx, s, in.Prefer, result)
	})
}

func (s *server) createGroup(ctx context.Context, in *createGroupRequest) (*answer[projections.Group], error) {
	var problems domain.Invalid
	details := in.Body.details(&problems)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	result, err := s.Commands.CreateGroup(ctx, s.caller(ctx), details)
	if err != nil {
		return nil, err
	}
	return s.groups().created(ctx, s, in.Prefer, result)
}

func (s *server) getGroup(ctx context.Context, in *getRequest) (*one[projections.Group], error) {
	found, err := s.groupAt(ctx, in.ID, in.AsOf)
	if err != nil {
		return nil, err
	}
	return &one[projections.Group]{ETag: etag(found.Revision), Body: found}, nil
}

func (s *server) groupAt(ctx context.Context, id uuid.UUID, asOf Moment) (projections.Group, error) {
	if at := asOf.end(); at != nil {
		return s.ReadModels.GroupAsOf(ctx, id, *at)
	}
	return s.ReadModels.Group(ctx, id)
}

func (s *server) groupMembers(ctx context.Context, in *membersRequest) (*list[projections.Member], error) {
	if _, err := s.groupAt(ctx, in.ID, in.AsOf); err != nil {
		return nil, err
	}
	return listOf(s.ReadModels.GroupMembers(ctx, in.ID, in.AsOf.end(), in.request()))
}

func (s *server) changeGroup(ctx context.Context, in *changeGroupRequest) (*answer[projections.Group], error) {
	var problems domain.Invalid
	patch := in.Body.patch(&problems)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	caller, err := s.changer(ctx, in.ChangeHeaders)
	if err != nil {
		return nil, err
	}
	result, err := s.Commands.ChangeGroup(ctx, caller, in.ID, patch)
	if err != nil {
		return nil, err
	}
	return s.groups().changed(ctx, s, in.Prefer, result)
}
