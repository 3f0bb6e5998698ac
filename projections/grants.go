package projections

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// Kinds of Grant.
const (
	GrantGroup     = "group"
	GrantSuperuser = "superuser"
)

// Grant is one reason why an account may do something. Two events make it with a group: the account joined, and the
// group came to allow it; whichever was later gave it. All but Kind, EventID and the given_ fields are nil for a
// superuser.
type Grant struct {
	Kind           string     `json:"kind"`
	GroupID        *uuid.UUID `json:"group_id"`
	Name           *string    `json:"name"` // of the group, as it was then
	JoinedAt       *time.Time `json:"joined_at"`
	JoinedBy       *Actor     `json:"joined_by"`
	EventID        uuid.UUID  `json:"event_id"` // by which the account joined, or was made superuser
	AllowedAt      *time.Time `json:"allowed_at"`
	AllowedBy      *Actor     `json:"allowed_by"`
	AllowedEventID *uuid.UUID `json:"allowed_event_id"`
	GivenAt        time.Time  `json:"given_at"`
	GivenBy        Actor      `json:"given_by"`
	GivenEventID   uuid.UUID  `json:"given_event_id"`
}

// AccessItem is one action in one module that an account may do, and why.
type AccessItem struct {
	Module string        `json:"module"`
	Action domain.Action `json:"action"`
	Via    []Grant       `json:"via"` // a superuser's own first, then groups by name
}

// AccessReason says why an account may, or may not, do one thing. Event, time and actor are those that made it so, nil
// where nothing did.
type AccessReason struct {
	Code    string     `json:"code"`
	Detail  string     `json:"detail"`
	GroupID *uuid.UUID `json:"group_id"`
	EventID *uuid.UUID `json:"event_id"`
	At      *time.Time `json:"at"`
	Actor   *Actor     `json:"actor"`
}

// Codes of an AccessReason. The states of accounts that may do nothing are codes too.
const (
	BecauseSuperuser      = "superuser"                // it may: the account is a superuser
	BecauseGroup          = "group"                    // it may: a group of the account allows it
	BecauseUnknownModule  = "unknown_module"           // there was no such module
	BecauseHeld           = "held_by_unusable_account" // a grant that would count if the account could be used
	BecauseRetired        = "group_retired"            // a group of the account that allowed it is retired
	BecauseLacksAction    = "group_lacks_action"       // a group of the account allows other actions in the module
	BecauseNoGroup        = "no_group"                 // no group of the account allows anything in the module
	BecauseLeft           = "left_group"               // the account was in a group that allows it
	BecauseWouldAllow     = "group_would_allow"        // the account could join a group that allows it
	BecauseOtherCompany   = "group_of_other_company"   // a group allows it, but only to another company's accounts
	BecauseNobodyIsGiving = "no_group_allows"          // no group in use allows it
)

// membership is a stay in a group; left is nil while it lasts, or when it ended later than what is looked at.
type membership struct {
	group  uuid.UUID
	joined version
	left   *version
}

// accessFacts are what decides on the access of one account at a time.
type accessFacts struct {
	now     time.Time // decides on days
	account []accountVersion
	stays   []membership                 // begun up to then, in the order in which they began
	groups  map[uuid.UUID][]groupVersion // of all those stays, and of others that are looked at
	modules []string                     // that there were
}

// standing is how the account stood.
func (f *accessFacts) standing() standing { return f.account[len(f.account)-1].standing }

// startOf gives the first version of the run of versions at the end that holds something; nil when the last doesn't.
func startOf[V any](versions []V, holds func(V) bool) *V {
	var start *V
	for i := len(versions) - 1; i >= 0 && holds(versions[i]); i-- {
		start = &versions[i]
	}
	return start
}

// current gives the groups that the account was in, with the stay in each, by name.
func (f *accessFacts) current() []membership {
	var current []membership
	for _, stay := range f.stays {
		if stay.left == nil && len(f.groups[stay.group]) > 0 {
			current = append(current, stay)
		}
	}
	f.sortByName(current)
	return current
}

func (f *accessFacts) sortByName(stays []membership) {
	slices.SortStableFunc(stays, func(a, b membership) int {
		return cmp.Or(strings.Compare(f.offerOf(a.group).name, f.offerOf(b.group).name), slices.Compare(a.group[:], b.group[:]))
	})
}

func (f *accessFacts) offerOf(group uuid.UUID) offer {
	versions := f.groups[group]
	if len(versions) == 0 {
		return offer{retired: true} // the projection of groups is behind
	}
	return versions[len(versions)-1].offer
}

