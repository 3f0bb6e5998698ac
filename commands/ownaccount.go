package commands

import (
	"cmp"
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
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
	result, err := change(ctx, h, caller.needing(proven), domain.StreamName(user.Kind, a.id),
		func(s user.State) ([]domain.Event, error) {
			return user.RequestPasswordReset(s, caller.CommandID, language, h.Now())
		})
	if err != nil || result.Changed {
		return err
	}
	return h.recordUnsentLink(ctx, caller, a, "no_reset_link")
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
	if fits {
		result, err := change(ctx, h, caller.needing(proven), domain.StreamName(user.Kind, a.id),
			func(s user.State) ([]domain.Event, error) {
				return user.RequestFirstLogin(s, caller.CommandID, language, h.Now())
			})
		if err != nil || result.Changed {
			return err
		}
	}
	return h.recordUnsentLink(ctx, caller, a, "no_first_login_link")
}

// recordUnsentLink records that somebody asked for a link and was sent none. Also while locked out: an event is written
// for whom a link is sent to as well, and the time must not tell the two apart.
func (h *Handler) recordUnsentLink(ctx context.Context, caller Caller, a attempt, reason string) error {
	_, err := h.decide(ctx, caller, a, func(s signin.State) ([]domain.Event, error) {
		return []domain.Event{signin.Failed{Reason: reason, Memory: s.Memory}}, nil
	})
	return err
}

// UseResetLink sets a new password by a link's token.
func (h *Handler) UseResetLink(ctx context.Context, caller Caller, token, password string) (Result, error) {
	id, link, ok := h.openLinkToken(purposeReset, token)
	if !ok {
		return Result{}, user.ErrLink
	}
	stream := domain.StreamName(user.Kind, id)
	found, err := load[user.State](ctx, h.Log, stream)
	if err != nil {
		return Result{}, err
	}
	if !found.State.ResetLinkUsable(link, h.Now()) {
		return Result{}, user.ErrLink
	}
	sealed, err := h.sealPassword(ctx, stream, "new_password", password, found.State.Details.Email)
	if err != nil {
		return Result{}, err
	}
	result, err := change(ctx, h, asOwner(caller, id), stream, func(s user.State) ([]domain.Event, error) {
		return user.UseResetLink(s, link, sealed, h.Now())
	})
	if err != nil {
		return result, err
	}
	return result, h.unlockAfterReset(ctx, caller, id)
}

// ResetLinkUsable says whether a reset link would work now, without using it up.
func (h *Handler) ResetLinkUsable(ctx context.Context, token string) (bool, error) {
	return h.linkUsable(ctx, purposeReset, token, func(s user.State, link uuid.UUID) bool {
		return s.ResetLinkUsable(link, h.Now())
	})
}

// FirstLoginUsable says whether a first-login link would work now, without using it up.
func (h *Handler) FirstLoginUsable(ctx context.Context, token string) (bool, error) {
	return h.linkUsable(ctx, purposeFirstLogin, token, func(s user.State, link uuid.UUID) bool {
		return s.FirstLoginUsable(link, h.Now())
	})
}

func (h *Handler) linkUsable(ctx context.Context, purpose, token string,
	usable func(user.State, uuid.UUID) bool) (bool, error) {
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
	a, err := h.attemptFor(ctx, caller, id)
	if err != nil {
		return SignedIn{}, err
	}
	return h.afterFirstFactor(ctx, caller, a, signin.ByFirstLogin)
}

// asOwner is a caller who has shown to be an account's owner.
func asOwner(caller Caller, id uuid.UUID) Caller {
	caller.Actor.Kind, caller.Actor.ID, caller.right = eventstore.ActorUser, id.String(), proven
	return caller
}

// EndSessions ends all sessions of an account.
func (h *Handler) EndSessions(ctx context.Context, caller Caller, id uuid.UUID) (Result, error) {
	caller = caller.needing(needs("users", domain.Edit).orOwner())
	return changeBy(ctx, h, caller, domain.StreamName(user.Kind, id), func(s user.State,
		who *authority) ([]domain.Event, error) {
		return user.EndSessions(s, by(who.Rights, caller, id))
	})
}

// ChangeOwnPassword replaces the password of somebody's own account; the current one is asked for when there is one.
func (h *Handler) ChangeOwnPassword(ctx context.Context, caller Caller, id uuid.UUID,
	current, password string) (Result, error) {
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
	return change(ctx, h, caller.needing(ownAccount), stream, func(s user.State) ([]domain.Event, error) {
		return user.ReplacePassword(s, found.State, sealed)
	})
}

// confirmPassword asks a signed-in person for the password again; wrong guesses count as those of sign-ins do.
func (h *Handler) confirmPassword(ctx context.Context, caller Caller, id uuid.UUID, field, password string) error {
	a, err := h.attemptFor(ctx, caller, id)
	if err != nil {
		return err
	}
	locked, err := h.glance(ctx, a)
	if err != nil {
		return err
	}
	if locked {
		return errLockedOut(field)
	}
	checked, err := h.checkPassword(ctx, a, password)
	if errors.Is(err, ErrCredentials) {
		return errLockedOut(field)
	}
	if err != nil {
		return err
	}
	defer checked.done()
	if !checked.accepted || checked.directory != nil && checked.directory.entry.GUID != a.account.Directory.GUID {
		//nolint:errorlint // the one value that refuse gives
		if err := h.refuse(ctx, caller, a, cmp.Or(checked.refusal, signin.WrongPassword)); err != ErrCredentials {
			return err
		}
		return wrongField(field, domain.CodeWrongPassword, "is not the password of this account")
	}
	// What was counted meanwhile came first.
	state, _, err := h.newestAttempts(ctx, a)
	if err == nil && state.Locked(a.Attempt) {
		err = errLockedOut(field)
	}
	return err
}

// ChangeProfile changes what people may change of their own account.
func (h *Handler) ChangeProfile(ctx context.Context, caller Caller, id uuid.UUID,
	profile user.Profile) (Result, error) {
	caller = caller.needing(ownAccount)
	return change(ctx, h, caller, domain.StreamName(user.Kind, id), func(s user.State) ([]domain.Event, error) {
		return user.ChangeProfile(s, profile)
	})
}

// RemovePhoto removes the photo of somebody's own account.
func (h *Handler) RemovePhoto(ctx context.Context, caller Caller, id uuid.UUID) (Result, error) {
	return change(ctx, h, caller.needing(ownAccount), domain.StreamName(user.Kind, id), user.RemovePhoto)
}
