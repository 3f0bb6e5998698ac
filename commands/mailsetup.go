package commands

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/domain/mailserver"
	"github.com/secboard/secboard/domain/settings"
)

// CreateMailServer starts a mail server. Its id is the caller's CommandID.
func (h *Handler) CreateMailServer(ctx context.Context, caller Caller, details mailserver.Details) (Result, error) {
	return createWith(ctx, h, caller.needing(needs("mail", domain.Add)), mailserver.Kind, mailserver.Create, details)
}

// ChangeMailServer changes a mail server.
func (h *Handler) ChangeMailServer(ctx context.Context, caller Caller, id uuid.UUID,
	patch mailserver.Patch) (Result, error) {
	return changeWith(ctx, h, caller.needing(needs("mail", domain.Edit)), mailserver.Kind, id, mailserver.Change, patch)
}

// RetireMailServer takes a mail server out of use.
func (h *Handler) RetireMailServer(ctx context.Context, caller Caller, id uuid.UUID, reason string) (Result, error) {
	return changeWith(ctx, h, caller.needing(needs("mail", domain.Edit)), mailserver.Kind, id, mailserver.Retire,
		reason)
}

// CreateMailAccount starts a mail account; password is "" for none. Its id is the caller's CommandID.
func (h *Handler) CreateMailAccount(ctx context.Context, caller Caller, details mailaccount.Details,
	password string) (Result, error) {
	stream := domain.StreamName(mailaccount.Kind, caller.CommandID)
	problems := problemsOf(details.Normalized().Validate())
	if err := h.checkMailServer(ctx, details.ServerID, problems); err != nil {
		return Result{}, err
	}
	sealed, err := h.sealServerPassword(stream, password, problems)
	if err != nil {
		return Result{}, err
	}
	return create(ctx, h, caller.needing(needs("mail", domain.Add)), stream,
		func(s mailaccount.State) ([]domain.Event, error) {
			return mailaccount.Create(s, details, sealed)
		})
}

// ChangeMailAccount changes a mail account. A nil password stays, "" removes it.
func (h *Handler) ChangeMailAccount(ctx context.Context, caller Caller, id uuid.UUID, patch mailaccount.Patch,
	password *string) (Result, error) {
	stream := domain.StreamName(mailaccount.Kind, id)
	problems := &domain.Invalid{}
	if patch.ServerID != nil {
		if err := h.checkMailServer(ctx, *patch.ServerID, problems); err != nil {
			return Result{}, err
		}
	}
	if password != nil {
		sealed, err := h.sealServerPassword(stream, *password, problems)
		if err != nil {
			return Result{}, err
		}
		patch.Password = &sealed
	}
	if err := problems.Err(); err != nil {
		return Result{}, err
	}
	return changeWith(ctx, h, caller.needing(needs("mail", domain.Edit)), mailaccount.Kind, id, mailaccount.Change,
		patch)
}

// RetireMailAccount takes a mail account out of use.
func (h *Handler) RetireMailAccount(ctx context.Context, caller Caller, id uuid.UUID, reason string) (Result, error) {
	return changeWith(ctx, h, caller.needing(needs("mail", domain.Edit)), mailaccount.Kind, id, mailaccount.Retire,
		reason)
}

// SetMailRoute chooses the mail account that sends a feature's mail, for one company or for all; uuid.Nil for none.
func (h *Handler) SetMailRoute(ctx context.Context, caller Caller, place settings.MailRoute,
	account uuid.UUID) (Result, error) {
	caller = caller.needing(needs("mail", domain.Edit).of(place.CompanyID))
	return changeBy(ctx, h, caller, settings.MailRoutesStream, func(s settings.MailRoutesState,
		who *authority) ([]domain.Event, error) {
		problems := &domain.Invalid{}
		if err := who.checkCompany(ctx, place.CompanyID, problems); err != nil {
			return nil, err
		}
		if err := problems.Err(); err != nil {
			return nil, err
		}
		if err := h.checkMailAccount(ctx, "mail_account_id", account); err != nil {
			return nil, err
		}
		return settings.SetMailRoute(s, place, account)
	})
}

// checkMailServer notes a mail server that can't be used; uuid.Nil is for the domain to refuse.
func (h *Handler) checkMailServer(ctx context.Context, id uuid.UUID, problems *domain.Invalid) error {
	if id == uuid.Nil {
		return nil
	}
	found, err := load[mailserver.State](ctx, h.Log, domain.StreamName(mailserver.Kind, id))
	if err != nil {
		return err
	}
	if found.State.Usable() != nil {
		problems.Add("server_id", domain.CodeUnknownMailServer, "there is no mail server %s in use", id)
	}
	return nil
}

// checkMailAccount refuses a mail account that can't be used; uuid.Nil is none.
func (h *Handler) checkMailAccount(ctx context.Context, field string, id uuid.UUID) error {
	if id == uuid.Nil {
		return nil
	}
	found, err := load[mailaccount.State](ctx, h.Log, domain.StreamName(mailaccount.Kind, id))
	if err != nil {
		return err
	}
	if found.State.Usable() != nil {
		return wrongField(field, domain.CodeUnknownMailAccount, fmt.Sprintf("there is no mail account %s in use", id))
	}
	return nil
}

// sealServerPassword seals a password for a mail server, "" as none, and adds what is wrong with it to the other
// problems.
func (h *Handler) sealServerPassword(stream, password string, problems *domain.Invalid) (domain.Sealed, error) {
	if problem := mailaccount.PasswordProblem(password); problem != "" {
		problems.Add("password", domain.CodePassword, "%s", problem)
	}
	if err := problems.Err(); err != nil || password == "" {
		return nil, err
	}
	return h.Keys.Seal([]byte(password), stream)
}
