package mailmessage_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/scenario"
)

var (
	asked   = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	expires = asked.Add(time.Hour)
	account = uuid.MustParse("01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11")
	reset   = mailmessage.Queued{
		Feature: mailmessage.PasswordReset, To: "olena@example.com", Subject: "Reset", At: asked, ExpiresAt: expires,
		Link: uuid.Max,
	}
	notice = mailmessage.Queued{
		Feature: mailmessage.SecurityNotice, To: "olena@example.com", At: asked,
		ExpiresAt: asked.Add(mailmessage.Patience),
	}
)

func sending(attempt int, until time.Time) mailmessage.Sending {
	return mailmessage.Sending{Attempt: attempt, AccountID: account, Until: until}
}

func begin(now, until time.Time, starts *bool) func(mailmessage.State) ([]domain.Event, error) {
	return func(s mailmessage.State) ([]domain.Event, error) {
		events, started := mailmessage.Begin(s, account, now, until)
		*starts = started
		return events, nil
	}
}

func TestAMessageIsQueuedOnce(t *testing.T) {
	t.Parallel()
	queue := func(s mailmessage.State) ([]domain.Event, error) { return mailmessage.Queue(s, reset) }
	scenario.Given[mailmessage.State]().When(queue).Then(t, reset)
	scenario.Given[mailmessage.State](reset).When(queue).Then(t)
	scenario.Given[mailmessage.State](reset, sending(1, expires), mailmessage.Sent{Attempt: 1}).When(queue).Then(t)
}

