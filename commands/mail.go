package commands

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/domain/mailserver"
	"github.com/secboard/secboard/domain/settings"
)

// CreateMailServer starts a mail server. Its id is the caller's CommandID.
func (h *Handler) CreateMailServer(ctx context.Context, caller Caller, details mailserver.Details) (Result, error) {
	return create(ctx, h, caller, domain.StreamName(mailserver.Kind, caller.CommandID), func(s mailserver.State) ([]domain.Event, error) {
		return mailserver.Create(s, details)
	})
}

// ChangeMailServer changes a mail server.
func (h *Handler) ChangeMailServer(ctx context.Context, caller Caller, id uuid.UUID, patch mailserver.Patch) (Result, error) {
	return change(ctx, h, caller, domain.StreamName(mailserver.Kind, id), func(s mailserver.State) ([]domain.Event, error) {
		return mailserver.Change(s, patch)
	})
}

// RetireMailServer takes a mail server out of use.
func (h *Handler) RetireMailServer(ctx context.Context, caller Caller, id uuid.UUID, reason string) (Result, error) {
	return change(ctx, h, caller, domain.StreamName(mailserver.Kind, id), func(s mailserver.State) ([]domain.Event, error) {
		return mailserver.Retire(s, reason)
	})
}

// CreateMailAccount starts a mail account; password is "" for none. Its id is the caller's CommandID.
func (h *Handler) CreateMailAccount(ctx context.Context, caller Caller, details mailaccount.Details, password string) (Result, error) {
	stream := domain.StreamName(mailaccount.Kind, caller.CommandID)
	problems := problemsOf(details.Normalized().Validate())
	if err := h.checkMailServer(ctx, details.ServerID, problems); err != nil {
		return Result{}, err
	}
	sealed, err := h.sealServerPassword(stream, password, problems)
	if err != nil {
		return Result{}, err
	}
	return create(ctx, h, caller, stream, func(s mailaccount.State) ([]domain.Event, error) {
		return mailaccount.Create(s, details, sealed)
	})
}

// ChangeMailAccount changes a mail account. A nil password stays, "" removes it.
func (h *Handler) ChangeMailAccount(ctx context.Context, caller Caller, id uuid.UUID, patch mailaccount.Patch, password *string) (Result, error) {
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
	return change(ctx, h, caller, stream, func(s mailaccount.State) ([]domain.Event, error) {
		return mailaccount.Change(s, patch)
	})
}

// RetireMailAccount takes a mail account out of use.
func (h *Handler) RetireMailAccount(ctx context.Context, caller Caller, id uuid.UUID, reason string) (Result, error) {
	return change(ctx, h, caller, domain.StreamName(mailaccount.Kind, id), func(s mailaccount.State) ([]domain.Event, error) {
		return mailaccount.Retire(s, reason)
	})
}

