package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/claim"
	"github.com/secboard/secboard/domain/kinds"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/pause"
)

// reclaimAfter is how long a reservation that its owner has not recorded counts as a change under way.
const reclaimAfter = 2 * time.Second

// reserveClaim gives a unique value to an owner that is about to record it, or says that it is taken.
//
// A claim is held in truth by whoever's own stream says so. A claim whose owner does not hold the value is left over
// from a crash, or belongs to a change under way; after reclaimAfter it is taken over. First the owner's stream gets an
// event: whatever is still under way for it then fails on its expected revision and can't record the value twice.
func (h *Handler) reserveClaim(ctx context.Context, caller Caller, key claim.Key, owner string) error {
	stream, err := h.claimStream(key)
	if err != nil {
		return err
	}
	for {
		current, err := load[claim.State](ctx, h.Log, stream)
		if err != nil {
			return err
		}
		now := h.Now()
		switch current.State.Owner {
		case "":
		case owner:
			// Its own: left over from an earlier try of the same change, or about to be released. Written again so that
			// whoever is taking it over at this moment fails.
		default:
			free, err := h.contest(ctx, caller, key, stream, current, now)
			if err != nil {
				return err
			}
			if !free {
				if !pause.For(ctx, 50*time.Millisecond) {
					return ctx.Err()
				}
				continue
			}
		}
		reservation := []domain.Event{claim.Reserved{Owner: owner, At: now.UTC()}}
		_, err = h.append(ctx, caller, current.notBefore(now), stream, current.Revision, reservation)
		if !errors.Is(err, eventstore.ErrConflict) {
			return err
		}
	}
}

// contest looks whether somebody else's claim may be taken over: nil and true when it is an orphan, nil and false while
// its owner may still be recording it, taken otherwise.
func (h *Handler) contest(ctx context.Context, caller Caller, key claim.Key, stream string, current loaded[claim.State],
	now time.Time) (free bool, err error) {
	holder := current.State.Owner
	held, revision, at, err := h.heldClaim(ctx, holder)
	if err != nil {
		return false, err
	}
	if held == key {
		return false, taken(key)
	}
	if !current.State.Confirmed && now.Sub(current.State.ReservedAt).Abs() < reclaimAfter {
		return false, nil
	}
	if at.After(now) {
		now = at
	}
	fence := []domain.Event{claim.Contested{Claim: stream}}
	if _, err := h.append(ctx, caller, now, holder, revision, fence); errors.Is(err, eventstore.ErrConflict) {
		return false, nil // the owner moved: look again
	} else if err != nil {
		return false, err
	}
	return true, nil
}

// heldClaim gives the value that the aggregate of a stream holds, and where that stream ends.
func (h *Handler) heldClaim(ctx context.Context, stream string) (claim.Key, eventstore.Revision, time.Time, error) {
	revision, at := eventstore.NoStream, time.Time{}
	owner, can := claimantOf(stream)
	if !can {
		return claim.Key{}, revision, at, fmt.Errorf("the stream %s can't hold a claim", stream)
	}
	recorded, err := h.Log.ReadStream(ctx, stream)
	if err != nil {
		return claim.Key{}, revision, at, err
	}
	for _, event := range recorded {
		envelope := eventstore.Decode(event)
		if envelope.Err != nil {
			return claim.Key{}, revision, at, envelope.Err
		}
		owner.Evolve(envelope.Event)
		revision, at = event.Revision, envelope.Meta.At
	}
	return owner.Claim(), revision, at, nil
}

// claimOwner is an aggregate of a kind that can hold a value.
type claimOwner interface {
	kinds.Aggregate
	claimant
}

// claimantOf is the aggregate of a stream before its first event.
func claimantOf(stream string) (owner claimOwner, can bool) {
	name, _ := domain.SplitStream(stream)
	if kind, _ := kinds.Of(name); kind.New != nil {
		owner, can = kind.New().(claimOwner)
	}
	return owner, can
}

// claimChange is what a change does to the unique values of its aggregate: the zero Key for none.
type claimChange struct {
	reserved claim.Key
	givenUp  claim.Key
	// former is the given-up claim before the change. Releasing it at exactly that revision can't hit a later
	// reservation of the same value by the same owner.
	former loaded[claim.State]
}

// prepareClaims reserves the value that a change introduces. If the change fails afterwards the reservation stays and
// expires: releasing it could hit another change of the same owner.
func (h *Handler) prepareClaims(ctx context.Context, caller Caller, owner string,
	before, wanted claim.Key) (claimChange, error) {
	var change claimChange
	if before == wanted {
		return change, nil
	}
	if before != (claim.Key{}) {
		stream, err := h.claimStream(before)
		if err != nil {
			return change, err
		}
		if change.former, err = load[claim.State](ctx, h.Log, stream); err != nil {
			return change, err
		}
		change.givenUp = before
	}
	if wanted != (claim.Key{}) {
		change.reserved = wanted
		return change, h.reserveClaim(ctx, caller, wanted, owner)
	}
	return change, nil
}

// settleClaims confirms the value that was recorded and releases the former one. Failing here loses nothing: the log of
// the owner decides, and the next command that asks for the value repairs its claim.
func (h *Handler) settleClaims(ctx context.Context, caller Caller, owner string, change claimChange) {
	if change.reserved != (claim.Key{}) {
		if err := h.confirmClaim(ctx, caller, change.reserved, owner); err != nil {
			slog.WarnContext(ctx, "a claim could not be confirmed; the next request for the value repairs it", "owner",
				owner, "error", err)
		}
	}
	if change.givenUp != (claim.Key{}) {
		if err := h.releaseClaim(ctx, caller, change.givenUp, change.former); err != nil {
			slog.WarnContext(ctx, "a claim could not be released; the next request for the value repairs it", "owner",
				owner, "error", err)
		}
	}
}

func (h *Handler) confirmClaim(ctx context.Context, caller Caller, key claim.Key, owner string) error {
	stream, err := h.claimStream(key)
	if err != nil {
		return err
	}
	current, err := load[claim.State](ctx, h.Log, stream)
	if err != nil || current.State.Owner != owner || current.State.Confirmed {
		return err
	}
	return ignoreConflict(h.append(ctx, caller, current.notBefore(h.Now()), stream, current.Revision,
		[]domain.Event{claim.Confirmed{}}))
}

func (h *Handler) releaseClaim(ctx context.Context, caller Caller, key claim.Key, former loaded[claim.State]) error {
	stream, err := h.claimStream(key)
	if err != nil {
		return err
	}
	return ignoreConflict(h.append(ctx, caller, former.notBefore(h.Now()), stream, former.Revision,
		[]domain.Event{claim.Released{Reason: "given up by its owner"}}))
}

// ignoreConflict: somebody else moved the claim, and what they wrote is newer.
func ignoreConflict(_ eventstore.Appended, err error) error {
	if errors.Is(err, eventstore.ErrConflict) {
		return nil
	}
	return err
}

func (h *Handler) claimStream(key claim.Key) (string, error) {
	name, err := h.Keys.Name(key.Kind, key.Value)
	return key.Kind + "-" + name, err
}

func taken(key claim.Key) error {
	if key.Kind == "email" {
		return domain.Refusef(domain.CodeEmailTaken, "another account has this e-mail address: choose another one")
	}
	return domain.Refusef(domain.CodeNameTaken, "the name is already taken: choose another one")
}

// isTaken says whether an error is one of taken.
func isTaken(err error) bool {
	refused, ok := errors.AsType[*domain.Error](err)
	return ok && (refused.Code == domain.CodeEmailTaken || refused.Code == domain.CodeNameTaken)
}
