package httpapi

import (
	"context"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/module"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/projections"
)

// HistoryParams choose entries of a history.
type HistoryParams struct {
	Limit   int       `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items at most"`
	Cursor  string    `query:"cursor" maxLength:"2000" doc:"next_cursor of the page before"`
	Type    string    `query:"type" maxLength:"100" doc:"Start of the event's type, such as user.group"`
	From    Moment    `query:"from" doc:"Earliest time (RFC 3339), or first day (UTC)"`
	To      Moment    `query:"to" doc:"Latest time (RFC 3339), or last day (UTC)"`
	ActorID uuid.UUID `query:"actor_id" format:"uuid" doc:"Who did it"`
	Include []string  `query:"include" enum:"sign_ins" doc:"sign_ins: sign-ins too"`
}

func (p HistoryParams) filter(kind, id string) projections.HistoryFilter {
	filter := projections.HistoryFilter{
		Kind: kind, ID: id, Type: p.Type, From: p.From.start(), To: p.To.end(), IncludeSignIns: slices.Contains(p.Include, "sign_ins"),
	}
	if p.ActorID != uuid.Nil {
		filter.ActorID = p.ActorID.String()
	}
	return filter
}

type historyRequest struct {
	QueryHeaders
	HistoryParams
	ByID
}

type moduleHistoryRequest struct {
	QueryHeaders
	HistoryParams
	ByKey
}

// addHistories adds the history of each kind of resource.
func (s *server) addHistories() {
	addHistory(s, user.Kind, "/users", "Accounts", needs("users", domain.View), s.users().read)
	addHistory(s, company.Kind, "/companies", "Companies", needs("companies", domain.View), s.companies().read)
	addHistory(s, role.Kind, "/roles", "Roles", needs("roles", domain.View), s.roles().read)
	addHistory(s, group.Kind, "/groups", "Groups", needs("groups", domain.View), s.groups().read)
	register(s, operation{
		method: http.MethodGet, path: "/modules/{key}/history", id: "module-history", tag: "Modules", required: signedIn.seesHistory(),
		summary: "History of a module, newest first",
	}, func(ctx context.Context, in *moduleHistoryRequest) (*list[projections.HistoryEntry], error) {
		return historyOf(ctx, s, in.filter(module.Kind, in.Key), in.HistoryParams, s.modules().read)
	})
}

func addHistory[T any](s *server, kind, path, tag string, sees requirement, read func(context.Context, string) (T, error)) {
	register(s, operation{
		method: http.MethodGet, path: path + "/{id}/history", id: kind + "-history", tag: tag, required: sees.seesHistory(),
		summary:     "History, newest first",
		description: "Who changed what, when, from where, and each field's old and new value.",
	}, func(ctx context.Context, in *historyRequest) (*list[projections.HistoryEntry], error) {
		return historyOf(ctx, s, in.filter(kind, in.ID.String()), in.HistoryParams, read)
	})
}

func historyOf[T any](ctx context.Context, s *server, filter projections.HistoryFilter, params HistoryParams, read func(context.Context, string) (T, error)) (*list[projections.HistoryEntry], error) {
	if _, err := read(ctx, filter.ID); err != nil {
		return nil, err // 404 where there is nothing, rather than an empty history
	}
	return listOf(s.ReadModels.History(ctx, filter, projections.PageRequest{Limit: params.Limit, Cursor: params.Cursor}))
}
