package projections

import (
	"maps"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

// offer is what a group offers its members.
type offer struct {
	name        string
	companyID   uuid.UUID // uuid.Nil: global
	retired     bool
	permissions domain.Permissions
}

func (o offer) same(other offer) bool {
	return o.name == other.name && o.companyID == other.companyID && o.retired == other.retired && maps.Equal(o.permissions, other.permissions)
}

func (o offer) allows(module string, action domain.Action) bool {
	return !o.retired && o.permissions.Allows(module, action)
}

type groupVersion struct {
	version
	offer
}

// groupTimeline is how a group came to offer what it does.
type groupTimeline struct {
	lifetime
	id    uuid.UUID
	state group.State
	engine.Succession[offer]
}

var groupTimelines = engine.Aggregate[uuid.UUID, *groupTimeline]{
	Kind: group.Kind, Parse: uuid.Parse, Fresh: func(id uuid.UUID) *groupTimeline { return &groupTimeline{id: id} },
	ByIDs: "SELECT " + groupVersionColumns + " FROM group_versions v WHERE v.group_id = ANY($1) AND v.to_at IS NULL", Scan: scanGroupTimeline,
	ID: func(g *groupTimeline) uuid.UUID { return g.id },
}

func (g *groupTimeline) Apply(e *eventstore.Envelope) error {
	g.state.Evolve(e.Event)
	if err := g.applied(e, g.state.Exists); err != nil || !g.Exists() {
		return err
	}
	before, _ := g.Current()
	s := g.state
	now := offer{name: s.Name, companyID: s.CompanyID, retired: s.Retired, permissions: s.Permissions.Normalized()}
	g.Follow(e, now, now.same(before))
	return nil
}

const groupVersionColumns = "v.group_id, " + versionColumns + ", v.name, v.company_id, v.retired, v.permissions"

var groupVersions = engine.Versions[offer, *groupTimeline]{
	Of: groupTimelines, Succession: func(g *groupTimeline) *engine.Succession[offer] { return &g.Succession },
	State: []engine.Column[offer]{
		engine.Col("name", "text", func(o offer) string { return o.name }),
		engine.Col("company_id", "uuid", func(o offer) *rawUUID { return optional(rawUUID(o.companyID)) }),
		engine.Col("retired", "boolean", func(o offer) bool { return o.retired }),
		engine.Col("permissions", "jsonb", func(o offer) jsonb { return jsonb{o.permissions} }),
	}}

func scanGroupVersion(row pgx.Row) (id uuid.UUID, v groupVersion, err error) {
	var companyID *uuid.UUID
	places := append([]any{&id}, v.places()...)
	err = row.Scan(append(places, &v.name, &companyID, &v.retired, &v.permissions)...)
	if companyID != nil {
		v.companyID = *companyID
	}
	return id, v, err
}

func scanGroupTimeline(row pgx.Row, _ ...any) (*groupTimeline, error) {
	id, v, err := scanGroupVersion(row)
	if err != nil {
		return nil, err
	}
	g := &groupTimeline{id: id, state: group.State{
		Lifecycle: domain.Lifecycle{Exists: true, Retired: v.retired}, Name: v.name, CompanyID: v.companyID, Permissions: v.permissions,
	}}
	g.createdAt, g.Succession = v.from, engine.Continued(v.offer)
	return g, nil
}