// grants gives why the account was granted an action, whether or not it could be used.
func (f *accessFacts) grants(module string, action domain.Action, current []membership) []Grant {
	var grants []Grant
	if v := startOf(f.account, func(v accountVersion) bool { return v.superuser }); v != nil && slices.Contains(f.modules, module) {
		grants = append(grants, Grant{Kind: GrantSuperuser, EventID: v.event, GivenAt: v.from.UTC(), GivenBy: v.actor, GivenEventID: v.event})
	}
	for _, stay := range current {
		versions := f.groups[stay.group]
		v := startOf(versions, func(v groupVersion) bool { return v.allows(module, action) })
		if v == nil {
			continue
		}
		joined, allowed, given := stay.joined, v.version, stay.joined
		if allowed.from.After(given.from) {
			given = allowed
		}
		grants = append(grants, Grant{
			Kind: GrantGroup, GroupID: &stay.group, Name: optional(f.offerOf(stay.group).name),
			JoinedAt: optional(joined.from.UTC()), JoinedBy: actorOf(joined), EventID: joined.event,
			AllowedAt: optional(allowed.from.UTC()), AllowedBy: actorOf(allowed), AllowedEventID: optional(allowed.event),
			GivenAt: given.from.UTC(), GivenBy: given.actor, GivenEventID: given.event,
		})
	}
	return grants
}

func actorOf(v version) *Actor {
	actor := v.actor
	return &actor
}

