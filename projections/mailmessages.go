package projections

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

type mailMessageRow struct {
	lifetime
	id    uuid.UUID
	state mailmessage.State
}

var mailMessageRows = engine.Aggregate[uuid.UUID, *mailMessageRow]{
	Kind: mailmessage.Kind, Parse: uuid.Parse, Fresh: func(id uuid.UUID) *mailMessageRow {
		return &mailMessageRow{id: id}
	},
	ByIDs: "SELECT " + mailMessageColumns + " FROM mail_messages m WHERE m.id = ANY($1)", Scan: scanMailMessage,
	ID: func(m *mailMessageRow) uuid.UUID { return m.id },
}

func (m *mailMessageRow) Apply(e *eventstore.Envelope) error {
	m.state.Evolve(e.Event)
	return m.applied(e, m.state.Exists)
}

// SubjectName is what people call it.
func (m *mailMessageRow) SubjectName() string { return m.state.SubjectName() }

var writeMailMessages = engine.NewUpsert("mail_messages",
	engine.Col("id", "uuid", func(m *mailMessageRow) rawUUID { return rawUUID(m.id) }),
	engine.Col("feature", "text", func(m *mailMessageRow) string { return m.state.Queued.Feature }),
	engine.Col("notice", "text", func(m *mailMessageRow) string { return m.state.Queued.Notice }),
	engine.Col("recipient", "text", func(m *mailMessageRow) string { return m.state.Queued.To }),
	engine.Col("subject", "text", func(m *mailMessageRow) string { return m.state.Queued.Subject }),
	engine.Col("user_id", "uuid", func(m *mailMessageRow) *rawUUID { return optional(rawUUID(m.state.Queued.UserID)) }),
	engine.Col("company_id", "uuid", func(m *mailMessageRow) *rawUUID {
		return optional(rawUUID(m.state.Queued.CompanyID))
	}),
	engine.Col("account_id", "uuid", func(m *mailMessageRow) *rawUUID { return optional(rawUUID(m.state.AccountID)) }),
	engine.Col("state", "text", func(m *mailMessageRow) string { return m.state.State }),
	engine.Col("attempts", "int", func(m *mailMessageRow) int { return m.state.Attempts }),
	engine.Col("doubts", "int", func(m *mailMessageRow) int { return m.state.Doubts }),
	engine.Col("last_error", "text", func(m *mailMessageRow) string { return m.state.LastError }),
	engine.Col("happened_at", "timestamptz", func(m *mailMessageRow) time.Time { return m.state.Queued.At }),
	engine.Col("due_at", "timestamptz", func(m *mailMessageRow) *time.Time { return optional(m.state.DueAt) }),
	engine.Col("expires_at", "timestamptz", func(m *mailMessageRow) time.Time { return m.state.ExpiresAt }),
	engine.Col("created_at", "timestamptz", func(m *mailMessageRow) time.Time { return m.createdAt }),
	engine.Col("updated_at", "timestamptz", func(m *mailMessageRow) time.Time { return m.updatedAt }),
	engine.Col("revision", "bigint", func(m *mailMessageRow) int64 { return int64(m.revision) }),
	engine.Col("search", "text", func(m *mailMessageRow) string {
		return searchText(m.state.Queued.To, m.state.Queued.Subject)
	}),
)

const mailMessageColumns = `m.id, m.feature, m.notice, m.recipient, m.subject, m.user_id, m.company_id, m.account_id,
	m.state, m.attempts, m.doubts,
	m.last_error, m.happened_at, m.due_at, m.expires_at, m.created_at, m.updated_at, m.revision`

func scanMailMessage(row pgx.Row, place ...any) (*mailMessageRow, error) {
	m := &mailMessageRow{state: mailmessage.State{Exists: true}}
	s := &m.state
	var user, company, account *uuid.UUID
	var due *time.Time
	err := row.Scan(
		append([]any{&m.id, &s.Queued.Feature, &s.Queued.Notice, &s.Queued.To, &s.Queued.Subject, &user, &company,
			&account,
			&s.State, &s.Attempts, &s.Doubts, &s.LastError, &s.Queued.At, &due, &s.ExpiresAt, &m.createdAt,
			&m.updatedAt, &m.revision}, place...)...)
	s.Queued.UserID, s.Queued.CompanyID, s.AccountID, s.DueAt = valueOf(user), valueOf(company), valueOf(account),
		valueOf(due)
	return m, err
}

// valueOf is the zero value for nil.
func valueOf[T any](pointer *T) (value T) {
	if pointer != nil {
		value = *pointer
	}
	return value
}

