package httpapi

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/projections"
)

type userRoleRequest struct {
	ChangeHeaders
	ByID
	RoleID uuid.UUID `path:"role_id" format:"uuid"`
}

type userGroupRequest struct {
	ChangeHeaders
	ByID
	GroupID uuid.UUID `path:"group_id" format:"uuid"`
}

// addMemberships adds what gives and takes an account's roles and groups one by one.
func (s *server) addMemberships() {
	const tag = "Accounts"
	edit := needs("users", domain.Edit).forCompanies()
	role := func(command func(context.Context, commands.Caller, uuid.UUID, uuid.UUID) (commands.Result, error)) func(
		context.Context, *userRoleRequest) (*answer[projections.User], error) {
		return func(ctx context.Context, in *userRoleRequest) (*answer[projections.User], error) {
			return s.changeMembership(ctx, in.ChangeHeaders, in.ID, in.RoleID, command)
		}
	}
	group := func(command func(context.Context, commands.Caller, uuid.UUID, uuid.UUID) (commands.Result, error)) func(
		context.Context, *userGroupRequest) (*answer[projections.User], error) {
		return func(ctx context.Context, in *userGroupRequest) (*answer[projections.User], error) {
			return s.changeMembership(ctx, in.ChangeHeaders, in.ID, in.GroupID, command)
		}
	}
	registerCommand(s, operation{
		method: http.MethodPut, path: "/users/{id}/roles/{role_id}", id: "give-role", tag: tag, required: edit,
		summary: "Give an account a role",
	}, role(s.Commands.GiveRole))
	registerCommand(s, operation{
		method: http.MethodDelete, path: "/users/{id}/roles/{role_id}", id: "take-role", tag: tag, required: edit,
		summary: "Remove a role from an account",
	}, role(s.Commands.TakeRole))
	registerCommand(s, operation{
		method: http.MethodPut, path: "/users/{id}/groups/{group_id}", id: "join-group", tag: tag, required: edit,
		summary: "Add an account to a group",
		description: "The group must be global or belong to the account's company. Only a superuser can give a " +
			"group with permissions that the caller doesn't have.",
	}, group(s.Commands.JoinGroup))
	registerCommand(s, operation{
		method: http.MethodDelete, path: "/users/{id}/groups/{group_id}", id: "leave-group", tag: tag, required: edit,
		summary: "Remove an account from a group",
	}, group(s.Commands.LeaveGroup))
}

func (s *server) changeMembership(ctx context.Context, headers ChangeHeaders, id, other uuid.UUID,
	command func(context.Context, commands.Caller, uuid.UUID, uuid.UUID) (commands.Result, error),
) (*answer[projections.User], error) {
	caller, err := s.changer(ctx, headers)
	if err != nil {
		return nil, err
	}
	result, err := command(ctx, caller, id, other)
	if err != nil {
		return nil, err
	}
	return s.users().changed(ctx, s, headers.Prefer, result)
}
