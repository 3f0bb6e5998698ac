package commands

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// seal is what an account could do when something was opened for it. What carries an older one is void: no link,
// challenge or session outlasts an event that gives the account more, or that ends what it had.
type seal struct {
	text   string // of links and challenges: the marks of the account and of its groups
	rights access.Rights
	groups map[uuid.UUID]eventstore.Revision // of sessions, beside the account's revision
}

// sealOf gives the seal of an account, with its groups as they are now.
func (h *Handler) sealOf(ctx context.Context, account user.State) (seal, error) {
	ids := slices.SortedFunc(maps.Keys(account.Groups), func(a, b uuid.UUID) int {
		return strings.Compare(a.String(), b.String())
	})
	streams := make([]string, len(ids))
	for i, id := range ids {
		streams[i] = domain.StreamName(group.Kind, id)
	}
	groups, err := h.newestGroups(ctx, streams)
	if err != nil {
		return seal{}, err
	}
	s, text := seal{groups: map[uuid.UUID]eventstore.Revision{}}, &strings.Builder{}
	fmt.Fprint(text, account.Mark)
	offers := make([]access.Offer, len(groups))
	for i, joined := range groups {
		offers[i], s.groups[ids[i]] = access.OfferOf(joined.State), joined.revision
		fmt.Fprint(text, " ", ids[i], ":", joined.Mark)
	}
	s.text, s.rights = text.String(), access.RightsOf(access.StandingOf(account, ""), offers, h.Now())
	return s, nil
}

// mayDoSomething says whether the account has rights, whether or not it can be used now.
func (s seal) mayDoSomething() bool { return s.rights.Superuser || len(s.rights.Granted) > 0 }
