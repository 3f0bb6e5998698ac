package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/projections/engine"
)

// AccountAccess is what one account may do, or could at a time. Allowed and Because answer the question for one action
// in one module, and are nil without it.
type AccountAccess struct {
	UserID      uuid.UUID      `json:"user_id"`
	Email       string         `json:"email"`
	Name        string         `json:"name"`
	At          time.Time      `json:"at"`
	State       string         `json:"state"` // of package access; only access.Active may do anything
	StateReason *string        `json:"state_reason"`
	Superuser   bool           `json:"superuser"`
	Allowed     *bool          `json:"allowed,omitempty"`
	Because     []AccessReason `json:"because,omitempty"`
	Items       []AccessItem   `json:"items"`
}

// AccessFilter chooses what access is looked at. Empty fields stand for everything.
type AccessFilter struct {
	Module    string
	Action    domain.Action
	CompanyID *uuid.UUID // accounts that were in this company
}

// AccountAccess gives what an account may do: now, or with asOf at that time. A filter with module and action asks the
// question. ErrNotFound where the account did not exist.
func (r *ReadModels) AccountAccess(ctx context.Context, id uuid.UUID, filter AccessFilter, now time.Time,
	asOf *time.Time) (AccountAccess, error) {
	moment := timeOf(now, asOf)
	groups := map[uuid.UUID][]access.Version[access.Offer]{}
	all, err := r.accessFacts(ctx, []uuid.UUID{id}, groups, moment)
	if err != nil {
		return AccountAccess{}, err
	}
	facts := all[id]
	if facts == nil {
		return AccountAccess{}, ErrNotFound
	}
	names, err := r.namesAt(ctx, []uuid.UUID{id}, asOf)
	if err != nil {
		return AccountAccess{}, err
	}
	var offering []uuid.UUID
	if filter.Module != "" && filter.Action != "" {
		groupsThen, err := r.groupsOffering(ctx, filter, moment)
		if err != nil {
			return AccountAccess{}, err
		}
		offering = groupsThen.own
		if err := r.addGroups(ctx, groups, offering, moment); err != nil {
			return AccountAccess{}, err
		}
	}
	answer := accountAccess(facts, id, filter, offering)
	answer.Email, answer.Name = names[id].Email, names[id].Name()
	var actors []*Actor
	for i := range answer.Because {
		if answer.Because[i].Actor != nil {
			actors = append(actors, answer.Because[i].Actor)
		}
	}
	if err := r.nameActors(ctx, append(actors, actorsOf(answer.Items)...)); err != nil {
		return AccountAccess{}, err
	}
	for i := range answer.Because {
		answer.Because[i].sign()
	}
	return answer, nil
}

// accountAccess is the answer of facts about an account, without names.
func accountAccess(facts *access.Facts, id uuid.UUID, filter AccessFilter, offering []uuid.UUID) AccountAccess {
	state, why := facts.Standing().State(facts.Now)
	answer := AccountAccess{
		UserID: id, At: facts.Now.UTC(), State: state, StateReason: optional(why),
		Superuser: facts.Standing().Superuser,
		Items:     shownItems(facts.Items(filter.Module, filter.Action)),
	}
	if filter.Module != "" && filter.Action != "" {
		allowed, because := facts.Answer(filter.Module, filter.Action, offering)
		answer.Allowed, answer.Because = &allowed, shownReasons(because)
	}
	return answer
}

// sign adds to the text who caused it, and when.
func (r *AccessReason) sign() {
	if r.Actor != nil && r.Actor.Name != nil {
		r.Detail += fmt.Sprintf(" (by %s, %s)", *r.Actor.Name, r.At.Format(time.RFC3339))
	}
}

func actorsOf(items []AccessItem) []*Actor {
	var actors []*Actor
	for i := range items {
		via := items[i].Via
		for v := range via {
			grant := &via[v]
			actors = append(actors, &grant.GivenBy)
			if grant.Kind == GrantGroup {
				actors = append(actors, grant.JoinedBy, grant.AllowedBy)
			}
		}
	}
	return actors
}

// AccessHolder is one action in one module that an account may do.
type AccessHolder struct {
	UserID uuid.UUID `json:"user_id"`
	Email  string    `json:"email"`
	Name   string    `json:"name"`
	AccessItem
}

