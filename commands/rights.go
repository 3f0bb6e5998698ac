package commands

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// right is what a command takes. Its zero value is none that was declared, which execute refuses.
type right struct {
	declared  bool
	superuser bool // whatever the permissions
	own       bool // it is about the caller's own account, which is enough
	orOwn     bool // as own, or the permission
	module    string
	action    domain.Action
	ofCompany bool // it has to reach company, whatever the aggregate belongs to
	company   uuid.UUID
}

var (
	// proven is for who has shown a secret, such as a link, or is nobody in particular.
	proven        = right{declared: true}
	ownAccount    = right{declared: true, own: true}
	superuserOnly = right{declared: true, superuser: true}
)

// needs is the right to an action in a module, on what belongs to the company that the aggregate belongs to.
func needs(module string, action domain.Action) right {
	return right{declared: true, module: module, action: action}
}

// of fixes the company that a right has to reach where the aggregate does not tell.
func (r right) of(company uuid.UUID) right {
	r.ofCompany, r.company = true, company
	return r
}

// orOwner lets everybody do it to their own account.
func (r right) orOwner() right {
	r.orOwn = true
	return r
}

func (r right) String() string { return r.module + "." + string(r.action) }

// needing is the caller of a command that takes a right.
func (c Caller) needing(r right) Caller {
	c.right = r
	return c
}

// isPerson says whether somebody who is signed in calls, who may do only what the log says.
func (c Caller) isPerson() bool { return c.Actor.Kind == eventstore.ActorUser && c.Actor.ID != "" }

// owns says whether a stream is that of the caller's own account, or of what goes with it.
func (c Caller) owns(stream string) bool {
	_, id := domain.SplitStream(stream)
	return c.isPerson() && c.Actor.ID == id
}

var errNoRightDeclared = errors.New("the command does not say which right it takes")

// RightsOf gives what a caller may do now, folded from the log.
func (h *Handler) RightsOf(ctx context.Context, caller Caller) (access.Rights, error) {
	rights, _, err := h.foldRights(ctx, caller)
	return rights, err
}

// foldRights gives what a caller may do now, and the streams that say so.
func (h *Handler) foldRights(ctx context.Context, caller Caller) (access.Rights, []string, error) {
	switch {
	case caller.isPerson():
	case caller.Actor.Kind == eventstore.ActorUser: // nobody is signed in
		return access.Rights{}, nil, nil
	default:
		return access.Everything(), nil, nil
	}
	stream := user.Kind + "-" + caller.Actor.ID
	account, groups, err := h.foldAccount(ctx, stream)
	if err != nil {
		return access.Rights{}, nil, err
	}
	streams := []string{stream}
	offers := make([]access.Offer, 0, len(groups))
	for _, name := range sortedKeys(groups) {
		streams = append(streams, name)
		offers = append(offers, access.OfferOf(groups[name]))
	}
	if !account.Exists {
		return access.Rights{}, streams, nil
	}
	return access.RightsOf(access.StandingOf(account, ""), offers, h.Now()), streams, nil
}

// foldAccount gives an account and its groups, by stream, as they are now. In the ordinary case, when nothing has
// changed since they were asked for last, that takes the newest event of each stream, all in one round trip.
func (h *Handler) foldAccount(ctx context.Context, stream string) (user.State, map[string]group.State, error) {
	asked := h.known.groupsOf(stream)
	for {
		var account user.State
		var accountErr error
		var running sync.WaitGroup
		running.Go(func() { account, _, accountErr = newest[user.State](ctx, h, stream) })
		groups, err := h.newestGroups(ctx, asked)
		running.Wait()
		if err := cmp.Or(accountErr, err); err != nil {
			return user.State{}, nil, err
		}
		found := map[string]group.State{}
		for i, name := range asked {
			found[name] = groups[i].State
		}
		of := groupStreams(account)
		if !slices.ContainsFunc(of, func(name string) bool { _, known := found[name]; return !known }) {
			for name := range found {
				if !slices.Contains(of, name) {
					delete(found, name)
				}
			}
			return account, found, nil
		}
		asked = of
	}
}

