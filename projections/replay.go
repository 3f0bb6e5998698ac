package projections

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/claim"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/module"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// Replay answers who may do what from events alone, without Postgres: as all that was applied leaves it. It is the
// measure for the read models of access.
type Replay struct {
	accounts map[uuid.UUID]*replayedAccount
	states   map[uuid.UUID]*group.State
	groups   map[uuid.UUID][]groupVersion
	modules  []string
	names    map[subject]string // of companies, directories, roles and modules
	signIns  map[uuid.UUID]time.Time
}

type replayedAccount struct {
	row      *userRow
	versions []accountVersion
	stays    []membership
}

// NewReplay makes a Replay before the first event.
func NewReplay() *Replay {
	return &Replay{
		accounts: map[uuid.UUID]*replayedAccount{}, states: map[uuid.UUID]*group.State{}, groups: map[uuid.UUID][]groupVersion{},
		modules: slices.Clone(domain.OwnModules), names: map[subject]string{}, signIns: map[uuid.UUID]time.Time{},
	}
}

// Apply goes on by one event. Events come in the order of the log; those that don't matter are passed over.
func (r *Replay) Apply(e *eventstore.Envelope) error {
	if e.Foreign() {
		return nil
	}
	if e.Err != nil {
		return e.Err
	}
	kind, name := domain.SplitStream(e.Stream)
	if _, fence := e.Event.(claim.Contested); fence {
		return nil
	}
	switch event := e.Event.(type) {
	case company.Created:
		r.names[subject{kind, name}] = event.Name
	case company.Renamed:
		r.names[subject{kind, name}] = event.Name.To
	case directory.Connected:
		r.names[subject{kind, name}] = event.Name
	case directory.Renamed:
		r.names[subject{kind, name}] = event.Name.To
	case role.Created:
		r.names[subject{kind, name}] = event.Name
	case role.Renamed:
		r.names[subject{kind, name}] = event.Name.To
	case module.Registered:
		r.names[subject{kind, name}] = event.Name
	case module.Renamed:
		r.names[subject{kind, name}] = event.Name.To
	case signin.Succeeded:
		if id, err := uuid.Parse(name); err == nil {
			r.signIns[id] = e.Meta.At
		}
	}
	switch kind {
	case user.Kind, group.Kind:
		id, err := uuid.Parse(name)
		if err != nil {
			return err
		}
		if kind == group.Kind {
			r.applyToGroup(id, e)
			return nil
		}
		return r.applyToAccount(id, e)
	case module.Kind:
		if !slices.Contains(r.modules, name) {
			r.modules = append(r.modules, name)
		}
	}
	return nil
}

func (r *Replay) applyToAccount(id uuid.UUID, e *eventstore.Envelope) error {
	a := r.accounts[id]
	if a == nil {
		a = &replayedAccount{row: newUserRow(id)}
		r.accounts[id] = a
	}
	if err := a.row.Apply(e); err != nil {
		return err
	}
	switch event := e.Event.(type) {
	case user.GroupJoined:
		a.stays = append(a.stays, membership{group: event.GroupID, joined: versionOf(e)})
	case user.GroupSynced:
		a.stays = append(a.stays, membership{group: event.GroupID, joined: versionOf(e)})
	case user.GroupLeft:
		for i := range a.stays {
			if stay := &a.stays[i]; stay.group == event.GroupID && stay.left == nil {
				left := versionOf(e)
				stay.left = &left
			}
		}
	}
	s := a.row.state
	a.versions = append(a.versions, accountVersion{versionOf(e), standing{
		companyID: s.Details.CompanyID, active: s.Active, reason: a.row.reason, superuser: s.Superuser,
		start: s.Details.StartDate, end: s.Details.EndDate, closed: s.Directory.Disabled, closedFor: s.Directory.Reason,
	}})
	return nil
}

func (r *Replay) applyToGroup(id uuid.UUID, e *eventstore.Envelope) {
	state := r.states[id]
	if state == nil {
		state = &group.State{}
		r.states[id] = state
	}
	state.Evolve(e.Event)
	r.groups[id] = append(r.groups[id], groupVersion{versionOf(e), offer{
		name: state.Name, companyID: state.CompanyID, retired: state.Retired, permissions: state.Permissions.Normalized(),
	}})
}

// Accounts gives the ids of all accounts, in order.
func (r *Replay) Accounts() []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(r.accounts))
	for id := range r.accounts {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	return ids
}

// Account gives an account; now decides on its state. ErrNotFound where there is none.
func (r *Replay) Account(id uuid.UUID, now time.Time) (User, error) {
	a := r.accounts[id]
	if a == nil {
		return User{}, ErrNotFound
	}
	s := a.row.state
	var in *Ref
	if s.Details.CompanyID != uuid.Nil {
		in = &Ref{ID: s.Details.CompanyID, Name: r.names[subject{company.Kind, s.Details.CompanyID.String()}]}
	}
	roles, groups := map[uuid.UUID]string{}, map[uuid.UUID]string{}
	for roleID := range s.Roles {
		roles[roleID] = r.names[subject{role.Kind, roleID.String()}]
	}
	for groupID := range s.Groups {
		groups[groupID] = r.groupName(groupID)
	}
	var last *time.Time
	if at, signedIn := r.signIns[id]; signedIn {
		last = &at
	}
	return a.row.show(now, in, refsByName(roles), refsByName(groups), last), nil
}

