package processes

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/approval"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/mailing/mailtest"
)

// Superusers are told of a proposal, and who made it of the end, also when that comes by itself.
func TestProposalsAreToldOfAndEndByThemselves(t *testing.T) {
	t.Parallel()
	o, sink := newOffice(t), mailtest.NewSink(t)
	o.siteAccount(sink)
	superusers := []string{"olena@example.com", "root@example.com", "second@example.com"}
	var subject uuid.UUID
	for _, email := range superusers {
		subject = o.person(email)
	}
	editors, err := o.CreateGroup(t.Context(), commands.Operator(),
		group.Details{Name: "Editors", Permissions: domain.Permissions{"users": {View: true, Edit: true}}})
	if err != nil {
		t.Fatal(err)
	}
	desk, err := o.RegisterUser(t.Context(), commands.Operator(), commands.RegisterUser{
		Details: user.Details{Email: "desk@example.com"}, GroupIDs: []uuid.UUID{uuid.MustParse(editors.ID)},
	})
	if err != nil {
		t.Fatal(err)
	}
	o.start()
	o.eventually("the superusers are known", func() bool {
		known, err := o.readModels.Superusers(t.Context(), 10)
		return err == nil && len(known) == len(superusers)
	})
	by := commands.Caller{Actor: eventstore.Actor{Kind: eventstore.ActorUser, ID: desk.ID}, CommandID: uuid.New()}
	proposed, err := o.Propose(t.Context(), by,
		commands.Proposal{Operation: "unlock-user", SubjectID: subject, Reason: "asked by phone"})
	if err != nil {
		t.Fatal(err)
	}
	told := func(notice string) (to []string) {
		for _, m := range o.messages() {
			if m.Notice != nil && *m.Notice == notice {
				to = append(to, m.To)
			}
		}
		slices.Sort(to)
		return to
	}
	o.eventually("superusers are told", func() bool {
		return slices.Equal(told(mailmessage.NoticeProposed), superusers)
	})
	o.background((&Approvals{
		Commands: o.Handler, Expired: o.readModels.ExpiredApprovals, Logger: slog.New(slog.DiscardHandler),
		Pace: 10 * time.Millisecond,
	}).Run)
	o.pass(approval.Life)
	o.eventually("who proposed is told", func() bool {
		return slices.Equal(told(mailmessage.NoticeDecided), []string{"desk@example.com"})
	})
	ended, err := o.Proposal(t.Context(), domain.StreamName(approval.Kind, uuid.MustParse(proposed.ID)))
	if err != nil || ended.State != approval.StateExpired {
		t.Errorf("it is %s, %v", ended.State, err)
	}
}
