package projections

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

// standing is what counts for what an account may do, but for its groups.
type standing struct {
	companyID  uuid.UUID
	active     bool
	reason     string // why it is inactive
	superuser  bool
	start, end domain.Date
	closed     bool   // by its directory
	closedFor  string // a user.Closed constant
}

// state is AccountState of the account.
func (s standing) state(now time.Time) (state, reason string) {
	return AccountState(user.State{
		Active: s.active, Details: user.Details{StartDate: s.start, EndDate: s.end}, Directory: user.DirectoryLink{Disabled: s.closed, Reason: s.closedFor},
	}, s.reason, now)
}

// usable is the condition that the account of version v is StateActive on a day.
func usable(v, day string) string {
	return v + ".active AND NOT " + v + ".directory_disabled AND (" + v + ".start_date IS NULL OR " + v + ".start_date <= " + day + ") AND (" +
		v + ".end_date IS NULL OR " + v + ".end_date >= " + day + ")"
}

type accountVersion struct {
	version
	standing
}

// user is as much of the account as tells, with an event, how it stands next.
func (s standing) user(exists bool) user.State {
	return user.State{
		Exists: exists, Active: s.active, Superuser: s.superuser,
		Details:   user.Details{CompanyID: s.companyID, StartDate: s.start, EndDate: s.end},
		Directory: user.DirectoryLink{Disabled: s.closed, Reason: s.closedFor},
	}
}

// accountTimeline is how an account came to stand as it does. It holds no more of the account than that: a rebuild has the
// timelines of all.
type accountTimeline struct {
	lifetime
	id uuid.UUID
	engine.Succession[standing]
}

var accountTimelines = engine.Aggregate[uuid.UUID, *accountTimeline]{
	Kind: user.Kind, Parse: uuid.Parse, Fresh: func(id uuid.UUID) *accountTimeline { return &accountTimeline{id: id} },
	ByIDs: "SELECT " + accountVersionColumns + " FROM account_versions v WHERE v.user_id = ANY($1) AND v.to_at IS NULL", Scan: scanAccountTimeline,
	ID: func(a *accountTimeline) uuid.UUID { return a.id },
}

// apply takes the events in that changesStanding leaves.
func (a *accountTimeline) Apply(e *eventstore.Envelope) error {
	before, known := a.Current()
	state, reason := before.user(known), before.reason
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
	now := standing{
		companyID: state.Details.CompanyID, active: state.Active, reason: reason, superuser: state.Superuser,
		start: state.Details.StartDate, end: state.Details.EndDate, closed: state.Directory.Disabled, closedFor: state.Directory.Reason,
	}
	a.Follow(e, now, now == before)
	return nil
}

const accountVersionColumns = "v.user_id, " + versionColumns + ", v.company_id, v.active, v.inactive_reason, v.superuser, v.start_date, v.end_date, " +
	"v.directory_disabled, v.directory_reason"

var accountVersions = engine.Versions[standing, *accountTimeline]{
	Of: accountTimelines, Succession: func(a *accountTimeline) *engine.Succession[standing] { return &a.Succession },
	Concerns: changesStanding, State: []engine.Column[standing]{
		engine.Col("company_id", "uuid", func(s standing) *rawUUID { return optional(rawUUID(s.companyID)) }),
		engine.Col("active", "boolean", func(s standing) bool { return s.active }),
		engine.Col("inactive_reason", "text", func(s standing) string { return s.reason }),
		engine.Col("superuser", "boolean", func(s standing) bool { return s.superuser }),
		engine.Col("start_date", "date", func(s standing) *time.Time { return optional(s.start.Time()) }),
		engine.Col("end_date", "date", func(s standing) *time.Time { return optional(s.end.Time()) }),
		engine.Col("directory_disabled", "boolean", func(s standing) bool { return s.closed }),
		engine.Col("directory_reason", "text", func(s standing) string { return s.closedFor }),
	}}

func scanAccountVersion(row pgx.Row) (id uuid.UUID, v accountVersion, err error) {
	var companyID *uuid.UUID
	var start, end *time.Time
	places := append([]any{&id}, v.places()...)
	err = row.Scan(append(places, &companyID, &v.active, &v.reason, &v.superuser, &start, &end, &v.closed, &v.closedFor)...)
	if companyID != nil {
		v.companyID = *companyID
	}
	v.start, v.end = dateOf(start), dateOf(end)
	return id, v, err
}

func scanAccountTimeline(row pgx.Row, _ ...any) (*accountTimeline, error) {
	id, v, err := scanAccountVersion(row)
	if err != nil {
		return nil, err
	}
	a := &accountTimeline{id: id, Succession: engine.Continued(v.standing)}
	a.createdAt = v.from
	return a, nil
}

// changesStanding leaves out events that are frequent and change no standing.
func changesStanding(e *eventstore.Envelope) bool {
	switch e.Event.(type) {
	case user.NameChanged, user.PhoneChanged, user.DepartmentChanged, user.PositionChanged, user.LanguageChanged, user.GroupsMissed,
		user.PasswordRehashed, user.PasswordResetRequested:
		return false
	}
	return !changesMembership(e.Event)
}
