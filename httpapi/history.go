package httpapi

import (
	"slices"

	"github.com/google/uuid"

	"github.com/secboard/secboard/projections"
)

// HistoryParams choose entries of a history.
type HistoryParams struct {
	Limit   int       `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items at most"`
	Cursor  string    `query:"cursor" maxLength:"2000" doc:"next_cursor of the previous page"`
	Type    string    `query:"type" maxLength:"100" doc:"Prefix of the event type, such as user.group"`
	From    Moment    `query:"from" doc:"Earliest time (RFC 3339), or first day (UTC)"`
	To      Moment    `query:"to" doc:"Latest time (RFC 3339), or last day (UTC)"`
	ActorID uuid.UUID `query:"actor_id" format:"uuid" doc:"Who did it"`
	Include []string  `query:"include" enum:"sign_ins" doc:"sign_ins: include sign-ins"`
}

func (p HistoryParams) filter(kind, id string) projections.HistoryFilter {
	filter := projections.HistoryFilter{
		Kind: kind, ID: id, Type: p.Type, From: p.From.start(), To: p.To.end(),
		IncludeSignIns: slices.Contains(p.Include, "sign_ins"),
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
