package projections

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections/engine"
)

// userRow is an account as the table users shows it. Roles and groups of a row from the table are empty: they have
// tables of their own.
type userRow struct {
	lifetime
	id          uuid.UUID
	state       user.State
	hasPassword bool
	codesLeft   int    // unused backup codes
	reason      string // why it is inactive
	// Sessions that began at an earlier revision have ended, but for the one kept; NoStream while none was ended.
	sessionsEnded eventstore.Revision
	sessionKept   uuid.UUID

	bare bool // without roles and groups, whatever the events say
}

var userRows = engine.Aggregate[uuid.UUID, *userRow]{
	Kind: user.Kind, Parse: uuid.Parse, Fresh: newUserRow,
	ByIDs: "SELECT " + userColumns + " FROM users u WHERE u.id = ANY($1)", Scan: scanUser,
	ID: func(u *userRow) uuid.UUID { return u.id },
}

// bareUserRows are the rows of the table users, which shows no roles and groups.
var bareUserRows = func() engine.Aggregate[uuid.UUID, *userRow] {
	rows := userRows
	rows.Fresh = newBareUserRow
	return rows
}()

func newUserRow(id uuid.UUID) *userRow {
	return &userRow{id: id, sessionsEnded: eventstore.NoStream, state: user.State{
		Roles: map[uuid.UUID]string{}, Groups: map[uuid.UUID]string{},
	}}
}

// newBareUserRow begins a row for the table: a rebuild holds those of all accounts.
func newBareUserRow(id uuid.UUID) *userRow {
	u := newUserRow(id)
	u.bare = true
	return u
}

func (u *userRow) Apply(e *eventstore.Envelope) error {
	if !u.bare || !changesMembership(e.Event) {
		u.state.Evolve(e.Event)
	}
	switch event := e.Event.(type) {
	case user.PasswordSet:
		u.hasPassword = true // the history, from which earlier rows are folded, holds no hash
	case user.TwoFactorEnrolled, user.BackupCodesReplaced:
		u.codesLeft = user.BackupCodes // counted, because the history holds no codes either
	case user.BackupCodeUsed:
		u.codesLeft = event.Left
	case user.TwoFactorDisabled, user.TwoFactorReset:
		u.codesLeft = 0
	case user.Deactivated:
		u.reason = event.Reason
	case user.Activated:
		u.reason = ""
	}
	if user.EndsSessions(e.Event) {
		u.sessionsEnded, u.sessionKept = e.Revision, keptSession(e)
	}
	return u.applied(e, u.state.Exists)
}

// SubjectName is what people call it.
func (u *userRow) SubjectName() string { return u.state.SubjectName() }

// changesMembership says whether an event changes nothing of an account but its roles or groups.
func changesMembership(event domain.Event) bool {
	switch event.(type) {
	case user.RoleGiven, user.RoleTaken, user.GroupJoined, user.GroupSynced, user.GroupLeft:
		return true
	}
	return false
}

// keptSession is the session that continues after an event that ends the others.
func keptSession(e *eventstore.Envelope) uuid.UUID {
	if !user.KeepsOwnSession(e.Event) {
		return uuid.Nil
	}
	session, err := uuid.Parse(e.Meta.Session)
	if err != nil {
		return uuid.Nil
	}
	return session
}