// groupStreams are the streams of the groups of an account, in order.
func groupStreams(account user.State) []string {
	streams := make([]string, 0, len(account.Groups))
	for id := range account.Groups {
		streams = append(streams, domain.StreamName(group.Kind, id))
	}
	slices.Sort(streams)
	return streams
}

// belongs is a state of which each belongs to one company, or to none or all (uuid.Nil).
type belongs interface{ BelongsTo() uuid.UUID }

func isOwned(state any) bool {
	_, ok := state.(belongs)
	return ok
}

// companyOf gives the company to which an aggregate belongs: uuid.Nil for what concerns all.
func companyOf(stream string, state any) uuid.UUID {
	if owned, ok := state.(belongs); ok {
		return owned.BelongsTo()
	}
	kind, id := domain.SplitStream(stream)
	if kind != company.Kind {
		return uuid.Nil
	}
	parsed, err := uuid.Parse(id)
	if err != nil {
		return uuid.Nil
	}
	return parsed
}

// permit refuses a command that rights are not enough for. What they don't reach is answered as if it did not exist.
func permit[S any](caller Caller, who *authority, stream string, aggregate loaded[S], decide decision[S]) error {
	err := caller.permit(who.Rights, stream)
	switch fixed := caller.right.ofCompany; {
	case err != nil || caller.reaches(who.Rights, stream, companyOf(stream, aggregate.State)):
		return err
	case !fixed && aggregate.Revision == eventstore.NoStream:
		return nil // what it will belong to, permitResult judges
	case fixed && caller.right.company != uuid.Nil:
		return nil // the decision says that there is no such company
	}
	if kind, _ := domain.SplitStream(stream); kind != company.Kind && !isOwned(aggregate.State) {
		return caller.onlyOwnCompany()
	}
	var none S
	if _, err := decide(none, who); err != nil {
		return err
	}
	return domain.Refusef(domain.CodeNotFound, "there is nothing with this id that you may see")
}

// permit says whether rights are enough for a command, be it for one company only.
func (c Caller) permit(rights access.Rights, stream string) error {
	switch r := c.right; {
	case c.Actor.Kind != eventstore.ActorUser: // SecBoard itself, its operator, or a directory
		return nil
	case !r.declared:
		return errNoRightDeclared
	case r == proven:
		return nil
	case !rights.Usable():
		return errEnded
	case r.superuser && !rights.Superuser:
		return domain.Refusef(domain.CodeForbidden, "only a superuser may do this")
	case r.superuser, (r.own || r.orOwn) && c.owns(stream):
		return nil
	case r.own:
		return domain.Refusef(domain.CodeForbidden, "this can only be done to your own account")
	case !rights.Allows(r.module, r.action):
		return domain.Refusef(domain.CodeForbidden, "you need the permission %s for this", r)
	}
	return nil
}

// reaches says whether the right of a command, once permitted, reaches what belongs to a company.
func (c Caller) reaches(rights access.Rights, stream string, company uuid.UUID) bool {
	r := c.right
	if r.ofCompany {
		company = r.company
	}
	return !c.isPerson() || r.module == "" || r.orOwn && c.owns(stream) ||
		rights.AllowsFor(company, r.module, r.action)
}

// permitResult refuses a command after which the aggregate would belong where the caller's right does not reach.
func (c Caller) permitResult(rights access.Rights, stream string, next any) error {
	if c.reaches(rights, stream, companyOf(stream, next)) {
		return nil
	}
	return c.onlyOwnCompany()
}

func (c Caller) onlyOwnCompany() error {
	return domain.Refusef(domain.CodeForbidden, "your permission %s holds only for what belongs to your own company",
		c.right)
}

// errEnded refuses whoever was deactivated, or whose access ended otherwise, while the request was under way.
var errEnded = domain.Refusef(domain.CodeUnauthenticated,
	"your access has ended: sign in again, or ask an administrator")
