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
		problems.Add(field, domain.CodeWeakPassword, "%s", problem)
		return nil, problems.Err()
	}
	hash, err := h.Hasher.Hash(ctx, password)
	if err != nil {
		return nil, err
	}
	return h.Keys.Seal([]byte(hash), stream)
}