var writeUsers = engine.NewUpsert("users",
	engine.Col("id", "uuid", func(u *userRow) rawUUID { return rawUUID(u.id) }),
	engine.Col("email", "text", func(u *userRow) string { return u.state.Details.Email }),
	engine.Col("first_name", "text", func(u *userRow) string { return u.state.Details.FirstName }),
	engine.Col("last_name", "text", func(u *userRow) string { return u.state.Details.LastName }),
	engine.Col("phone", "text", func(u *userRow) string { return u.state.Details.Phone }),
	engine.Col("company_id", "uuid", func(u *userRow) *rawUUID { return optional(rawUUID(u.state.Details.CompanyID)) }),
	engine.Col("department", "text", func(u *userRow) string { return u.state.Details.Department }),
	engine.Col("position", "text", func(u *userRow) string { return u.state.Details.Position }),
	engine.Col("start_date", "date", func(u *userRow) *time.Time { return optional(u.state.Details.StartDate.Time()) }),
	engine.Col("end_date", "date", func(u *userRow) *time.Time { return optional(u.state.Details.EndDate.Time()) }),
	engine.Col("active", "boolean", func(u *userRow) bool { return u.state.Active }),
	engine.Col("inactive_reason", "text", func(u *userRow) string { return u.reason }),
	engine.Col("superuser", "boolean", func(u *userRow) bool { return u.state.Superuser }),
	engine.Col("require_two_factor", "boolean", func(u *userRow) bool { return u.state.TwoFactorRequired }),
	engine.Col("source", "text", func(u *userRow) string { return u.state.Source }),
	engine.Col("has_password", "boolean", func(u *userRow) bool { return u.hasPassword }),
	engine.Col("two_factor_enrolled", "boolean", func(u *userRow) bool { return u.state.TwoFactor.Enrolled }),
	engine.Col("backup_codes_left", "int", func(u *userRow) int { return u.codesLeft }),
	engine.Col("language", "text", func(u *userRow) string { return u.state.Language }),
	engine.Col("has_photo", "boolean", func(u *userRow) bool { return u.state.HasPhoto }),
	engine.Col("directory_id", "uuid", func(u *userRow) *rawUUID { return optional(rawUUID(u.state.Directory.ID)) }),
	engine.Col("directory_guid", "text", func(u *userRow) string { return u.state.Directory.GUID }),
	engine.Col("directory_dn", "text", func(u *userRow) string { return u.state.Directory.DN }),
	engine.Col("directory_disabled", "boolean", func(u *userRow) bool { return u.state.Directory.Disabled }),
	engine.Col("directory_reason", "text", func(u *userRow) string { return u.state.Directory.Reason }),
	engine.Col("directory_missed", "text", func(u *userRow) string { return u.state.Directory.Missed }),
	engine.Col("created_at", "timestamptz", func(u *userRow) time.Time { return u.createdAt }),
	engine.Col("updated_at", "timestamptz", func(u *userRow) time.Time { return u.updatedAt }),
	engine.Col("revision", "bigint", func(u *userRow) int64 { return int64(u.revision) }),
	engine.Col("sessions_ended", "bigint", func(u *userRow) int64 { return int64(u.sessionsEnded) }),
	engine.Col("session_kept", "uuid", func(u *userRow) *rawUUID { return optional(rawUUID(u.sessionKept)) }),
	engine.Col("name_key", "bytea", func(u *userRow) []byte { return nameKey(u.state.Details.Name()) }),
	engine.Col("email_key", "text", func(u *userRow) string { return user.NormalizeEmail(u.state.Details.Email) }),
	engine.Col("search", "text", func(u *userRow) string {
		d := u.state.Details
		return searchText(d.FirstName, d.LastName, d.Email)
	}),
)

// userColumns are what scanUser reads.
const userColumns = `u.id, u.email, u.first_name, u.last_name, u.phone, u.company_id, u.department, u.position,
	u.start_date, u.end_date, u.active, u.inactive_reason, u.superuser, u.require_two_factor, u.source, u.has_password,
	u.two_factor_enrolled, u.backup_codes_left, u.language, u.has_photo, u.created_at, u.updated_at, u.revision,
	u.sessions_ended, u.session_kept, u.directory_id, u.directory_guid, u.directory_dn, u.directory_disabled,
	u.directory_reason, u.directory_missed`

