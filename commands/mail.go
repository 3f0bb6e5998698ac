package commands

import (
	"context"
	"fmt"
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

// MailSenderOf gives a mail account ready to send. A retired one, or one at a retired server, is refused; so is one whose password
// was given for another server than that to which it would go now.
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
			return MailSender{}, domain.Refusef("not_by_superuser", "this link opens an account that administers SecBoard, and somebody else than a superuser has set up the mail account %s or its server: have a superuser set up another one",
				sender.Account.Address)
		}
	}
	if account.State.Password.Set() {
		if err := h.checkPasswordsWay(ctx, account, server); err != nil {
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
func (h *Handler) mailAccount(ctx context.Context, id uuid.UUID) (account loaded[mailaccount.State], server loaded[mailserver.State], err error) {
	if account, err = load[mailaccount.State](ctx, h.Log, domain.StreamName(mailaccount.Kind, id)); err != nil {
		return account, server, err
	}
	if err := account.State.Usable(); err != nil {
		return account, server, err
	}
	if server, err = load[mailserver.State](ctx, h.Log, domain.StreamName(mailserver.Kind, account.State.Details.ServerID)); err != nil {
		return account, server, err
	}
	if server.State.Retired {
		err = domain.Refusef(domain.CodeRetired, "the mail server %s of the mail account %s is retired: choose another one for the account",
			server.State.Details.Name, account.State.Details.Address)
	}
	return account, server, err
}

// checkPasswordsWay refuses to send a password where somebody else than who gave it has turned its account or server to since.
// Superusers may.
func (h *Handler) checkPasswordsWay(ctx context.Context, account loaded[mailaccount.State], server loaded[mailserver.State]) error {
	var given eventstore.Metadata
	var turned []eventstore.Metadata // since then
	for i, event := range account.history {
		switch event.(type) {
		case mailaccount.PasswordSet:
			given, turned = account.metadata[i], nil
		case mailaccount.ServerChanged:
			turned = append(turned, account.metadata[i])
		}
	}
	for i, event := range server.history {
		if mailserver.Turns(event) && server.metadata[i].At.After(given.At) {
			turned = append(turned, server.metadata[i])
		}
	}
	turned = slices.DeleteFunc(turned, func(by eventstore.Metadata) bool { return by.Actor == given.Actor })
	if may, err := h.bySuperusers(ctx, turned); err != nil || may {
		return err
	}
	return domain.Refusef("password_withheld", "somebody else changed the mail server %s or chose it after the password of %s was given, so the password is not sent there: give it again with PATCH /mail/accounts/{id}",
		server.State.Details.Name, account.State.Details.Address)
}

// ErrNoMailAccount says that no mail account is chosen for a mail.
var ErrNoMailAccount = &domain.Error{Code: "no_mail_account"}

// MailPurpose is what a mail is for, as far as that decides who sends it.
type MailPurpose struct {
	Feature   string
	CompanyID uuid.UUID // whose mail account sends it; uuid.Nil for nobody's
	Preferred uuid.UUID // a mail account that goes before all others; uuid.Nil for none
	UserID    uuid.UUID // whom it is about
}

// MailSenderFor gives the mail account that sends a mail: the preferred one, then the route of the company, the route for all, the
// default of the company, the default of the site. What is retired is passed over. A link with which somebody gets into an
// account that administers SecBoard leaves only through what superusers have set up: whoever else may set up mail servers
// could read it there.
func (h *Handler) MailSenderFor(ctx context.Context, purpose MailPurpose) (MailSender, error) {
	choices, err := h.mailAccountsFor(ctx, purpose)
	if err != nil {
		return MailSender{}, err
	}
	needsSuperusers, err := h.opensAdministration(ctx, purpose)
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
	detail := "no mail account is chosen for " + purpose.Feature + ": choose one by PUT /mail/routes/" + purpose.Feature + ", or as the site's default"
	if refusal != nil {
		detail += " (" + refusal.Error() + ")"
	}
	return MailSender{}, &domain.Error{Code: ErrNoMailAccount.Code, Detail: detail}
}

// opensAdministration says whether a mail holds a link into an account with rights in SecBoard's own modules.
func (h *Handler) opensAdministration(ctx context.Context, purpose MailPurpose) (bool, error) {
	if purpose.Feature != mailmessage.PasswordReset && purpose.Feature != mailmessage.FirstLogin {
		return false, nil
	}
	account, err := h.Account(ctx, purpose.UserID)
	if err != nil {
		return false, err
	}
	rights, err := h.administers(ctx, account)
	return account.Superuser || len(rights) > 0, err
}

// mailAccountsFor lists the mail accounts that are chosen for a mail, the most particular first.
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
		chosen = append(chosen, routes.State.Routes[settings.MailRoute{Feature: purpose.Feature, CompanyID: purpose.CompanyID}])
	}
	site, err := h.SiteSettings(ctx)
	if err != nil {
		return nil, err
	}
	chosen = append(chosen, routes.State.Routes[settings.MailRoute{Feature: purpose.Feature}], ofCompany, site.DefaultMailAccountID)
	return slices.DeleteFunc(chosen, func(id uuid.UUID) bool { return id == uuid.Nil }), nil
}
