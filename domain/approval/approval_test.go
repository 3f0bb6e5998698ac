package approval_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/approval"
	"github.com/secboard/secboard/domain/scenario"
)

var (
	start    = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	proposer = uuid.UUID{1}
	other    = uuid.UUID{2}
	proposed = approval.Proposed{
		Operation: "change-user", By: proposer, SubjectID: uuid.UUID{3}, Subject: "Anna", Reason: "new name",
		ExpiresAt: start.Add(approval.Life),
	}
)

func TestAProposalTakesAnotherPerson(t *testing.T) {
	t.Parallel()
	propose := func(p approval.Proposed) func(approval.State) ([]domain.Event, error) {
		return func(s approval.State) ([]domain.Event, error) { return approval.Propose(s, p) }
	}
	scenario.Given[approval.State]().When(propose(proposed)).Then(t, proposed)
	scenario.Given[approval.State](proposed).When(propose(proposed)).Then(t)
	silent, own := proposed, proposed
	silent.Reason, own.SubjectID = " ", proposer
	scenario.Given[approval.State]().When(propose(silent)).ThenInvalid(t, "reason")
	scenario.Given[approval.State]().When(propose(own)).ThenRefused(t, "own_account")
}

func TestAProposalIsDecidedOnce(t *testing.T) {
	t.Parallel()
	decisions := map[string]func(approval.State, uuid.UUID, time.Time) ([]domain.Event, error){
		"confirm":  approval.Confirm,
		"withdraw": approval.Withdraw,
		"refuse": func(s approval.State, by uuid.UUID, now time.Time) ([]domain.Event, error) {
			return approval.Refuse(s, by, "no need", now)
		},
	}
	late := start.Add(approval.Life)
	for name, c := range map[string]struct {
		decision string
		given    []domain.Event
		by       uuid.UUID
		now      time.Time
		event    domain.Event // or
		refused  string
	}{
		"confirmed":                 {"confirm", []domain.Event{proposed}, other, start, approval.Confirmed{}, ""},
		"confirmed by who proposed": {"confirm", []domain.Event{proposed}, proposer, start, nil, "own_proposal"},
		"confirmed at the last moment": {
			"confirm", []domain.Event{proposed}, other, late.Add(-1), approval.Confirmed{}, "",
		},
		"confirmed too late": {"confirm", []domain.Event{proposed}, other, late, nil, "decided"},
		"confirmed after a refusal": {
			"confirm", []domain.Event{proposed, approval.Refused{}}, other, start, nil, "decided",
		},
		"confirmed after a withdrawal": {
			"confirm", []domain.Event{proposed, approval.Withdrawn{}}, other, start, nil, "decided",
		},
		"confirmed after it failed": {
			"confirm", []domain.Event{proposed, approval.Confirmed{}, approval.Failed{}}, other, start, nil, "decided",
		},
		"confirmed, without a proposal": {"confirm", nil, other, start, nil, "not_found"},
		"refused": {
			"refuse", []domain.Event{proposed}, other, start, approval.Refused{Reason: "no need"}, "",
		},
		"refused by who proposed": {"refuse", []domain.Event{proposed}, proposer, start, nil, "own_proposal"},
		"refused after a confirmation": {
			"refuse", []domain.Event{proposed, approval.Confirmed{}}, other, start, nil, "decided",
		},
		"refused too late": {"refuse", []domain.Event{proposed}, other, late, nil, "decided"},
		"withdrawn": {
			"withdraw", []domain.Event{proposed}, proposer, start, approval.Withdrawn{}, "",
		},
		"withdrawn by somebody else": {"withdraw", []domain.Event{proposed}, other, start, nil, "forbidden"},
		"withdrawn after a confirmation": {
			"withdraw", []domain.Event{proposed, approval.Confirmed{}}, proposer, start, nil, "decided",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			when := scenario.Given[approval.State](c.given...).When(func(s approval.State) ([]domain.Event, error) {
				return decisions[c.decision](s, c.by, c.now)
			})
			if c.refused != "" {
				when.ThenRefused(t, domain.Code(c.refused))
				return
			}
			when.Then(t, c.event)
		})
	}
	// A change that was interrupted after the confirmation is carried out by confirming again.
	scenario.Given[approval.State](proposed, approval.Confirmed{}).When(func(s approval.State) ([]domain.Event, error) {
		return approval.Confirm(s, other, late)
	}).Then(t)
}

func TestAProposalEndsByItself(t *testing.T) {
	t.Parallel()
	expire := func(now time.Time) func(approval.State) ([]domain.Event, error) {
		return func(s approval.State) ([]domain.Event, error) { return approval.Expire(s, now) }
	}
	scenario.Given[approval.State](proposed).When(expire(start.Add(approval.Life))).Then(t, approval.Expired{})
	scenario.Given[approval.State](proposed).When(expire(start)).Then(t)
	scenario.Given[approval.State](proposed, approval.Withdrawn{}).When(expire(start.Add(approval.Life))).Then(t)
}