func scanUser(row pgx.Row, place ...any) (*userRow, error) {
	u := newUserRow(uuid.Nil)
	u.state.Exists = true
	var companyID, kept, directoryID *uuid.UUID
	var start, end *time.Time
	d, link := &u.state.Details, &u.state.Directory
	err := row.Scan(append([]any{&u.id, &d.Email, &d.FirstName, &d.LastName, &d.Phone, &companyID, &d.Department,
		&d.Position,
		&start, &end, &u.state.Active, &u.reason, &u.state.Superuser, &u.state.TwoFactorRequired, &u.state.Source,
		&u.hasPassword,
		&u.state.TwoFactor.Enrolled, &u.codesLeft, &u.state.Language, &u.state.HasPhoto, &u.createdAt, &u.updatedAt,
		&u.revision,
		&u.sessionsEnded, &kept, &directoryID, &link.GUID, &link.DN, &link.Disabled, &link.Reason, &link.Missed},
		place...)...)
	if err != nil {
		return nil, err
	}
	if kept != nil {
		u.sessionKept = *kept
	}
	if companyID != nil {
		d.CompanyID = *companyID
	}
	if directoryID != nil {
		link.ID = *directoryID
	}
	d.StartDate, d.EndDate = dateOf(start), dateOf(end)
	return u, nil
}

// dateOf is a nullable date of Postgres, which comes as its first instant in UTC.
func dateOf(day *time.Time) domain.Date {
	if day == nil {
		return domain.Date{}
	}
	return domain.DateOf(*day)
}

// User is an account as the HTTP API shows it. An empty optional value is nil.
type User struct {
	ID               uuid.UUID           `json:"id"`
	Email            string              `json:"email"`
	FirstName        *string             `json:"first_name"`
	LastName         *string             `json:"last_name"`
	Phone            *string             `json:"phone"`
	CompanyID        *uuid.UUID          `json:"company_id"`
	Company          *Ref                `json:"company"`
	Department       *string             `json:"department"`
	Position         *string             `json:"position"`
	Active           bool                `json:"active"`
	StartDate        *domain.Date        `json:"start_date"` // first day of access, in UTC
	EndDate          *domain.Date        `json:"end_date"`   // last day of access, in UTC
	Superuser        bool                `json:"superuser"`
	RequireTwoFactor bool                `json:"require_two_factor"`
	RoleIDs          []uuid.UUID         `json:"role_ids"`
	GroupIDs         []uuid.UUID         `json:"group_ids"`
	Roles            []Ref               `json:"roles"`  // by name
	Groups           []Ref               `json:"groups"` // by name
	State            string              `json:"state"`  // a State constant
	StateReason      *string             `json:"state_reason"`
	Source           string              `json:"source"`
	DirectoryID      *uuid.UUID          `json:"directory_id"` // the connection whose entry the account is bound to
	DirectoryDN      *string             `json:"directory_dn"` // of the entry
	HasPassword      bool                `json:"has_password"`
	TwoFactor        TwoFactor           `json:"two_factor"`
	LastSignInAt     *time.Time          `json:"last_sign_in_at"`
	Language         *string             `json:"language"` // of mails and pages for the person; nil: that of the site
	HasPhoto         bool                `json:"has_photo"`
	CreatedAt        time.Time           `json:"created_at"`
	UpdatedAt        time.Time           `json:"updated_at"`
	Revision         eventstore.Revision `json:"revision"`
}

// TwoFactor says how an account stands with two-factor sign-in.
type TwoFactor struct {
	Required        bool `json:"required"`
	Enrolled        bool `json:"enrolled"`
	BackupCodesLeft int  `json:"backup_codes_left"`
}

