package access

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/user"
)

// Actor is who caused an event, as in its metadata. ID is empty where there is none.
type Actor struct{ Kind, ID string }

// Cause is the event that made something so. The zero value stands for one that nobody looked up.
type Cause struct {
	EventID uuid.UUID
	At      time.Time
	By      Actor
}

// orNil is nil for a cause that nobody looked up.
func (c Cause) orNil() *Cause {
	if c == (Cause{}) {
		return nil
	}
	return &c
}

// Version is how something stood from an event on, until the next version.
type Version[T any] struct {
	Cause
	State T
}

// Membership is the time that an account is in a group.
type Membership struct {
	Group  uuid.UUID
	Joined Cause
	Left   *Cause // nil while it lasts, or when it ended later than what is looked at
}

// Facts are what decides on the access of one account at a time. Of versions the last decides; earlier ones are needed
// only to say since when, and by whom, something is as it is.
type Facts struct {
	Now         time.Time // decides on days
	Account     []Version[Standing]
	Memberships []Membership                   // begun up to then, in the order in which they began
	Groups      map[uuid.UUID][]Version[Offer] // of all those memberships, and of others that are looked at
	Modules     []string                       // that there were
}

// FactsOf are the facts of an account as it is folded now, in the groups that are given.
func FactsOf(account user.State, groups map[uuid.UUID]group.State, modules []string, now time.Time) *Facts {
	f := &Facts{
		Now: now, Account: []Version[Standing]{{State: StandingOf(account, "")}}, Modules: modules,
		Groups: make(map[uuid.UUID][]Version[Offer], len(groups)),
	}
	for id, state := range groups {
		f.Groups[id] = []Version[Offer]{{State: OfferOf(state)}}
		if _, member := account.Groups[id]; member {
			f.Memberships = append(f.Memberships, Membership{Group: id})
		}
	}
	return f
}

// Of says whether an account may do something now, and why, or why not. groups are those it is in, folded, and others
// that it might join; modules are all that there are.
func Of(account user.State, groups map[uuid.UUID]group.State, modules []string, now time.Time,
	module string, action domain.Action,
) (bool, []Reason) {
	return FactsOf(account, groups, modules, now).Answer(module, action, slices.Collect(maps.Keys(groups)))
}

// Standing is how the account stood.
func (f *Facts) Standing() Standing { return f.Account[len(f.Account)-1].State }

// Rights are what the account could do.
func (f *Facts) Rights() Rights {
	var offers []Offer
	for _, m := range f.current() {
		offers = append(offers, f.offerOf(m.Group))
	}
	return RightsOf(f.Standing(), offers, f.Now)
}

// startOf gives the first of the versions at the end of the list in all of which something holds; nil when it doesn't
// hold in the last.
func startOf[T any](versions []Version[T], holds func(T) bool) *Version[T] {
	var start *Version[T]
	for i := len(versions) - 1; i >= 0 && holds(versions[i].State); i-- {
		start = &versions[i]
	}
	return start
}

// current gives the memberships that lasted, by the name of the group.
func (f *Facts) current() []Membership {
	var current []Membership
	for _, m := range f.Memberships {
		if m.Left == nil && len(f.Groups[m.Group]) > 0 {
			current = append(current, m)
		}
	}
	f.sortByName(current)
	return current
}

func (f *Facts) sortByName(memberships []Membership) {
	slices.SortStableFunc(memberships, func(a, b Membership) int {
		return cmp.Or(strings.Compare(f.offerOf(a.Group).Name, f.offerOf(b.Group).Name),
			slices.Compare(a.Group[:], b.Group[:]))
	})
}

// offerOf gives what a group offered; nothing, as a retired one does, where nothing of it is known.
func (f *Facts) offerOf(group uuid.UUID) Offer {
	versions := f.Groups[group]
	if len(versions) == 0 {
		return Offer{Retired: true}
	}
	return versions[len(versions)-1].State
}

// Grant is one reason why an account may do something: it is a superuser, or in a group that allows it.
type Grant struct {
	Superuser bool
	Group     uuid.UUID // uuid.Nil for a superuser
	Offer     Offer     // of that group, which says for which company it is
	Joined    Cause     // by which the account joined the group, or became a superuser
	Allowed   Cause     // from which on the group allowed it; zero for a superuser
}

// Given is the later of the two events that made the grant.
func (g Grant) Given() Cause {
	if g.Allowed.At.After(g.Joined.At) {
		return g.Allowed
	}
	return g.Joined
}

// grants gives why the account was granted an action, whether or not it could be used.
func (f *Facts) grants(module string, action domain.Action, current []Membership) []Grant {
	var grants []Grant
	super := startOf(f.Account, func(s Standing) bool { return s.Superuser })
	if super != nil && slices.Contains(f.Modules, module) {
		grants = append(grants, Grant{Superuser: true, Joined: super.Cause})
	}
	for _, m := range current {
		allowed := startOf(f.Groups[m.Group], func(o Offer) bool { return o.Allows(module, action) })
		if allowed != nil {
			grants = append(grants,
				Grant{Group: m.Group, Offer: f.offerOf(m.Group), Joined: m.Joined, Allowed: allowed.Cause})
		}
	}
	return grants
}

// Item is one action in one module that an account may do, and why.
type Item struct {
	Module string
	Action domain.Action
	Via    []Grant // a superuser's own first, then groups by name
}

// Items gives everything that the account could do, by module and then in the order of the actions. An empty module or
// action stands for all.
func (f *Facts) Items(module string, action domain.Action) []Item {
	if state, _ := f.Standing().State(f.Now); state != Active {
		return nil
	}
	current := f.current()
	modules := map[string]bool{}
	for _, m := range current {
		for key := range f.offerOf(m.Group).Permissions {
			modules[key] = true
		}
	}
	if f.Standing().Superuser {
		for _, key := range f.Modules {
			modules[key] = true
		}
	}
	var items []Item
	for _, key := range slices.Sorted(maps.Keys(modules)) {
		if module != "" && key != module {
			continue
		}
		for _, a := range domain.AllActions {
			if action != "" && a != action {
				continue
			}
			if grants := f.grants(key, a, current); len(grants) > 0 {
				items = append(items, Item{Module: key, Action: a, Via: grants})
			}
		}
	}
	return items
}
