package commands

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// ErrCredentials is the only answer to a refused sign-in, whatever the reason.
var ErrCredentials = &domain.Error{Code: "invalid_credentials", Detail: "the e-mail address, the password or the code is wrong"}

// ErrDirectory says that the directory that keeps this account's password can't be reached.
var ErrDirectory = errors.New("the directory is unavailable")

// What a sign-in leads to.
const (
	NextSession        = ""                 // a session
	NextTwoFactor      = "two_factor"       // the second factor, with the challenge
	NextTwoFactorSetup = "two_factor_setup" // a session that may only set up two-factor
)

// SignedIn is the outcome of a sign-in that was not refused.
type SignedIn struct {
	UserID    uuid.UUID
	Next      string
	Challenge string    // with NextTwoFactor; signed, valid for a few minutes
	Session   uuid.UUID // the id of the session to open, otherwise
	Position  eventstore.Position
	// Revision is that of the account when it was let in. What ends all sessions and happened after it ends this one too.
	Revision eventstore.Revision
}

// door is one account at which somebody tries to sign in. For an address without an account it is a door to nowhere:
// the same reads, the same hashing and the same writes happen, so that nobody learns the difference.
type door struct {
	id       uuid.UUID
	email    string // that was given, or the account's
	account  user.State
	revision eventstore.Revision // of the account
	stream   string
	attempt  signin.Attempt
}

func (h *Handler) doorOf(ctx context.Context, caller Caller, email string) (door, error) {
	id, _, err := h.accountOf(ctx, email)
	if err != nil {
		return door{}, err
	}
	if id == uuid.Nil {
		name, err := h.Keys.Name("nobody", user.NormalizeEmail(email))
		if err != nil {
			return door{}, err
		}
		id = uuid.NewSHA1(uuid.Nil, []byte(name))
	}
	d, err := h.doorOfAccount(ctx, caller, id)
	d.email = strings.TrimSpace(email)
	return d, err
}

func (h *Handler) doorOfAccount(ctx context.Context, caller Caller, id uuid.UUID) (door, error) {
	found, err := load[user.State](ctx, h.Log, domain.StreamName(user.Kind, id))
	return door{
		id: id, email: found.State.Details.Email, account: found.State, revision: found.Revision, stream: domain.StreamName(signin.Kind, id),
		attempt: signin.Attempt{Now: h.Now(), IP: signin.Network(caller.IP), PerIP: found.State.Superuser},
	}, err
}

// SignIn checks an e-mail address and a password. A refusal is ErrCredentials; its true reason stands in the history.
func (h *Handler) SignIn(ctx context.Context, caller Caller, email, password string) (SignedIn, error) {
	began := time.Now()
	outcome, err := h.signIn(ctx, caller, email, password)
	if errors.Is(err, ErrCredentials) {
		h.sameTime(ctx, began)
	}
	return outcome, err
}

func (h *Handler) signIn(ctx context.Context, caller Caller, email, password string) (SignedIn, error) {
	d, err := h.doorOf(ctx, caller, email)
	if err != nil {
		return SignedIn{}, err
	}
	p, err := h.checkPassword(ctx, caller, d, password)
	if err != nil {
		return SignedIn{}, err
	}
	method, reason := signin.ByPassword, p.reason
	if p.answer != nil {
		method = signin.ByDirectory
		if d, reason, err = h.follow(ctx, caller, d, p); err != nil {
			return SignedIn{}, err
		}
	}
	if reason != "" {
		return SignedIn{}, h.refuse(ctx, caller, d, reason)
	}
	return h.enter(ctx, caller, d, method)
}

// enter goes on after the first factor was right.
func (h *Handler) enter(ctx context.Context, caller Caller, d door, method string) (SignedIn, error) {
	caller = asOwner(caller, d.id)
	if reason := d.account.CanSignIn(d.attempt.Now); reason != "" {
		return SignedIn{}, h.refuse(ctx, caller, d, reason)
	}
	if d.account.TwoFactor.Challenges() {
		result, err := h.atDoor(ctx, caller, d, func(s signin.State) ([]domain.Event, error) {
			if s.Locked(d.attempt) {
				return nil, ErrCredentials
			}
			return []domain.Event{signin.Challenged{Step: s.LastStep}}, nil
		})
		if err != nil {
			return SignedIn{}, err
		}
		challenge, err := h.challenge(d.id, d.account, d.attempt.Now)
		return SignedIn{UserID: d.id, Next: NextTwoFactor, Challenge: challenge, Position: result.Position}, err
	}
	return h.open(ctx, caller, d, method, 0)
}

// open writes the beginning of a session down.
func (h *Handler) open(ctx context.Context, caller Caller, d door, method string, step int64) (SignedIn, error) {
	outcome := SignedIn{UserID: d.id, Revision: d.revision}
	if d.account.TwoFactorRequired && !d.account.TwoFactor.Enrolled {
		outcome.Next = NextTwoFactorSetup
	}
	result, err := h.beginAtDoor(ctx, asOwner(caller, d.id), d, func(s signin.State, id uuid.UUID) ([]domain.Event, error) {
		if s.Locked(d.attempt) {
			return nil, ErrCredentials
		}
		outcome.Session = id
		events, ok := signin.Succeed(s, outcome.Session, method, outcome.Next == NextTwoFactorSetup, step)
		if !ok {
			return nil, errCodeUsed
		}
		return events, nil
	})
	if errors.Is(err, errCodeUsed) {
		return SignedIn{}, h.refuse(ctx, caller, d, signin.CodeUsed)
	}
	outcome.Position = result.Position
	return outcome, err
}

var errCodeUsed = errors.New("the code was used before")

