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
	return createWith(ctx, h, caller, company.Kind, company.Create, details)
}

// ChangeCompany changes a company.
func (h *Handler) ChangeCompany(ctx context.Context, caller Caller, id uuid.UUID, patch company.Patch) (Result, error) {
	return changeWith(ctx, h, caller, company.Kind, id, company.Change, patch)
}

// RetireCompany takes a company out of use.
func (h *Handler) RetireCompany(ctx context.Context, caller Caller, id uuid.UUID, reason string) (Result, error) {
	return changeWith(ctx, h, caller, company.Kind, id, company.Retire, reason)
}

// SetCabinetPassword replaces the password that a company's people use for their first sign-in.
func (h *Handler) SetCabinetPassword(ctx context.Context, caller Caller, id uuid.UUID,
	password string) (Result, error) {
	sealed, err := h.sealPassword(ctx, domain.StreamName(company.Kind, id), "password", password, "")
	if err != nil {
		return Result{}, err
	}
	return changeWith(ctx, h, caller, company.Kind, id, company.SetCabinetPassword, sealed)
}

// SetDefaultMailAccount chooses the mail account that sends a company's mail; uuid.Nil for none.
func (h *Handler) SetDefaultMailAccount(ctx context.Context, caller Caller,
	id, mailAccountID uuid.UUID) (Result, error) {
	if err := h.checkMailAccount(ctx, "mail_account_id", mailAccountID); err != nil {
		return Result{}, err
	}
	return changeWith(ctx, h, caller, company.Kind, id, company.SetDefaultMailAccount, mailAccountID)
}

// CreateRole starts a role. Its id is the caller's CommandID.
func (h *Handler) CreateRole(ctx context.Context, caller Caller, details role.Details) (Result, error) {
	return createWith(ctx, h, caller, role.Kind, role.Create, details)
}

// ChangeRole changes a role.
func (h *Handler) ChangeRole(ctx context.Context, caller Caller, id uuid.UUID, patch role.Patch) (Result, error) {
	return changeWith(ctx, h, caller, role.Kind, id, role.Change, patch)
}

// RetireRole takes a role out of use.
func (h *Handler) RetireRole(ctx context.Context, caller Caller, id uuid.UUID, reason string) (Result, error) {
	return changeWith(ctx, h, caller, role.Kind, id, role.Retire, reason)
}

// CreateGroup starts a group. Its id is the caller's CommandID. Whoever isn't superuser can't make one that administers
// more of SecBoard than the caller: a directory with a group of that name could put the caller into it.
func (h *Handler) CreateGroup(ctx context.Context, caller Caller, details group.Details) (Result, error) {
	if missing := details.Permissions.OfSecBoard().Missing(caller.Permissions); len(missing) > 0 && !caller.Superuser {
		return Result{},
			domain.Refusef(domain.CodeForbidden,
				"you don't have %s yourself: only a superuser can create a group with it", missing[0])
	}
	known, err := h.knownModules(ctx, details.Permissions)
	if err != nil {
		return Result{}, err
	}
	problems := problemsOf(details.Normalized().Validate(known))
	if err := h.checkCompany(ctx, details.CompanyID, problems); err != nil {
		return Result{}, err
	}
	if err := problems.Err(); err != nil {
		return Result{}, err
	}
	return create(ctx, h, caller, domain.StreamName(group.Kind, caller.CommandID),
		func(s group.State) ([]domain.Event, error) {
			return group.Create(s, details, known)
		})
}

// ChangeGroup changes a group. Whoever isn't superuser can't add a permission to it that he or she doesn't have:
// it would go to every member, possibly to the caller.
func (h *Handler) ChangeGroup(ctx context.Context, caller Caller, id uuid.UUID, patch group.Patch) (Result, error) {
	return change(ctx, h, caller, domain.StreamName(group.Kind, id), func(s group.State) ([]domain.Event, error) {
		var wanted domain.Permissions
		if patch.Permissions != nil {
			wanted = *patch.Permissions
		}
		known, err := h.knownModules(ctx, wanted.Union(s.Permissions))
		if err != nil {
			return nil, err
		}
		events, err := group.Change(s, patch, known)
		if err != nil || caller.Superuser {
			return events, err
		}
		if missing := wanted.Missing(caller.Permissions.Union(s.Permissions)); len(missing) > 0 {
			return nil,
				domain.Refusef(domain.CodeForbidden,
					"you don't have %s yourself: only a superuser can add it to a group", missing[0])
		}
		if missing := s.Permissions.OfSecBoard().Missing(caller.Permissions); len(missing) > 0 &&
			slices.ContainsFunc(events, group.MayWiden) {
			return nil, domain.Refusef(domain.CodeForbidden, "you don't have %s yourself: only a superuser can "+
				"rename a group with it or open it to all companies", missing[0])
		}
		return events, nil
	})
}

// RetireGroup takes a group out of use.
func (h *Handler) RetireGroup(ctx context.Context, caller Caller, id uuid.UUID, reason string) (Result, error) {
	return changeWith(ctx, h, caller, group.Kind, id, group.Retire, reason)
}

// RegisterModule makes a module of the host platform known under its key, or renames it.
func (h *Handler) RegisterModule(ctx context.Context, caller Caller, key, name string) (Result, error) {
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