// show makes a row presentable. Roles and groups are sorted by name.
func (u *userRow) show(now time.Time, company *Ref, roles, groups []Ref, lastSignIn *time.Time) User {
	d := u.state.Details
	state, reason := access.StandingOf(u.state, u.reason).State(now)
	return User{
		ID: u.id, Email: d.Email, FirstName: optional(d.FirstName), LastName: optional(d.LastName),
		Phone:     optional(d.Phone),
		CompanyID: optional(d.CompanyID), Company: company, Department: optional(d.Department),
		Position: optional(d.Position),
		Active:   u.state.Active, StartDate: optional(d.StartDate), EndDate: optional(d.EndDate),
		Superuser:        u.state.Superuser,
		RequireTwoFactor: u.state.TwoFactorRequired, Roles: roles, Groups: groups, RoleIDs: refIDs(roles),
		GroupIDs: refIDs(groups),
		State:    state, StateReason: optional(reason), Source: u.state.Source,
		DirectoryID: optional(u.state.Directory.ID), DirectoryDN: optional(u.state.Directory.DN),
		HasPassword: u.hasPassword,
		TwoFactor: TwoFactor{
			Required: u.state.TwoFactorRequired, Enrolled: u.state.TwoFactor.Enrolled, BackupCodesLeft: u.codesLeft,
		},
		LastSignInAt: inUTC(lastSignIn), Language: optional(u.state.Language), HasPhoto: u.state.HasPhoto,
		CreatedAt: u.createdAt.UTC(), UpdatedAt: u.updatedAt.UTC(), Revision: u.revision,
	}
}

func inUTC(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	return optional(t.UTC())
}

func refIDs(refs []Ref) []uuid.UUID {
	ids := make([]uuid.UUID, len(refs))
	for i, ref := range refs {
		ids[i] = ref.ID
	}
	return ids
}

// shownColumns are userColumns and the names that go with an account. A role or group whose own projection is behind
// has the name that it had when it was given or joined.
const shownColumns = userColumns + `,
	(SELECT c.name FROM companies c WHERE c.id = u.company_id),
	(SELECT i.last_at FROM sign_ins i WHERE i.user_id = u.id),
	(SELECT coalesce(jsonb_agg(jsonb_build_object('id', s.role_id, 'name', coalesce(r.name, s.role_name))
	ORDER BY r.name_key, s.role_id), '[]')
		FROM user_roles s LEFT JOIN roles r ON r.id = s.role_id WHERE s.user_id = u.id AND s.taken_at IS NULL),
	(SELECT coalesce(jsonb_agg(jsonb_build_object('id', s.group_id, 'name', coalesce(g.name, s.group_name))
	ORDER BY g.name_key, s.group_id), '[]')
		FROM memberships s LEFT JOIN groups g ON g.id = s.group_id WHERE s.user_id = u.id AND s.left_at IS NULL)`

func scanShown(row pgx.Row, now time.Time, place ...any) (User, error) {
	var company *string
	var lastSignIn *time.Time
	var roles, groups []Ref
	u, err := scanUser(row, append([]any{&company, &lastSignIn, &roles, &groups}, place...)...)
	if err != nil {
		return User{}, err
	}
	var ref *Ref
	if id := u.state.Details.CompanyID; id != uuid.Nil {
		ref = &Ref{ID: id}
		if company != nil {
			ref.Name = *company
		}
	}
	return u.show(now, ref, roles, groups, lastSignIn), nil
}

// User gives one account; now decides on its state.
func (r *ReadModels) User(ctx context.Context, id uuid.UUID, now time.Time) (User, error) {
	return orNotFound(scanShown(r.pool.QueryRow(ctx, "SELECT "+shownColumns+" FROM users u WHERE u.id = $1", id), now))
}

// UserAsOf gives one account as it was at a time, with the names that company, roles and groups had then.
func (r *ReadModels) UserAsOf(ctx context.Context, id uuid.UUID, at time.Time) (User, error) {
	u, err := userRows.OneAsOf(ctx, r.pool, id, at)
	if err != nil {
		return User{}, err
	}
	var company *Ref
	if companyID := u.state.Details.CompanyID; companyID != uuid.Nil {
		then, err := companyRows.AsOf(ctx, r.pool, []uuid.UUID{companyID}, at)
		if err != nil {
			return User{}, err
		}
		company = &Ref{ID: companyID}
		if c := then[companyID]; c != nil {
			company.Name = c.state.Name
		}
	}
	rolesThen, err := roleRows.AsOf(ctx, r.pool, slices.Collect(maps.Keys(u.state.Roles)), at)
	if err != nil {
		return User{}, err
	}
	groupsThen, err := groupRows.AsOf(ctx, r.pool, slices.Collect(maps.Keys(u.state.Groups)), at)
	if err != nil {
		return User{}, err
	}
	lastSignIn, err := r.lastSignInAsOf(ctx, id, at)
	if err != nil {
		return User{}, err
	}
	for id, role := range rolesThen {
		u.state.Roles[id] = role.state.Name
	}
	for id, group := range groupsThen {
		u.state.Groups[id] = group.state.Name
	}
	return u.show(at, company, refsByName(u.state.Roles), refsByName(u.state.Groups), lastSignIn), nil
}