// companyName is the name of the company whose id a change holds; nil for any other value.
func (r *Replay) companyName(field string, value any) *string {
	id, ok := value.(uuid.UUID)
	if !ok || field != company.Kind+"_id" {
		return nil
	}
	return optional(r.names[subject{company.Kind, id.String()}])
}

func (r *Replay) groupName(id uuid.UUID) string {
	if state := r.states[id]; state != nil {
		return state.Name
	}
	return ""
}

// Concerns says whether an event is about an account: its own, a sign-in, or of a group that it is in.
func (r *Replay) Concerns(e *eventstore.Envelope, id uuid.UUID) bool {
	kind, name := domain.SplitStream(e.Stream)
	about := subjectOf(kind, name)
	if about.kind == user.Kind {
		return about.id == id.String()
	}
	if a := r.accounts[id]; a != nil && about.kind == group.Kind {
		groupID, err := uuid.Parse(about.id)
		_, member := a.row.state.Groups[groupID]
		return err == nil && member
	}
	return false
}

// Read makes an event readable, with the names of the moment.
func (r *Replay) Read(e *eventstore.Envelope) AuditEvent {
	about := subjectOf(domain.SplitStream(e.Stream))
	read := AuditEvent{
		HistoryEntry: HistoryEntry{
			ID: e.ID, Position: e.Position, Revision: e.Revision, Type: e.Type, Summary: e.Event.Summary(), At: e.Meta.At.UTC(),
			Actor: versionOf(e).actor, IP: optional(e.Meta.IP), UserAgent: optional(e.Meta.UserAgent), Changes: []HistoryChange{},
			CorrelationID: e.Meta.CorrelationID, CausationID: e.Meta.CausationID,
		},
		Subject: Subject{Kind: about.kind, ID: about.id, Name: optional(r.names[about])},
	}
	for _, change := range domain.ChangesOf(e.Event) {
		read.Changes = append(read.Changes, HistoryChange{
			Field: change.Field, From: change.From, To: change.To, FromName: r.companyName(change.Field, change.From), ToName: r.companyName(change.Field, change.To),
		})
	}
	r.nameActor(&read.Actor)
	if id, err := uuid.Parse(about.id); err == nil {
		if a := r.accounts[id]; a != nil && about.kind == user.Kind {
			read.Subject.Name = optional(a.row.state.Details.Name())
		} else if about.kind == group.Kind {
			read.Subject.Name = optional(r.groupName(id))
		}
	}
	return read
}

// Access gives what an account may do; now decides on days. ErrNotFound where there is no such account.
func (r *Replay) Access(id uuid.UUID, filter AccessFilter, now time.Time) (AccountAccess, error) {
	a := r.accounts[id]
	if a == nil {
		return AccountAccess{}, ErrNotFound
	}
	var offering []uuid.UUID
	for groupID, versions := range r.groups {
		if versions[len(versions)-1].allows(filter.Module, filter.Action) {
			offering = append(offering, groupID)
		}
	}
	access := r.facts(a, now).access(id, filter, offering)
	access.Email, access.Name = a.row.state.Details.Email, a.row.state.Details.Name()
	for i := range access.Because {
		r.nameActor(access.Because[i].Actor)
		access.Because[i].sign()
	}
	for _, actor := range actorsOf(access.Items) {
		r.nameActor(actor)
	}
	return access, nil
}

func (r *Replay) facts(a *replayedAccount, now time.Time) *accessFacts {
	return &accessFacts{now: now, account: a.versions, stays: a.stays, groups: r.groups, modules: r.modules}
}

// WhoMay gives everybody who may do something, as ReadModels.WhoMay does over all its pages.
func (r *Replay) WhoMay(filter AccessFilter, now time.Time) []AccessHolder {
	var holders []AccessHolder
	for _, id := range r.Accounts() {
		a := r.accounts[id]
		d := a.row.state.Details
		if filter.CompanyID != nil && d.CompanyID != *filter.CompanyID {
			continue
		}
		items := r.facts(a, now).items(filter.Module, filter.Action)
		for _, actor := range actorsOf(items) {
			r.nameActor(actor)
		}
		for _, item := range items {
			holders = append(holders, AccessHolder{id, d.Email, d.Name(), item})
		}
	}
	return holders
}

// nameActor gives an actor its name, as nameActors does.
func (r *Replay) nameActor(actor *Actor) {
	if actor == nil {
		return
	}
	id, isAccount := actor.nameKnown()
	if a := r.accounts[id]; isAccount && a != nil {
		actor.Name = optional(a.row.state.Details.Name())
	}
	if actor.Kind == eventstore.ActorDirectory && actor.ID != nil {
		actor.Name = optional(r.names[subject{directory.Kind, *actor.ID}])
	}
}
