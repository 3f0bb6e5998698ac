package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
)

type newRole struct {
	Name        string   `json:"name" maxLength:"200" example:"Chief information security officer" doc:"Unique, case-sensitive"`
	Description string   `json:"description,omitempty" maxLength:"2000"`
	Widgets     []string `json:"widgets,omitempty" maxItems:"100" example:"[\"open_risks\",\"audit_calendar\"]" doc:"Of the executive view, in the order in which they are shown"`
}

func (b *newRole) details() role.Details {
	return role.Details{Name: b.Name, Description: b.Description, Widgets: b.Widgets}
}

// Resolve lets the domain check the body beside the schema.
func (b *newRole) Resolve(huma.Context) []error {
	var problems domain.Invalid
	merge(&problems, b.details().Normalized().Validate())
	return findings(problems)
}

type roleChanges struct {
	Name        Optional[string]   `json:"name,omitzero" maxLength:"200" nullable:"false"`
	Description Optional[string]   `json:"description,omitzero" maxLength:"2000"`
	Widgets     Optional[[]string] `json:"widgets,omitzero" maxItems:"100" doc:"Exactly these from now on"`
}

func (b *roleChanges) patch(problems *domain.Invalid) role.Patch {
	patch := role.Patch{
		Name: b.Name.patch("name", problems), Description: b.Description.patch("description", problems), Widgets: b.Widgets.patch("widgets", problems),
	}
	// On a role without other data, so that only what the body names can be wrong.
	details := role.Details{Name: "some role"}
	if patch.Name != nil {
		details.Name = *patch.Name
	}
	if patch.Description != nil {
		details.Description = *patch.Description
	}
	if patch.Widgets != nil {
		details.Widgets = *patch.Widgets
	}
	merge(problems, details.Normalized().Validate())
	return patch
}

// Resolve lets the domain check the body beside the schema.
func (b *roleChanges) Resolve(huma.Context) []error {
	var problems domain.Invalid
	b.patch(&problems)
	return findings(problems)
}

type createRoleRequest struct {
	CreateHeaders
	Body newRole
}

type changeRoleRequest struct {
	ChangeHeaders
	ByID
	Body roleChanges
}

func (s *server) roles() resource[projections.Role] {
	return resource[projections.Role]{
		path: "/roles",
		read: func(ctx context.Context, id string) (projections.Role, error) {
			parsed, err := uuid.Parse(id)
			if err != nil {
				return projections.Role{}, err
			}
			return s.ReadModels.Role(ctx, parsed)
		},
		revision: func(r projections.Role) eventstore.Revision { return r.Revision },
	}
}

func (s *server) addRoles() {
	const tag = "Roles"
	registerCommand(s, operation{
		method: http.MethodPost, path: "/roles", id: "create-role", tag: tag, status: http.StatusCreated, required: needs("roles", domain.Add),
		summary: "Create a platform role", description: "A role says who somebody is; what somebody may do comes from groups.",
	}, func(ctx context.Context, in *createRoleRequest) (*answer[projections.Role], error) {
		result, err := s.Commands.CreateRole(ctx, s.caller(ctx), in.Body.details())
		if err != nil {
			return nil, err
		}
		return s.roles().created(ctx, s, in.Prefer, result)
	})
	register(s, operation{
		method: http.MethodGet, path: "/roles", id: "list-roles", tag: tag, required: needs("roles", domain.View), summary: "List platform roles",
	}, func(ctx context.Context, in *NamedList) (*list[projections.Role], error) {
		return listOf(s.ReadModels.Roles(ctx, projections.RoleFilter{Query: in.Query, Retired: in.Retired.pointer()}, in.request()))
	})
	register(s, operation{
		method: http.MethodGet, path: "/roles/{id}", id: "get-role", tag: tag, required: needs("roles", domain.View), summary: "One role, now or as it was",
	}, s.getRole)
	registerCommand(s, operation{
		method: http.MethodPatch, path: "/roles/{id}", id: "change-role", tag: tag, required: needs("roles", domain.Edit), summary: "Change a role",
	}, s.changeRole)
	registerCommand(s, operation{
		method: http.MethodPost, path: "/roles/{id}/retire", id: "retire-role", tag: tag, required: needs("roles", domain.Edit),
		summary: "Take a role out of use", description: "It can't be given any more and counts for nobody; its name is free again.",
	}, func(ctx context.Context, in *actForReasonRequest) (*answer[projections.Role], error) {
		caller, err := s.changer(ctx, in.ChangeHeaders)
		if err != nil {
			return nil, err
		}
		result, err := s.Commands.RetireRole(ctx, caller, in.ID, in.Body.reason())
		if err != nil {
			return nil, err
		}
		return s.roles().changed(ctx, s, in.Prefer, result)
	})
}

func (s *server) getRole(ctx context.Context, in *getRequest) (*one[projections.Role], error) {
	var found projections.Role
	var err error
	if at := in.AsOf.end(); at != nil {
		found, err = s.ReadModels.RoleAsOf(ctx, in.ID, *at)
	} else {
		found, err = s.ReadModels.Role(ctx, in.ID)
	}
	if err != nil {
		return nil, err
	}
	return &one[projections.Role]{ETag: etag(found.Revision), Body: found}, nil
}

func (s *server) changeRole(ctx context.Context, in *changeRoleRequest) (*answer[projections.Role], error) {
	var problems domain.Invalid
	patch := in.Body.patch(&problems)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	caller, err := s.changer(ctx, in.ChangeHeaders)
	if err != nil {
		return nil, err
	}
	result, err := s.Commands.ChangeRole(ctx, caller, in.ID, patch)
	if err != nil {
		return nil, err
	}
	return s.roles().changed(ctx, s, in.Prefer, result)
}
