package projections

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain/approval"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

type approvalRow struct {
	lifetime
	id        uuid.UUID
	state     approval.State
	decidedBy uuid.UUID
}

var approvalRows = engine.Aggregate[uuid.UUID, *approvalRow]{
	Kind: approval.Kind, Parse: uuid.Parse, Fresh: func(id uuid.UUID) *approvalRow { return &approvalRow{id: id} },
	ByIDs: "SELECT " + approvalColumns + " FROM approvals a WHERE a.id = ANY($1)", Scan: scanApproval,
	ID: func(a *approvalRow) uuid.UUID { return a.id },
}

func (a *approvalRow) Apply(e *eventstore.Envelope) error {
	a.state.Evolve(e.Event)
	switch e.Event.(type) {
	case approval.Confirmed, approval.Refused:
		if by, err := uuid.Parse(e.Meta.Actor.ID); err == nil {
			a.decidedBy = by
		}
	}
	return a.applied(e, a.state.Exists)
}

// SubjectName is what people call it.
func (a *approvalRow) SubjectName() string { return a.state.SubjectName() }

var writeApprovals = engine.NewUpsert("approvals",
	engine.Col("id", "uuid", func(a *approvalRow) rawUUID { return rawUUID(a.id) }),
	engine.Col("operation", "text", func(a *approvalRow) string { return a.state.Operation }),
	engine.Col("by_id", "uuid", func(a *approvalRow) rawUUID { return rawUUID(a.state.By) }),
	engine.Col("subject_id", "uuid", func(a *approvalRow) *rawUUID { return optional(rawUUID(a.state.SubjectID)) }),
	engine.Col("subject", "text", func(a *approvalRow) string { return a.state.Subject }),
	engine.Col("company_id", "uuid", func(a *approvalRow) *rawUUID { return optional(rawUUID(a.state.CompanyID)) }),
	engine.Col("change", "jsonb", func(a *approvalRow) jsonb { return jsonb{changeOf(a.state)} }),
	engine.Col("reason", "text", func(a *approvalRow) string { return a.state.Reason }),
	engine.Col("expires_at", "timestamptz", func(a *approvalRow) time.Time { return a.state.ExpiresAt }),
	engine.Col("state", "text", func(a *approvalRow) string { return a.state.State }),
	engine.Col("detail", "text", func(a *approvalRow) string { return a.state.Detail }),
	engine.Col("decided_by", "uuid", func(a *approvalRow) *rawUUID { return optional(rawUUID(a.decidedBy)) }),
	engine.Col("created_at", "timestamptz", func(a *approvalRow) time.Time { return a.createdAt }),
	engine.Col("updated_at", "timestamptz", func(a *approvalRow) time.Time { return a.updatedAt }),
	engine.Col("revision", "bigint", func(a *approvalRow) int64 { return int64(a.revision) }),
)

// changeOf is null for an operation without a body.
func changeOf(s approval.State) json.RawMessage {
	if len(s.Change) == 0 {
		return json.RawMessage("null")
	}
	return s.Change
}

const approvalColumns = `a.id, a.operation, a.by_id, a.subject_id, a.subject, a.company_id, a.change, a.reason,
	a.expires_at, a.state, a.detail, a.decided_by, a.created_at, a.updated_at, a.revision`

func scanApproval(row pgx.Row, place ...any) (*approvalRow, error) {
	a := &approvalRow{state: approval.State{Exists: true}}
	s := &a.state
	var subject, company, decided *uuid.UUID
	err := row.Scan(append([]any{&a.id, &s.Operation, &s.By, &subject, &s.Subject, &company, &s.Change, &s.Reason,
		&s.ExpiresAt, &s.State, &s.Detail, &decided, &a.createdAt, &a.updatedAt, &a.revision}, place...)...)
	s.SubjectID, s.CompanyID, a.decidedBy = valueOf(subject), valueOf(company), valueOf(decided)
	return a, err
}

// Approval is a proposed change as the HTTP API shows it.
type Approval struct {
	ID         uuid.UUID           `json:"id"`
	Operation  string              `json:"operation"` // its id in the API
	SubjectID  *uuid.UUID          `json:"subject_id"`
	Subject    string              `json:"subject"` // the name of the account or group, when it was proposed
	CompanyID  *uuid.UUID          `json:"company_id"`
	Change     json.RawMessage     `json:"change"`
	Reason     string              `json:"reason"`
	State      string              `json:"state"`
	Detail     *string             `json:"detail"` // why it was refused, or failed
	ProposedBy Ref                 `json:"proposed_by"`
	DecidedBy  *Ref                `json:"decided_by"`
	ExpiresAt  time.Time           `json:"expires_at"`
	CreatedAt  time.Time           `json:"created_at"`
	UpdatedAt  time.Time           `json:"updated_at"`
	Revision   eventstore.Revision `json:"revision"`
}

