package projections

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

type mailAccountRow struct {
	lifetime
	id          uuid.UUID
	state       mailaccount.State
	hasPassword bool
}

var mailAccountRows = engine.Aggregate[uuid.UUID, *mailAccountRow]{
	Kind: mailaccount.Kind, Parse: uuid.Parse, Fresh: func(id uuid.UUID) *mailAccountRow {
		return &mailAccountRow{id: id}
	},
	ByIDs: "SELECT " + mailAccountColumns + " FROM mail_accounts a WHERE a.id = ANY($1)", Scan: scanMailAccount,
	ID: func(a *mailAccountRow) uuid.UUID { return a.id },
}

func (a *mailAccountRow) Apply(e *eventstore.Envelope) error {
	a.state.Evolve(e.Event)
	switch e.Event.(type) { // the history, from which earlier rows are folded, holds no password
	case mailaccount.PasswordSet:
		a.hasPassword = true
	case mailaccount.PasswordRemoved:
		a.hasPassword = false
	}
	return a.applied(e, a.state.Exists)
}

// SubjectName is what people call it.
func (a *mailAccountRow) SubjectName() string { return a.state.SubjectName() }

var writeMailAccounts = engine.NewUpsert("mail_accounts",
	engine.Col("id", "uuid", func(a *mailAccountRow) rawUUID { return rawUUID(a.id) }),
	engine.Col("server_id", "uuid", func(a *mailAccountRow) rawUUID { return rawUUID(a.state.Details.ServerID) }),
	engine.Col("address", "text", func(a *mailAccountRow) string { return a.state.Details.Address }),
	engine.Col("display_name", "text", func(a *mailAccountRow) string { return a.state.Details.DisplayName }),
	engine.Col("username", "text", func(a *mailAccountRow) string { return a.state.Details.Username }),
	engine.Col("has_password", "boolean", func(a *mailAccountRow) bool { return a.hasPassword }),
	engine.Col("retired", "boolean", func(a *mailAccountRow) bool { return a.state.Retired }),
	engine.Col("created_at", "timestamptz", func(a *mailAccountRow) time.Time { return a.createdAt }),
	engine.Col("updated_at", "timestamptz", func(a *mailAccountRow) time.Time { return a.updatedAt }),
	engine.Col("revision", "bigint", func(a *mailAccountRow) int64 { return int64(a.revision) }),
	engine.Col("name_key", "bytea", func(a *mailAccountRow) []byte { return nameKey(a.state.Details.Address) }),
	engine.Col("search", "text", func(a *mailAccountRow) string {
		return searchText(a.state.Details.Address, a.state.Details.DisplayName)
	}),
)

const mailAccountColumns = `a.id, a.server_id, a.address, a.display_name, a.username, a.has_password, a.retired,
	a.created_at, a.updated_at, a.revision`

func scanMailAccount(row pgx.Row, place ...any) (*mailAccountRow, error) {
	a := &mailAccountRow{state: mailaccount.State{Lifecycle: domain.Lifecycle{Exists: true}}}
	d := &a.state.Details
	err := row.Scan(
		append([]any{&a.id, &d.ServerID, &d.Address, &d.DisplayName, &d.Username, &a.hasPassword, &a.state.Retired,
			&a.createdAt, &a.updatedAt, &a.revision}, place...)...)
	return a, err
}

// MailAccount is a mail account as the HTTP API shows it.
type MailAccount struct {
	ID          uuid.UUID           `json:"id"`
	ServerID    uuid.UUID           `json:"server_id"`
	Address     string              `json:"address"`
	DisplayName *string             `json:"display_name"`
	Username    *string             `json:"username"`
	HasPassword bool                `json:"has_password"`
	Retired     bool                `json:"retired"`
	CreatedAt   time.Time           `json:"created_at"`
	UpdatedAt   time.Time           `json:"updated_at"`
	Revision    eventstore.Revision `json:"revision"`
}

func (a *mailAccountRow) show() MailAccount {
	d := a.state.Details
	return MailAccount{
		ID: a.id, ServerID: d.ServerID, Address: d.Address, DisplayName: optional(d.DisplayName),
		Username: optional(d.Username), HasPassword: a.hasPassword,
		Retired: a.state.Retired, CreatedAt: a.createdAt.UTC(), UpdatedAt: a.updatedAt.UTC(), Revision: a.revision,
	}
}

// MailAccountFilter chooses mail accounts; the zero value chooses all.
type MailAccountFilter struct {
	Query    string // part of the address or name, in any case
	ServerID uuid.UUID
	Retired  *bool
}

// MailAccount gives one mail account.
func (r *ReadModels) MailAccount(ctx context.Context, id uuid.UUID) (MailAccount, error) {
	a, err := scanMailAccount(r.pool.QueryRow(ctx, "SELECT "+mailAccountColumns+" FROM mail_accounts a WHERE a.id = $1",
		id))
	return orNotFound(a.show(), err)
}

// MailAccountAsOf gives one mail account as it was at a time.
func (r *ReadModels) MailAccountAsOf(ctx context.Context, id uuid.UUID, at time.Time) (MailAccount, error) {
	a, err := mailAccountRows.OneAsOf(ctx, r.pool, id, at)
	if err != nil {
		return MailAccount{}, err
	}
	return a.show(), nil
}

// MailAccounts lists mail accounts, sorted by address or created_at.
func (r *ReadModels) MailAccounts(ctx context.Context, filter MailAccountFilter,
	page PageRequest) (List[MailAccount], error) {
	q := query{columns: mailAccountColumns, from: "mail_accounts a", id: "a.id", byDefault: "address",
		orders: map[string]order{
			"address": {"a.name_key", newBytes}, "created_at": {"a.created_at", newTime},
		}}
	q.containing("a.search", filter.Query)
	if filter.ServerID != uuid.Nil {
		q.where("a.server_id = ?", filter.ServerID)
	}
	if filter.Retired != nil {
		q.whether("a.retired", *filter.Retired)
	}
	return list(ctx, r.pool, q, page, func(rows pgx.Rows, place ...any) (MailAccount, error) {
		a, err := scanMailAccount(rows, place...)
		return a.show(), err
	})
}
