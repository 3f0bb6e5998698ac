package commands

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// RegisterUser asks for a new account. Its id is the caller's CommandID.
type RegisterUser struct {
	Details          user.Details
	Inactive         bool
	Superuser        bool
	RequireTwoFactor bool
	RoleIDs          []uuid.UUID
	GroupIDs         []uuid.UUID
}

// RegisterUser starts an account.
func (h *Handler) RegisterUser(ctx context.Context, caller Caller, command RegisterUser) (Result, error) {
	caller = caller.needing(needs("users", domain.Add))
	return createBy(ctx, h, caller, domain.StreamName(user.Kind, caller.CommandID),
		func(s user.State, who *authority) ([]domain.Event, error) {
			grants, err := h.checkRegistration(ctx, who, command)
			if err != nil {
				return nil, err
			}
			return user.Register(s, by(who.Rights, caller, caller.CommandID), command.Details, grants)
		})
}

// checkRegistration looks up what a new account refers to and reports every wrong field.
func (h *Handler) checkRegistration(ctx context.Context, who *authority,
	command RegisterUser) (user.Grants, error) {
	grants := user.Grants{
		Inactive: command.Inactive, Superuser: command.Superuser, RequireTwoFactor: command.RequireTwoFactor,
	}
	problems := problemsOf(command.Details.Normalized().Validate())
	var err error
	if grants.Roles, err = h.roles(ctx, command.RoleIDs, problems); err != nil {
		return grants, err
	}
	if grants.Groups, err = who.groups(ctx, command.GroupIDs, user.State{}, problems); err != nil {
		return grants, err
	}
	if err := who.checkCompany(ctx, command.Details.CompanyID, problems); err != nil {
		return grants, err
	}
	return grants, problems.Err()
}

// ChangeUser asks for changes to an account; nil leaves a field as it is, a pointer to the zero value clears it.
type ChangeUser struct {
	user.Patch              // without Roles and Groups
	RoleIDs    *[]uuid.UUID // exactly these roles from now on
	GroupIDs   *[]uuid.UUID // exactly these groups from now on
}

// ChangeUser changes an account, in one append.
func (h *Handler) ChangeUser(ctx context.Context, caller Caller, id uuid.UUID, command ChangeUser) (Result, error) {
	caller = caller.needing(needs("users", domain.Edit))
	return changeBy(ctx, h, caller, domain.StreamName(user.Kind, id), func(s user.State,
		who *authority) ([]domain.Event, error) {
		patch := command.Patch
		problems := &domain.Invalid{}
		if s.Exists {
			problems = problemsOf(patch.ApplyTo(s.Details).Validate())
		}
		if patch.CompanyID != nil && *patch.CompanyID != s.Details.CompanyID {
			if err := who.checkCompany(ctx, *patch.CompanyID, problems); err != nil {
				return nil, err
			}
		}
		if command.RoleIDs != nil {
			roles, err := h.roles(ctx, *command.RoleIDs, problems)
			if err != nil {
				return nil, err
			}
			patch.Roles = &roles
		}
		groupIDs := command.GroupIDs
		if groupIDs == nil && patch.CompanyID != nil && *patch.CompanyID != s.Details.CompanyID {
			kept := make([]uuid.UUID, 0, len(s.Groups)) // the domain has to see whether they fit the other company
			for groupID := range s.Groups {
				kept = append(kept, groupID)
			}
			groupIDs = &kept
		}
		if groupIDs != nil {
			groups, err := who.groups(ctx, *groupIDs, s, problems)
			if err != nil {
				return nil, err
			}
			patch.Groups = &groups
		}
		if err := problems.Err(); err != nil {
			return nil, err
		}
		events, err := user.Change(s, by(who.Rights, caller, id), patch)
		return h.guard(ctx, caller, who, id, s, events, err)
	})
}

// changeAccount runs one command by which somebody administers an account.
func (h *Handler) changeAccount(ctx context.Context, caller Caller, id uuid.UUID,
	decide func(user.State, user.By) ([]domain.Event, error)) (Result, error) {
	caller = caller.needing(needs("users", domain.Edit))
	return changeBy(ctx, h, caller, domain.StreamName(user.Kind, id), func(s user.State,
		who *authority) ([]domain.Event, error) {
		events, err := decide(s, by(who.Rights, caller, id))
		return h.guard(ctx, caller, who, id, s, events, err)
	})
}

// DeactivateUser closes an account.
func (h *Handler) DeactivateUser(ctx context.Context, caller Caller, id uuid.UUID, reason string) (Result, error) {
	return h.changeAccount(ctx, caller, id, func(s user.State, by user.By) ([]domain.Event, error) {
		return user.Deactivate(s, by, reason)
	})
}

// ActivateUser opens an account again.
func (h *Handler) ActivateUser(ctx context.Context, caller Caller, id uuid.UUID) (Result, error) {
	return h.changeAccount(ctx, caller, id, user.Activate)
}

