package commands

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// RequestPasswordReset asks for a reset link for whoever has the address. It does the same work, and answers the same,
// when nobody has.
func (h *Handler) RequestPasswordReset(ctx context.Context, caller Caller, email, language string) error {
	a, err := h.findAttempt(ctx, caller, email)
	if err != nil {
		return err
	}
	return h.askForLink(ctx, caller, a, signin.Wish{Language: language}, a.account.TakesResetLinks(a.Now))
}

// RequestFirstLogin asks for a first-login link for whoever has the address, if the company's cabinet password is
// right.
func (h *Handler) RequestFirstLogin(ctx context.Context, caller Caller, email, cabinetPassword, language string) error {
	a, err := h.findAttempt(ctx, caller, email)
	if err != nil {
		return err
	}
	fits, err := h.checkCabinetPassword(ctx, caller, a.account.Details.CompanyID, cabinetPassword)
	if err != nil {
		return err
	}
	return h.askForLink(ctx, caller, a, signin.Wish{FirstLogin: true, Language: language},
		fits && a.account.TakesFirstLogins(a.Now))
}

// askForLink records a wish beside the account, whose own stream strangers can't grow. The link's id is that of the
// command.
func (h *Handler) askForLink(ctx context.Context, caller Caller, a attempt, wish signin.Wish, given bool) error {
	now, err := h.sealOf(ctx, a.account)
	if err != nil {
		return err
	}
	if given {
		wish.Link, wish.Seal = caller.CommandID, now.text
	}
	_, err = h.decide(ctx, caller, a, func(s signin.State) ([]domain.Event, error) {
		return signin.AskForLink(s, a.Attempt, wish, h.Lockout()), nil
	})
	return err
}

// LinkUsable says whether a link that was asked for would work now: it has not expired, and nothing came since that
// makes it void.
func (h *Handler) LinkUsable(ctx context.Context, account, link uuid.UUID, firstLogin bool) (bool, error) {
	a, err := h.attemptFor(ctx, System(), account)
	if err != nil {
		return false, err
	}
	_, _, ok, err := h.usableLink(ctx, a, link, firstLogin)
	return ok, err
}

// usableLink finds a link of the account of an attempt, and the account's seal.
func (h *Handler) usableLink(ctx context.Context, a attempt, link uuid.UUID, firstLogin bool) (signin.Link, seal, bool,
	error) {
	state, _, err := h.newestAttempts(ctx, a)
	if err != nil {
		return signin.Link{}, seal{}, false, err
	}
	found, ok := state.Link(link, firstLogin, a.Now)
	taken := a.account.TakesResetLinks(a.Now)
	if firstLogin {
		taken = a.account.TakesFirstLogins(a.Now)
	}
	if !ok || !taken {
		return signin.Link{}, seal{}, false, nil
	}
	now, err := h.sealOf(ctx, a.account)
	return found, now, err == nil && now.text == found.Seal, err
}

// openLink finds the account of a link's token, as it is while the link works: ErrLink where it doesn't.
func (h *Handler) openLink(ctx context.Context, caller Caller, token string, firstLogin bool) (attempt, signin.Link,
	error) {
	purpose := purposeReset
	if firstLogin {
		purpose = purposeFirstLogin
	}
	id, link, ok := h.openLinkToken(purpose, token)
	if !ok {
		return attempt{}, signin.Link{}, user.ErrLink
	}
	a, err := h.attemptFor(ctx, caller, id)
	if err != nil {
		return attempt{}, signin.Link{}, err
	}
	var found signin.Link
	found, a.seal, ok, err = h.usableLink(ctx, a, link, firstLogin)
	if err == nil && !ok {
		err = user.ErrLink
	}
	return a, found, err
}

// ResetLinkUsable says whether a reset link would work now, without using it up.
func (h *Handler) ResetLinkUsable(ctx context.Context, token string) (bool, error) {
	return usable(h.openLink(ctx, System(), token, false))
}

// FirstLoginUsable says whether a first-login link would work now, without using it up.
func (h *Handler) FirstLoginUsable(ctx context.Context, token string) (bool, error) {
	return usable(h.openLink(ctx, System(), token, true))
}

