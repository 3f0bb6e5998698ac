// Package audit is about those who read the audit: each query is an event itself, so that reading leaves a trace too.
package audit

import (
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// Kind is the first part of the stream's name; the second is the id of the command that reads. Each query has a stream
// of its own, because no decision needs the ones before.
const Kind = "audit"

// Events are the events that record reading of the audit log.
var Events = []domain.Event{EventsRead{}, AccessRead{}, AccountRead{}, Exported{}, Replayed{}}

// EventsRead is a search in the log, with all its pages and whatever was appended while it was followed. Fields are the
// filters; an empty one was not used.
type EventsRead struct {
	ActorID       string    `json:"actor_id,omitempty"`
	SubjectID     string    `json:"subject_id,omitempty"`
	Type          string    `json:"type,omitempty"`
	CompanyID     uuid.UUID `json:"company_id,omitzero"`
	From          time.Time `json:"from,omitzero"`
	To            time.Time `json:"to,omitzero"`
	IP            string    `json:"ip,omitempty" personal:"true"`
	CorrelationID uuid.UUID `json:"correlation_id,omitzero"`
}

// AccessRead is the question who may do what; AsOf is zero for now.
type AccessRead struct {
	AsOf      time.Time     `json:"as_of,omitzero"`
	Module    string        `json:"module,omitempty"`
	Action    domain.Action `json:"action,omitempty"`
	CompanyID uuid.UUID     `json:"company_id,omitzero"`
}

// AccountRead is a look at one account from the command line; AsOf is zero for now.
type AccountRead struct {
	AccountID uuid.UUID `json:"account_id"`
	AsOf      time.Time `json:"as_of,omitzero"`
	History   bool      `json:"history,omitempty"`
}

// Exported is a copy of the log up to this event, from After on.
type Exported struct {
	Format string    `json:"format"`
	From   time.Time `json:"from,omitzero"`
	To     time.Time `json:"to,omitzero"`
	After  uint64    `json:"after,omitempty"` // position
}

// Replayed is a walk through the log from its beginning; AccountID is uuid.Nil for all accounts. It ends at a time or
// at a position, or at this event.
type Replayed struct {
	AccountID     uuid.UUID `json:"account_id,omitzero"`
	Until         time.Time `json:"until,omitzero"`
	UntilPosition uint64    `json:"until_position,omitempty"`
}

func (EventsRead) EventType() string  { return "audit.events_read" }
func (AccessRead) EventType() string  { return "audit.access_read" }
func (AccountRead) EventType() string { return "audit.account_read" }
func (Exported) EventType() string    { return "audit.exported" }
func (Replayed) EventType() string    { return "audit.replayed" }

func (EventsRead) Summary() string { return "searched the audit log" }
func (e AccessRead) Summary() string {
	if e.Module != "" && e.Action != "" {
		return "asked who may " + string(e.Action) + " in " + e.Module
	}
	return "asked who may do what"
}
func (AccountRead) Summary() string { return "looked at an account on the server" }
func (e Exported) Summary() string  { return "exported the audit log as " + e.Format }
func (Replayed) Summary() string    { return "replayed the log on the server" }