func refsByName(names map[uuid.UUID]string) []Ref {
	refs := make([]Ref, 0, len(names))
	for id, name := range names {
		refs = append(refs, Ref{id, name})
	}
	slices.SortFunc(refs, func(a, b Ref) int {
		return cmp.Or(bytes.Compare(nameKey(a.Name), nameKey(b.Name)), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return refs
}

// Superusers gives active accounts that may do everything, at most so many of them.
func (r *ReadModels) Superusers(ctx context.Context, limit int) ([]uuid.UUID, error) {
	return r.ids(ctx, "SELECT id FROM users WHERE superuser AND active ORDER BY name_key, id LIMIT $1", limit)
}

// UserFilter chooses accounts; the zero value chooses all.
type UserFilter struct {
	Query     string // words of the name or e-mail address, or parts of them, in any order and case
	CompanyID *uuid.UUID
	RoleID    *uuid.UUID
	GroupID   *uuid.UUID
	State     string // a State constant
	Source    string
	Superuser *bool
	TwoFactor *bool // whether a device is enrolled

	RequireTwoFactor, HasPassword *bool
	NeverSignedIn                 bool
	EndsBefore                    *domain.Date // whose last day is before this one
}

// Users lists accounts, sorted by name, email or created_at; now decides on their states.
func (r *ReadModels) Users(ctx context.Context, filter UserFilter, page PageRequest,
	now time.Time) (List[User], error) {
	q := query{columns: shownColumns, from: "users u", id: "u.id", byDefault: "name", orders: map[string]order{
		"name": {"u.name_key", newBytes}, "email": {"u.email_key", newText}, "created_at": {"u.created_at", newTime},
	}}
	q.containing("u.search", filter.Query)
	if filter.CompanyID != nil {
		q.where("u.company_id = ?", *filter.CompanyID)
	}
	if filter.RoleID != nil {
		q.where("u.id IN (SELECT user_id FROM user_roles WHERE role_id = ? AND taken_at IS NULL)", *filter.RoleID)
	}
	if filter.GroupID != nil {
		q.where("u.id IN (SELECT user_id FROM memberships WHERE group_id = ? AND left_at IS NULL)", *filter.GroupID)
	}
	if filter.State != "" {
		q.inState(filter.State, now)
	}
	if filter.Source != "" {
		q.where("u.source = ?", filter.Source)
	}
	if filter.Superuser != nil {
		q.whether("u.superuser", *filter.Superuser)
	}
	if filter.TwoFactor != nil {
		q.whether("u.two_factor_enrolled", *filter.TwoFactor)
	}
	if filter.RequireTwoFactor != nil {
		q.whether("u.require_two_factor", *filter.RequireTwoFactor)
	}
	if filter.HasPassword != nil {
		q.whether("u.has_password", *filter.HasPassword)
	}
	if filter.NeverSignedIn {
		q.where("NOT EXISTS (SELECT FROM sign_ins s WHERE s.user_id = u.id)")
	}
	if filter.EndsBefore != nil {
		q.where("u.end_date < ?", filter.EndsBefore.Time())
	}
	return list(ctx, r.pool, q, page, func(rows pgx.Rows, place ...any) (User, error) {
		return scanShown(rows, now, place...)
	})
}