// SetMailRoute chooses the mail account that sends a feature's mail, for one company or for all; uuid.Nil for none.
func (h *Handler) SetMailRoute(ctx context.Context, caller Caller, place settings.MailRoute, account uuid.UUID) (Result, error) {
	problems := &domain.Invalid{}
	if err := h.checkCompany(ctx, place.CompanyID, problems); err != nil {
		return Result{}, err
	}
	if err := problems.Err(); err != nil {
		return Result{}, err
	}
	if err := h.checkMailAccount(ctx, "mail_account_id", account); err != nil {
		return Result{}, err
	}
	return change(ctx, h, caller, settings.MailRoutesStream, func(s settings.MailRoutesState) ([]domain.Event, error) {
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
		problems.Add("server_id", "unknown_mail_server", "there is no mail server %s in use", id)
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
		return wrongField(field, "unknown_mail_account", fmt.Sprintf("there is no mail account %s in use", id))
	}
	return nil
}

// sealServerPassword seals a password for a mail server, "" as none, and adds what is wrong with it to the other problems.
func (h *Handler) sealServerPassword(stream, password string, problems *domain.Invalid) (domain.Sealed, error) {
	if problem := mailaccount.PasswordProblem(password); problem != "" {
		problems.Add("password", "password", "%s", problem)
	}
	if err := problems.Err(); err != nil || password == "" {
		return nil, err
	}
	return h.Keys.Seal([]byte(password), stream)
}

// MailSender is a mail account as it takes to send: with its server, and its password in clear. It must not be logged.
type MailSender struct {
	ID       uuid.UUID
	Account  mailaccount.Details
	Server   mailserver.Details
	Password string
}

// MailSenderOf gives a mail account ready to send. A retired one, or one at a retired server, is refused.
func (h *Handler) MailSenderOf(ctx context.Context, id uuid.UUID) (MailSender, error) {
	stream := domain.StreamName(mailaccount.Kind, id)
	account, err := load[mailaccount.State](ctx, h.Log, stream)
	if err != nil {
		return MailSender{}, err
	}
	if err := account.State.Usable(); err != nil {
		return MailSender{}, err
	}
	sender := MailSender{ID: id, Account: account.State.Details}
	server, err := load[mailserver.State](ctx, h.Log, domain.StreamName(mailserver.Kind, sender.Account.ServerID))
	if err != nil {
		return MailSender{}, err
	}
	if server.State.Retired {
		return MailSender{}, domain.Refusef(domain.CodeRetired, "the mail server %s of the mail account %s is retired: choose another one for the account",
			server.State.Details.Name, sender.Account.Address)
	}
	sender.Server = server.State.Details
	if account.State.Password.Set() {
		password, err := h.Keys.Open(account.State.Password, stream)
		if err != nil {
			return MailSender{}, err
		}
		sender.Password = string(password)
	}
	return sender, nil
}

// ErrNoMailAccount says that no mail account is chosen for a mail.
var ErrNoMailAccount = &domain.Error{Code: "no_mail_account"}

// MailSenderFor gives the mail account that sends a feature's mail for a company (uuid.Nil: for nobody's): preferred, if
// there is one, then the route of the company, the route for all, the default of the company, the default of the site.
// What is retired is passed over.
func (h *Handler) MailSenderFor(ctx context.Context, feature string, companyID, preferred uuid.UUID) (MailSender, error) {
	choices, err := h.mailAccountsFor(ctx, feature, companyID, preferred)
	if err != nil {
		return MailSender{}, err
	}
	var refusal error
	for _, id := range choices {
		sender, err := h.MailSenderOf(ctx, id)
		if err == nil {
			return sender, nil
		}
		refused, isRefusal := asRefusal(err)
		if !isRefusal {
			return MailSender{}, err
		}
		refusal = refused
	}
	detail := "no mail account is chosen for " + feature + ": choose one by PUT /mail/routes/" + feature + ", or as the site's default"
	if refusal != nil {
		detail += " (" + refusal.Error() + ")"
	}
	return MailSender{}, &domain.Error{Code: ErrNoMailAccount.Code, Detail: detail}
}

// mailAccountsFor lists the mail accounts that are chosen for a mail, the most particular first.
func (h *Handler) mailAccountsFor(ctx context.Context, feature string, companyID, preferred uuid.UUID) ([]uuid.UUID, error) {
	routes, err := load[settings.MailRoutesState](ctx, h.Log, settings.MailRoutesStream)
	if err != nil {
		return nil, err
	}
	chosen := []uuid.UUID{preferred}
	ofCompany := uuid.Nil
	if companyID != uuid.Nil {
		found, err := load[company.State](ctx, h.Log, domain.StreamName(company.Kind, companyID))
		if err != nil {
			return nil, err
		}
		ofCompany = found.State.DefaultMailAccount
		chosen = append(chosen, routes.State.Routes[settings.MailRoute{Feature: feature, CompanyID: companyID}])
	}
	site, err := h.SiteSettings(ctx)
	if err != nil {
		return nil, err
	}
	chosen = append(chosen, routes.State.Routes[settings.MailRoute{Feature: feature}], ofCompany, site.DefaultMailAccountID)
	return slices.DeleteFunc(chosen, func(id uuid.UUID) bool { return id == uuid.Nil }), nil
}
