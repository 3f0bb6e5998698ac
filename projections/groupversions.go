package projections

import (
	"maps"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/eventstore"
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
	succession[offer]
}

var groupTimelines = aggregate[uuid.UUID, *groupTimeline]{
	kind: group.Kind, parse: uuid.Parse, fresh: func(id uuid.UUID) *groupTimeline { return &groupTimeline{id: id} },
	byIDs: "SELECT " + groupVersionColumns + " FROM group_versions v WHERE v.group_id = ANY($1) AND v.to_at IS NULL", scan: scanGroupTimeline,
	id: func(g *groupTimeline) uuid.UUID { return g.id },
}

func (g *groupTimeline) apply(e *eventstore.Envelope) error {
	g.state.Evolve(e.Event)
	if err := g.applied(e, g.state.Exists); err != nil || !g.exists() {
		return err
	}
	s := g.state
	now := offer{name: s.Name, companyID: s.CompanyID, retired: s.Retired, permissions: s.Permissions.Normalized()}
	g.follow(e, now, now.same(g.current))
	return nil
}

const groupVersionColumns = "v.group_id, " + versionColumns + ", v.name, v.company_id, v.retired, v.permissions"

var groupVersions = newVersionsTable("group_versions", "group_id", groupTimelines,
	func(g *groupTimeline) *succession[offer] { return &g.succession }, func(*eventstore.Envelope) bool { return true },
	col("name", "text", func(o offer) string { return o.name }),
	col("company_id", "uuid", func(o offer) *rawUUID { return optional(rawUUID(o.companyID)) }),
	col("retired", "boolean", func(o offer) bool { return o.retired }),
	col("permissions", "jsonb", func(o offer) jsonb { return jsonb{o.permissions} }),
)

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
		Exists: true, Retired: v.retired, Name: v.name, CompanyID: v.companyID, Permissions: v.permissions,
	}}
	g.createdAt, g.current, g.known = v.from, v.offer, true
	return g, nil
}
