package commands_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/contact"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// mailStory is a handler with a movable clock and one mail that waits to be sent.
type mailStory struct {
	story
	account uuid.UUID // that sends
	cause   *eventstore.Envelope
	id      uuid.UUID
}

func newMailStory(t *testing.T) mailStory {
	t.Helper()
	s := mailStory{story: newStory(t), account: uuid.New(), id: uuid.New()}
	recorded, err := s.log.ReadStream(t.Context(), domain.StreamName(user.Kind, s.anna))
	if err != nil {
		t.Fatal(err)
	}
	cause := eventstore.Decode(recorded[0])
	s.cause = &cause
	s.queue(t)
	return s
}

func (s mailStory) queue(t *testing.T) commands.Result {
	t.Helper()
	now := s.clock.Now()
	result, err := s.QueueMail(t.Context(), s.cause, s.id, mailmessage.Queued{
		Feature: mailmessage.SecurityNotice, To: annasEmail, At: now, ExpiresAt: now.Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func (s mailStory) mail(t *testing.T) commands.Mail {
	t.Helper()
	mail, err := s.MailOf(t.Context(), s.id)
	if err != nil {
		t.Fatal(err)
	}
	return mail
}

func (s mailStory) begin(t *testing.T) (attempt int, started bool) {
	t.Helper()
	attempt, started, err := s.BeginMail(t.Context(), s.mail(t), s.account, s.clock.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return attempt, started
}

func (s mailStory) end(t *testing.T, outcome *mailmessage.Outcome) {
	t.Helper()
	attempt, started := s.begin(t)
	if !started {
		t.Fatal("the attempt did not begin")
	}
	if err := s.EndMail(t.Context(), s.mail(t), attempt, outcome); err != nil {
		t.Fatal(err)
	}
}

func TestAMailsAttempts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		when      func(*testing.T, mailStory)
		state     string
		attempts  int
		lastError string
	}{
		"queued":       {func(*testing.T, mailStory) {}, mailmessage.StateQueued, 0, ""},
		"queued twice": {func(t *testing.T, s mailStory) { s.queue(t) }, mailmessage.StateQueued, 0, ""},
		"under way":    {func(t *testing.T, s mailStory) { s.begin(t) }, mailmessage.StateSending, 1, ""},
		"sent":         {func(t *testing.T, s mailStory) { s.end(t, nil) }, mailmessage.StateSent, 1, ""},
		"deferred": {func(t *testing.T, s mailStory) {
			s.end(t, &mailmessage.Outcome{Reason: "busy"})
		}, mailmessage.StateQueued, 1, "busy"},
		"in doubt": {func(t *testing.T, s mailStory) {
			s.end(t, &mailmessage.Outcome{Reason: "cut", InDoubt: true})
		}, mailmessage.StateQueued, 1, "cut"},
		"failed": {func(t *testing.T, s mailStory) {
			s.end(t, &mailmessage.Outcome{Reason: "no such user", Permanent: true})
		}, mailmessage.StateFailed, 1, "no such user"},
		"without a sender": {func(t *testing.T, s mailStory) {
			nilErr(t, s.PostponeMail(t.Context(), s.mail(t), "no account"))
		}, mailmessage.StateQueued, 1, "no account"},
		"given up": {func(t *testing.T, s mailStory) {
			nilErr(t, s.GiveUpMail(t.Context(), s.mail(t), "useless"))
		}, mailmessage.StateAbandoned, 0, "useless"},
		"tried again by hand": {func(t *testing.T, s mailStory) {
			s.end(t, &mailmessage.Outcome{Reason: "no such user", Permanent: true})
			must(t)(s.RetryMail(t.Context(), admin(), s.id))
		}, mailmessage.StateQueued, 1, "no such user"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newMailStory(t)
			test.when(t, s)
			mail := s.mail(t)
			if mail.State.State != test.state || mail.Attempts != test.attempts || mail.LastError != test.lastError {
				t.Errorf("state %s after %d attempts, %q; want %s after %d, %q",
					mail.State.State, mail.Attempts, mail.LastError, test.state, test.attempts, test.lastError)
			}
		})
	}
}

func nilErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOneAttemptAtATime(t *testing.T) {
	t.Parallel()
	s := newMailStory(t)
	if attempt, started := s.begin(t); attempt != 1 || !started {
		t.Errorf("attempt %d, started %v", attempt, started)
	}
	if _, started := s.begin(t); started {
		t.Error("an attempt under way was begun again")
	}
	s.advance(2 * time.Minute) // nobody said how it ended
	if attempt, started := s.begin(t); attempt != 2 || !started {
		t.Errorf("after the first was cut short: attempt %d, started %v", attempt, started)
	}
	s.endLate(t, 1)
	if mail := s.mail(t); mail.State.State != mailmessage.StateSending || mail.Doubts != 1 {
		t.Errorf("the end of the first attempt ended the second: %+v", mail.State)
	}
}

// endLate ends an attempt that somebody else has taken over.
func (s mailStory) endLate(t *testing.T, attempt int) {
	t.Helper()
	nilErr(t, s.EndMail(t.Context(), s.mail(t), attempt, nil))
}

func TestAMailBelongsToWhatCausedIt(t *testing.T) {
	t.Parallel()
	s := newMailStory(t)
	s.end(t, nil)
	recorded, err := s.log.ReadStream(t.Context(), domain.StreamName(mailmessage.Kind, s.id))
	nilErr(t, err)
	for _, r := range recorded {
		if e := eventstore.Decode(r); e.Meta.CorrelationID != s.cause.Meta.CorrelationID {
			t.Errorf("%s has the correlation %s, want %s", e.Type, e.Meta.CorrelationID, s.cause.Meta.CorrelationID)
		}
	}
}

func TestAnAccountAsItWasBeforeAnEvent(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	email := "hanna@acme.example"
	result, err := s.ChangeUser(t.Context(), admin(), s.anna, commands.ChangeUser{Patch: user.Patch{Email: &email}})
	nilErr(t, err)
	e := &eventstore.Envelope{
		Recorded: eventstore.Recorded{Stream: domain.StreamName(user.Kind, s.anna), Revision: result.Revision},
	}
	before, err := s.AccountBefore(t.Context(), e)
	now, nowErr := s.Account(t.Context(), s.anna)
	if errors.Join(err, nowErr) != nil || before.Details.Email != annasEmail || now.Details.Email != email {
		t.Errorf("before %q, now %q, %v, %v", before.Details.Email, now.Details.Email, err, nowErr)
	}
}

func TestAContactMessageIsReceivedOnce(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	message := contact.Received{Name: "Olena", Email: "olena@example.com", Subject: "Price", Message: "How much?"}
	caller := admin()
	first := must(t)(s.ReceiveContact(t.Context(), caller, message))
	if again := must(t)(s.ReceiveContact(t.Context(), caller, message)); again != first {
		t.Errorf("received as %s and %s", first, again)
	}
	got, err := s.ContactMessage(t.Context(), first)
	if diff := cmp.Diff(message, got); err != nil || diff != "" {
		t.Errorf("%v, message (-want +got):\n%s", err, diff)
	}
	none, err := s.ContactMessage(t.Context(), uuid.New())
	if diff := cmp.Diff(contact.Received{}, none, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("%v, no message (-want +got):\n%s", err, diff)
	}
}