// shownApproval is approvalColumns and the names of who proposed and decided it.
const shownApproval = approvalColumns + `,
	(SELECT coalesce(nullif(trim(u.first_name || ' ' || u.last_name), ''), u.email) FROM users u WHERE u.id = a.by_id),
	(SELECT coalesce(nullif(trim(u.first_name || ' ' || u.last_name), ''), u.email) FROM users u
		WHERE u.id = a.decided_by)`

func scanShownApproval(row pgx.Row, now time.Time, place ...any) (Approval, error) {
	var proposer, decider *string
	a, err := scanApproval(row, append([]any{&proposer, &decider}, place...)...)
	s := a.state
	if s.State == approval.StateProposed && !now.Before(s.ExpiresAt) {
		s.State = approval.StateExpired
	}
	shown := Approval{
		ID: a.id, Operation: s.Operation, SubjectID: optional(s.SubjectID), Subject: s.Subject,
		CompanyID: optional(s.CompanyID), Change: changeOf(s), Reason: s.Reason, State: s.State,
		Detail: optional(s.Detail), ProposedBy: Ref{ID: s.By, Name: valueOf(proposer)}, ExpiresAt: s.ExpiresAt.UTC(),
		CreatedAt: a.createdAt.UTC(), UpdatedAt: a.updatedAt.UTC(), Revision: a.revision,
	}
	if a.decidedBy != uuid.Nil {
		shown.DecidedBy = &Ref{ID: a.decidedBy, Name: valueOf(decider)}
	}
	return shown, err
}

// ApprovalFilter chooses proposals; the zero value chooses none.
type ApprovalFilter struct {
	State string
	By    uuid.UUID // those of an account are always chosen
	All   bool
	// Operations are chosen, too, where they are about one of the companies; a nil list stands for all.
	Operations map[string][]uuid.UUID
}

// Approval gives one proposal; now decides whether it has expired.
func (r *ReadModels) Approval(ctx context.Context, id uuid.UUID, now time.Time) (Approval, error) {
	return orNotFound(scanShownApproval(
		r.pool.QueryRow(ctx, "SELECT "+shownApproval+" FROM approvals a WHERE a.id = $1", id), now))
}

// Approvals lists proposals, sorted by created_at, the newest first unless the request says otherwise.
func (r *ReadModels) Approvals(ctx context.Context, filter ApprovalFilter, page PageRequest,
	now time.Time) (List[Approval], error) {
	q := query{columns: shownApproval, from: "approvals a", id: "a.id", byDefault: "-created_at",
		orders: map[string]order{"created_at": {"a.created_at", newTime}}}
	if !filter.All {
		var anywhere, operations []string
		var companies []uuid.UUID
		for operation, of := range filter.Operations {
			if of == nil {
				anywhere = append(anywhere, operation)
			}
			for _, company := range of {
				operations, companies = append(operations, operation), append(companies, company)
			}
		}
		q.where(`(a.by_id = ? OR a.operation = ANY(?) OR (a.operation, a.company_id) IN
			(SELECT * FROM unnest(?::text[], ?::uuid[])))`, filter.By, anywhere, operations, companies)
	}
	switch filter.State {
	case "":
	case approval.StateProposed:
		q.where("a.state = ? AND a.expires_at > ?", filter.State, now)
	case approval.StateExpired:
		q.where("(a.state = ? OR a.state = 'proposed' AND a.expires_at <= ?)", filter.State, now)
	default:
		q.where("a.state = ?", filter.State)
	}
	return list(ctx, r.pool, q, page, func(rows pgx.Rows, place ...any) (Approval, error) {
		return scanShownApproval(rows, now, place...)
	})
}

// ExpiredApprovals gives the ids of proposals whose time is over and which nobody decided on.
func (r *ReadModels) ExpiredApprovals(ctx context.Context, now time.Time) ([]uuid.UUID, error) {
	return r.ids(ctx, `SELECT id FROM approvals WHERE state = 'proposed' AND expires_at <= $1 LIMIT 100`, now)
}
