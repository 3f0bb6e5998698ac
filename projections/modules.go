package projections

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/module"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

type moduleRow struct {
	lifetime
	key   string
	state module.State
}

var moduleRows = engine.Aggregate[string, *moduleRow]{
	Kind: module.Kind, Parse: func(key string) (string, error) { return key, nil },
	Fresh: func(key string) *moduleRow { return &moduleRow{key: key} },
	ByIDs: "SELECT " + moduleColumns + " FROM modules m WHERE m.key = ANY($1)", Scan: scanModule,
	ID: func(m *moduleRow) string { return m.key },
}

func (m *moduleRow) Apply(e *eventstore.Envelope) error {
	m.state.Evolve(e.Event)
	return m.applied(e, m.state.Exists)
}

// SubjectName is what people call it.
func (m *moduleRow) SubjectName() string { return m.state.SubjectName() }

var writeModules = engine.NewUpsert("modules",
	engine.Col("key", "text", func(m *moduleRow) string { return m.key }),
	engine.Col("name", "text", func(m *moduleRow) string { return m.state.Name }),
	engine.Col("created_at", "timestamptz", func(m *moduleRow) time.Time { return m.createdAt }),
	engine.Col("updated_at", "timestamptz", func(m *moduleRow) time.Time { return m.updatedAt }),
	engine.Col("revision", "bigint", func(m *moduleRow) int64 { return int64(m.revision) }),
)

const moduleColumns = `m.key, m.name, m.created_at, m.updated_at, m.revision`

func scanModule(row pgx.Row, place ...any) (*moduleRow, error) {
	m := &moduleRow{state: module.State{Exists: true}}
	return m, row.Scan(append([]any{&m.key, &m.state.Name, &m.createdAt, &m.updatedAt, &m.revision}, place...)...)
}

// Module is one that permissions can name: SecBoard's own, which are always there (Revision eventstore.NoStream), or a
// registered one of the host platform.
type Module struct {
	Key      string              `json:"key"`
	Name     string              `json:"name"`
	Own      bool                `json:"own"`
	Revision eventstore.Revision `json:"revision"`
}

// ownModule gives one of SecBoard's own. What people call it is its key with a capital.
func ownModule(key string) (Module, bool) {
	if !slices.Contains(domain.OwnModules, key) {
		return Module{}, false
	}
	name := strings.ToUpper(key[:1]) + key[1:]
	return Module{Key: key, Name: name, Own: true, Revision: eventstore.NoStream}, true
}

func (m *moduleRow) show() Module {
	return Module{Key: m.key, Name: m.state.Name, Revision: m.revision}
}

// Module gives one module.
func (r *ReadModels) Module(ctx context.Context, key string) (Module, error) {
	if own, ok := ownModule(key); ok {
		return own, nil
	}
	if !domain.ModuleKey.MatchString(key) {
		return Module{}, ErrNotFound
	}
	m, err := scanModule(r.pool.QueryRow(ctx, "SELECT "+moduleColumns+" FROM modules m WHERE m.key = $1", key))
	return orNotFound(m.show(), err)
}

// ModuleAsOf gives one module as it was at a time. SecBoard's own have always been as they are.
func (r *ReadModels) ModuleAsOf(ctx context.Context, key string, at time.Time) (Module, error) {
	if own, ok := ownModule(key); ok {
		return own, nil
	}
	if !domain.ModuleKey.MatchString(key) {
		return Module{}, ErrNotFound
	}
	m, err := moduleRows.OneAsOf(ctx, r.pool, key, at)
	if err != nil {
		return Module{}, err
	}
	return m.show(), nil
}

// Modules lists SecBoard's own modules and then the registered ones by key. There are few: all come at once.
func (r *ReadModels) Modules(ctx context.Context) ([]Module, error) {
	modules := make([]Module, 0, len(domain.OwnModules))
	for _, key := range domain.OwnModules {
		own, _ := ownModule(key)
		modules = append(modules, own)
	}
	rows, err := r.pool.Query(ctx, "SELECT "+moduleColumns+" FROM modules m ORDER BY m.key")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		m, err := scanModule(rows)
		if err != nil {
			return nil, err
		}
		modules = append(modules, m.show())
	}
	return modules, rows.Err()
}
