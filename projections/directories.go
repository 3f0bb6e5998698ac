package projections

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

type directoryRow struct {
	lifetime
	id          uuid.UUID
	state       directory.State
	hasPassword bool
	stopped     string // why the check waits
}

var directoryRows = engine.Aggregate[uuid.UUID, *directoryRow]{
	Kind: directory.Kind, Parse: uuid.Parse, Fresh: func(id uuid.UUID) *directoryRow { return &directoryRow{id: id} },
	ByIDs: "SELECT " + directoryColumns + " FROM directories d WHERE d.id = ANY($1)", Scan: scanDirectory,
	ID: func(d *directoryRow) uuid.UUID { return d.id },
}

func (d *directoryRow) Apply(e *eventstore.Envelope) error {
	d.state.Evolve(e.Event)
	switch event := e.Event.(type) { // the history, from which earlier rows are folded, holds no password
	case directory.Connected:
		d.hasPassword = event.HasBindPassword
	case directory.BindPasswordSet:
		d.hasPassword = true
	case directory.BindPasswordRemoved:
		d.hasPassword = false
	case directory.CheckStopped:
		d.stopped = event.Summary()
	case directory.CheckResumed:
		d.stopped = ""
	}
	return d.applied(e, d.state.Exists)
}

// SubjectName is what people call it.
func (d *directoryRow) SubjectName() string { return d.state.SubjectName() }

var writeDirectories = engine.NewUpsert("directories",
	engine.Col("id", "uuid", func(d *directoryRow) rawUUID { return rawUUID(d.id) }),
	engine.Col("name", "text", func(d *directoryRow) string { return d.state.Settings.Name }),
	engine.Col("company_id", "uuid", func(d *directoryRow) *rawUUID {
		return optional(rawUUID(d.state.Settings.CompanyID))
	}),
	engine.Col("enabled", "boolean", func(d *directoryRow) bool { return d.state.Settings.Enabled }),
	engine.Col("vouched", "boolean", func(d *directoryRow) bool { return d.state.Vouched }),
	engine.Col("stopped", "text", func(d *directoryRow) *string { return optional(d.stopped) }),
	engine.Col("has_bind_password", "boolean", func(d *directoryRow) bool { return d.hasPassword }),
	engine.Col("settings", "jsonb", func(d *directoryRow) jsonb { return jsonb{d.state.Settings} }),
	engine.Col("created_at", "timestamptz", func(d *directoryRow) time.Time { return d.createdAt }),
	engine.Col("updated_at", "timestamptz", func(d *directoryRow) time.Time { return d.updatedAt }),
	engine.Col("revision", "bigint", func(d *directoryRow) int64 { return int64(d.revision) }),
	engine.Col("name_key", "bytea", func(d *directoryRow) []byte { return nameKey(d.state.Settings.Name) }),
	engine.Col("search", "text", func(d *directoryRow) string { return searchText(d.state.Settings.Name) }),
)

const directoryColumns = `d.id, d.vouched, coalesce(d.stopped, ''), d.has_bind_password, d.settings, d.created_at,
	d.updated_at, d.revision`

func scanDirectory(row pgx.Row, place ...any) (*directoryRow, error) {
	d := &directoryRow{state: directory.State{Exists: true}}
	err := row.Scan(append([]any{&d.id, &d.state.Vouched, &d.stopped, &d.hasPassword, &d.state.Settings, &d.createdAt,
		&d.updatedAt, &d.revision}, place...)...)
	d.state.Stopped = d.stopped != ""
	return d, err
}

// Directory is a connection to a directory as the HTTP API shows it; its bind password is never shown.
type Directory struct {
	ID              uuid.UUID           `json:"id"`
	Name            string              `json:"name"`
	CompanyID       *uuid.UUID          `json:"company_id"` // nil: serves all companies
	URLs            []string            `json:"urls"`
	StartTLS        bool                `json:"start_tls"`
	CAPEM           *string             `json:"ca_pem"`
	BaseDN          string              `json:"base_dn"`
	BindDN          *string             `json:"bind_dn"`
	HasBindPassword bool                `json:"has_bind_password"`
	UserFilter      string              `json:"user_filter"`
	AttrEmail       string              `json:"attr_email"`
	AttrFirstName   *string             `json:"attr_first_name"`
	AttrLastName    *string             `json:"attr_last_name"`
	AttrPhone       *string             `json:"attr_phone"`
	AttrDepartment  *string             `json:"attr_department"`
	AttrPosition    *string             `json:"attr_position"`
	SyncGroups      bool                `json:"sync_groups"`
	NestedGroups    bool                `json:"nested_groups"`
	TimeoutSeconds  int                 `json:"timeout_s"`
	CheckMinutes    int                 `json:"check_minutes"`
	CheckLimit      int                 `json:"check_limit_percent"`
	Enabled         bool                `json:"enabled"`
	Vouched         bool                `json:"vouched"`          // by a superuser
	CheckStopped    *string             `json:"check_stopped"`    // why the background check waits for somebody
	LastCheckAt     *time.Time          `json:"last_check_at"`    // in the background; nil: never
	LastCheckError  *string             `json:"last_check_error"` // why the directory could not be asked then
	CreatedAt       time.Time           `json:"created_at"`
	UpdatedAt       time.Time           `json:"updated_at"`
	Revision        eventstore.Revision `json:"revision"`
}

