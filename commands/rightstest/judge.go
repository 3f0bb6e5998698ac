// Package rightstest judges a whole log: whether everybody who did something had the right to it, at that place of the
// log. It reads nothing but the log, and knows the rules anew: it is no part of what decides.
package rightstest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/domain/approval"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/probe"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// Judge follows a log event by event, in its order. The zero value is at its beginning.
type Judge struct {
	accounts    map[string]*user.State // by stream
	groups      map[uuid.UUID]*group.State
	directories map[string]*directory.State
	proposals   map[string]*approval.State

	append struct { // that the last event belongs to
		command uuid.UUID
		stream  string
		rights  access.Rights // of its actor before it
		company uuid.UUID     // to which the aggregate belonged before it
		created bool          // it began the stream
	}
}

// Violation is an event whose actor lacked a right.
type Violation struct {
	Event eventstore.Envelope
	Why   string
}

func (v Violation) String() string {
	return fmt.Sprintf("position %d: %s in %s by %s %s: %s", v.Event.Position, v.Event.Type, v.Event.Stream,
		v.Event.Meta.Actor.Kind, v.Event.Meta.Actor.ID, v.Why)
}

// Follow takes the next event of the log, and gives what was wrong with it; nil for nothing.
func (j *Judge) Follow(e eventstore.Envelope) *Violation {
	if j.accounts == nil {
		j.accounts, j.groups = map[string]*user.State{}, map[uuid.UUID]*group.State{}
		j.directories, j.proposals = map[string]*directory.State{}, map[string]*approval.State{}
	}
	if e.Err != nil || e.Event == nil {
		return nil
	}
	if j.append.command != e.Meta.CommandID || j.append.stream != e.Stream {
		j.append.command, j.append.stream = e.Meta.CommandID, e.Stream
		j.append.rights, j.append.company = j.rights(e), j.companyOf(e.Stream)
		j.append.created = e.Revision == 0
	}
	why := j.judge(e)
	j.evolve(e)
	if why == "" {
		return nil
	}
	return &Violation{e, why}
}

func (j *Judge) account(stream string) *user.State {
	if j.accounts[stream] == nil {
		j.accounts[stream] = &user.State{}
	}
	return j.accounts[stream]
}

func (j *Judge) evolve(e eventstore.Envelope) {
	switch kind, id := domain.SplitStream(e.Stream); kind {
	case user.Kind:
		j.account(e.Stream).Evolve(e.Event)
	case group.Kind:
		parsed, err := uuid.Parse(id)
		if err != nil {
			return
		}
		if j.groups[parsed] == nil {
			j.groups[parsed] = &group.State{}
		}
		j.groups[parsed].Evolve(e.Event)
	case directory.Kind:
		if j.directories[e.Stream] == nil {
			j.directories[e.Stream] = &directory.State{}
		}
		j.directories[e.Stream].Evolve(e.Event)
	case approval.Kind:
		if j.proposals[e.Stream] == nil {
			j.proposals[e.Stream] = &approval.State{}
		}
		j.proposals[e.Stream].Evolve(e.Event)
	}
}

func (j *Judge) rightsOf(account *user.State, e eventstore.Envelope) access.Rights {
	var offers []access.Offer
	for id := range account.Groups {
		if g := j.groups[id]; g != nil {
			offers = append(offers, access.OfferOf(*g))
		}
	}
	return access.RightsOf(access.StandingOf(*account, ""), offers, e.Meta.At)
}

// rights are those of an event's actor.
func (j *Judge) rights(e eventstore.Envelope) access.Rights {
	if e.Meta.Actor.Kind != eventstore.ActorUser {
		return access.Everything()
	}
	return j.rightsOf(j.account(user.Kind+"-"+e.Meta.Actor.ID), e)
}

func (j *Judge) companyOf(stream string) uuid.UUID {
	kind, id := domain.SplitStream(stream)
	parsed, err := uuid.Parse(id)
	switch {
	case err != nil:
	case kind == user.Kind, kind == "signin":
		return j.account(user.Kind + "-" + id).Details.CompanyID
	case kind == group.Kind && j.groups[parsed] != nil:
		return j.groups[parsed].CompanyID
	case kind == directory.Kind && j.directories[stream] != nil:
		return j.directories[stream].Settings.CompanyID
	case kind == probe.DirectoryKind:
		return j.companyOf(directory.Kind + "-" + id)
	case kind == "company":
		return parsed
	}
	return uuid.Nil
}

