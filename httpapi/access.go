package httpapi

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/audit"
	"github.com/secboard/secboard/projections"
)

// AccessParams ask about one module or action.
type AccessParams struct {
	Module string `query:"module" maxLength:"50" doc:"Key of a module"`
	Action string `query:"action" enum:"view,add,edit,delete,export,show_link"`
}

func (p AccessParams) filter() projections.AccessFilter {
	return projections.AccessFilter{Module: p.Module, Action: domain.Action(p.Action)}
}

type accountAccessRequest struct {
	QueryHeaders
	PointInTime
	AccessParams
	ByID
}

type accountAccessAnswer struct {
	Body projections.AccountAccess
}

type whoMayRequest struct {
	QueryHeaders
	PointInTime
	AccessParams
	CompanyID uuid.UUID `query:"company_id" format:"uuid" doc:"Only accounts that were in this company at that time"`
	Limit     int       `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items at most"`
	Cursor    string    `query:"cursor" maxLength:"2000" doc:"next_cursor of the previous page"`
}

// addAccess adds the questions about who may do what, now and at any time.
func (s *server) addAccess() {
	register(s, operation{
		method: http.MethodGet, path: "/users/{id}/access", id: "account-access", tag: "Accounts",
		required: needs("users", domain.View).forCompanies(),
		summary:  "What an account may do and by which grant, now or at a time",
		description: "Each module and action with its grants in `via`: who added the account to the group, who " +
			"gave the group the permission, and in `given_…` the later of the two, which put it into effect. With " +
			"`module` and `action` it answers one question: `allowed`, and in `because` the reason, or everything " +
			"that was missing. Only an account in the state `active` may do anything.",
	}, func(ctx context.Context, in *accountAccessRequest) (*accountAccessAnswer, error) {
		if err := s.reachAccount(ctx, in.ID, in.AsOf); err != nil {
			return nil, err
		}
		access, err := s.ReadModels.AccountAccess(ctx, in.ID, in.filter(), s.Now(), in.AsOf.end())
		return &accountAccessAnswer{Body: access}, err
	})
	register(s, operation{
		method: http.MethodGet, path: "/audit/access", id: "who-may", tag: auditTag,
		required: needs("audit", domain.View).forCompanies(),
		summary:  "Who may do what and by which grant, now or at a time",
		description: "Accounts are listed in the order in which they were created, each with its modules and " +
			"actions, superusers included. The query is itself recorded, once for all its pages. Without `as_of`, " +
			"each page shows the state at the time of its request.",
	}, s.whoMay)
}

func (s *server) whoMay(ctx context.Context, in *whoMayRequest) (*list[projections.AccessHolder], error) {
	in.CompanyID = idOf(infoOf(ctx).reach.within(in.CompanyID))
	filter := in.filter()
	filter.CompanyID = given(in.CompanyID)
	reading := audit.AccessRead{
		AsOf: timeOf(in.AsOf.end()), Module: in.Module, Action: domain.Action(in.Action), CompanyID: in.CompanyID,
	}
	page := projections.PageRequest{Limit: in.Limit}
	if err := s.openCursor(ctx, reading, in.Cursor, &page.Cursor); err != nil {
		return nil, err
	}
	var holders projections.List[projections.AccessHolder]
	err := s.recorded(ctx, reading, in.Cursor, func(ctx context.Context) (err error) {
		holders, err = s.ReadModels.WhoMay(ctx, filter, page, s.Now(), in.AsOf.end())
		return err
	})
	if err == nil && holders.NextCursor != nil {
		*holders.NextCursor, err = s.bindCursor(ctx, reading, *holders.NextCursor)
	}
	return listOf(holders, err)
}
