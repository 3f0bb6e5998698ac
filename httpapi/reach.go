package httpapi

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/projections"
)

// reach is where the permissions hold that an operation takes: everywhere, or for what belongs to one company. Groups
// of a company admit only its own accounts, so nobody has permissions for two.
type reach struct {
	everywhere bool
	company    uuid.UUID
}

// reachOf gives where all of the permissions hold; ok is false where one is lacking.
func reachOf(access projections.Access, permissions []permission) (r reach, lacking permission, ok bool) {
	r.everywhere = true
	for _, wanted := range permissions {
		everywhere, companies := access.Reach(wanted.module, wanted.action)
		switch {
		case everywhere:
			continue
		case len(companies) == 0, !r.everywhere && !slices.Contains(companies, r.company):
			return reach{}, wanted, false
		case r.everywhere:
			r = reach{company: companies[0]}
		}
	}
	return r, permission{}, true
}

// includes says whether something is reached that belongs to a company; uuid.Nil: to none, or to all.
func (r reach) includes(company uuid.UUID) bool {
	return r.everywhere || company != uuid.Nil && company == r.company
}

// within narrows a filter by company, uuid.Nil for none, to what is reached.
func (r reach) within(asked uuid.UUID) *uuid.UUID {
	switch {
	case r.everywhere:
		return given(asked)
	case asked == uuid.Nil, asked == r.company:
		return &r.company
	}
	return &uuid.Max // which no company is
}

// reachAccount answers 404 for an account out of reach, at the time that is asked about, if it is not the caller's own.
func (s *server) reachAccount(ctx context.Context, id uuid.UUID, asOf Moment) error {
	info := infoOf(ctx)
	if info.reach.everywhere || id == info.access.UserID {
		return nil
	}
	_, err := s.users().get(ctx, id.String(), asOf)
	return err
}

// idOf is uuid.Nil for none.
func idOf(id *uuid.UUID) uuid.UUID {
	if id == nil {
		return uuid.Nil
	}
	return *id
}

// onlyOwnCompany refuses what concerns everybody to somebody whose permission holds for one company.
func onlyOwnCompany(wanted permission) error {
	return domain.Refusef(domain.CodeForbidden,
		"you need the permission %s for everything; yours holds only for what belongs to your own company", wanted)
}
