package projections

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/domain/claim"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/kinds"
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
	groups   map[uuid.UUID][]access.Version[access.Offer]
	modules  []string
	subjects map[subject]kinds.Aggregate // all but accounts and groups, for their names
	signIns  map[uuid.UUID]time.Time
}

type replayedAccount struct {
	row         *userRow
	versions    []access.Version[access.Standing]
	memberships []access.Membership
}

// NewReplay makes a Replay before the first event.
func NewReplay() *Replay {
	return &Replay{
		accounts: map[uuid.UUID]*replayedAccount{}, states: map[uuid.UUID]*group.State{},
		groups:  map[uuid.UUID][]access.Version[access.Offer]{},
		modules: slices.Clone(domain.OwnModules), subjects: map[subject]kinds.Aggregate{},
		signIns: map[uuid.UUID]time.Time{},
	}
}

// Apply applies the next event. Events come in the order of the log; those that don't matter are skipped.
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
	if _, succeeded := e.Event.(signin.Succeeded); succeeded {
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
	r.applyToSubject(subject{kind, name}, e.Event)
	return nil
}

func (r *Replay) applyToSubject(about subject, event domain.Event) {
	s := r.subjects[about]
	if s == nil {
		kind, _ := kinds.Of(about.kind)
		if kind.New == nil {
			return
		}
		s = kind.New()
		r.subjects[about] = s
	}
	s.Evolve(event)
}

// nameOf is the name of a subject; empty for none.
func (r *Replay) nameOf(about subject) string {
	if name, fixed := fixedName(about); fixed {
		return name
	}
	if s := r.subjects[about]; s != nil {
		return s.SubjectName()
	}
	id, err := uuid.Parse(about.id)
	if err != nil {
		return ""
	}
	switch a, g := r.accounts[id], r.states[id]; {
	case about.kind == user.Kind && a != nil:
		return a.row.state.SubjectName()
	case about.kind == group.Kind && g != nil:
		return g.SubjectName()
	}
	return ""
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
		a.memberships = append(a.memberships, access.Membership{Group: event.GroupID, Joined: causeOf(e)})
	case user.GroupSynced:
		a.memberships = append(a.memberships, access.Membership{Group: event.GroupID, Joined: causeOf(e)})
	case user.GroupLeft:
		for i := range a.memberships {
			if m := &a.memberships[i]; m.Group == event.GroupID && m.Left == nil {
				left := causeOf(e)
				m.Left = &left
			}
		}
	}
	standing := access.StandingOf(a.row.state, a.row.reason)
	a.versions = append(a.versions, access.Version[access.Standing]{Cause: causeOf(e), State: standing})
	return nil
}

func (r *Replay) applyToGroup(id uuid.UUID, e *eventstore.Envelope) {
	state := r.states[id]
	if state == nil {
		state = &group.State{}
		r.states[id] = state
	}
	state.Evolve(e.Event)
	r.groups[id] = append(r.groups[id], access.Version[access.Offer]{Cause: causeOf(e), State: access.OfferOf(*state)})
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
		in = &Ref{ID: s.Details.CompanyID, Name: r.nameOf(subject{company.Kind, s.Details.CompanyID.String()})}
	}
	roles, groups := map[uuid.UUID]string{}, map[uuid.UUID]string{}
	for roleID := range s.Roles {
		roles[roleID] = r.nameOf(subject{role.Kind, roleID.String()})
	}
	for groupID := range s.Groups {
		groups[groupID] = r.nameOf(subject{group.Kind, groupID.String()})
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
	return optional(r.nameOf(subject{company.Kind, id.String()}))
}

// Concerns says whether an event is about an account: its own, a sign-in, or of a group that it is in.
func (r *Replay) Concerns(e *eventstore.Envelope, id uuid.UUID) bool {
	about := subjectOf(e.Stream)
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

// Read makes an event readable, with the names at that time.
func (r *Replay) Read(e *eventstore.Envelope) AuditEvent {
	about := subjectOf(e.Stream)
	read := AuditEvent{
		HistoryEntry: HistoryEntry{
			ID: e.ID, Position: e.Position, Revision: e.Revision, Type: e.Type, Summary: e.Event.Summary(),
			At:    e.Meta.At.UTC(),
			Actor: *shownActor(access.Actor(e.Meta.Actor)), IP: optional(e.Meta.IP),
			UserAgent: optional(e.Meta.UserAgent), Changes: []HistoryChange{},
			CorrelationID: e.Meta.CorrelationID, CausationID: e.Meta.CausationID,
		},
		Subject: Subject{Kind: about.kind, ID: about.id, Name: optional(r.nameOf(about))},
	}
	for _, change := range domain.ChangesOf(e.Event) {
		read.Changes = append(read.Changes, HistoryChange{
			Field: change.Field, From: change.From, To: change.To, FromName: r.companyName(change.Field, change.From),
			ToName: r.companyName(change.Field, change.To),
		})
	}
	r.nameActor(&read.Actor)
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
		if versions[len(versions)-1].State.Allows(filter.Module, filter.Action) {
			offering = append(offering, groupID)
		}
	}
	answer := accountAccess(r.facts(a, now), id, filter, offering)
	answer.Email, answer.Name = a.row.state.Details.Email, a.row.state.Details.Name()
	for i := range answer.Because {
		r.nameActor(answer.Because[i].Actor)
		answer.Because[i].sign()
	}
	for _, actor := range actorsOf(answer.Items) {
		r.nameActor(actor)
	}
	return answer, nil
}

func (r *Replay) facts(a *replayedAccount, now time.Time) *access.Facts {
	return &access.Facts{
		Now: now, Account: a.versions, Memberships: a.memberships, Groups: r.groups, Modules: r.modules,
	}
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
		items := shownItems(r.facts(a, now).Items(filter.Module, filter.Action))
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
	actor.Name = optional(cmp.Or(actor.known(), r.nameOf(actor.subject())))
}