// MailMessage is a mail as the HTTP API shows it: what became of it, and nothing of what it said.
type MailMessage struct {
	ID            uuid.UUID           `json:"id"`
	Feature       string              `json:"feature"`
	Notice        *string             `json:"notice"` // of a security notice: what happened
	To            string              `json:"to"`
	Subject       string              `json:"subject"`
	State         string              `json:"state"`
	Attempts      int                 `json:"attempts"`
	Doubts        int                 `json:"doubts"` // attempts that may have arrived although no answer came
	LastError     *string             `json:"last_error"`
	MailAccountID *uuid.UUID          `json:"mail_account_id"` // of the last attempt
	UserID        *uuid.UUID          `json:"user_id"`
	CompanyID     *uuid.UUID          `json:"company_id"`
	CreatedAt     time.Time           `json:"created_at"`
	UpdatedAt     time.Time           `json:"updated_at"`
	NextAttemptAt *time.Time          `json:"next_attempt_at"`
	ExpiresAt     time.Time           `json:"expires_at"`
	FinishedAt    *time.Time          `json:"finished_at"`
	Revision      eventstore.Revision `json:"revision"`
}

func (m *mailMessageRow) show() MailMessage {
	s := m.state
	shown := MailMessage{
		ID: m.id, Feature: s.Queued.Feature, Notice: optional(s.Queued.Notice), To: s.Queued.To,
		Subject: s.Queued.Subject, State: s.State,
		Attempts: s.Attempts, Doubts: s.Doubts, LastError: optional(s.LastError), MailAccountID: optional(s.AccountID),
		UserID: optional(s.Queued.UserID), CompanyID: optional(s.Queued.CompanyID), CreatedAt: m.createdAt.UTC(),
		UpdatedAt: m.updatedAt.UTC(),
		ExpiresAt: s.ExpiresAt.UTC(), Revision: m.revision,
	}
	switch {
	case s.Over():
		shown.FinishedAt = optional(m.updatedAt.UTC())
	case s.State == mailmessage.StateQueued:
		shown.NextAttemptAt = optional(s.DueAt.UTC())
	}
	return shown
}

// MailMessageFilter chooses mails; the zero value chooses all.
type MailMessageFilter struct {
	Query     string // part of the recipient or the subject, in any case
	State     string
	Feature   string
	UserID    uuid.UUID
	CompanyID uuid.UUID
}

// MailMessage gives one mail.
func (r *ReadModels) MailMessage(ctx context.Context, id uuid.UUID) (MailMessage, error) {
	m, err := scanMailMessage(r.pool.QueryRow(ctx, "SELECT "+mailMessageColumns+" FROM mail_messages m WHERE m.id = $1",
		id))
	return orNotFound(m.show(), err)
}

// MailMessageAsOf gives one mail as it was at a time.
func (r *ReadModels) MailMessageAsOf(ctx context.Context, id uuid.UUID, at time.Time) (MailMessage, error) {
	m, err := mailMessageRows.OneAsOf(ctx, r.pool, id, at)
	if err != nil {
		return MailMessage{}, err
	}
	return m.show(), nil
}

// MailMessages lists mails, sorted by created_at, the newest first.
func (r *ReadModels) MailMessages(ctx context.Context, filter MailMessageFilter,
	page PageRequest) (List[MailMessage], error) {
	q := query{columns: mailMessageColumns, from: "mail_messages m", id: "m.id", byDefault: "-created_at",
		orders: map[string]order{
			"created_at": {"m.created_at", newTime},
		}}
	q.containing("m.search", filter.Query)
	if filter.State != "" {
		q.where("m.state = ?", filter.State)
	}
	if filter.Feature != "" {
		q.where("m.feature = ?", filter.Feature)
	}
	if filter.UserID != uuid.Nil {
		q.where("m.user_id = ?", filter.UserID)
	}
	if filter.CompanyID != uuid.Nil {
		q.where("m.company_id = ?", filter.CompanyID)
	}
	return list(ctx, r.pool, q, page, func(rows pgx.Rows, place ...any) (MailMessage, error) {
		m, err := scanMailMessage(rows, place...)
		return m.show(), err
	})
}

// DueMail lists mails that something has to be done about at a time, the longest due first, without those in except and
// those of closed routes. It may be behind the log: what is done about one is decided on its stream.
func (r *ReadModels) DueMail(ctx context.Context, at time.Time, except []uuid.UUID, closed []mailmessage.Route,
	limit int) ([]mailmessage.Due, error) {
	features, companies := make([]string, len(closed)), make([]uuid.UUID, len(closed))
	for i, route := range closed {
		features[i], companies[i] = route.Feature, route.CompanyID
	}
	rows, err := r.pool.Query(ctx, `
		SELECT id, feature, company FROM (SELECT id, due_at, feature, coalesce(company_id, $6) AS company
		FROM mail_messages) m
		WHERE due_at <= $1 AND id <> ALL($2) AND (feature, company) NOT IN (SELECT *
		FROM unnest($3::text[], $4::uuid[]))
		ORDER BY due_at LIMIT $5`, at, except, features, companies, limit, uuid.Nil)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[mailmessage.Due])
}
