// Package access judges who may do what and why, and why somebody can't sign in. Its rules are pure: they are given
// states folded from the log, and whoever asks - a command that decides now, or a read model that explains how it was
// at some time - gets the same answer from them.
//
// Rights is the short answer, for deciding. Facts gives the long one, with reasons; for them it may be given how
// account and groups came to stand as they do. SignInFacts answers about signing in.
package access

import (
	"maps"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
)

// States of an account. The first that applies counts, in this order.
const (
	Inactive          = signin.Inactive
	DirectoryDisabled = signin.DirectoryDisabled
	NotStarted        = signin.NotStarted
	Expired           = signin.Expired
	Active            = "active"
)

// Standing is what counts of an account for what it may do, except for its groups.
type Standing struct {
	CompanyID  uuid.UUID
	Active     bool
	Reason     string // why it is inactive; empty where unknown
	Superuser  bool
	Start, End domain.Date
	Closed     bool   // by its directory
	ClosedFor  string // a user.Closed constant
}

// StandingOf is how a folded account stands. Why it is inactive is no part of its state and may be empty.
func StandingOf(account user.State, inactiveReason string) Standing {
	return Standing{
		CompanyID: account.Details.CompanyID, Active: account.Active, Reason: inactiveReason,
		Superuser: account.Superuser,
		Start:     account.Details.StartDate, End: account.Details.EndDate,
		Closed: account.Directory.Disabled, ClosedFor: account.Directory.Reason,
	}
}

// User is as much of the account as tells, with an event, how it stands next.
func (s Standing) User(exists bool) user.State {
	return user.State{
		Exists: exists, Active: s.Active, Superuser: s.Superuser,
		Details:   user.Details{CompanyID: s.CompanyID, StartDate: s.Start, EndDate: s.End},
		Directory: user.DirectoryLink{Disabled: s.Closed, Reason: s.ClosedFor},
	}
}

// State says whether the account may be used at a time, and if not, why in a sentence. Days are days in UTC; the end
// date is the last day of access.
func (s Standing) State(now time.Time) (state, why string) {
	switch state = s.User(true).CanSignIn(now); state {
	case Inactive:
		return state, "deactivated" + domain.Because(s.Reason)
	case DirectoryDisabled:
		return state, user.DirectoryDisabled{Reason: s.ClosedFor}.Summary()
	case NotStarted:
		return state, "access starts on " + s.Start.String()
	case Expired:
		return state, "access ended on " + s.End.String()
	}
	return Active, ""
}

// Offer is what a group offers its members.
type Offer struct {
	Name        string
	CompanyID   uuid.UUID // whose accounts may be members; uuid.Nil: those of all companies
	Retired     bool
	Permissions domain.Permissions
}

// OfferOf is what a folded group offers.
func OfferOf(g group.State) Offer {
	return Offer{Name: g.Name, CompanyID: g.CompanyID, Retired: g.Retired, Permissions: g.Permissions.Normalized()}
}

// Same says whether both offer the same under the same name.
func (o Offer) Same(other Offer) bool {
	return o.Name == other.Name && o.CompanyID == other.CompanyID && o.Retired == other.Retired &&
		maps.Equal(o.Permissions, other.Permissions)
}

// Allows says whether the group lets its members do something. A retired one lets them do nothing.
func (o Offer) Allows(module string, action domain.Action) bool {
	return !o.Retired && o.Permissions.Allows(module, action)
}

// Admits says whether accounts of a company, uuid.Nil for none, can be members.
func (o Offer) Admits(company uuid.UUID) bool {
	return o.CompanyID == uuid.Nil || o.CompanyID == company
}

// Rights are what an account may do at a time. The zero value may do nothing.
type Rights struct {
	State     string // only Active may do anything
	Superuser bool
	Granted   domain.Granted // by the groups, whatever the state
}

// Everything is what SecBoard itself and whoever has a shell on the server may do.
func Everything() Rights { return Rights{State: Active, Superuser: true} }

// RightsOf gives the rights of an account in groups. A group of another company gives none.
func RightsOf(account Standing, groups []Offer, now time.Time) Rights {
	rights := Rights{Superuser: account.Superuser, Granted: domain.Granted{}}
	rights.State, _ = account.State(now)
	for _, offer := range groups {
		if !offer.Retired && offer.Admits(account.CompanyID) {
			rights.Granted.Grant(offer.CompanyID, offer.Permissions)
		}
	}
	return rights
}

// Usable says whether the account may do anything at all.
func (r Rights) Usable() bool { return r.State == Active }

// Allows says whether they allow an action in a module, be it for one company only. A superuser may do everything.
func (r Rights) Allows(module string, action domain.Action) bool {
	everywhere, companies := r.Reach(module, action)
	return everywhere || len(companies) > 0
}

// AllowsFor says whether they allow an action on what belongs to a company; uuid.Nil: on what belongs to none, or to
// all.
func (r Rights) AllowsFor(company uuid.UUID, module string, action domain.Action) bool {
	return r.Usable() && (r.Superuser || r.Granted.Allows(company, module, action))
}

// Reach says where they allow an action in a module: everywhere, or for the companies listed.
func (r Rights) Reach(module string, action domain.Action) (everywhere bool, companies []uuid.UUID) {
	if !r.Usable() || r.Superuser {
		return r.Usable(), nil
	}
	return r.Granted.Reach(module, action)
}

// Lacks lists what somebody else may do and these rights don't allow, as "module.action", or "superuser": whoever got
// hold of the other's account would gain that. Whether the other can use it now does not count, as that may change.
func (r Rights) Lacks(other Rights) []string {
	switch {
	case r.Usable() && r.Superuser:
		return nil
	case other.Superuser:
		return []string{"superuser"}
	case !r.Usable():
		return other.Granted.Missing(nil)
	}
	return other.Granted.Missing(r.Granted)
}
