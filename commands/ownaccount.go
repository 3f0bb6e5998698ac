package commands

import (
	"cmp"
	"context"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// RequestPasswordReset asks for a reset link for whoever has the address. It does the same work, and answers the same,
// when nobody has.
func (h *Handler) RequestPasswordReset(ctx context.Context, caller Caller, email, language string) error {
	d, err := h.doorOf(ctx, caller, email)
	if err != nil {
		return err
	}
	result, err := change(ctx, h, caller, domain.StreamName(user.Kind, d.id), func(s user.State) ([]domain.Event, error) {
		return user.RequestPasswordReset(s, caller.CommandID, language, h.Now())
	})
	if err != nil || result.Changed {
		return err
	}
	return h.noteVainRequest(ctx, caller, d, "no_reset_link")
}

// RequestFirstLogin asks for a first-login link for whoever has the address, if the company's cabinet password is right.
func (h *Handler) RequestFirstLogin(ctx context.Context, caller Caller, email, cabinetPassword, language string) error {
	d, err := h.doorOf(ctx, caller, email)
	if err != nil {
		return err
	}
	stream := domain.StreamName(company.Kind, d.account.Details.CompanyID)
	found, err := load[company.State](ctx, h.Log, stream)
	if err != nil {
		return err
	}
	hash := ""
	if found.State.CabinetPassword.Set() && !found.State.Retired {
		opened, err := h.Keys.Open(found.State.CabinetPassword, stream)
		if err != nil {
			return err
		}
		hash = string(opened)
	}
	fits, err := h.Hasher.Check(ctx, cabinetPassword, hash)
	if err != nil {
		return err
	}
	if fits {
		result, err := change(ctx, h, caller, domain.StreamName(user.Kind, d.id), func(s user.State) ([]domain.Event, error) {
			return user.RequestFirstLogin(s, caller.CommandID, language, h.Now())
		})
		if err != nil || result.Changed {
			return err
		}
	}
	return h.noteVainRequest(ctx, caller, d, "no_first_login_link")
}

// noteVainRequest writes down that somebody asked for a link and was sent none. Also while locked out: to whom a link is sent
// an event is written too, and the time must not tell the two apart.
func (h *Handler) noteVainRequest(ctx context.Context, caller Caller, d door, reason string) error {
	_, err := h.atDoor(ctx, caller, d, func(s signin.State) ([]domain.Event, error) {
		return []domain.Event{signin.Failed{Reason: reason, Step: s.LastStep}}, nil
	})
	return err
}

// UseResetLink sets a new password by a link's token. It answers with the account, whose sessions must end.
func (h *Handler) UseResetLink(ctx context.Context, caller Caller, token, password string) (uuid.UUID, Result, error) {
	id, link, ok := h.openLinkToken(purposeReset, token)
	if !ok {
		return uuid.Nil, Result{}, user.ErrLink
	}
	stream := domain.StreamName(user.Kind, id)
	found, err := load[user.State](ctx, h.Log, stream)
	if err != nil {
		return uuid.Nil, Result{}, err
	}
	if !found.State.ResetLinkUsable(link, h.Now()) {
		return uuid.Nil, Result{}, user.ErrLink
	}
	sealed, err := h.sealPassword(ctx, stream, "new_password", password, found.State.Details.Email)
	if err != nil {
		return uuid.Nil, Result{}, err
	}
	result, err := change(ctx, h, asOwner(caller, id), stream, func(s user.State) ([]domain.Event, error) {
		return user.UseResetLink(s, link, sealed, h.Now())
	})
	return id, result, err
}

// ResetLinkUsable says whether a reset link would work now, without using it up.
func (h *Handler) ResetLinkUsable(ctx context.Context, token string) (bool, error) {
	return h.linkUsable(ctx, purposeReset, token, func(s user.State, link uuid.UUID) bool { return s.ResetLinkUsable(link, h.Now()) })
}

// FirstLoginUsable says whether a first-login link would work now, without using it up.
func (h *Handler) FirstLoginUsable(ctx context.Context, token string) (bool, error) {
	return h.linkUsable(ctx, purposeFirstLogin, token, func(s user.State, link uuid.UUID) bool { return s.FirstLoginUsable(link, h.Now()) })
}

func (h *Handler) linkUsable(ctx context.Context, purpose, token string, usable func(user.State, uuid.UUID) bool) (bool, error) {
	id, link, ok := h.openLinkToken(purpose, token)
	if !ok {
		return false, nil
	}
	found, err := load[user.State](ctx, h.Log, domain.StreamName(user.Kind, id))
	return err == nil && usable(found.State, link), err
}

// UseFirstLogin signs in by a first-login link's token, once.
func (h *Handler) UseFirstLogin(ctx context.Context, caller Caller, token string) (SignedIn, error) {
	id, link, ok := h.openLinkToken(purposeFirstLogin, token)
	if !ok {
		return SignedIn{}, user.ErrLink
	}
	caller = asOwner(caller, id)
	if _, err := change(ctx, h, caller, domain.StreamName(user.Kind, id), func(s user.State) ([]domain.Event, error) {
		return user.UseFirstLogin(s, link, h.Now())
	}); err != nil {
		return SignedIn{}, err
	}
	d, err := h.doorOfAccount(ctx, caller, id)
	if err != nil {
		return SignedIn{}, err
	}
	return h.enter(ctx, caller, d, signin.ByFirstLogin)
}

// asOwner is a caller who has shown to be an account's owner.
func asOwner(caller Caller, id uuid.UUID) Caller {
	caller.Actor.Kind, caller.Actor.ID = eventstore.ActorUser, id.String()
	return caller
}

// EndSessions ends all sessions of an account.
func (h *Handler) EndSessions(ctx context.Context, caller Caller, id uuid.UUID) (Result, error) {
	return change(ctx, h, caller, domain.StreamName(user.Kind, id), func(s user.State) ([]domain.Event, error) {
		return user.EndSessions(s, by(caller, id))
	})
}

// ChangeOwnPassword replaces the password of the own account; the current one is asked for when there is one.
func (h *Handler) ChangeOwnPassword(ctx context.Context, caller Caller, id uuid.UUID, current, password string) (Result, error) {
	stream := domain.StreamName(user.Kind, id)
	found, err := load[user.State](ctx, h.Log, stream)
	if err != nil {
		return Result{}, err
	}
	if found.State.Source == user.SourceDirectory {
		return Result{}, user.ErrPasswordElsewhere
	}
	if found.State.Password.Set() {
		if err := h.confirmPassword(ctx, caller, id, "current_password", current); err != nil {
			return Result{}, err
		}
	}
	sealed, err := h.sealPassword(ctx, stream, "new_password", password, found.State.Details.Email)
	if err != nil {
		return Result{}, err
	}
	return change(ctx, h, caller, stream, func(s user.State) ([]domain.Event, error) { return user.ReplacePassword(s, found.State, sealed) })
}

// confirmPassword asks a signed-in person for the password again; wrong guesses count as at the door.
func (h *Handler) confirmPassword(ctx context.Context, caller Caller, id uuid.UUID, field, password string) error {
	d, err := h.doorOfAccount(ctx, caller, id)
	if err != nil {
		return err
	}
	locked, err := h.lockedOut(ctx, caller, d)
	if err != nil {
		return err
	}
	p, err := h.checkPassword(ctx, caller, d, password)
	if err != nil {
		return err
	}
	if p.fits && !locked && (p.answer == nil || p.answer.entry.GUID == d.account.Directory.GUID) {
		return nil
	}
	if err := h.refuse(ctx, caller, d, cmp.Or(p.reason, signin.WrongPassword)); err != ErrCredentials { //nolint:errorlint // the one value that refuse gives
		return err
	}
	if locked {
		return wrongField(field, "locked_out", "is not looked at for some minutes: there were too many wrong passwords or codes")
	}
	return wrongField(field, "wrong_password", "is not the password of this account")
}

// ChangeProfile changes what a person may change of the own account.
func (h *Handler) ChangeProfile(ctx context.Context, caller Caller, id uuid.UUID, profile user.Profile) (Result, error) {
	return change(ctx, h, caller, domain.StreamName(user.Kind, id), func(s user.State) ([]domain.Event, error) {
		return user.ChangeProfile(s, profile)
	})
}

// RemovePhoto takes the photo of the own account away.
func (h *Handler) RemovePhoto(ctx context.Context, caller Caller, id uuid.UUID) (Result, error) {
	return change(ctx, h, caller, domain.StreamName(user.Kind, id), user.RemovePhoto)
}
