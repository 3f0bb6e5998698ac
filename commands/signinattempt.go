package commands

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// attempt is somebody's try to sign in to one account. For an address without an account it has a made-up id: the same
// reads, the same hashing and the same writes happen, so that nobody learns the difference. There are 256 such ids, so
// that nobody can begin any number of streams.
type attempt struct {
	signin.Attempt // when and from where

	id       uuid.UUID
	email    string // that was given, or the account's
	account  user.State
	revision eventstore.Revision // of the account
	seal     seal                // of the account, once the first factor was right
	stream   string              // of the attempts to sign in to it
}

// findAttempt starts an attempt to sign in with an e-mail address.
func (h *Handler) findAttempt(ctx context.Context, caller Caller, email string) (attempt, error) {
	id, _, err := h.accountOf(ctx, email)
	if err != nil {
		return attempt{}, err
	}
	of := ""
	if id == uuid.Nil {
		name, err := h.Keys.Name("nobody", user.NormalizeEmail(email))
		if err != nil {
			return attempt{}, err
		}
		sum := uuid.NewSHA1(uuid.Nil, []byte(name))
		id, of = uuid.NewSHA1(uuid.Nil, append([]byte("nobody"), sum[15])), hex.EncodeToString(sum[:6])
	}
	a, err := h.attemptFor(ctx, caller, id)
	a.email, a.Of = strings.TrimSpace(email), of
	return a, err
}

// attemptFor starts an attempt to sign in to an account.
func (h *Handler) attemptFor(ctx context.Context, caller Caller, id uuid.UUID) (attempt, error) {
	found, err := load[user.State](ctx, h.Log, domain.StreamName(user.Kind, id))
	return attempt{
		Attempt: signin.Attempt{Now: h.Now(), Network: signin.Network(caller.IP)},
		id:      id, email: found.State.Details.Email, account: found.State, revision: found.Revision,
		stream: domain.StreamName(signin.Kind, id),
	}, err
}

// reload is an attempt with an account as it is now, which may be another one than before.
func (h *Handler) reload(ctx context.Context, caller Caller, a attempt, account uuid.UUID) (attempt, error) {
	next, err := h.attemptFor(ctx, caller, account)
	next.email = a.email
	return next, err
}

// newestAttempts folds the newest event of an account's attempts, which says all that counts. The event is the zero
// Envelope where there is none.
func (h *Handler) newestAttempts(ctx context.Context, a attempt) (signin.State, eventstore.Envelope, error) {
	var state signin.State
	recorded, err := h.Log.ReadNewest(ctx, a.stream, 1)
	if err != nil || len(recorded) == 0 {
		return state, eventstore.Envelope{Recorded: eventstore.Recorded{Revision: eventstore.NoStream}}, err
	}
	newest := eventstore.Decode(recorded[0])
	state.Evolve(newest.Event)
	return state, newest, newest.Err
}

// decide decides on an account's attempts and appends at their exact revision.
func (h *Handler) decide(
	ctx context.Context, caller Caller, a attempt, decide func(signin.State) ([]domain.Event, error),
) (Result, error) {
	return h.decideWithID(ctx, caller, a, func(s signin.State, _ uuid.UUID) ([]domain.Event, error) {
		return decide(s)
	})
}

// decideWithID is decide for a decision that needs the id which its first event will have. That of a sign-in is the id
// of its session too, so that whatever is done in the session can name the event that it goes back to.
func (h *Handler) decideWithID(
	ctx context.Context, caller Caller, a attempt, decide func(signin.State, uuid.UUID) ([]domain.Event, error),
) (Result, error) {
	for range 10 * attempts { // many may try the same account at once
		state, newest, err := h.newestAttempts(ctx, a)
		if err != nil {
			return Result{}, err
		}
		id := eventstore.EventID(caller.CommandID, a.stream, newest.Revision+1)
		events, err := decide(state, id)
		if err != nil || len(events) == 0 {
			return Result{ID: a.id.String(), Revision: newest.Revision}, err
		}
		caller := caller
		if _, signedIn := events[0].(signin.Succeeded); signedIn && caller.CorrelationID == uuid.Nil {
			caller.CorrelationID = id
		}
		appended, err := h.append(ctx, caller, later(a.Now, newest.Meta.At), a.stream, newest.Revision, events)
		if errors.Is(err, eventstore.ErrConflict) {
			continue
		}
		return Result{ID: a.id.String(), Revision: appended.Revision, Position: appended.Position, Changed: true}, err
	}
	return Result{}, ErrBusy
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