// byItself lists what needs no permission: what people do to their own account, and what anybody may cause.
var byItself = map[string]bool{
	"user.name_changed": true, "user.phone_changed": true, "user.language_changed": true, "user.photo_changed": true,
	"user.photo_removed": true, "user.sessions_ended": true, "user.superuser_exercised": true,
}

// free are kinds of streams whose events need no permission, or say themselves that one was checked for a query.
var free = []string{"audit", "contactmessage", "installation", "email", "companyname", "groupname", "rolename",
	"directoryname", "mailservername", "claim"}

// judge says what was wrong with an event; "" for nothing.
func (j *Judge) judge(e eventstore.Envelope) string {
	if e.Meta.Actor.Kind != eventstore.ActorUser {
		return ""
	}
	kind, id := domain.SplitStream(e.Stream)
	rights := j.append.rights
	need := func(module string, action domain.Action) string {
		if rights.AllowsFor(j.append.company, module, action) {
			return ""
		}
		return "lacked " + module + "." + string(action)
	}
	edits := func(module string) string {
		if j.append.created {
			if kind != "settings" && kind != "module" {
				return "" // the company to which it belongs, afterCreation judges
			}
		}
		return need(module, domain.Edit)
	}
	own := e.Meta.Actor.ID == id
	switch kind {
	case user.Kind:
		return j.judgeAccount(e, own, need)
	case "signin":
		if e.Type == "signin.unlocked" {
			return need("users", domain.Edit)
		}
	case group.Kind:
		return j.judgeGroup(e, need)
	case approval.Kind:
		return j.judgeProposal(e)
	case "company":
		return cmp.Or(creation(e, "companies", uuid.Nil, rights), edits("companies"))
	case "role":
		return cmp.Or(creation(e, "roles", uuid.Nil, rights), edits("roles"))
	case directory.Kind:
		if e.Type == "directory.vouched_for" && !rights.Superuser {
			return "approved a directory without being a superuser"
		}
		company := uuid.Nil
		if connected, ok := e.Event.(directory.Connected); ok {
			company = connected.CompanyID
		}
		return cmp.Or(creation(e, "directory", company, rights), edits("directory"))
	case "mailserver", "mailaccount":
		return cmp.Or(creation(e, "mail", uuid.Nil, rights), edits("mail"))
	case probe.DirectoryKind:
		if e.Type == (probe.DirectoryChecked{}).EventType() {
			return need("directory", domain.View)
		}
		return need("directory", domain.Edit)
	case probe.MailKind:
		return need("mail", domain.Edit)
	case "mailmessage":
		if e.Type == "mailmessage.retried" {
			return need("mail", domain.Edit)
		}
	case "settings":
		switch {
		case e.Type == "settings.security_changed" && !rights.Superuser:
			return "changed the security settings without being a superuser"
		case e.Type == "settings.mail_route_set":
			if !rights.Allows("mail", domain.Edit) {
				return "lacked mail.edit"
			}
			return ""
		}
		return need("settings", domain.Edit)
	case "module":
		return need("settings", domain.Edit)
	default:
		if !slices.Contains(free, kind) && !strings.HasPrefix(e.Type, "claim.") {
			return "nobody said which right an event of a stream " + kind + " takes"
		}
	}
	return ""
}

// creation judges the first event of a stream.
func creation(e eventstore.Envelope, module string, company uuid.UUID, rights access.Rights) string {
	if e.Revision != 0 || rights.AllowsFor(company, module, domain.Add) {
		return ""
	}
	return "lacked " + module + ".add"
}