// items gives everything that the account could do, by module and then in the order of the actions. An empty module or
// action stands for all.
func (f *accessFacts) items(module string, action domain.Action) []AccessItem {
	items := []AccessItem{}
	if state, _ := f.standing().state(f.now); state != StateActive {
		return items
	}
	current := f.current()
	modules := map[string]bool{}
	for _, stay := range current {
		for key := range f.offerOf(stay.group).permissions {
			modules[key] = true
		}
	}
	if f.standing().superuser {
		for _, key := range f.modules {
			modules[key] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(modules)) {
		if module != "" && key != module {
			continue
		}
		for _, a := range domain.AllActions {
			if action != "" && a != action {
				continue
			}
			if grants := f.grants(key, a, current); len(grants) > 0 {
				items = append(items, AccessItem{Module: key, Action: a, Via: grants})
			}
		}
	}
	return items
}

// answer says whether the account could do one thing, and why. offering are groups that allowed it then.
func (f *accessFacts) answer(module string, action domain.Action, offering []uuid.UUID) (bool, []AccessReason) {
	current := f.current()
	grants := f.grants(module, action, current)
	state, why := f.standing().state(f.now)
	if state == StateActive && len(grants) > 0 {
		reasons := make([]AccessReason, len(grants))
		for i, grant := range grants {
			reasons[i] = f.because(grant, module, action)
		}
		return true, reasons
	}
	var reasons []AccessReason
	if state != StateActive {
		reasons = append(reasons, reason(state, "the account could not be used: "+why, f.stateSince(state)))
	}
	if !slices.Contains(f.modules, module) {
		reasons = append(reasons, reason(BecauseUnknownModule, "there was no module "+module, nil))
	}
	for _, grant := range grants {
		held := f.because(grant, module, action)
		held.Code, held.Detail = BecauseHeld, "if the account could be used: "+held.Detail
		reasons = append(reasons, held)
	}
	if len(grants) > 0 {
		return false, reasons
	}
	reasons = append(reasons, f.lacking(module, action, current)...)
	return false, append(reasons, f.others(module, action, current, offering)...)
}

// stateSince gives the version from which on the account had what puts it into a state.
func (f *accessFacts) stateSince(state string) *version {
	now := f.standing()
	start := startOf(f.account, func(v accountVersion) bool {
		switch state {
		case StateInactive:
			return !v.active
		case StateNotStarted:
			return v.start == now.start
		case StateExpired:
			return v.end == now.end
		}
		return false
	})
	if start == nil {
		return nil
	}
	return &start.version
}

func reason(code, detail string, cause *version) AccessReason {
	r := AccessReason{Code: code, Detail: detail}
	if cause != nil {
		r.EventID, r.At, r.Actor = &cause.event, optional(cause.from.UTC()), actorOf(*cause)
	}
	return r
}

func reasonOfGroup(code, detail string, group uuid.UUID, cause *version) AccessReason {
	r := reason(code, detail, cause)
	r.GroupID = &group
	return r
}

// because puts a grant into words.
func (f *accessFacts) because(grant Grant, module string, action domain.Action) AccessReason {
	given := grant.GivenBy
	r := AccessReason{Code: grant.Kind, GroupID: grant.GroupID, EventID: &grant.GivenEventID, At: &grant.GivenAt, Actor: &given}
	switch {
	case grant.Kind == GrantSuperuser:
		r.Detail = "a superuser may do everything"
	case grant.GivenEventID == grant.EventID:
		r.Detail = fmt.Sprintf("member of the group %s, which allows %s.%s", *grant.Name, module, action)
	default:
		r.Detail = fmt.Sprintf("the group %s, with the account in it since %s, came to allow %s.%s", *grant.Name, grant.JoinedAt.Format(time.RFC3339), module, action)
	}
	return r
}

// lacking says why the account's own groups did not do.
func (f *accessFacts) lacking(module string, action domain.Action, current []membership) []AccessReason {
	var reasons []AccessReason
	for _, stay := range current {
		versions := f.groups[stay.group]
		now := versions[len(versions)-1].offer
		switch {
		case now.retired && now.permissions.Allows(module, action):
			retired := startOf(versions, func(v groupVersion) bool { return v.retired })
			reasons = append(reasons, reasonOfGroup(BecauseRetired, fmt.Sprintf("the group %s, which allowed it, is retired", now.name), stay.group, &retired.version))
		case !now.retired && now.permissions[module] != domain.Actions{}:
			var allowed []string
			for _, a := range domain.AllActions {
				if now.allows(module, a) {
					allowed = append(allowed, string(a))
				}
			}
			detail := fmt.Sprintf("the group %s allows %s in %s, but not %s", now.name, strings.Join(allowed, ", "), module, action)
			withdrawn := withdrawal(versions, module, action)
			if withdrawn != nil {
				detail += " any more"
			}
			reasons = append(reasons, reasonOfGroup(BecauseLacksAction, detail, stay.group, withdrawn))
		}
	}
	if len(reasons) > 0 {
		return reasons
	}
	detail := "the account was in no group"
	if len(current) > 0 {
		detail = fmt.Sprintf("none of the account's groups (%d) allowed anything in %s", len(current), module)
	}
	return []AccessReason{reason(BecauseNoGroup, detail, nil)}
}

// withdrawal gives the version that took an action from a group that had allowed it; nil when it never did.
func withdrawal(versions []groupVersion, module string, action domain.Action) *version {
	for i := len(versions) - 1; i > 0; i-- {
		if versions[i-1].allows(module, action) {
			return &versions[i].version
		}
	}
	return nil
}

// maxOffers is how many groups an answer names that the account could join.
const maxOffers = 20

// others says which groups allowed it that the account was not in.
func (f *accessFacts) others(module string, action domain.Action, current []membership, offering []uuid.UUID) []AccessReason {
	left := map[uuid.UUID]version{}
	for _, stay := range f.stays {
		if stay.left != nil {
			left[stay.group] = *stay.left
		}
	}
	var stays []membership // as which the groups are sorted
	for _, group := range offering {
		mine := slices.ContainsFunc(current, func(stay membership) bool { return stay.group == group })
		if !mine && f.offerOf(group).allows(module, action) {
			stays = append(stays, membership{group: group})
		}
	}
	if len(stays) == 0 {
		return []AccessReason{reason(BecauseNobodyIsGiving, fmt.Sprintf("no group in use allowed %s.%s to anybody", module, action), nil)}
	}
	f.sortByName(stays)
	var reasons []AccessReason
	for _, stay := range stays[:min(len(stays), maxOffers)] {
		g := f.offerOf(stay.group)
		leaving, wasMember := left[stay.group]
		switch {
		case g.companyID != uuid.Nil && g.companyID != f.standing().companyID:
			reasons = append(reasons, reasonOfGroup(BecauseOtherCompany, fmt.Sprintf("the group %s allowed it, but is of another company", g.name), stay.group, nil))
		case wasMember:
			reasons = append(reasons, reasonOfGroup(BecauseLeft, fmt.Sprintf("the account had left the group %s, which allowed it", g.name), stay.group, &leaving))
		default:
			reasons = append(reasons, reasonOfGroup(BecauseWouldAllow, fmt.Sprintf("as a member of the group %s the account could", g.name), stay.group, nil))
		}
	}
	return reasons
}
