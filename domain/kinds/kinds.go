// Package kinds lists the kinds of aggregates, each once. What has to know them all - the codec, the histories, the
// audit, a replay of the log, the unique values - takes them from here.
package kinds

import (
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/approval"
	"github.com/secboard/secboard/domain/audit"
	"github.com/secboard/secboard/domain/claim"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/contact"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/installation"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/mailserver"
	"github.com/secboard/secboard/domain/module"
	"github.com/secboard/secboard/domain/probe"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
)

// Kind is one kind of aggregate. How its events' subject is named is said by exactly one of New, Names, About and
// Nameless.
type Kind struct {
	Name   string         // first part of the names of its streams, and of its events' types
	Events []domain.Event // zero values

	New      func() Aggregate  // an aggregate before its first event, which then says its name
	Names    map[string]string // the names of its only aggregates, by the second part of their streams' names
	About    string            // the kind that its events are about, under the same id
	Nameless string            // why it has no name
}

// Aggregate is folded from its events, and has a name for people.
type Aggregate interface {
	Evolve(event domain.Event)
	// SubjectName is what people call it; empty before its first event.
	SubjectName() string
}

// All are the kinds, in the order of their names.
var All = []Kind{
	{Name: approval.Kind, Events: approval.Events, New: fresh[approval.State]},
	{Name: audit.Kind, Events: audit.Events, Nameless: "one query of the audit, which its event's summary tells"},
	{Name: "claim", Events: claim.Events, Nameless: "streams are named by an HMAC, so that nobody learns the value"},
	{Name: company.Kind, Events: company.Events, New: fresh[company.State]},
	{Name: contact.Kind, Events: contact.Events, New: fresh[contact.State]},
	{Name: directory.Kind, Events: directory.Events, New: fresh[directory.State]},
	{Name: probe.DirectoryKind, Events: probe.DirectoryEvents, About: directory.Kind},
	{Name: group.Kind, Events: group.Events, New: fresh[group.State]},
	{Name: installation.Kind, Events: installation.Events, Names: installation.Names},
	{Name: mailaccount.Kind, Events: mailaccount.Events, New: fresh[mailaccount.State]},
	{Name: mailmessage.Kind, Events: mailmessage.Events, New: fresh[mailmessage.State]},
	{Name: mailserver.Kind, Events: mailserver.Events, New: fresh[mailserver.State]},
	{Name: probe.MailKind, Events: probe.MailEvents, About: mailaccount.Kind},
	{Name: module.Kind, Events: module.Events, New: fresh[module.State]},
	{Name: role.Kind, Events: role.Events, New: fresh[role.State]},
	{Name: settings.Kind, Events: settings.Events, Names: settings.Names},
	{Name: signin.Kind, Events: signin.Events, About: user.Kind},
	{Name: user.Kind, Events: user.Events, New: fresh[user.State]},
}

func fresh[S any, P interface {
	*S
	Aggregate
}]() Aggregate {
	return P(new(S))
}

var byName = func() map[string]Kind {
	byName := map[string]Kind{}
	for _, kind := range All {
		byName[kind.Name] = kind
	}
	return byName
}()

// Of gives a kind by its name.
func Of(name string) (Kind, bool) {
	kind, known := byName[name]
	return kind, known
}

// Subject gives what the events of a stream are about.
func Subject(stream string) (kind, id string) {
	kind, id = domain.SplitStream(stream)
	if about := byName[kind].About; about != "" {
		kind = about
	}
	return kind, id
}