func usable(_ attempt, _ signin.Link, err error) (bool, error) {
	//nolint:errorlint // the one value that openLink gives
	if err == user.ErrLink {
		return false, nil
	}
	return err == nil, err
}

// UseResetLink sets a new password by a link's token. The event makes the link void.
func (h *Handler) UseResetLink(ctx context.Context, caller Caller, token, password string) (Result, error) {
	a, link, err := h.openLink(ctx, caller, token, false)
	if err != nil {
		return Result{}, err
	}
	stream := domain.StreamName(user.Kind, a.id)
	sealed, err := h.sealPassword(ctx, stream, "new_password", password, a.account.Details.Email)
	if err != nil {
		return Result{}, err
	}
	result, err := changeBy(ctx, h, asOwner(caller, a.id), stream,
		func(s user.State, who *authority) ([]domain.Event, error) {
			now, err := who.sealOf(ctx, s)
			switch {
			case err != nil:
				return nil, err
			case now.text != link.Seal || !s.TakesResetLinks(h.Now()):
				return nil, user.ErrLink
			}
			vouched, err := h.superusersSent(ctx, mailmessage.PasswordReset, s.Details.CompanyID, link)
			if err != nil {
				return nil, err
			}
			return user.UseResetLink(s, link.ID, sealed, vouched, now.mayDoSomething()), nil
		})
	if err != nil {
		return result, err
	}
	return result, h.unlockAfterReset(ctx, caller, a.id)
}

// UseFirstLogin signs in by a first-login link's token. The event makes the link void.
func (h *Handler) UseFirstLogin(ctx context.Context, caller Caller, token string) (SignedIn, error) {
	a, link, err := h.openLink(ctx, caller, token, true)
	if err != nil {
		return SignedIn{}, err
	}
	caller = asOwner(caller, a.id)
	stream := domain.StreamName(user.Kind, a.id)
	_, err = changeBy(ctx, h, caller, stream, func(s user.State, who *authority) ([]domain.Event, error) {
		now, err := who.sealOf(ctx, s)
		switch {
		case err != nil:
			return nil, err
		case now.text != link.Seal || !s.TakesFirstLogins(h.Now()):
			return nil, user.ErrLink
		}
		return []domain.Event{user.FirstLoginUsed{Link: link.ID}}, nil
	})
	if err != nil {
		return SignedIn{}, err
	}
	if a, err = h.attemptFor(ctx, caller, a.id); err != nil {
		return SignedIn{}, err
	}
	return h.afterFirstFactor(ctx, caller, a, signin.ByFirstLogin)
}

// superusersSent says whether the mail of a link took a way that superusers have set up, as far as that can be told
// when it is used: else whoever set up the way may have read the link.
func (h *Handler) superusersSent(ctx context.Context, feature string, owner uuid.UUID, link signin.Link) (bool, error) {
	choices, err := h.mailAccountsFor(ctx, MailPurpose{Feature: feature, CompanyID: owner})
	if err != nil {
		return false, err
	}
	for _, id := range choices {
		_, err := h.mailSender(ctx, id, false)
		if err == nil {
			if _, err = h.mailSender(ctx, id, true); isRefusal(err) {
				return false, nil
			}
		}
		if isRefusal(err) {
			continue // it sends nothing
		}
		if err != nil {
			return false, err
		}
		break
	}
	// What was chosen meanwhile may not be what was chosen when it was sent.
	asked := link.ExpiresAt.Add(-signin.LinkLife)
	routes, routesErr := since[settings.MailRoutesState](ctx, h, settings.MailRoutesStream, asked)
	site, siteErr := since[settings.SiteState](ctx, h, settings.SiteStream, asked)
	ofOwner, ownerErr := since[company.State](ctx, h, domain.StreamName(company.Kind, owner), asked)
	if err := errors.Join(routesErr, siteErr, ownerErr); err != nil {
		return false, err
	}
	return h.bySuperusers(ctx, slices.Concat(routes, site, ofOwner))
}

// since gives the metadata of what was recorded about an aggregate from a time on.
func since[S any, P state[S]](ctx context.Context, h *Handler, stream string, from time.Time) ([]eventstore.Metadata,
	error) {
	found, err := load[S, P](ctx, h.Log, stream)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found.metadata, func(m eventstore.Metadata) bool { return m.At.Before(from) }), nil
}
