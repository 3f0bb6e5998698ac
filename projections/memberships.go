package projections

import (
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

// roleMemberships are the roles that accounts have and had.
var roleMemberships = engine.MembershipTable{
	Name: "user_roles", Member: "user_id", In: "role_id", InName: "role_name", Began: "given", Ended: "taken",
	Note: func(m *engine.Memberships, userID uuid.UUID, e *eventstore.Envelope) {
		switch event := e.Event.(type) {
		case user.RoleGiven:
			m.Begin(userID, event.RoleID, event.RoleName, e)
		case user.RoleTaken:
			m.End(userID, event.RoleID, e)
		}
	},
}

// groupMemberships are the groups that accounts are and were in.
var groupMemberships = engine.MembershipTable{
	Name: "memberships", Member: "user_id", In: "group_id", InName: "group_name", Began: "joined", Ended: "left",
	Note: func(m *engine.Memberships, userID uuid.UUID, e *eventstore.Envelope) {
		switch event := e.Event.(type) {
		case user.GroupJoined:
			m.Begin(userID, event.GroupID, event.GroupName, e)
		case user.GroupSynced:
			m.Begin(userID, event.GroupID, event.GroupName, e)
		case user.GroupLeft:
			m.End(userID, event.GroupID, e)
		}
	},
}
