package commands

import (
	"context"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/claim"
	"github.com/secboard/secboard/domain/installation"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/secrets"
)

// Initialize records in a new log which keyset it is written with, and refuses to continue with another one.
func (h *Handler) Initialize(ctx context.Context) error {
	probe, err := h.Keys.Seal([]byte(installation.Stream), installation.Stream)
	if err != nil {
		return err
	}
	_, err = change(ctx, h, System(), installation.Stream, func(s installation.State) ([]domain.Event, error) {
		return installation.Initialize(s, h.Keys, probe)
	})
	return err
}

// CreateSuperuser starts an account that may do everything, with a password, or gives both to the account that has the
// e-mail address already. It answers with the account's id.
func (h *Handler) CreateSuperuser(ctx context.Context, caller Caller, email, password string) (Result, error) {
	details := user.Details{Email: email}.Normalized()
	problems := problemsOf(details.Validate())
	if problem := secrets.PasswordProblem(password, details.Email); problem != "" {
		problems.Add("password", "weak_password", "%s", problem)
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
	return change(ctx, h, caller, stream, func(s user.State) ([]domain.Event, error) {
		var events []domain.Event
		if !s.Exists {
			registered, err := user.Register(s, by(caller, id), details, user.Grants{})
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
		granted, err := user.Change(s, by(caller, id), patch)
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

// accountOf finds the account that holds an e-mail address, through its claim.
func (h *Handler) accountOf(ctx context.Context, email string) (uuid.UUID, bool, error) {
	key := user.EmailClaim(email)
	stream, err := h.claimStream(key)
	if err != nil {
		return uuid.Nil, false, err
	}
	held, err := load[claim.State](ctx, h.Log, stream)
	if err != nil || held.State.Owner == "" {
		return uuid.Nil, false, err
	}
	account, err := load[user.State](ctx, h.Log, held.State.Owner)
	if err != nil || account.State.Claim() != key {
		return uuid.Nil, false, err
	}
	_, id := domain.SplitStream(held.State.Owner)
	parsed, err := uuid.Parse(id)
	return parsed, err == nil, err
}

// sealPassword checks a new password, hashes it and seals the hash for one stream.
func (h *Handler) sealPassword(ctx context.Context, stream, field, password, email string) (domain.Sealed, error) {
	if problem := secrets.PasswordProblem(password, email); problem != "" {
		var problems domain.Invalid
		problems.Add(field, "weak_password", "%s", problem)
		return nil, problems.Err()
	}
	hash, err := h.Hasher.Hash(ctx, password)
	if err != nil {
		return nil, err
	}
	return h.Keys.Seal([]byte(hash), stream)
}