func (j *Judge) judgeAccount(e eventstore.Envelope, own bool, need func(string, domain.Action) string) string {
	rights, account := j.append.rights, j.account(e.Stream)
	switch {
	case own && (byItself[e.Type] || ownOnly(e.Event)):
		return ""
	case ownOnly(e.Event):
		return "did what only the owner can do"
	}
	if strings.HasPrefix(e.Type, "claim.") {
		return ""
	}
	if registered, ok := e.Event.(user.Registered); ok {
		return creation(e, "users", registered.CompanyID, rights)
	}
	switch changed := e.Event.(type) {
	case user.SuperuserGranted, user.SuperuserRevoked:
		if !rights.Superuser || !rights.Usable() {
			return "was no superuser"
		}
	case user.CompanyChanged:
		if !rights.AllowsFor(changed.CompanyID.To, "users", domain.Edit) {
			return "moved the account where users.edit does not reach"
		}
	case user.GroupJoined:
		if g := j.groups[changed.GroupID]; g != nil && !rights.Superuser {
			if missing := (domain.Granted{g.CompanyID: g.Permissions}).Missing(rights.Granted); len(missing) > 0 {
				return "gave " + missing[0] + " without having it"
			}
		}
	}
	if !j.append.created && user.EasesTakeover(e.Event) {
		if lacking := rights.Lacks(j.rightsOf(account, e)); len(lacking) > 0 {
			return "got hold of an account with " + lacking[0]
		}
	}
	if account.Superuser && !rights.Superuser && !j.append.created {
		return "changed the account of a superuser"
	}
	if j.append.created {
		return ""
	}
	return need("users", domain.Edit)
}

// ownOnly says whether only the owner of an account can do something, or somebody with a secret of the account.
func ownOnly(event domain.Event) bool {
	switch event.(type) {
	case user.PasswordSet, user.PasswordRehashed, user.FirstLoginUsed, user.TwoFactorPrepared,
		user.TwoFactorEnrolled, user.TwoFactorDisabled, user.BackupCodesReplaced, user.BackupCodeUsed,
		user.PhotoChanged, user.PhotoRemoved, user.LanguageChanged, user.SuperuserExercised:
		return true
	}
	return false
}

// judgeProposal judges what is done about a proposal. The change that it led to is judged as any other.
func (j *Judge) judgeProposal(e eventstore.Envelope) string {
	proposal, isNew := e.Event.(approval.Proposed)
	if !isNew {
		if j.proposals[e.Stream] == nil {
			return "decided on nothing"
		}
		proposal = j.proposals[e.Stream].Proposed
	}
	if by := e.Meta.Actor.ID == proposal.By.String(); by != (isNew || e.Type == "approval.withdrawn") {
		return "took the part of the other person"
	}
	module, action := "users", domain.Edit
	switch {
	case proposal.Operation == "create-group":
		module, action = "groups", domain.Add
	case strings.HasSuffix(proposal.Operation, "-group"):
		module = "groups"
	}
	if !j.append.rights.AllowsFor(proposal.CompanyID, module, action) {
		return "lacked " + module + "." + string(action)
	}
	return ""
}

func (j *Judge) judgeGroup(e eventstore.Envelope, need func(string, domain.Action) string) string {
	rights := j.append.rights
	lacks := func(company uuid.UUID, permissions domain.Permissions) string {
		if rights.Superuser {
			return ""
		}
		if missing := (domain.Granted{company: permissions}).Missing(rights.Granted); len(missing) > 0 {
			return "gave " + missing[0] + " without having it"
		}
		return ""
	}
	if created, ok := e.Event.(group.Created); ok {
		return cmp.Or(creation(e, "groups", created.CompanyID, rights),
			lacks(created.CompanyID, created.Permissions))
	}
	if strings.HasPrefix(e.Type, "claim.") {
		return ""
	}
	id, err := uuid.Parse(strings.TrimPrefix(e.Stream, group.Kind+"-"))
	if err != nil || j.groups[id] == nil {
		return "changed a group that there is not"
	}
	before := *j.groups[id]
	why := need("groups", domain.Edit)
	switch changed := e.Event.(type) {
	case group.PermissionsChanged:
		why = cmp.Or(why, lacks(before.CompanyID, changed.Permissions.To.Without(changed.Permissions.From)))
	case group.Renamed:
		why = cmp.Or(why, lacks(before.CompanyID, before.Permissions))
	case group.MadeGlobal:
		why = cmp.Or(why, lacks(uuid.Nil, before.Permissions))
	}
	return why
}
