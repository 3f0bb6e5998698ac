package commands

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/secrets"
)

// Bootstrap makes the first superuser, unless the log ever had one: who asks for it may ask at every start, and that
// must not bring back an account that was closed or renamed since. It says whether it did.
func (h *Handler) Bootstrap(ctx context.Context, email, password string) (made bool, err error) {
	if had, err := hadSuperuser(ctx, h.Log); had || err != nil {
		return false, err
	}
	_, err = h.CreateSuperuser(ctx, System(), email, password)
	if err == nil {
		return true, nil
	}
	if refused, ok := errors.AsType[*domain.Error](err); ok && refused.Code == domain.CodeEmailTaken {
		// Another instance that starts at the same time may have been faster.
		if had, err := hadSuperuser(ctx, h.Log); had || err != nil {
			return false, err
		}
	}
	return false, err
}

// hadSuperuser looks for the first superuser, who stands near the beginning of every log that has one.
func hadSuperuser(ctx context.Context, log eventstore.Log) (bool, error) {
	for event, err := range log.ReadAll(ctx, 0) {
		if err != nil {
			return false, err
		}
		if event.Type == (user.SuperuserGranted{}).EventType() {
			return true, nil
		}
	}
	return false, nil
}

// EnsureSuperuser is how somebody with a shell on the server gets in, or back in: after it the account that has the
// e-mail address is that of a superuser who can sign in with the password. A lockout ends. The second factor stays,
// unless its device and backup codes are lost and resetTwoFactor gives the reason; "" keeps it. It answers with the
// account's id and state.
func (h *Handler) EnsureSuperuser(ctx context.Context, caller Caller,
	email, password, resetTwoFactor string) (uuid.UUID, user.State, error) {
	result, err := h.CreateSuperuser(ctx, caller, email, password)
	if err != nil {
		return uuid.Nil, user.State{}, err
	}
	id, err := uuid.Parse(result.ID)
	if err != nil {
		return uuid.Nil, user.State{}, err
	}
	if _, err := h.Unlock(ctx, caller.again(), id); err != nil {
		return id, user.State{}, err
	}
	if resetTwoFactor != "" {
		if _, err := h.ResetTwoFactor(ctx, caller.again(), id, resetTwoFactor); err != nil {
			return id, user.State{}, err
		}
	}
	account, err := h.Account(ctx, id)
	return id, account, err
}

// again is the same caller with another command.
func (c Caller) again() Caller {
	c.CommandID = uuid.Must(uuid.NewV7())
	return c
}

// CreateSuperuser starts an account that may do everything, with a password, or gives both to the account that has the
// e-mail address already. It answers with the account's id.
func (h *Handler) CreateSuperuser(ctx context.Context, caller Caller, email, password string) (Result, error) {
	details := user.Details{Email: email}.Normalized()
	problems := problemsOf(details.Validate())
	if problem := secrets.PasswordProblem(password, details.Email); problem != "" {
		problems.Add("password", domain.CodeWeakPassword, "%s", problem)
	}
	if err := problems.Err(); err != nil {
		return Result{}, err
	}
	id, exists, err := h.accountOf(ctx, details.Email)
	if err != nil {
		return Result{}, err
	}
	if !exists {
		id = caller.CommandID
	}
	stream := domain.StreamName(user.Kind, id)
	sealed, err := h.sealPassword(ctx, stream, "password", password, details.Email)
	if err != nil {
		return Result{}, err
	}
	caller = caller.needing(superuserOnly)
	return changeBy(ctx, h, caller, stream, func(s user.State, who *authority) ([]domain.Event, error) {
		var events []domain.Event
		if !s.Exists {
			registered, err := user.Register(s, by(who.Rights, caller, id), details, user.Grants{})
			if err != nil {
				return nil, err
			}
			events = registered
			s = after(loaded[user.State]{}, events)
		}
		yes := true
		patch, always := user.Patch{Superuser: &yes, Active: &yes}, domain.Date{}
		if reason := s.CanSignIn(h.Now()); reason != "" { // a time of access that is over, or has not begun
			patch.StartDate, patch.EndDate = &always, &always
		}
		granted, err := user.Change(s, by(who.Rights, caller, id), patch)
		if err != nil {
			return nil, err
		}
		password, err := user.SetPassword(s, sealed)
		if err != nil {
			return nil, err
		}
		return append(append(events, granted...), password...), nil
	})
}
