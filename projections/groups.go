package projections

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

type groupRow struct {
	lifetime
	id      uuid.UUID
	state   group.State
	widened eventstore.Revision // when it last came to give its members more; NoStream: never
}

func newGroupRow(id uuid.UUID) *groupRow { return &groupRow{id: id, widened: eventstore.NoStream} }

var groupRows = engine.Aggregate[uuid.UUID, *groupRow]{
	Kind: group.Kind, Parse: uuid.Parse, Fresh: newGroupRow,
	ByIDs: "SELECT " + groupColumns + " FROM groups g WHERE g.id = ANY($1)", Scan: scanGroup,
	ID: func(g *groupRow) uuid.UUID { return g.id },
}

func (g *groupRow) Apply(e *eventstore.Envelope) error {
	g.state.Evolve(e.Event)
	if group.Widens(e.Event) {
		g.widened = e.Revision
	}
	return g.applied(e, g.state.Exists)
}

// SubjectName is what people call it.
func (g *groupRow) SubjectName() string { return g.state.SubjectName() }

var writeGroups = engine.NewUpsert("groups",
	engine.Col("id", "uuid", func(g *groupRow) rawUUID { return rawUUID(g.id) }),
	engine.Col("name", "text", func(g *groupRow) string { return g.state.Name }),
	engine.Col("description", "text", func(g *groupRow) string { return g.state.Description }),
	engine.Col("company_id", "uuid", func(g *groupRow) *rawUUID { return optional(rawUUID(g.state.CompanyID)) }),
	engine.Col("permissions", "jsonb", func(g *groupRow) jsonb { return jsonb{g.state.Permissions.Normalized()} }),
	engine.Col("retired", "boolean", func(g *groupRow) bool { return g.state.Retired }),
	engine.Col("created_at", "timestamptz", func(g *groupRow) time.Time { return g.createdAt }),
	engine.Col("updated_at", "timestamptz", func(g *groupRow) time.Time { return g.updatedAt }),
	engine.Col("revision", "bigint", func(g *groupRow) int64 { return int64(g.revision) }),
	engine.Col("widened", "bigint", func(g *groupRow) int64 { return int64(g.widened) }),
	engine.Col("name_key", "bytea", func(g *groupRow) []byte { return nameKey(g.state.Name) }),
	engine.Col("search", "text", func(g *groupRow) string { return searchText(g.state.Name) }),
)

const groupColumns = `g.id, g.name, g.description, g.company_id, g.permissions, g.retired, g.created_at, g.updated_at,
	g.revision, g.widened`

func scanGroup(row pgx.Row, place ...any) (*groupRow, error) {
	g := newGroupRow(uuid.Nil)
	g.state.Exists = true
	var companyID *uuid.UUID
	err := row.Scan(
		append([]any{&g.id, &g.state.Name, &g.state.Description, &companyID, &g.state.Permissions, &g.state.Retired,
			&g.createdAt, &g.updatedAt, &g.revision, &g.widened}, place...)...)
	if companyID != nil {
		g.state.CompanyID = *companyID
	}
	return g, err
}

// Group is a group as the HTTP API shows it.
type Group struct {
	ID          uuid.UUID           `json:"id"`
	Name        string              `json:"name"`
	Description *string             `json:"description"`
	CompanyID   *uuid.UUID          `json:"company_id"`  // nil: global
	Permissions domain.Permissions  `json:"permissions"` // modules in which nothing is allowed are left out
	Retired     bool                `json:"retired"`
	MemberCount int                 `json:"member_count"`
	CreatedAt   time.Time           `json:"created_at"`
	UpdatedAt   time.Time           `json:"updated_at"`
	Revision    eventstore.Revision `json:"revision"`
}

func (g *groupRow) show(members int) Group {
	return Group{
		ID: g.id, Name: g.state.Name, Description: optional(g.state.Description),
		CompanyID:   optional(g.state.CompanyID),
		Permissions: g.state.Permissions.Normalized(), Retired: g.state.Retired, MemberCount: members,
		CreatedAt: g.createdAt.UTC(), UpdatedAt: g.updatedAt.UTC(), Revision: g.revision,
	}
}

// GroupFilter chooses groups; the zero value chooses all.
type GroupFilter struct {
	Query     string     // part of the name, in any case
	CompanyID *uuid.UUID // groups of this company, without the global ones
	Retired   *bool
}

// shownGroup is groupColumns and the number of members.
const shownGroup = groupColumns + `, (SELECT count(*) FROM memberships s WHERE s.group_id = g.id AND s.left_at IS NULL)`

func scanShownGroup(row pgx.Row, place ...any) (Group, error) {
	var members int
	g, err := scanGroup(row, append([]any{&members}, place...)...)
	return g.show(members), err
}

