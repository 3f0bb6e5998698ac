package projections

import (
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

// groupTimeline is how a group came to offer what it does.
type groupTimeline struct {
	lifetime
	id    uuid.UUID
	state group.State
	engine.Succession[access.Offer]
}

var groupTimelines = engine.Aggregate[uuid.UUID, *groupTimeline]{
	Kind: group.Kind, Parse: uuid.Parse, Fresh: func(id uuid.UUID) *groupTimeline { return &groupTimeline{id: id} },
	ByIDs: "SELECT " + groupVersionColumns + " FROM group_versions v WHERE v.group_id = ANY($1) AND v.to_at IS NULL",
	Scan:  scanGroupTimeline,
	ID:    func(g *groupTimeline) uuid.UUID { return g.id },
}

func (g *groupTimeline) Apply(e *eventstore.Envelope) error {
	g.state.Evolve(e.Event)
	if err := g.applied(e, g.state.Exists); err != nil || !g.Exists() {
		return err
	}
	before, _ := g.Current()
	now := access.OfferOf(g.state)
	g.Follow(e, now, now.Same(before))
	return nil
}

const groupVersionColumns = "v.group_id, " + versionColumns + ", v.name, v.company_id, v.retired, v.permissions"

var groupVersions = engine.Versions[access.Offer, *groupTimeline]{
	Of: groupTimelines, Succession: func(g *groupTimeline) *engine.Succession[access.Offer] { return &g.Succession },
	State: []engine.Column[access.Offer]{
		engine.Col("name", "text", func(o access.Offer) string { return o.Name }),
		engine.Col("company_id", "uuid", func(o access.Offer) *rawUUID { return optional(rawUUID(o.CompanyID)) }),
		engine.Col("retired", "boolean", func(o access.Offer) bool { return o.Retired }),
		engine.Col("permissions", "jsonb", func(o access.Offer) jsonb { return jsonb{o.Permissions} }),
	}}

func scanGroupVersion(row pgx.Row) (id uuid.UUID, v access.Version[access.Offer], err error) {
	var companyID *uuid.UUID
	o := &v.State
	places := append([]any{&id}, causePlaces(&v.Cause)...)
	err = row.Scan(append(places, &o.Name, &companyID, &o.Retired, &o.Permissions)...)
	o.CompanyID = valueOf(companyID)
	return id, v, err
}

func scanGroupTimeline(row pgx.Row, _ ...any) (*groupTimeline, error) {
	id, v, err := scanGroupVersion(row)
	if err != nil {
		return nil, err
	}
	o := v.State
	g := &groupTimeline{id: id, state: group.State{
		Lifecycle: domain.Lifecycle{Exists: true, Retired: o.Retired}, Name: o.Name, CompanyID: o.CompanyID,
		Permissions: o.Permissions,
	}}
	g.createdAt, g.Succession = v.At, engine.Continued(o)
	return g, nil
}
