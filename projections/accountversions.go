package projections

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

// usable is the condition that the account of version v is access.Active on a day.
func usable(v, day string) string {
	return v + ".active AND NOT " + v + ".directory_disabled AND (" + v + ".start_date IS NULL OR " + v +
		".start_date <= " + day + ") AND (" +
		v + ".end_date IS NULL OR " + v + ".end_date >= " + day + ")"
}

// accountTimeline is how an account's standing came about. It holds no more of the account than that: a rebuild has
// the timelines of all.
type accountTimeline struct {
	lifetime
	id uuid.UUID
	engine.Succession[access.Standing]
}

var accountTimelines = engine.Aggregate[uuid.UUID, *accountTimeline]{
	Kind: user.Kind, Parse: uuid.Parse, Fresh: func(id uuid.UUID) *accountTimeline { return &accountTimeline{id: id} },
	ByIDs: "SELECT " + accountVersionColumns + " FROM account_versions v WHERE v.user_id = ANY($1) AND v.to_at IS NULL",
	Scan:  scanAccountTimeline,
	ID:    func(a *accountTimeline) uuid.UUID { return a.id },
}

// Apply applies the events that changesStanding leaves.
func (a *accountTimeline) Apply(e *eventstore.Envelope) error {
	before, known := a.Current()
	state, reason := before.User(known), before.Reason
	state.Evolve(e.Event)
	switch event := e.Event.(type) {
	case user.Deactivated:
		reason = event.Reason
	case user.Activated:
		reason = ""
	}
	if err := a.applied(e, state.Exists); err != nil || !a.Exists() {
		return err
	}
	now := access.StandingOf(state, reason)
	a.Follow(e, now, now == before)
	return nil
}

const accountVersionColumns = "v.user_id, " + versionColumns +
	", v.company_id, v.active, v.inactive_reason, v.superuser, v.start_date, v.end_date, " +
	"v.directory_disabled, v.directory_reason"

var accountVersions = engine.Versions[access.Standing, *accountTimeline]{
	Of: accountTimelines, Succession: func(a *accountTimeline) *engine.Succession[access.Standing] {
		return &a.Succession
	},
	Concerns: changesStanding, State: []engine.Column[access.Standing]{
		engine.Col("company_id", "uuid", func(s access.Standing) *rawUUID { return optional(rawUUID(s.CompanyID)) }),
		engine.Col("active", "boolean", func(s access.Standing) bool { return s.Active }),
		engine.Col("inactive_reason", "text", func(s access.Standing) string { return s.Reason }),
		engine.Col("superuser", "boolean", func(s access.Standing) bool { return s.Superuser }),
		engine.Col("start_date", "date", func(s access.Standing) *time.Time { return optional(s.Start.Time()) }),
		engine.Col("end_date", "date", func(s access.Standing) *time.Time { return optional(s.End.Time()) }),
		engine.Col("directory_disabled", "boolean", func(s access.Standing) bool { return s.Closed }),
		engine.Col("directory_reason", "text", func(s access.Standing) string { return s.ClosedFor }),
	}}

func scanAccountVersion(row pgx.Row) (id uuid.UUID, v access.Version[access.Standing], err error) {
	var companyID *uuid.UUID
	var start, end *time.Time
	s := &v.State
	places := append([]any{&id}, causePlaces(&v.Cause)...)
	err = row.Scan(append(places, &companyID, &s.Active, &s.Reason, &s.Superuser, &start, &end, &s.Closed,
		&s.ClosedFor)...)
	s.CompanyID, s.Start, s.End = valueOf(companyID), dateOf(start), dateOf(end)
	return id, v, err
}

func scanAccountTimeline(row pgx.Row, _ ...any) (*accountTimeline, error) {
	id, v, err := scanAccountVersion(row)
	if err != nil {
		return nil, err
	}
	a := &accountTimeline{id: id, Succession: engine.Continued(v.State)}
	a.createdAt = v.At
	return a, nil
}

// changesStanding leaves out events that are frequent and change no standing.
func changesStanding(e *eventstore.Envelope) bool {
	switch e.Event.(type) {
	case user.NameChanged, user.PhoneChanged, user.DepartmentChanged, user.PositionChanged, user.LanguageChanged,
		user.GroupsMissed,
		user.PasswordRehashed:
		return false
	}
	return !changesMembership(e.Event)
}