// refuse writes the true reason down and answers what everybody is answered.
func (h *Handler) refuse(ctx context.Context, caller Caller, d door, reason string) error {
	_, err := h.atDoor(ctx, caller, d, func(s signin.State) ([]domain.Event, error) {
		return signin.Fail(s, d.attempt, reason, h.Lockout()), nil
	})
	if err != nil {
		return err
	}
	return ErrCredentials
}

// atDoor decides on the newest part of a sign-in stream and appends at its exact revision.
func (h *Handler) atDoor(ctx context.Context, caller Caller, d door, decide func(signin.State) ([]domain.Event, error)) (Result, error) {
	return h.beginAtDoor(ctx, caller, d, func(s signin.State, _ uuid.UUID) ([]domain.Event, error) { return decide(s) })
}

// beginAtDoor is atDoor for a decision that needs the id which its first event will have. That of a sign-in is the id of
// its session too, so that whatever is done in the session can name the event that it goes back to.
func (h *Handler) beginAtDoor(ctx context.Context, caller Caller, d door, decide func(signin.State, uuid.UUID) ([]domain.Event, error)) (Result, error) {
	newest := signin.Glance
	for range 10 * attempts { // many may try the same account at once
		recorded, err := h.Log.ReadNewest(ctx, d.stream, newest)
		if err != nil {
			return Result{}, err
		}
		var state signin.State
		revision, at := eventstore.NoStream, time.Time{}
		for _, event := range recorded {
			envelope := eventstore.Decode(event)
			if envelope.Err != nil {
				return Result{}, envelope.Err
			}
			state.EvolveAt(envelope.Event, envelope.Meta.At, envelope.Meta.IP)
			revision, at = event.Revision, envelope.Meta.At
		}
		if newest < signin.Window && len(recorded) == newest && !state.Enough(d.attempt) {
			newest = signin.Window
			continue
		}
		id := eventstore.EventID(caller.CommandID, d.stream, revision+1)
		events, err := decide(state, id)
		if err != nil || len(events) == 0 {
			return Result{ID: d.id.String(), Revision: revision}, err
		}
		caller := caller
		if _, signedIn := events[0].(signin.Succeeded); signedIn && caller.CorrelationID == uuid.Nil {
			caller.CorrelationID = id
		}
		at = later(d.attempt.Now, at)
		events = signin.Carry(state, events, at, caller.IP, h.Lockout())
		appended, err := h.append(ctx, caller, at, d.stream, revision, events)
		if errors.Is(err, eventstore.ErrConflict) {
			continue
		}
		return Result{ID: d.id.String(), Revision: appended.Revision, Position: appended.Position, Changed: true}, err
	}
	return Result{}, ErrBusy
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// proof is what came of a password.
type proof struct {
	fits   bool
	reason string    // why it does not
	answer *answerOf // of the directory that found an entry; nil for a local password
}

// checkPassword asks the account's own password, or where there is none the directories. The hashing is the same for every
// account and for none.
func (h *Handler) checkPassword(ctx context.Context, caller Caller, d door, password string) (proof, error) {
	stream := domain.StreamName(user.Kind, d.id)
	hash := ""
	if d.account.Password.Set() {
		opened, err := h.Keys.Open(d.account.Password, stream)
		if err != nil {
			return proof{}, err
		}
		hash = string(opened)
	}
	fits, err := h.Hasher.Check(ctx, password, hash)
	switch {
	case err != nil:
		return proof{}, err
	case hash == "" && h.Directory != nil:
		return h.askDirectories(ctx, caller, d, password)
	case !fits && d.account.Exists && hash == "":
		return proof{reason: signin.NoPassword}, nil
	case !fits:
		return proof{reason: signin.WrongPassword}, nil
	}
	return proof{fits: true}, h.renewHash(ctx, d, password, hash)
}

// renewHash stores the password with today's parameters when its hash has others.
func (h *Handler) renewHash(ctx context.Context, d door, password, hash string) error {
	if h.Hasher.UpToDate(hash) {
		return nil
	}
	renewed, err := h.Hasher.Hash(ctx, password)
	if err != nil {
		return err
	}
	stream := domain.StreamName(user.Kind, d.id)
	sealed, err := h.Keys.Seal([]byte(renewed), stream)
	if err != nil {
		return err
	}
	_, err = change(ctx, h, System(), stream, func(s user.State) ([]domain.Event, error) {
		return user.RehashPassword(s, d.account.Password, sealed)
	})
	return err
}

// Unlock ends an account's lockout.
func (h *Handler) Unlock(ctx context.Context, caller Caller, id uuid.UUID) (Result, error) {
	d, err := h.doorOfAccount(ctx, caller, id)
	if err != nil {
		return Result{}, err
	}
	if !d.account.Exists {
		return Result{}, domain.Refusef(domain.CodeNotFound, "there is no such account")
	}
	if d.account.Superuser && !caller.Superuser {
		return Result{}, domain.Refusef(domain.CodeForbidden, "only a superuser can change the account of a superuser")
	}
	return h.atDoor(ctx, caller, d, func(s signin.State) ([]domain.Event, error) { return signin.Unlock(s, d.attempt.Now), nil })
}

// SignOut writes down that a session was ended by its owner.
func (h *Handler) SignOut(ctx context.Context, caller Caller, id, session uuid.UUID) (Result, error) {
	d, err := h.doorOfAccount(ctx, caller, id)
	if err != nil {
		return Result{}, err
	}
	return h.atDoor(ctx, caller, d, func(s signin.State) ([]domain.Event, error) {
		return []domain.Event{signin.SignedOut{Session: session, Step: s.LastStep}}, nil
	})
}
