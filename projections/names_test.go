package projections

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/approval"
	"github.com/secboard/secboard/domain/audit"
	"github.com/secboard/secboard/domain/claim"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/contact"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/installation"
	"github.com/secboard/secboard/domain/kinds"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/mailserver"
	"github.com/secboard/secboard/domain/module"
	"github.com/secboard/secboard/domain/probe"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/postgres/pgtest"
)

// In the audit, and in a replay of the log, every event's subject has the name that it has at the end, but for the
// kinds whose entry says why they have none.
func TestTheSubjectOfEveryKindIsNamed(t *testing.T) {
	t.Parallel()
	id := uuid.MustParse("018f0000-0000-7000-8000-000000000001")
	renamed := domain.Changed[string]{From: "Old", To: "New"}
	type story struct {
		stream string
		name   string // of the subject; empty for none
		events []domain.Event
	}
	stories := map[string]story{
		audit.Kind: {domain.StreamName(audit.Kind, id), "", []domain.Event{audit.EventsRead{}}},
		"claim":    {"email-abc", "", []domain.Event{claim.Reserved{Owner: "user-x"}}},
		company.Kind: {domain.StreamName(company.Kind, id), "New", []domain.Event{
			company.Created{Name: "Old"}, company.Renamed{Name: renamed},
		}},
		contact.Kind: {domain.StreamName(contact.Kind, id), "New", []domain.Event{
			contact.Received{Name: "Anna", Email: "anna@example.com", Subject: "New"},
		}},
		directory.Kind: {domain.StreamName(directory.Kind, id), "New", []domain.Event{
			directory.Connected{Name: "Old"}, directory.Renamed{Name: renamed},
		}},
		approval.Kind: {domain.StreamName(approval.Kind, id), "New", []domain.Event{
			approval.Proposed{Operation: "change-user", Subject: "New"},
		}},
		probe.DirectoryKind: { // the directory's
			domain.StreamName(probe.DirectoryKind, id), "New", []domain.Event{probe.DirectoryTested{}},
		},
		probe.MailKind: {domain.StreamName(probe.MailKind, id), "New", []domain.Event{probe.MailSent{}}},
		group.Kind: {
			domain.StreamName(group.Kind, id), "New",
			[]domain.Event{group.Created{Name: "Old"}, group.Renamed{Name: renamed}},
		},
		installation.Kind: {installation.Stream, "SecBoard", []domain.Event{installation.Initialized{Keyset: "k"}}},
		mailaccount.Kind: {domain.StreamName(mailaccount.Kind, id), "New", []domain.Event{
			mailaccount.Created{Address: "Old"}, mailaccount.SenderChanged{Address: renamed},
		}},
		mailmessage.Kind: {domain.StreamName(mailmessage.Kind, id), "New", []domain.Event{
			mailmessage.Queued{To: "anna@example.com", Subject: "New"},
		}},
		mailserver.Kind: {domain.StreamName(mailserver.Kind, id), "New", []domain.Event{
			mailserver.Created{Name: "Old"}, mailserver.Renamed{Name: renamed},
		}},
		module.Kind: {
			"module-risks", "New",
			[]domain.Event{module.Registered{Key: "risks", Name: "Old"}, module.Renamed{Name: renamed}},
		},
		role.Kind: {
			domain.StreamName(role.Kind, id), "New",
			[]domain.Event{role.Created{Name: "Old"}, role.Renamed{Name: renamed}},
		},
		settings.Kind: {settings.SecurityStream, "Security settings", []domain.Event{settings.SecurityChanged{}}},
		signin.Kind:   {domain.StreamName(signin.Kind, id), "New", []domain.Event{signin.Challenged{}}}, // an account's
		user.Kind: {domain.StreamName(user.Kind, id), "New", []domain.Event{
			user.Registered{Email: "anna@example.com", LastName: "Old"}, user.NameChanged{LastName: renamed},
		}},
	}
	var log []eventstore.Envelope
	for _, kind := range kinds.All {
		told := stories[kind.Name]
		if len(told.events) == 0 {
			t.Errorf("no story tells of a %s", kind.Name)
			continue
		}
		if (told.name == "") != (kind.Nameless != "") {
			t.Errorf("%s: called %q, but nameless because %q", kind.Name, told.name, kind.Nameless)
		}
		log = append(log, recorded(t, len(log), told.stream, told.events)...)
	}
	pool := pgtest.NewDatabase(t)
	emptyReadModels(t, pool)
	play(t, pool, 0, log, 5)
	found, _, err := NewReadModels(pool).AuditEvents(t.Context(), AuditFilter{}, AuditPage{Limit: MaxLimit})
	if err != nil || len(found) != len(log) {
		t.Fatal(len(found), err)
	}
	replay := NewReplay()
	for i := range log {
		if err := replay.Apply(&log[i]); err != nil {
			t.Fatal(err)
		}
	}
	for i := range log {
		e := &log[i]
		kind, _, _ := strings.Cut(e.Type, ".")
		want := optional(stories[kind].name)
		if diff := cmp.Diff(want, found[len(log)-1-i].Subject.Name); diff != "" {
			t.Errorf("%s in the audit (-want +got):\n%s", e.Type, diff)
		}
		if diff := cmp.Diff(want, replay.Read(e).Subject.Name); diff != "" {
			t.Errorf("%s in a replay (-want +got):\n%s", e.Type, diff)
		}
	}
}

// recorded is a stream's events as the log holds them behind so many others.
func recorded(t testing.TB, before int, stream string, events []domain.Event) []eventstore.Envelope {
	t.Helper()
	at, command := time.Date(2026, 6, 1, 0, 0, before, 0, time.UTC), uuid.New()
	proposed, err := eventstore.Encode(stream, eventstore.NoStream, events, eventstore.Metadata{
		At: at, Actor: eventstore.Actor{Kind: eventstore.ActorOperator}, CommandID: command, CorrelationID: command,
		CausationID: command,
	})
	if err != nil {
		t.Fatal(err)
	}
	log := make([]eventstore.Envelope, len(proposed))
	for i, p := range proposed {
		log[i] = eventstore.Decode(eventstore.Recorded{
			ID: p.ID, Stream: stream, Revision: eventstore.Revision(i),
			Position: eventstore.Position(10 * (before + i + 1)),
			Type:     p.Type, Created: at, Data: p.Data, Metadata: p.Metadata,
		})
	}
	return log
}