// Group gives one group.
func (r *ReadModels) Group(ctx context.Context, id uuid.UUID) (Group, error) {
	return orNotFound(scanShownGroup(r.pool.QueryRow(ctx, "SELECT "+shownGroup+" FROM groups g WHERE g.id = $1", id)))
}

// GroupAsOf gives one group as it was at a time.
func (r *ReadModels) GroupAsOf(ctx context.Context, id uuid.UUID, at time.Time) (Group, error) {
	g, err := groupRows.OneAsOf(ctx, r.pool, id, at)
	if err != nil {
		return Group{}, err
	}
	var members int
	err = r.pool.QueryRow(ctx, "SELECT count(*) FROM memberships s WHERE s.group_id = $1 AND "+memberAt("$2"), id,
		at).Scan(&members)
	return g.show(members), err
}

// memberAt is the condition that a membership s held at a time.
func memberAt(time string) string {
	return "s.joined_at <= " + time + " AND (s.left_at IS NULL OR s.left_at > " + time + ")"
}

// Groups lists groups, sorted by name or created_at.
func (r *ReadModels) Groups(ctx context.Context, filter GroupFilter, page PageRequest) (List[Group], error) {
	q := query{columns: shownGroup, from: "groups g", id: "g.id", byDefault: "name", orders: map[string]order{
		"name": {"g.name_key", newBytes}, "created_at": {"g.created_at", newTime},
	}}
	q.containing("g.search", filter.Query)
	if filter.CompanyID != nil {
		q.where("g.company_id = ?", *filter.CompanyID)
	}
	if filter.Retired != nil {
		q.whether("g.retired", *filter.Retired)
	}
	return list(ctx, r.pool, q, page, func(rows pgx.Rows, place ...any) (Group, error) {
		return scanShownGroup(rows, place...)
	})
}

// Member is somebody in a group, and how that came.
type Member struct {
	UserID   uuid.UUID `json:"user_id"`
	Email    string    `json:"email"`
	Name     string    `json:"name"`
	JoinedAt time.Time `json:"joined_at"`
	JoinedBy Actor     `json:"joined_by"`
	EventID  uuid.UUID `json:"event_id"` // of the event by which the account joined
}

// GroupMembers lists who is in a group, or (at not nil) who was at a time, with their names at that time. Sorted by
// name (of today) or joined_at.
func (r *ReadModels) GroupMembers(ctx context.Context, groupID uuid.UUID, at *time.Time,
	page PageRequest) (List[Member], error) {
	if err := r.groupExists(ctx, groupID, at); err != nil {
		return List[Member]{}, err
	}
	q := query{
		columns: "u.id, u.email, u.first_name, u.last_name, s.joined_at, s.joined_by_kind, s.joined_by_id, " +
			"s.joined_event",
		from: "memberships s JOIN users u ON u.id = s.user_id", id: "u.id", byDefault: "name",
		orders: map[string]order{"name": {"u.name_key", newBytes}, "joined_at": {"s.joined_at", newTime}},
	}
	q.where("s.group_id = ?", groupID)
	if at == nil {
		q.where("s.left_at IS NULL")
	} else {
		q.where(memberAt(q.arg(*at)))
	}
	members, err := list(ctx, r.pool, q, page, func(rows pgx.Rows, place ...any) (Member, error) {
		var m Member
		var d user.Details
		err := rows.Scan(append([]any{&m.UserID, &d.Email, &d.FirstName, &d.LastName, &m.JoinedAt, &m.JoinedBy.Kind,
			&m.JoinedBy.ID, &m.EventID}, place...)...)
		m.Email, m.Name, m.JoinedAt = d.Email, d.Name(), m.JoinedAt.UTC()
		return m, err
	})
	if err != nil {
		return members, err
	}
	actors := make([]*Actor, len(members.Items))
	ids := make([]uuid.UUID, len(members.Items))
	for i := range members.Items {
		actors[i], ids[i] = &members.Items[i].JoinedBy, members.Items[i].UserID
	}
	if err := r.nameActors(ctx, actors); err != nil || at == nil {
		return members, err
	}
	then, err := userRows.AsOf(ctx, r.pool, ids, *at)
	if err != nil {
		return List[Member]{}, err
	}
	for i := range members.Items {
		if u := then[members.Items[i].UserID]; u != nil {
			members.Items[i].Email, members.Items[i].Name = u.state.Details.Email, u.state.Details.Name()
		}
	}
	return members, nil
}

// groupExists gives ErrNotFound for a group that does not exist, or did not at a time.
func (r *ReadModels) groupExists(ctx context.Context, id uuid.UUID, at *time.Time) error {
	var createdAt time.Time
	_, err := orNotFound(createdAt,
		r.pool.QueryRow(ctx, "SELECT created_at FROM groups WHERE id = $1", id).Scan(&createdAt))
	if err == nil && at != nil && createdAt.After(*at) {
		return ErrNotFound
	}
	return err
}