// WhoMay lists who may do what: now, or with asOf who could at that time, with their names at that
// time. Accounts come in the order of their ids, which is that in which they were made.
func (r *ReadModels) WhoMay(ctx context.Context, filter AccessFilter, page PageRequest, now time.Time,
	asOf *time.Time) (List[AccessHolder], error) {
	moment := timeOf(now, asOf)
	result := List[AccessHolder]{Items: []AccessHolder{}}
	limit := page.limit()
	from, after, err := readAccessCursor(page.Cursor)
	if err != nil {
		return result, err
	}
	offering, err := r.groupsOffering(ctx, filter, moment)
	if err != nil {
		return result, err
	}
	groups := map[uuid.UUID][]access.Version[access.Offer]{}
	// With module and action each account gives one item; else mostly many.
	batch := limit + 1
	if filter.Module == "" || filter.Action == "" {
		batch = limit/8 + 2
	}
	for len(result.Items) <= limit {
		ids, err := r.accountsWith(ctx, filter, offering, from, batch, moment)
		if err != nil {
			return result, err
		}
		facts, err := r.accessFacts(ctx, ids, groups, moment)
		if err != nil {
			return result, err
		}
		for _, id := range ids {
			if facts[id] == nil {
				continue
			}
			for _, item := range shownItems(facts[id].Items(filter.Module, filter.Action)) {
				if id == from && !after.before(item) {
					continue
				}
				result.Items = append(result.Items, AccessHolder{UserID: id, AccessItem: item})
			}
		}
		if len(ids) < batch {
			break
		}
		from, after = following(ids[len(ids)-1]), accessPlace{}
	}
	if len(result.Items) > limit {
		result.Items = result.Items[:limit]
		last := result.Items[limit-1]
		if result.NextCursor, err = accessCursor(last); err != nil {
			return result, err
		}
	}
	return result, r.nameHolders(ctx, result.Items, asOf)
}

func (r *ReadModels) nameHolders(ctx context.Context, holders []AccessHolder, asOf *time.Time) error {
	var ids []uuid.UUID
	var actors []*Actor
	for i := range holders {
		if i == 0 || holders[i].UserID != holders[i-1].UserID {
			ids = append(ids, holders[i].UserID)
		}
		actors = append(actors, actorsOf([]AccessItem{holders[i].AccessItem})...)
	}
	names, err := r.namesAt(ctx, ids, asOf)
	if err != nil {
		return err
	}
	for i := range holders {
		details := names[holders[i].UserID]
		holders[i].Email, holders[i].Name = details.Email, details.Name()
	}
	return r.nameActors(ctx, actors)
}

// accessPlace is where a page ended within an account; the zero value is before its first item.
type accessPlace struct {
	Module string        `json:"m"`
	Action domain.Action `json:"a"`
}

func (p accessPlace) before(item AccessItem) bool {
	return p.Module < item.Module ||
		p.Module == item.Module &&
			slices.Index(domain.AllActions, p.Action) < slices.Index(domain.AllActions, item.Action)
}

// accessSort stands in the cursors of WhoMay, so that those of other lists are refused.
const accessSort = "access"

func newAccessPlace() any { return new(accessPlace) }

func accessCursor(last AccessHolder) (*string, error) {
	key, err := json.Marshal(accessPlace{last.Module, last.Action})
	if err != nil {
		return nil, err
	}
	text, err := cursor{Sort: accessSort, Key: key, ID: last.UserID}.text()
	return &text, err
}

func readAccessCursor(text string) (uuid.UUID, accessPlace, error) {
	if text == "" {
		return uuid.Nil, accessPlace{}, nil
	}
	key, id, err := readCursor(text, accessSort, order{new: newAccessPlace})
	if err != nil {
		return uuid.Nil, accessPlace{}, err
	}
	place, _ := key.(*accessPlace)
	return id, *place, nil
}

// following is the next id in order.
func following(id uuid.UUID) uuid.UUID {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]++; id[i] != 0 {
			break
		}
	}
	return id
}

// pointInTime is a time at which access is looked at: last is of the events that count, now decides on days.
type pointInTime struct{ now, last time.Time }

func timeOf(now time.Time, asOf *time.Time) pointInTime {
	if asOf != nil {
		return pointInTime{now: *asOf, last: *asOf}
	}
	return pointInTime{now: now, last: endOfTime}
}

// day is that of now, in UTC.
func (m pointInTime) day() time.Time { return domain.DateOf(m.now).Time() }

// offeringGroups are groups that allow what is asked for.
type offeringGroups struct {
	own    []uuid.UUID // of the company that is looked at; without one all groups
	global []uuid.UUID // with a company: those for the accounts of every company
}

