package commands

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// guard refuses what would give the caller more rights than before, and leaves the installation a superuser: it is
// called between a decision about an account and its append.
func (h *Handler) guard(ctx context.Context, caller Caller, who *authority, id uuid.UUID, s user.State,
	events []domain.Event, err error) ([]domain.Event, error) {
	if err != nil || caller.Actor.Kind != eventstore.ActorUser {
		return events, err // somebody with a shell on the server may do everything
	}
	if err := who.refuseTakeover(ctx, s, events); err != nil {
		return nil, err
	}
	if user.LimitsSuperuser(s, events) && !caller.Dry {
		return events, h.exerciseSuperuser(ctx, caller, id)
	}
	return events, nil
}

// refuseTakeover refuses a change with which the caller could sign in as somebody who may do more, or in another
// company.
func (a *authority) refuseTakeover(ctx context.Context, s user.State, events []domain.Event) error {
	if a.Superuser || !slices.ContainsFunc(events, user.EasesTakeover) {
		return nil
	}
	return a.refuseMore(ctx, s, "change what it signs in with")
}

// refuseMore refuses to do something to an account that may do what the caller may not.
func (a *authority) refuseMore(ctx context.Context, s user.State, what string) error {
	rights, err := a.of(ctx, s)
	if err != nil {
		return err
	}
	if lacking := a.Lacks(rights); len(lacking) > 0 {
		return domain.Refusef(domain.CodeForbidden,
			"this account has the permission %s, which you don't have: only a superuser, or somebody who has it too, "+
				"can %s; propose it with POST /approvals", lacking[0], what)
	}
	return nil
}

// exerciseSuperuser writes a new event each time, also when a command is decided again: it has to come after the read
// of the other's stream.
func (h *Handler) exerciseSuperuser(ctx context.Context, caller Caller, other uuid.UUID) error {
	stream := user.Kind + "-" + caller.Actor.ID
	for range attempts {
		own, err := load[user.State](ctx, h.Log, stream)
		if err != nil {
			return err
		}
		now := h.Now()
		events, err := user.ExerciseSuperuser(own.State, other, now)
		if err != nil {
			return err
		}
		if _, err = h.append(ctx, caller, own.notBefore(now), stream, own.Revision, events); !errors.Is(err,
			eventstore.ErrConflict) {
			return err
		}
	}
	return ErrBusy
}

// bySuperusers says whether everything was done by people who were superuser then, or by SecBoard or its operator.
func (h *Handler) bySuperusers(ctx context.Context, done []eventstore.Metadata) (bool, error) {
	actors := map[eventstore.Actor]loaded[user.State]{}
	for _, act := range done {
		switch act.Actor.Kind {
		case eventstore.ActorSystem, eventstore.ActorOperator:
			continue
		case eventstore.ActorUser:
		default:
			return false, nil
		}
		actor, known := actors[act.Actor]
		if !known {
			var err error
			if actor, err = load[user.State](ctx, h.Log, user.Kind+"-"+act.Actor.ID); err != nil {
				return false, err
			}
			actors[act.Actor] = actor
		}
		var then user.State
		for i, event := range actor.history {
			if !actor.metadata[i].At.After(act.At) {
				then.Evolve(event)
			}
		}
		if !then.Superuser {
			return false, nil
		}
	}
	return true, nil
}

// permitUnlock refuses to end a lockout to whoever may not administer the account, or may do less than it: ending
// lockouts again and again helps to guess.
func (h *Handler) permitUnlock(ctx context.Context, caller Caller, id uuid.UUID, account user.State) error {
	caller = caller.needing(needs("users", domain.Edit))
	rights, err := h.RightsOf(ctx, caller)
	if err != nil {
		return err
	}
	who := &authority{Rights: rights, h: h, caller: caller}
	stream := domain.StreamName(user.Kind, id)
	if err := caller.permit(rights, stream); err != nil {
		return err
	}
	if !caller.reaches(rights, stream, account.BelongsTo()) {
		return user.ErrNoAccount()
	}
	return who.refuseMore(ctx, account, "end its lockout")
}