func TestAnAttemptIsClaimedOnce(t *testing.T) {
	t.Parallel()
	until := asked.Add(5 * time.Minute)
	doubt := mailmessage.InDoubt{
		Attempt: 1, Reason: "SecBoard was stopped while the mail was being sent", NextAt: until,
	}
	later := mailmessage.Deferred{Attempt: 1, Reason: "busy", NextAt: asked.Add(time.Minute)}
	for name, c := range map[string]struct {
		given  []domain.Event
		now    time.Time
		starts bool
		then   []domain.Event
	}{
		"none there":      {nil, asked, false, nil},
		"new":             {[]domain.Event{reset}, asked, true, []domain.Event{sending(1, until)}},
		"somebody else's": {[]domain.Event{reset, sending(1, until)}, asked.Add(time.Minute), false, nil},
		"cut short": {
			[]domain.Event{reset, sending(1, until)}, until, true, []domain.Event{doubt, sending(2, until)},
		},
		"not due yet": {
			[]domain.Event{reset, sending(1, until), later}, asked.Add(59 * time.Second), false, nil,
		},
		"due": {
			[]domain.Event{reset, sending(1, until), later}, asked.Add(time.Minute), true,
			[]domain.Event{sending(2, until)},
		},
		"sent": {
			[]domain.Event{reset, sending(1, until), mailmessage.Sent{Attempt: 1}}, expires, false, nil,
		},
		"failed": {
			[]domain.Event{reset, sending(1, until), mailmessage.Failed{Attempt: 1}}, expires, false, nil,
		},
		"expired": {
			[]domain.Event{reset}, expires, false,
			[]domain.Event{mailmessage.Abandoned{Reason: "the link in it has expired"}},
		},
		"expired after tries": {[]domain.Event{reset, sending(1, until), later}, expires, false, []domain.Event{
			mailmessage.Abandoned{Reason: "the link in it has expired; the last attempt: busy"},
		}},
		"a notice for too long": {
			[]domain.Event{notice}, notice.ExpiresAt, false,
			[]domain.Event{mailmessage.Abandoned{Reason: "it could not be sent in time"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var started bool
			scenario.Given[mailmessage.State](c.given...).When(begin(c.now, until, &started)).Then(t, c.then...)
			if started != c.starts {
				t.Errorf("started is %v", started)
			}
		})
	}
}

func TestWhatAnAttemptComesTo(t *testing.T) {
	t.Parallel()
	until := asked.Add(5 * time.Minute)
	now := asked.Add(time.Second)
	fail := func(attempt int, outcome mailmessage.Outcome,
		now time.Time) func(mailmessage.State) ([]domain.Event, error) {
		return func(s mailmessage.State) ([]domain.Event, error) {
			return mailmessage.Fail(s, attempt, outcome, now, 0.5), nil
		}
	}
	underWay := []domain.Event{reset, sending(1, until)}
	scenario.Given[mailmessage.State](underWay...).When(func(s mailmessage.State) ([]domain.Event, error) {
		return mailmessage.Succeed(s, 1), nil
	}).
		Then(t, mailmessage.Sent{Attempt: 1})
	scenario.Given[mailmessage.State](underWay...).When(fail(1, mailmessage.Outcome{Reason: "greylisted"}, now)).
		Then(t, mailmessage.Deferred{Attempt: 1, Reason: "greylisted", NextAt: now.Add(15 * time.Second)})
	scenario.Given[mailmessage.State](underWay...).When(
		fail(1, mailmessage.Outcome{Reason: "no such mailbox", Permanent: true}, now)).
		Then(t, mailmessage.Failed{Attempt: 1, Reason: "no such mailbox"})
	scenario.Given[mailmessage.State](underWay...).When(
		fail(1, mailmessage.Outcome{Reason: "cut", InDoubt: true}, now)).
		Then(t, mailmessage.InDoubt{Attempt: 1, Reason: "cut", NextAt: now.Add(15 * time.Second)})
	scenario.Given[mailmessage.State](underWay...).When(
		fail(1, mailmessage.Outcome{Reason: "busy"}, expires.Add(-time.Second))).
		Then(t, mailmessage.Deferred{Attempt: 1, Reason: "busy", NextAt: expires},
			mailmessage.Abandoned{Reason: "the link in it has expired; the last attempt: busy"})
	// An attempt that was taken over writes nothing any more.
	takenOver := append(slices.Clone(underWay), mailmessage.InDoubt{Attempt: 1}, sending(2, until))
	scenario.Given[mailmessage.State](takenOver...).When(
		fail(1, mailmessage.Outcome{Reason: "late", Permanent: true}, now)).Then(t)
	scenario.Given[mailmessage.State](takenOver...).When(func(s mailmessage.State) ([]domain.Event, error) {
		return mailmessage.Succeed(s, 1), nil
	}).Then(t)
}

// The pauses grow to four hours, and a message that can't be sent is given up after two days and some twenty attempts.
func TestPausesGrow(t *testing.T) {
	t.Parallel()
	s := mailmessage.State{}
	s.Evolve(notice)
	now := asked
	var pauses []time.Duration
	for !s.Over() {
		events := mailmessage.Postpone(s, "no account", now, 0.5)
		for _, event := range events {
			s.Evolve(event)
		}
		if !s.Over() {
			pauses = append(pauses, s.DueAt.Sub(now))
			now = s.DueAt
		}
	}
	want := []time.Duration{15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute,
		8 * time.Minute, 16 * time.Minute, 32 * time.Minute, 64 * time.Minute, 128 * time.Minute}
	if diff := cmp.Diff(want, pauses[:10]); diff != "" {
		t.Error(diff)
	}
	if last := pauses[len(pauses)-1]; last != 4*time.Hour || len(pauses) > 25 {
		t.Errorf("%d pauses, the last %s", len(pauses), last)
	}
	if s.State != mailmessage.StateAbandoned {
		t.Error(s.State)
	}
	for _, jitter := range []float64{0, 0.999} {
		t.Run(fmt.Sprintf("jitter %g", jitter), func(t *testing.T) {
			s := mailmessage.State{}
			s.Evolve(notice)
			s.Evolve(mailmessage.Postpone(s, "x", asked, jitter)[0])
			if pause := s.DueAt.Sub(asked); pause < 12*time.Second || pause > 18*time.Second {
				t.Error(pause)
			}
		})
	}
}

func TestTryingAgainByHand(t *testing.T) {
	t.Parallel()
	retry := func(now time.Time) func(mailmessage.State) ([]domain.Event, error) {
		return func(s mailmessage.State) ([]domain.Event, error) { return mailmessage.Retry(s, now) }
	}
	until := asked.Add(5 * time.Minute)
	failed := mailmessage.Failed{Attempt: 1, Reason: "no such mailbox"}
	scenario.Given[mailmessage.State]().When(retry(asked)).ThenRefused(t, domain.CodeNotFound)
	scenario.Given[mailmessage.State](reset, sending(1, until)).When(retry(asked)).ThenRefused(t, "being_sent")
	scenario.Given[mailmessage.State](reset, sending(1, until),
		mailmessage.Sent{Attempt: 1}).When(retry(asked)).ThenRefused(t, "already_sent")
	scenario.Given[mailmessage.State](reset, sending(1, until), failed).When(retry(expires)).ThenRefused(t,
		"link_expired")
	scenario.Given[mailmessage.State](reset, sending(1, until), failed).When(retry(asked)).Then(t,
		mailmessage.Retried{ExpiresAt: expires})
	late := asked.Add(72 * time.Hour)
	scenario.Given[mailmessage.State](notice, mailmessage.Abandoned{Reason: "too long"}).When(retry(late)).
		Then(t, mailmessage.Retried{ExpiresAt: late.Add(mailmessage.Patience)})
	var started bool
	scenario.Given[mailmessage.State](notice, sending(1, until), failed,
		mailmessage.Retried{ExpiresAt: late.Add(mailmessage.Patience)}).
		When(begin(late, late, &started)).Then(t, sending(2, late))
	if !started {
		t.Error("it is not tried")
	}
}
