package commands

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// knownStates remembers states folded from streams. One counts only while its stream has not moved since: whoever uses
// it asks the log for the stream's newest event first. Nobody changes a state that is in here.
type knownStates struct {
	mu     sync.Mutex
	states map[string]knownState
}

type knownState struct {
	revision eventstore.Revision
	state    any
}

// maxKnown is how many are remembered: more administrators than work at the same time.
const maxKnown = 2000

func newKnownStates() *knownStates { return &knownStates{states: map[string]knownState{}} }

func (k *knownStates) get(stream string) (knownState, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found, ok := k.states[stream]
	return found, ok
}

// put remembers a state, unless a newer one is known; any other makes room.
func (k *knownStates) put(stream string, state knownState) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if former, ok := k.states[stream]; ok && former.revision >= state.revision {
		return
	}
	for other := range k.states {
		if len(k.states) < maxKnown {
			break
		}
		delete(k.states, other)
	}
	k.states[stream] = state
}

// groupsOf gives the streams of the groups that an account was in when it was last looked at.
func (k *knownStates) groupsOf(stream string) []string {
	found, ok := k.get(stream)
	if !ok {
		return nil
	}
	account, ok := found.state.(user.State)
	if !ok {
		return nil
	}
	return groupStreams(account)
}

// newest folds an aggregate as it is now, or takes what is known where its stream has not moved.
func newest[S any, P state[S]](ctx context.Context, h *Handler, stream string) (S, eventstore.Revision, error) {
	var none S
	if found, ok := h.known.get(stream); ok {
		last, err := h.Log.ReadNewest(ctx, stream, 1)
		if err != nil {
			return none, 0, err
		}
		if state, ok := found.state.(S); ok && len(last) == 1 && last[0].Revision == found.revision {
			return state, found.revision, nil
		}
	}
	aggregate, err := load[S, P](ctx, h.Log, stream)
	if err != nil {
		return none, 0, err
	}
	if aggregate.Revision != eventstore.NoStream {
		h.known.put(stream, knownState{aggregate.Revision, aggregate.State})
	}
	return aggregate.State, aggregate.Revision, nil
}

// groupAt is a group as it was at a revision.
type groupAt struct {
	group.State
	revision eventstore.Revision
}

// newestGroups is newest for several groups, in one round trip.
func (h *Handler) newestGroups(ctx context.Context, streams []string) ([]groupAt, error) {
	groups, errs := make([]groupAt, len(streams)), make([]error, len(streams))
	var running sync.WaitGroup
	for i, stream := range streams {
		running.Go(func() { groups[i].State, groups[i].revision, errs[i] = newest[group.State](ctx, h, stream) })
	}
	running.Wait()
	return groups, errors.Join(errs...)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
