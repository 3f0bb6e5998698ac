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