// GiveRole gives an account a role.
func (h *Handler) GiveRole(ctx context.Context, caller Caller, id, roleID uuid.UUID) (Result, error) {
	given, exists, err := h.role(ctx, roleID)
	if err != nil {
		return Result{}, err
	}
	if !exists {
		return Result{}, domain.Refusef(domain.CodeNotFound, "there is no role %s", roleID)
	}
	return h.changeAccount(ctx, caller, id, func(s user.State, by user.By) ([]domain.Event, error) {
		return user.GiveRole(s, by, given)
	})
}

// TakeRole takes a role from an account.
func (h *Handler) TakeRole(ctx context.Context, caller Caller, id, roleID uuid.UUID) (Result, error) {
	return h.changeAccount(ctx, caller, id, func(s user.State, by user.By) ([]domain.Event, error) {
		return user.TakeRole(s, by, roleID)
	})
}

// JoinGroup makes an account a member of a group.
func (h *Handler) JoinGroup(ctx context.Context, caller Caller, id, groupID uuid.UUID) (Result, error) {
	caller = caller.needing(needs("users", domain.Edit))
	return changeBy(ctx, h, caller, domain.StreamName(user.Kind, id), func(s user.State,
		who *authority) ([]domain.Event, error) {
		joined, exists, err := who.group(ctx, groupID, s)
		if err != nil {
			return nil, err
		}
		if !exists {
			return nil, domain.Refusef(domain.CodeNotFound, "there is no group %s", groupID)
		}
		events, err := user.JoinGroup(s, by(who.Rights, caller, id), joined)
		return h.guard(ctx, caller, who, id, s, events, err)
	})
}

// LeaveGroup ends an account's membership in a group.
func (h *Handler) LeaveGroup(ctx context.Context, caller Caller, id, groupID uuid.UUID) (Result, error) {
	return h.changeAccount(ctx, caller, id, func(s user.State, by user.By) ([]domain.Event, error) {
		return user.LeaveGroup(s, by, groupID)
	})
}

func by(rights access.Rights, caller Caller, account uuid.UUID) user.By {
	return user.By{
		Superuser: rights.Superuser, Granted: rights.Granted,
		Self: caller.Actor.Kind == eventstore.ActorUser && caller.Actor.ID == account.String(),
	}
}

// problemsOf starts a list of wrong fields with those of an earlier check.
func problemsOf(err error) *domain.Invalid {
	problems := &domain.Invalid{}
	if invalid, ok := errors.AsType[*domain.Invalid](err); ok {
		problems.Fields = slices.Clone(invalid.Fields)
	}
	return problems
}

// checkCompany notes a company that there is not, or that the caller's right does not reach.
func (a *authority) checkCompany(ctx context.Context, id uuid.UUID, problems *domain.Invalid) error {
	if id == uuid.Nil {
		return nil
	}
	found, err := load[company.State](ctx, a.h.Log, domain.StreamName(company.Kind, id))
	switch {
	case err != nil:
		return err
	case !found.State.Exists || !a.caller.reaches(a.Rights, "", id):
		problems.Add("company_id", domain.CodeUnknownCompany, "there is no company %s", id)
	case found.State.Retired:
		problems.Add("company_id", domain.CodeRetiredCompany, "the company %s is retired", found.State.Name)
	}
	return nil
}

func (h *Handler) role(ctx context.Context, id uuid.UUID) (user.Role, bool, error) {
	found, err := load[role.State](ctx, h.Log, domain.StreamName(role.Kind, id))
	return user.Role{ID: id, Name: found.State.Name, Retired: found.State.Retired}, found.State.Exists, err
}

func (h *Handler) group(ctx context.Context, id uuid.UUID) (user.Group, bool, error) {
	found, err := load[group.State](ctx, h.Log, domain.StreamName(group.Kind, id))
	s := found.State
	return user.Group{ID: id, Name: s.Name, CompanyID: s.CompanyID, Permissions: s.Permissions, Retired: s.Retired},
		s.Exists, err
}

func (h *Handler) roles(ctx context.Context, ids []uuid.UUID, problems *domain.Invalid) ([]user.Role, error) {
	return resolve(ids, "role_ids", domain.CodeUnknownRole, problems, func(id uuid.UUID) (user.Role, bool, error) {
		return h.role(ctx, id)
	})
}

func (a *authority) groups(ctx context.Context, ids []uuid.UUID, account user.State,
	problems *domain.Invalid) ([]user.Group, error) {
	return resolve(ids, "group_ids", domain.CodeUnknownGroup, problems, func(id uuid.UUID) (user.Group, bool, error) {
		return a.group(ctx, id, account)
	})
}

func resolve[T any](ids []uuid.UUID, field string, code domain.Code, problems *domain.Invalid,
	find func(uuid.UUID) (T, bool, error)) ([]T, error) {
	found := make([]T, 0, len(ids))
	for i, id := range ids {
		item, exists, err := find(id)
		if err != nil {
			return nil, err
		}
		if !exists {
			problems.Add(field+"."+strconv.Itoa(i), code, "there is none with the id %s", id)
			continue
		}
		found = append(found, item)
	}
	return found, nil
}