func (d *directoryRow) show() Directory {
	s := d.state.Settings
	return Directory{
		ID: d.id, Name: s.Name, CompanyID: optional(s.CompanyID), URLs: notNil(s.URLs), StartTLS: s.StartTLS,
		CAPEM:  optional(s.CAPEM),
		BaseDN: s.BaseDN, BindDN: optional(s.BindDN), HasBindPassword: d.hasPassword, UserFilter: s.UserFilter,
		AttrEmail: s.Attributes.Email, AttrFirstName: optional(s.Attributes.FirstName),
		AttrLastName: optional(s.Attributes.LastName),
		AttrPhone:    optional(s.Attributes.Phone), AttrDepartment: optional(s.Attributes.Department),
		AttrPosition: optional(s.Attributes.Position),
		SyncGroups:   s.SyncGroups, NestedGroups: s.NestedGroups, TimeoutSeconds: s.TimeoutSeconds,
		CheckMinutes: s.CheckMinutes, CheckLimit: s.CheckLimit,
		Enabled: s.Enabled, Vouched: d.state.Vouched, CheckStopped: optional(d.stopped),
		CreatedAt: d.createdAt.UTC(), UpdatedAt: d.updatedAt.UTC(), Revision: d.revision,
	}
}

// shownDirectory is directoryColumns and the last check.
const shownDirectory = directoryColumns + `,
	(SELECT c.checked_at FROM app.directory_checks c WHERE c.directory_id = d.id),
	(SELECT c.error FROM app.directory_checks c WHERE c.directory_id = d.id)`

func scanShownDirectory(row pgx.Row, place ...any) (Directory, error) {
	var checkedAt *time.Time
	var failed *string
	d, err := scanDirectory(row, append([]any{&checkedAt, &failed}, place...)...)
	if err != nil {
		return Directory{}, err
	}
	shown := d.show()
	shown.LastCheckAt, shown.LastCheckError = inUTC(checkedAt), failed
	return shown, nil
}

// Directory gives one connection.
func (r *ReadModels) Directory(ctx context.Context, id uuid.UUID) (Directory, error) {
	return orNotFound(scanShownDirectory(r.pool.QueryRow(ctx, "SELECT "+shownDirectory+" FROM directories d WHERE "+
		"d.id = $1", id)))
}

// DirectoryAsOf gives one connection as it was at a time.
func (r *ReadModels) DirectoryAsOf(ctx context.Context, id uuid.UUID, at time.Time) (Directory, error) {
	d, err := directoryRows.OneAsOf(ctx, r.pool, id, at)
	if err != nil {
		return Directory{}, err
	}
	return d.show(), nil
}

// DirectoryFilter chooses connections; the zero value chooses all.
type DirectoryFilter struct {
	Query     string // part of the name, in any case
	CompanyID *uuid.UUID
	Enabled   *bool
}

// Directories lists connections, sorted by name or created_at.
func (r *ReadModels) Directories(ctx context.Context, filter DirectoryFilter,
	page PageRequest) (List[Directory], error) {
	q := query{columns: shownDirectory, from: "directories d", id: "d.id", byDefault: "name", orders: map[string]order{
		"name": {"d.name_key", newBytes}, "created_at": {"d.created_at", newTime},
	}}
	q.containing("d.search", filter.Query)
	if filter.CompanyID != nil {
		q.where("d.company_id = ?", *filter.CompanyID)
	}
	if filter.Enabled != nil {
		q.where("d.enabled = ?", *filter.Enabled)
	}
	return list(ctx, r.pool, q, page, func(rows pgx.Rows, place ...any) (Directory, error) {
		return scanShownDirectory(rows, place...)
	})
}

// EnabledDirectories gives the ids of the connections that are switched on, the oldest first.
func (r *ReadModels) EnabledDirectories(ctx context.Context) ([]uuid.UUID, error) {
	return r.ids(ctx, "SELECT id FROM directories WHERE enabled ORDER BY created_at, id")
}

// GroupsLike gives the ids of the groups that have one of the names in any case, also of retired ones.
func (r *ReadModels) GroupsLike(ctx context.Context, names []string) ([]uuid.UUID, error) {
	if len(names) == 0 {
		return nil, nil
	}
	searched := make([]string, len(names))
	for i, name := range names {
		searched[i] = searchText(name)
	}
	return r.ids(ctx, "SELECT id FROM groups WHERE search = ANY($1) ORDER BY id", searched)
}

// AccountsOfEntry gives the ids of the accounts that are bound to an entry.
func (r *ReadModels) AccountsOfEntry(ctx context.Context, guid string) ([]uuid.UUID, error) {
	if guid == "" {
		return nil, nil
	}
	return r.ids(ctx, "SELECT id FROM users WHERE directory_guid = $1 AND directory_id IS NOT NULL ORDER BY id", guid)
}

// AccountsOfDirectory gives, in order, the ids of at most limit accounts after one that are bound to entries of a
// connection.
func (r *ReadModels) AccountsOfDirectory(ctx context.Context, id, after uuid.UUID, limit int) ([]uuid.UUID, error) {
	return r.ids(ctx, "SELECT id FROM users WHERE directory_id = $1 AND id > $2 ORDER BY id LIMIT $3", id, after, limit)
}

func (r *ReadModels) ids(ctx context.Context, sql string, args ...any) ([]uuid.UUID, error) {
	rows, err := r.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}