// groupsOffering gives the groups that allowed anything that the filter asks for, to accounts of its company.
func (r *ReadModels) groupsOffering(ctx context.Context, filter AccessFilter, m pointInTime) (offeringGroups, error) {
	path := func(key string) string {
		if key == "" {
			return ".*"
		}
		return "." + strconv.Quote(key)
	}
	var offering offeringGroups
	var q query
	q.where(heldAt("v", q.arg(m.last)))
	q.where("NOT v.retired")
	q.where("v.permissions @? " +
		q.arg(engine.Storable("$"+path(filter.Module)+path(string(filter.Action))+" ? (@ == true)")) + "::jsonpath")
	if filter.CompanyID != nil {
		q.where("(v.company_id IS NULL OR v.company_id = ?)", *filter.CompanyID)
	}
	rows, err := r.pool.Query(ctx, "SELECT v.group_id, v.company_id IS NULL FROM group_versions v WHERE "+
		strings.Join(q.conditions, " AND "), q.args...)
	if err != nil {
		return offering, err
	}
	var id uuid.UUID
	var global bool
	_, err = pgx.ForEachRow(rows, []any{&id, &global}, func() error {
		if global && filter.CompanyID != nil {
			offering.global = append(offering.global, id)
		} else {
			offering.own = append(offering.own, id)
		}
		return nil
	})
	return offering, err
}

