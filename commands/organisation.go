package commands

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/module"
	"github.com/secboard/secboard/domain/role"
)

// CreateCompany starts a company. Its id is the caller's CommandID.
func (h *Handler) CreateCompany(ctx context.Context, caller Caller, details company.Details) (Result, error) {
	return createWith(ctx, h, caller.needing(needs("companies", domain.Add)), company.Kind, company.Create, details)
}

// ChangeCompany changes a company.
func (h *Handler) ChangeCompany(ctx context.Context, caller Caller, id uuid.UUID, patch company.Patch) (Result, error) {
	return changeWith(ctx, h, caller.needing(needs("companies", domain.Edit)), company.Kind, id, company.Change, patch)
}

// RetireCompany takes a company out of use.
func (h *Handler) RetireCompany(ctx context.Context, caller Caller, id uuid.UUID, reason string) (Result, error) {
	return changeWith(ctx, h, caller.needing(needs("companies", domain.Edit)), company.Kind, id, company.Retire, reason)
}

// SetCabinetPassword replaces the password that a company's people use for their first sign-in.
func (h *Handler) SetCabinetPassword(ctx context.Context, caller Caller, id uuid.UUID,
	password string) (Result, error) {
	sealed, err := h.sealPassword(ctx, domain.StreamName(company.Kind, id), "password", password, "")
	if err != nil {
		return Result{}, err
	}
	return changeWith(ctx, h, caller.needing(needs("companies", domain.Edit)), company.Kind, id,
		company.SetCabinetPassword, sealed)
}

// SetDefaultMailAccount chooses the mail account that sends a company's mail; uuid.Nil for none.
func (h *Handler) SetDefaultMailAccount(ctx context.Context, caller Caller,
	id, mailAccountID uuid.UUID) (Result, error) {
	if err := h.checkMailAccount(ctx, "mail_account_id", mailAccountID); err != nil {
		return Result{}, err
	}
	return changeWith(ctx, h, caller.needing(needs("companies", domain.Edit)), company.Kind, id,
		company.SetDefaultMailAccount, mailAccountID)
}

// CreateRole starts a role. Its id is the caller's CommandID.
func (h *Handler) CreateRole(ctx context.Context, caller Caller, details role.Details) (Result, error) {
	return createWith(ctx, h, caller.needing(needs("roles", domain.Add)), role.Kind, role.Create, details)
}

// ChangeRole changes a role.
func (h *Handler) ChangeRole(ctx context.Context, caller Caller, id uuid.UUID, patch role.Patch) (Result, error) {
	return changeWith(ctx, h, caller.needing(needs("roles", domain.Edit)), role.Kind, id, role.Change, patch)
}

// RetireRole takes a role out of use.
func (h *Handler) RetireRole(ctx context.Context, caller Caller, id uuid.UUID, reason string) (Result, error) {
	return changeWith(ctx, h, caller.needing(needs("roles", domain.Edit)), role.Kind, id, role.Retire, reason)
}

// CreateGroup starts a group. Its id is the caller's CommandID. Whoever isn't superuser can't make one that allows more
// than the caller may do: a directory with a group of that name could put the caller into it.
func (h *Handler) CreateGroup(ctx context.Context, caller Caller, details group.Details) (Result, error) {
	caller = caller.needing(needs("groups", domain.Add))
	return createBy(ctx, h, caller, domain.StreamName(group.Kind, caller.CommandID),
		func(s group.State, who *authority) ([]domain.Event, error) {
			known, err := h.knownModules(ctx, details.Permissions)
			if err != nil {
				return nil, err
			}
			problems := problemsOf(details.Normalized().Validate(known))
			if err := who.checkCompany(ctx, details.CompanyID, problems); err != nil {
				return nil, err
			}
			if err := problems.Err(); err != nil {
				return nil, err
			}
			if missing := who.lacks(details.CompanyID, details.Permissions); missing != "" {
				return nil,
					domain.Refusef(domain.CodeForbidden, "you don't have %s yourself: only somebody who has it, "+
						"or a superuser, can create a group with it; propose it with POST /approvals", missing)
			}
			return group.Create(s, details, known)
		})
}

// ChangeGroup changes a group. Whoever isn't superuser can't add a permission to it that the caller doesn't have: it
// would go to every member, possibly to the caller. Nor can such a caller rename a group that allows more, or open it
// to all companies: that may bring it other members.
func (h *Handler) ChangeGroup(ctx context.Context, caller Caller, id uuid.UUID, patch group.Patch) (Result, error) {
	caller = caller.needing(needs("groups", domain.Edit))
	return changeBy(ctx, h, caller, domain.StreamName(group.Kind, id), func(s group.State,
		who *authority) ([]domain.Event, error) {
		wanted := patch.ApplyTo(group.Details{
			Name: s.Name, Description: s.Description, CompanyID: s.CompanyID, Permissions: s.Permissions,
		})
		known, err := h.knownModules(ctx, wanted.Permissions.Union(s.Permissions))
		if err != nil {
			return nil, err
		}
		events, err := group.Change(s, patch, known)
		if err != nil {
			return nil, err
		}
		if missing := who.lacks(wanted.CompanyID, wanted.Permissions.Without(s.Permissions)); missing != "" {
			return nil,
				domain.Refusef(domain.CodeForbidden, "you don't have %s yourself: only somebody who has it, or "+
					"a superuser, can add it to a group; propose it with POST /approvals", missing)
		}
		if missing := who.lacks(wanted.CompanyID, wanted.Permissions); missing != "" &&
			slices.ContainsFunc(events, group.MayWiden) {
			return nil,
				domain.Refusef(domain.CodeForbidden, "you don't have %s yourself: only somebody who has it, or "+
					"a superuser, can rename a group with it or open it to all companies; propose it with "+
					"POST /approvals", missing)
		}
		return events, nil
	})
}

// lacks gives the first permission for a company that the caller doesn't have; "" when there is none.
func (a *authority) lacks(company uuid.UUID, permissions domain.Permissions) string {
	if a.Superuser {
		return ""
	}
	missing := domain.Granted{company: permissions}.Missing(a.Granted)
	if len(missing) == 0 {
		return ""
	}
	return missing[0]
}

// RetireGroup takes a group out of use.
func (h *Handler) RetireGroup(ctx context.Context, caller Caller, id uuid.UUID, reason string) (Result, error) {
	return changeWith(ctx, h, caller.needing(needs("groups", domain.Edit)), group.Kind, id, group.Retire, reason)
}

// RegisterModule makes a module of the host platform known under its key, or renames it.
func (h *Handler) RegisterModule(ctx context.Context, caller Caller, key, name string) (Result, error) {
	caller = caller.needing(needs("settings", domain.Edit))
	return change(ctx, h, caller, module.Kind+"-"+key, func(s module.State) ([]domain.Event, error) {
		return module.Register(s, key, name)
	})
}

// knownModules looks up the modules that permissions name.
func (h *Handler) knownModules(ctx context.Context, permissions domain.Permissions) (func(string) bool, error) {
	registered := map[string]bool{}
	for key := range permissions {
		if slices.Contains(domain.OwnModules, key) || !domain.ModuleKey.MatchString(key) {
			continue
		}
		found, err := load[module.State](ctx, h.Log, module.Kind+"-"+key)
		if err != nil {
			return nil, err
		}
		registered[key] = found.State.Exists
	}
	return func(key string) bool { return registered[key] || slices.Contains(domain.OwnModules, key) }, nil
}
