package commands

import (
	"context"
	"hash/maphash"
	"slices"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/user"
)

// exclusion keeps what people do and changes of their rights from crossing within this instance: while a command is
// decided and appended, the streams that give its caller the right don't change, so that in the order of the log nobody
// ever did something after losing the right to it. Streams share a fixed number of locks, which are taken in order, so
// that nobody waits in a circle and strangers can't make their number grow.
//
// Another instance may change the rights between the check and the append: only those two calls of the event store.
type exclusion struct {
	seed  maphash.Seed
	locks [512]*semaphore.Weighted
}

// everybody is the weight of changing what others only rely on.
const everybody = 1 << 20

func newExclusion() *exclusion {
	e := &exclusion{seed: maphash.MakeSeed()}
	for i := range e.locks {
		e.locks[i] = semaphore.NewWeighted(everybody)
	}
	return e
}

// givesRights says whether a stream is of a kind that tells what people may do.
func givesRights(stream string) bool {
	kind, _ := domain.SplitStream(stream)
	return kind == user.Kind || kind == group.Kind
}

// hold waits until nobody changes the streams relied on, and nobody relies on the one to be changed, and keeps it so
// until release is called.
func (e *exclusion) hold(ctx context.Context, changed string, reliedOn []string) (release func(), err error) {
	weights := map[int]int64{}
	for _, stream := range reliedOn {
		weights[e.lockOf(stream)] = 1
	}
	if givesRights(changed) {
		weights[e.lockOf(changed)] = everybody
	}
	var held []int
	release = func() {
		for _, i := range held {
			e.locks[i].Release(weights[i])
		}
	}
	for _, i := range sortedKeys(weights) {
		if err := e.locks[i].Acquire(ctx, weights[i]); err != nil {
			release()
			return nil, err
		}
		held = append(held, i)
	}
	return release, nil
}

func (e *exclusion) lockOf(stream string) int {
	return int(maphash.String(e.seed, stream) % uint64(len(e.locks)))
}

// authority is by what a command is decided: what its caller may do, and keeps being able to do until the command is
// appended.
type authority struct {
	access.Rights

	h        *Handler
	caller   Caller
	reliedOn []string // streams that don't change until then
	more     []string // other streams that the decision turned out to depend on
}

// authorize takes the authority for a command of a caller, which depends on some streams besides those of the caller,
// until release is called.
func (h *Handler) authorize(ctx context.Context, caller Caller, stream string,
	dependsOn []string) (who *authority, release func(), err error) {
	asks := caller.isPerson() && caller.right != proven
	reliedOn := slices.Clone(dependsOn)
	if asks {
		own := user.Kind + "-" + caller.Actor.ID
		reliedOn = append(append(reliedOn, own), h.known.groupsOf(own)...)
	}
	for {
		if release, err = h.exclusion.hold(ctx, stream, reliedOn); err != nil {
			return nil, nil, err
		}
		who = &authority{h: h, caller: caller, reliedOn: reliedOn}
		if caller.right == proven {
			return who, release, nil
		}
		rights, streams, err := h.foldRights(ctx, caller)
		if err != nil {
			release()
			return nil, nil, err
		}
		if who.rely(streams...); len(who.more) == 0 {
			who.Rights = rights
			return who, release, nil
		}
		release()
		reliedOn = append(slices.Clone(dependsOn), streams...)
	}
}

// rely notes that a decision depends on streams.
func (a *authority) rely(streams ...string) {
	for _, stream := range streams {
		if !slices.Contains(a.reliedOn, stream) {
			a.more = append(a.more, stream)
		}
	}
}

// group gives a group that an account may join, as it is until the command is appended. For the caller there is none
// where the caller's right does not reach, but for those that the account is in.
func (a *authority) group(ctx context.Context, id uuid.UUID, account user.State) (user.Group, bool, error) {
	if !a.Superuser { // who may do everything anyway
		a.rely(domain.StreamName(group.Kind, id))
	}
	found, exists, err := a.h.group(ctx, id)
	_, member := account.Groups[id]
	return found, exists && (member || a.caller.reaches(a.Rights, "", found.CompanyID)), err
}

// of gives what an account may do until the command is appended, whether or not it can be used now.
func (a *authority) of(ctx context.Context, account user.State) (access.Rights, error) {
	now, err := a.sealOf(ctx, account)
	return now.rights, err
}

// sealOf gives the seal that an account has until the command is appended.
func (a *authority) sealOf(ctx context.Context, account user.State) (seal, error) {
	a.rely(groupStreams(account)...)
	return a.h.sealOf(ctx, account)
}
