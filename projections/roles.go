package projections

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

type roleRow struct {
	lifetime
	id    uuid.UUID
	state role.State
}

var roleRows = engine.Aggregate[uuid.UUID, *roleRow]{
	Kind: role.Kind, Parse: uuid.Parse, Fresh: func(id uuid.UUID) *roleRow { return &roleRow{id: id} },
	ByIDs: "SELECT " + roleColumns + " FROM roles r WHERE r.id = ANY($1)", Scan: scanRole,
	ID: func(r *roleRow) uuid.UUID { return r.id },
}

func (r *roleRow) Apply(e *eventstore.Envelope) error {
	r.state.Evolve(e.Event)
	return r.applied(e, r.state.Exists)
}

// SubjectName is what people call it.
func (r *roleRow) SubjectName() string { return r.state.SubjectName() }

var writeRoles = engine.NewUpsert("roles",
	engine.Col("id", "uuid", func(r *roleRow) rawUUID { return rawUUID(r.id) }),
	engine.Col("name", "text", func(r *roleRow) string { return r.state.Name }),
	engine.Col("description", "text", func(r *roleRow) string { return r.state.Description }),
	engine.Col("widgets", "jsonb", func(r *roleRow) jsonb { return jsonb{notNil(r.state.Widgets)} }),
	engine.Col("retired", "boolean", func(r *roleRow) bool { return r.state.Retired }),
	engine.Col("created_at", "timestamptz", func(r *roleRow) time.Time { return r.createdAt }),
	engine.Col("updated_at", "timestamptz", func(r *roleRow) time.Time { return r.updatedAt }),
	engine.Col("revision", "bigint", func(r *roleRow) int64 { return int64(r.revision) }),
	engine.Col("name_key", "bytea", func(r *roleRow) []byte { return nameKey(r.state.Name) }),
	engine.Col("search", "text", func(r *roleRow) string { return searchText(r.state.Name) }),
)

const roleColumns = `r.id, r.name, r.description, r.widgets, r.retired, r.created_at, r.updated_at, r.revision`

func scanRole(row pgx.Row, place ...any) (*roleRow, error) {
	r := &roleRow{state: role.State{Lifecycle: domain.Lifecycle{Exists: true}}}
	return r, row.Scan(append([]any{&r.id, &r.state.Name, &r.state.Description, &r.state.Widgets, &r.state.Retired,
		&r.createdAt, &r.updatedAt, &r.revision}, place...)...)
}

// Role is a role as the HTTP API shows it.
type Role struct {
	ID          uuid.UUID           `json:"id"`
	Name        string              `json:"name"`
	Description *string             `json:"description"`
	Widgets     []string            `json:"widgets"`
	Retired     bool                `json:"retired"`
	CreatedAt   time.Time           `json:"created_at"`
	UpdatedAt   time.Time           `json:"updated_at"`
	Revision    eventstore.Revision `json:"revision"`
}

func (r *roleRow) show() Role {
	return Role{
		ID: r.id, Name: r.state.Name, Description: optional(r.state.Description), Widgets: notNil(r.state.Widgets),
		Retired: r.state.Retired, CreatedAt: r.createdAt.UTC(), UpdatedAt: r.updatedAt.UTC(), Revision: r.revision,
	}
}

// RoleFilter chooses roles; the zero value chooses all.
type RoleFilter struct {
	Query   string // part of the name, in any case
	Retired *bool
}

// Role gives one role.
func (r *ReadModels) Role(ctx context.Context, id uuid.UUID) (Role, error) {
	found, err := scanRole(r.pool.QueryRow(ctx, "SELECT "+roleColumns+" FROM roles r WHERE r.id = $1", id))
	return orNotFound(found.show(), err)
}

// RoleAsOf gives one role as it was at a time.
func (r *ReadModels) RoleAsOf(ctx context.Context, id uuid.UUID, at time.Time) (Role, error) {
	found, err := roleRows.OneAsOf(ctx, r.pool, id, at)
	if err != nil {
		return Role{}, err
	}
	return found.show(), nil
}

// Roles lists roles, sorted by name or created_at.
func (r *ReadModels) Roles(ctx context.Context, filter RoleFilter, page PageRequest) (List[Role], error) {
	q := query{columns: roleColumns, from: "roles r", id: "r.id", byDefault: "name", orders: map[string]order{
		"name": {"r.name_key", newBytes}, "created_at": {"r.created_at", newTime},
	}}
	q.containing("r.search", filter.Query)
	if filter.Retired != nil {
		q.whether("r.retired", *filter.Retired)
	}
	return list(ctx, r.pool, q, page, func(rows pgx.Rows, place ...any) (Role, error) {
		found, err := scanRole(rows, place...)
		return found.show(), err
	})
}

// RolesOf gives the roles that an account has and that are not retired, by name.
func (r *ReadModels) RolesOf(ctx context.Context, userID uuid.UUID) ([]Role, error) {
	rows, err := r.pool.Query(ctx, "SELECT "+roleColumns+` FROM roles r JOIN user_roles s ON s.role_id = r.id
		WHERE s.user_id = $1 AND s.taken_at IS NULL AND NOT r.retired ORDER BY r.name_key, r.id`, userID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Role, error) {
		found, err := scanRole(row)
		return found.show(), err
	})
}
