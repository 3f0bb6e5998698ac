package projections

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

type companyRow struct {
	lifetime
	id          uuid.UUID
	state       company.State
	hasPassword bool
}

var companyRows = engine.Aggregate[uuid.UUID, *companyRow]{
	Kind: company.Kind, Parse: uuid.Parse, Fresh: func(id uuid.UUID) *companyRow { return &companyRow{id: id} },
	ByIDs: "SELECT " + companyColumns + " FROM companies c WHERE c.id = ANY($1)", Scan: scanCompany,
	ID: func(c *companyRow) uuid.UUID { return c.id },
}

func (c *companyRow) Apply(e *eventstore.Envelope) error {
	c.state.Evolve(e.Event)
	if _, set := e.Event.(company.CabinetPasswordSet); set {
		c.hasPassword = true // the history, from which earlier rows are folded, holds no hash
	}
	return c.applied(e, c.state.Exists)
}

// SubjectName is what people call it.
func (c *companyRow) SubjectName() string { return c.state.SubjectName() }

var writeCompanies = engine.NewUpsert("companies",
	engine.Col("id", "uuid", func(c *companyRow) rawUUID { return rawUUID(c.id) }),
	engine.Col("name", "text", func(c *companyRow) string { return c.state.Name }),
	engine.Col("retired", "boolean", func(c *companyRow) bool { return c.state.Retired }),
	engine.Col("default_mail_account_id", "uuid", func(c *companyRow) *rawUUID {
		return optional(rawUUID(c.state.DefaultMailAccount))
	}),
	engine.Col("has_cabinet_password", "boolean", func(c *companyRow) bool { return c.hasPassword }),
	engine.Col("created_at", "timestamptz", func(c *companyRow) time.Time { return c.createdAt }),
	engine.Col("updated_at", "timestamptz", func(c *companyRow) time.Time { return c.updatedAt }),
	engine.Col("revision", "bigint", func(c *companyRow) int64 { return int64(c.revision) }),
	engine.Col("name_key", "bytea", func(c *companyRow) []byte { return nameKey(c.state.Name) }),
	engine.Col("search", "text", func(c *companyRow) string { return searchText(c.state.Name) }),
)

const companyColumns = `c.id, c.name, c.retired, c.default_mail_account_id, c.has_cabinet_password, c.created_at,
	c.updated_at, c.revision`

func scanCompany(row pgx.Row, place ...any) (*companyRow, error) {
	c := &companyRow{state: company.State{Lifecycle: domain.Lifecycle{Exists: true}}}
	var mailAccount *uuid.UUID
	err := row.Scan(append([]any{&c.id, &c.state.Name, &c.state.Retired, &mailAccount, &c.hasPassword,
		&c.createdAt, &c.updatedAt, &c.revision}, place...)...)
	if mailAccount != nil {
		c.state.DefaultMailAccount = *mailAccount
	}
	return c, err
}

// Company is a company as the HTTP API shows it.
type Company struct {
	ID                   uuid.UUID           `json:"id"`
	Name                 string              `json:"name"`
	Retired              bool                `json:"retired"`
	DefaultMailAccountID *uuid.UUID          `json:"default_mail_account_id"`
	HasCabinetPassword   bool                `json:"has_cabinet_password"`
	CreatedAt            time.Time           `json:"created_at"`
	UpdatedAt            time.Time           `json:"updated_at"`
	Revision             eventstore.Revision `json:"revision"`
}

func (c *companyRow) show() Company {
	return Company{
		ID: c.id, Name: c.state.Name, Retired: c.state.Retired,
		DefaultMailAccountID: optional(c.state.DefaultMailAccount),
		HasCabinetPassword:   c.hasPassword, CreatedAt: c.createdAt.UTC(), UpdatedAt: c.updatedAt.UTC(),
		Revision: c.revision,
	}
}

// CompanyFilter chooses companies; the zero value chooses all.
type CompanyFilter struct {
	Query   string // part of the name, in any case
	ID      *uuid.UUID
	Retired *bool
}

// Company gives one company.
func (r *ReadModels) Company(ctx context.Context, id uuid.UUID) (Company, error) {
	c, err := scanCompany(r.pool.QueryRow(ctx, "SELECT "+companyColumns+" FROM companies c WHERE c.id = $1", id))
	return orNotFound(c.show(), err)
}

// CompanyAsOf gives one company as it was at a time.
func (r *ReadModels) CompanyAsOf(ctx context.Context, id uuid.UUID, at time.Time) (Company, error) {
	c, err := companyRows.OneAsOf(ctx, r.pool, id, at)
	if err != nil {
		return Company{}, err
	}
	return c.show(), nil
}

// Companies lists companies, sorted by name or created_at.
func (r *ReadModels) Companies(ctx context.Context, filter CompanyFilter, page PageRequest) (List[Company], error) {
	q := query{columns: companyColumns, from: "companies c", id: "c.id", byDefault: "name", orders: map[string]order{
		"name": {"c.name_key", newBytes}, "created_at": {"c.created_at", newTime},
	}}
	q.containing("c.search", filter.Query)
	if filter.ID != nil {
		q.where("c.id = ?", *filter.ID)
	}
	if filter.Retired != nil {
		q.whether("c.retired", *filter.Retired)
	}
	return list(ctx, r.pool, q, page, func(rows pgx.Rows, place ...any) (Company, error) {
		c, err := scanCompany(rows, place...)
		return c.show(), err
	})
}