// accountsWith gives, in order from an id on, accounts that could be used and were superuser or in one of the groups.
func (r *ReadModels) accountsWith(ctx context.Context, filter AccessFilter, groups offeringGroups, from uuid.UUID,
	limit int, m pointInTime) ([]uuid.UUID, error) {
	var q query
	last, first, most := q.arg(m.last), q.arg(from), q.arg(limit)
	account := heldAt("v", last) + " AND " + usable("v", q.arg(m.day())+"::date") + " AND v.user_id >= " + first
	if filter.CompanyID != nil {
		account += " AND v.company_id = " + q.arg(*filter.CompanyID)
	}
	inOrder := " ORDER BY v.user_id LIMIT " + most
	// Each group gives its first members, found in their order, so that the cost does not grow with the groups.
	membersOf := func(groups []uuid.UUID) string {
		return `SELECT m.user_id FROM unnest(` + q.arg(groups) + `::uuid[]) g (id) CROSS JOIN LATERAL (
			SELECT v.user_id FROM memberships s JOIN account_versions v ON v.user_id = s.user_id
			WHERE s.group_id = g.id AND s.user_id >= ` + first + ` AND ` + memberAt(last) + ` AND ` + account +
			inOrder + `) m`
	}
	parts := []string{"(SELECT v.user_id FROM account_versions v WHERE v.superuser AND " + account + inOrder +
		")", membersOf(groups.own)}
	if len(groups.global) > 0 {
		// Most members of a global group may be of other companies, and most accounts of the company not in the group.
		fewer, err := r.companyIsSmaller(ctx, *filter.CompanyID, groups.global)
		if err != nil {
			return nil, err
		}
		if fewer {
			parts = append(parts, "(SELECT v.user_id FROM account_versions v WHERE "+account+` AND EXISTS (SELECT
				FROM memberships s
				WHERE s.user_id = v.user_id AND s.group_id = ANY(`+q.arg(groups.global)+") AND "+memberAt(last)+")"+
				inOrder+")")
		} else {
			parts = append(parts, membersOf(groups.global))
		}
	}
	rows, err := r.pool.Query(ctx, "SELECT user_id FROM ("+strings.Join(parts, " UNION ")+
		") found ORDER BY user_id LIMIT "+most, q.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// companyIsSmaller says whether a company has at most as many accounts as groups have members. It counts to a bound.
func (r *ReadModels) companyIsSmaller(ctx context.Context, company uuid.UUID,
	groups []uuid.UUID) (smaller bool, err error) {
	err = r.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM (SELECT FROM account_versions WHERE company_id = $1
		LIMIT 10000) a)
		<= (SELECT count(*) FROM (SELECT FROM unnest($2::uuid[]) g (id) CROSS JOIN LATERAL (
			SELECT FROM memberships WHERE group_id = g.id LIMIT 10000) m LIMIT 10000) m)`, company,
		groups).Scan(&smaller)
	return smaller, err
}

// accessFacts gives what decides on the access of accounts; those that did not exist are left out. groups are versions
// that are known already; what is missing is added.
func (r *ReadModels) accessFacts(ctx context.Context, ids []uuid.UUID,
	groups map[uuid.UUID][]access.Version[access.Offer], m pointInTime) (map[uuid.UUID]*access.Facts, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	modules, err := r.modulesAt(ctx, m)
	if err != nil {
		return nil, err
	}
	facts := make(map[uuid.UUID]*access.Facts, len(ids))
	rows, err := r.pool.Query(ctx, "SELECT "+accountVersionColumns+` FROM account_versions v
		WHERE v.user_id = ANY($1) AND v.from_at <= $2 ORDER BY v.user_id, v.position`, ids, m.last)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		id, v, err := scanAccountVersion(rows)
		if err != nil {
			return nil, err
		}
		if facts[id] == nil {
			facts[id] = &access.Facts{Now: m.now, Modules: modules, Groups: groups}
		}
		facts[id].Account = append(facts[id].Account, v)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	in, err := r.addMemberships(ctx, facts, ids, m)
	if err != nil {
		return nil, err
	}
	return facts, r.addGroups(ctx, groups, in, m)
}

// addMemberships adds the memberships to facts, and gives the groups that they are of.
func (r *ReadModels) addMemberships(ctx context.Context, facts map[uuid.UUID]*access.Facts, ids []uuid.UUID,
	m pointInTime) ([]uuid.UUID, error) {
	rows, err := r.pool.Query(ctx, `SELECT user_id, group_id, joined_at, joined_event, joined_by_kind,
		coalesce(joined_by_id, ''),
			left_at, left_event, coalesce(left_by_kind, ''), coalesce(left_by_id, '')
		FROM memberships WHERE user_id = ANY($1) AND joined_at <= $2 ORDER BY user_id, joined_position`, ids, m.last)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var groups []uuid.UUID
	for rows.Next() {
		var id uuid.UUID
		var member access.Membership
		var leftAt *time.Time
		var leftEvent *uuid.UUID
		var leftBy access.Actor
		j := &member.Joined
		if err := rows.Scan(&id, &member.Group, &j.At, &j.EventID, &j.By.Kind, &j.By.ID, &leftAt, &leftEvent,
			&leftBy.Kind, &leftBy.ID); err != nil {
			return nil, err
		}
		if leftAt != nil && !leftAt.After(m.last) {
			member.Left = &access.Cause{At: *leftAt, EventID: *leftEvent, By: leftBy}
		}
		groups = append(groups, member.Group)
		if f := facts[id]; f != nil { // else that projection is behind
			f.Memberships = append(f.Memberships, member)
		}
	}
	return groups, rows.Err()
}

// addGroups adds the versions of groups to those that are known.
func (r *ReadModels) addGroups(ctx context.Context, known map[uuid.UUID][]access.Version[access.Offer], ids []uuid.UUID,
	m pointInTime) error {
	var missing []uuid.UUID
	for _, id := range ids {
		if _, met := known[id]; !met {
			known[id] = nil
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	rows, err := r.pool.Query(ctx, "SELECT "+groupVersionColumns+` FROM group_versions v
		WHERE v.group_id = ANY($1) AND v.from_at <= $2 ORDER BY v.group_id, v.position`, missing, m.last)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		id, v, err := scanGroupVersion(rows)
		if err != nil {
			return err
		}
		known[id] = append(known[id], v)
	}
	return rows.Err()
}

// modulesAt gives the keys of the modules that there were.
func (r *ReadModels) modulesAt(ctx context.Context, m pointInTime) ([]string, error) {
	rows, err := r.pool.Query(ctx, "SELECT key FROM modules WHERE created_at <= $1 ORDER BY key", m.last)
	if err != nil {
		return nil, err
	}
	registered, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return append(slices.Clone(domain.OwnModules), registered...), err
}

// namesAt gives the e-mail addresses and names of accounts: those of today, or with at those at that time.
func (r *ReadModels) namesAt(ctx context.Context, ids []uuid.UUID, at *time.Time) (map[uuid.UUID]user.Details, error) {
	names := make(map[uuid.UUID]user.Details, len(ids))
	if at != nil {
		then, err := userRows.AsOf(ctx, r.pool, ids, *at)
		for id, u := range then {
			names[id] = u.state.Details
		}
		return names, err
	}
	rows, err := r.pool.Query(ctx, "SELECT id, email, first_name, last_name FROM users WHERE id = ANY($1)", ids)
	if err != nil {
		return nil, err
	}
	var id uuid.UUID
	var d user.Details
	_, err = pgx.ForEachRow(rows, []any{&id, &d.Email, &d.FirstName, &d.LastName}, func() error {
		names[id] = d
		return nil
	})
	return names, err
}
