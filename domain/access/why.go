package access

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// Reason says why an account may, or may not, do one thing.
type Reason struct {
	Code   string
	Detail string
	Group  uuid.UUID // that it is about; uuid.Nil for none
	Cause  *Cause    // the event that made it so; nil where nothing did
}

// Codes of a Reason. The states of accounts that may do nothing are codes too.
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

// MaxOffers is how many groups an answer names that the account could join.
const MaxOffers = 20

// Answer says whether the account could do one thing, and why. offering are groups that the account might join; those
// that didn't allow it, and its own, are skipped.
func (f *Facts) Answer(module string, action domain.Action, offering []uuid.UUID) (bool, []Reason) {
	current := f.current()
	grants := f.grants(module, action, current)
	state, why := f.Standing().State(f.Now)
	if state == Active && len(grants) > 0 {
		reasons := make([]Reason, len(grants))
		for i, grant := range grants {
			reasons[i] = grant.because(module, action)
		}
		return true, reasons
	}
	var reasons []Reason
	if state != Active {
		reasons = append(reasons, Reason{
			Code: state, Detail: "the account could not be used: " + why, Cause: f.stateSince(state),
		})
	}
	if !slices.Contains(f.Modules, module) {
		reasons = append(reasons, Reason{Code: BecauseUnknownModule, Detail: "there was no module named " + module})
	}
	for _, grant := range grants {
		held := grant.because(module, action)
		held.Code, held.Detail = BecauseHeld, "if the account could be used: "+held.Detail
		reasons = append(reasons, held)
	}
	if len(grants) > 0 {
		return false, reasons
	}
	reasons = append(reasons, f.lacking(module, action, current)...)
	return false, append(reasons, f.others(module, action, current, offering)...)
}

// stateSince gives the event from which on the account had what puts it into a state.
func (f *Facts) stateSince(state string) *Cause {
	now := f.Standing()
	start := startOf(f.Account, func(s Standing) bool {
		switch state {
		case Inactive:
			return !s.Active
		case DirectoryDisabled:
			return s.Closed
		case NotStarted:
			return s.Start == now.Start
		case Expired:
			return s.End == now.End
		}
		return false
	})
	if start == nil {
		return nil
	}
	return start.orNil()
}

// because puts a grant into words.
func (g Grant) because(module string, action domain.Action) Reason {
	given := g.Given()
	if g.Superuser {
		return Reason{Code: BecauseSuperuser, Detail: "a superuser may do everything", Cause: given.orNil()}
	}
	scope := ""
	if g.Offer.CompanyID != uuid.Nil && slices.Contains(domain.OwnModules, module) {
		scope = ", for what belongs to its company alone"
	}
	r := Reason{Code: BecauseGroup, Group: g.Group, Cause: given.orNil()}
	if given.EventID == g.Joined.EventID {
		r.Detail = fmt.Sprintf("member of the group %s, which allows %s.%s%s", g.Offer.Name, module, action, scope)
		return r
	}
	r.Detail = fmt.Sprintf("member of the group %s since %s; the group later began to allow %s.%s%s",
		g.Offer.Name, g.Joined.At.UTC().Format(time.RFC3339), module, action, scope)
	return r
}

// lacking says why the account's own groups were not enough.
func (f *Facts) lacking(module string, action domain.Action, current []Membership) []Reason {
	var reasons []Reason
	for _, m := range current {
		versions, now := f.Groups[m.Group], f.offerOf(m.Group)
		switch {
		case now.Retired && now.Permissions.Allows(module, action):
			retired := startOf(versions, func(o Offer) bool { return o.Retired })
			reasons = append(reasons, Reason{
				Code: BecauseRetired, Group: m.Group, Cause: retired.orNil(),
				Detail: fmt.Sprintf("the group %s, which allowed it, is retired", now.Name),
			})
		case !now.Retired && now.Permissions[module] != domain.Actions{}:
			reasons = append(reasons, lacksAction(m.Group, versions, module, action))
		}
	}
	if len(reasons) > 0 {
		return reasons
	}
	detail := "the account was in no group"
	if len(current) > 0 {
		detail = fmt.Sprintf("none of the account's groups (%d) allowed anything in %s", len(current), module)
	}
	return []Reason{{Code: BecauseNoGroup, Detail: detail}}
}

// lacksAction says what a group allows in a module in place of an action.
func lacksAction(group uuid.UUID, versions []Version[Offer], module string, action domain.Action) Reason {
	now := versions[len(versions)-1].State
	var allowed []string
	for _, a := range domain.AllActions {
		if now.Allows(module, a) {
			allowed = append(allowed, string(a))
		}
	}
	r := Reason{Code: BecauseLacksAction, Group: group, Cause: withdrawal(versions, module, action)}
	r.Detail = fmt.Sprintf("the group %s allows %s in %s, but not %s", now.Name, strings.Join(allowed, ", "), module,
		action)
	if r.Cause != nil {
		r.Detail += " any more"
	}
	return r
}

// withdrawal gives the event that took an action from a group that had allowed it; nil when it never did.
func withdrawal(versions []Version[Offer], module string, action domain.Action) *Cause {
	for i := len(versions) - 1; i > 0; i-- {
		if versions[i-1].State.Allows(module, action) {
			return versions[i].orNil()
		}
	}
	return nil
}

// others says which groups allowed it that the account was not in.
func (f *Facts) others(module string, action domain.Action, current []Membership, offering []uuid.UUID) []Reason {
	left := map[uuid.UUID]*Cause{}
	for _, m := range f.Memberships {
		if m.Left != nil {
			left[m.Group] = m.Left
		}
	}
	var open []Membership
	for _, group := range offering {
		own := slices.ContainsFunc(current, func(m Membership) bool { return m.Group == group })
		if !own && f.offerOf(group).Allows(module, action) {
			open = append(open, Membership{Group: group, Left: left[group]})
		}
	}
	if len(open) == 0 {
		return []Reason{{
			Code:   BecauseNobodyIsGiving,
			Detail: fmt.Sprintf("no group in use allowed %s.%s to anybody", module, action),
		}}
	}
	f.sortByName(open)
	var reasons []Reason
	for _, m := range open[:min(len(open), MaxOffers)] {
		reasons = append(reasons, f.other(m))
	}
	return reasons
}

// other says why a group that allowed it did not help the account.
func (f *Facts) other(m Membership) Reason {
	offer := f.offerOf(m.Group)
	switch {
	case !offer.Admits(f.Standing().CompanyID):
		return Reason{
			Code: BecauseOtherCompany, Group: m.Group,
			Detail: fmt.Sprintf("the group %s allowed it, but only to accounts of another company", offer.Name),
		}
	case m.Left != nil:
		return Reason{
			Code: BecauseLeft, Group: m.Group, Cause: m.Left,
			Detail: fmt.Sprintf("the account had left the group %s, which allowed it", offer.Name),
		}
	}
	return Reason{
		Code: BecauseWouldAllow, Group: m.Group,
		Detail: fmt.Sprintf("membership in the group %s would allow it", offer.Name),
	}
}
