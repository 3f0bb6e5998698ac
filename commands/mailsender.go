package commands

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/mailserver"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/eventstore"
)

// MailSender is all that sending takes: a mail account with its server, and its password in clear. It must not be
// logged.
type MailSender struct {
	ID       uuid.UUID
	Account  mailaccount.Details
	Server   mailserver.Details
	Password string
}

// ErrNoMailAccount says that no mail account is chosen for a mail.
var ErrNoMailAccount = &domain.Error{Code: domain.CodeNoMailAccount}

// MailPurpose is what a mail is for, as far as that decides who sends it.
type MailPurpose struct {
	Feature   string
	CompanyID uuid.UUID // whose mail account sends it; uuid.Nil for none
	Preferred uuid.UUID // a mail account that goes before all others; uuid.Nil for none
	UserID    uuid.UUID // the account that it is about
}

// MailSenderFor gives the mail account that sends a mail: the preferred one, then the route of the company, the route
// for all, the default of the company, the default of the site. What is retired is skipped. A link that opens an
// account with rights is sent only through what superusers have set up: whoever else may set up mail servers could read
// it there.
func (h *Handler) MailSenderFor(ctx context.Context, purpose MailPurpose) (MailSender, error) {
	choices, err := h.mailAccountsFor(ctx, purpose)
	if err != nil {
		return MailSender{}, err
	}
	needsSuperusers, err := h.opensRights(ctx, purpose)
	if err != nil {
		return MailSender{}, err
	}
	var refusal error
	for _, id := range choices {
		sender, err := h.mailSender(ctx, id, needsSuperusers)
		if err == nil {
			return sender, nil
		}
		refused, isRefusal := asRefusal(err)
		if !isRefusal {
			return MailSender{}, err
		}
		refusal = refused
	}
	detail := "no mail account is chosen for " + purpose.Feature + ": choose one with PUT /mail/routes/" +
		purpose.Feature + ", or as the site's default"
	if refusal != nil {
		detail += " (" + refusal.Error() + ")"
	}
	return MailSender{}, &domain.Error{Code: ErrNoMailAccount.Code, Detail: detail}
}

// opensRights says whether a mail holds a link into an account that may do something, here or in the host platform.
func (h *Handler) opensRights(ctx context.Context, purpose MailPurpose) (bool, error) {
	if purpose.Feature != mailmessage.PasswordReset && purpose.Feature != mailmessage.FirstLogin {
		return false, nil
	}
	account, err := h.Account(ctx, purpose.UserID)
	if err != nil {
		return false, err
	}
	now, err := h.sealOf(ctx, account)
	return now.mayDoSomething(), err
}

// mailAccountsFor lists the mail accounts that are chosen for a mail, the most specific first.
func (h *Handler) mailAccountsFor(ctx context.Context, purpose MailPurpose) ([]uuid.UUID, error) {
	routes, err := load[settings.MailRoutesState](ctx, h.Log, settings.MailRoutesStream)
	if err != nil {
		return nil, err
	}
	chosen := []uuid.UUID{purpose.Preferred}
	ofCompany := uuid.Nil
	if purpose.CompanyID != uuid.Nil {
		found, err := load[company.State](ctx, h.Log, domain.StreamName(company.Kind, purpose.CompanyID))
		if err != nil {
			return nil, err
		}
		ofCompany = found.State.DefaultMailAccount
		chosen = append(chosen,
			routes.State.Routes[settings.MailRoute{Feature: purpose.Feature, CompanyID: purpose.CompanyID}])
	}
	site, err := h.SiteSettings(ctx)
	if err != nil {
		return nil, err
	}
	chosen = append(chosen, routes.State.Routes[settings.MailRoute{Feature: purpose.Feature}], ofCompany,
		site.DefaultMailAccountID)
	return slices.DeleteFunc(chosen, func(id uuid.UUID) bool { return id == uuid.Nil }), nil
}

// MailSenderOf gives a mail account ready to send. A retired one, or one at a retired server, is refused; so is one
// whose password was given for another server than that to which it would go now.
func (h *Handler) MailSenderOf(ctx context.Context, id uuid.UUID) (MailSender, error) {
	return h.mailSender(ctx, id, false)
}

// mailSender refuses also, if that is asked for, what somebody else than a superuser has set up.
func (h *Handler) mailSender(ctx context.Context, id uuid.UUID, bySuperusers bool) (MailSender, error) {
	account, server, err := h.mailAccount(ctx, id)
	if err != nil {
		return MailSender{}, err
	}
	sender := MailSender{ID: id, Account: account.State.Details, Server: server.State.Details}
	if bySuperusers {
		if may, err := h.bySuperusers(ctx, slices.Concat(account.metadata, server.metadata)); err != nil {
			return MailSender{}, err
		} else if !may {
			return MailSender{}, domain.Refusef(domain.CodeNotBySuperuser, "this link opens an account that "+
				"has rights, but somebody who is no superuser set up the mail account %s or its server: ask "+
				"a superuser to set up another one",
				sender.Account.Address)
		}
	}
	if account.State.Password.Set() {
		if err := h.checkPasswordDestination(ctx, account, server); err != nil {
			return MailSender{}, err
		}
		password, err := h.Keys.Open(account.State.Password, domain.StreamName(mailaccount.Kind, id))
		if err != nil {
			return MailSender{}, err
		}
		sender.Password = string(password)
	}
	return sender, nil
}

// mailAccount gives a mail account in use, and its server.
func (h *Handler) mailAccount(ctx context.Context,
	id uuid.UUID) (account loaded[mailaccount.State], server loaded[mailserver.State], err error) {
	if account, err = load[mailaccount.State](ctx, h.Log, domain.StreamName(mailaccount.Kind, id)); err != nil {
		return account, server, err
	}
	if err := account.State.Usable(); err != nil {
		return account, server, err
	}
	if server, err = load[mailserver.State](ctx, h.Log,
		domain.StreamName(mailserver.Kind, account.State.Details.ServerID)); err != nil {
		return account, server, err
	}
	if server.State.Retired {
		err = domain.Refusef(domain.CodeRetired,
			"the mail server %s of the mail account %s is retired: choose another one for the account",
			server.State.Details.Name, account.State.Details.Address)
	}
	return account, server, err
}

// checkPasswordDestination refuses to send a password to a server that somebody else than who gave it has chosen or
// changed since. Superusers may.
func (h *Handler) checkPasswordDestination(ctx context.Context, account loaded[mailaccount.State],
	server loaded[mailserver.State]) error {
	var given eventstore.Metadata
	var redirected []eventstore.Metadata // what led it elsewhere since then
	for i, event := range account.history {
		switch event.(type) {
		case mailaccount.PasswordSet:
			given, redirected = account.metadata[i], nil
		case mailaccount.ServerChanged:
			redirected = append(redirected, account.metadata[i])
		}
	}
	for i, event := range server.history {
		if mailserver.Redirects(event) && server.metadata[i].At.After(given.At) {
			redirected = append(redirected, server.metadata[i])
		}
	}
	redirected = slices.DeleteFunc(redirected, func(by eventstore.Metadata) bool { return by.Actor == given.Actor })
	if may, err := h.bySuperusers(ctx, redirected); err != nil || may {
		return err
	}
	return domain.Refusef(domain.CodePasswordWithheld, "somebody else changed or chose the mail server %s after the "+
		"password of %s was entered, so it is not sent there: enter it again with PATCH /mail/accounts/{id}",
		server.State.Details.Name, account.State.Details.Address)
}
