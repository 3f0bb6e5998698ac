package projections

import (
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/access"
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
	Name           *string    `json:"name"`       // of the group, as it was at that time
	CompanyID      *uuid.UUID `json:"company_id"` // for what belongs to it alone; nil: for everything
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

// AccessReason says why an account may, or may not, do one thing: an access.Reason with who made it so. Event, time and
// actor are nil where nothing did.
type AccessReason struct {
	Code    string     `json:"code"`
	Detail  string     `json:"detail"`
	GroupID *uuid.UUID `json:"group_id"`
	EventID *uuid.UUID `json:"event_id"`
	At      *time.Time `json:"at"`
	Actor   *Actor     `json:"actor"`
}

// shownCause gives the event, time and actor of a cause; the actor is nil where none is to be named.
func shownCause(cause *access.Cause) (event *uuid.UUID, at *time.Time, by *Actor) {
	if cause == nil {
		return nil, nil, nil
	}
	if cause.By != (access.Actor{}) {
		by = shownActor(cause.By)
	}
	return &cause.EventID, optional(cause.At.UTC()), by
}

func shownActor(by access.Actor) *Actor { return &Actor{Kind: by.Kind, ID: optional(by.ID)} }

func shownReasons(reasons []access.Reason) []AccessReason {
	shown := make([]AccessReason, len(reasons))
	for i, r := range reasons {
		shown[i] = AccessReason{Code: r.Code, Detail: r.Detail, GroupID: optional(r.Group)}
		shown[i].EventID, shown[i].At, shown[i].Actor = shownCause(r.Cause)
	}
	return shown
}

func shownItems(items []access.Item) []AccessItem {
	shown := make([]AccessItem, len(items))
	for i, item := range items {
		shown[i] = AccessItem{Module: item.Module, Action: item.Action, Via: make([]Grant, len(item.Via))}
		for v, grant := range item.Via {
			shown[i].Via[v] = shownGrant(grant)
		}
	}
	return shown
}

func shownGrant(g access.Grant) Grant {
	given := g.Given()
	shown := Grant{
		Kind: GrantSuperuser, EventID: g.Joined.EventID,
		GivenAt: given.At.UTC(), GivenBy: *shownActor(given.By), GivenEventID: given.EventID,
	}
	if g.Superuser {
		return shown
	}
	shown.Kind, shown.GroupID, shown.Name = GrantGroup, &g.Group, optional(g.Offer.Name)
	shown.CompanyID = optional(g.Offer.CompanyID)
	shown.JoinedAt, shown.JoinedBy = optional(g.Joined.At.UTC()), shownActor(g.Joined.By)
	shown.AllowedEventID, shown.AllowedAt, shown.AllowedBy = shownCause(&g.Allowed)
	return shown
}
