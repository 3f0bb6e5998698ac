package directory

import (
	"slices"

	"github.com/google/uuid"
)

// Connection is a connection as it is now.
type Connection struct {
	ID             uuid.UUID
	State          State
	CompanyRetired bool // the one that it serves
}

// usable says whether anybody signs in through it.
func (c Connection) usable() bool { return c.State.Settings.Enabled && !c.CompanyRetired }

// Person is what decides which directories are asked about somebody; the zero value is somebody not known yet.
type Person struct {
	Known        bool
	CompanyID    uuid.UUID
	ConnectionID uuid.UUID // that the account is bound to; uuid.Nil: none
	Rights       bool      // as user.State.MayDoSomething
}

// Asked gives the connections that are asked about somebody, in this order, and those that would be if a superuser
// approved them. Who is asked may learn the password, so
//   - an account that is bound to an entry is asked about there only. When somebody switched that connection off, one
//     that is approved may take its place;
//   - somebody with rights is asked about only where a superuser approved;
//   - approved ones come first, then those of the company, then the oldest.
func Asked(connections []Connection, who Person) (asked, unapproved []Connection) {
	bound := who.ConnectionID != uuid.Nil
	atHome := slices.ContainsFunc(connections, func(c Connection) bool {
		return c.ID == who.ConnectionID && c.usable()
	})
	for _, c := range connections {
		company := c.State.Settings.CompanyID
		serves := company == uuid.Nil || !who.Known || company == who.CompanyID
		switch own := c.ID == who.ConnectionID; {
		case !c.usable(), atHome && !own, !own && !serves, bound && !own && !c.State.Vouched:
		case who.Rights && !c.State.Vouched:
			unapproved = append(unapproved, c)
		default:
			asked = append(asked, c)
		}
	}
	rank := func(c Connection) (rank int) {
		if !c.State.Vouched {
			rank += 2
		}
		if c.State.Settings.CompanyID == uuid.Nil {
			rank++
		}
		return rank
	}
	slices.SortStableFunc(asked, func(a, b Connection) int { return rank(a) - rank(b) })
	return asked, unapproved
}
