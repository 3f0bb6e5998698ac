package commands

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/contact"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// ReceiveContact accepts a message of the contact form. Its id is the caller's CommandID.
func (h *Handler) ReceiveContact(ctx context.Context, caller Caller, message contact.Received) (Result, error) {
	return create(ctx, h, caller.needing(proven), domain.StreamName(contact.Kind, caller.CommandID),
		func(s contact.State) ([]domain.Event, error) {
			return contact.Receive(s, message)
		})
}

// ContactMessage gives a message of the contact form; its zero value when there is none.
func (h *Handler) ContactMessage(ctx context.Context, id uuid.UUID) (contact.Received, error) {
	found, err := load[contact.State](ctx, h.Log, domain.StreamName(contact.Kind, id))
	return found.State.Message, err
}

// Account gives an account as it is now, from the log: the read models may be behind.
func (h *Handler) Account(ctx context.Context, id uuid.UUID) (user.State, error) {
	found, err := load[user.State](ctx, h.Log, domain.StreamName(user.Kind, id))
	return found.State, err
}

// AccountBefore gives an account as it was before one of its events.
func (h *Handler) AccountBefore(ctx context.Context, e *eventstore.Envelope) (user.State, error) {
	found, err := load[user.State](ctx, h.Log, e.Stream)
	var before user.State
	for i, event := range found.history {
		if eventstore.Revision(i) >= e.Revision {
			break
		}
		before.Evolve(event)
	}
	return before, err
}

// QueueMail asks for a mail because of an event. It may be asked again: the id decides, and only the first asking
// counts.
func (h *Handler) QueueMail(ctx context.Context, cause *eventstore.Envelope, id uuid.UUID,
	request mailmessage.Queued) (Result, error) {
	caller := System()
	// The same append, should its answer get lost and the event be worked on again.
	caller.CommandID, caller.CausationID, caller.CorrelationID = id, cause.ID, cause.Meta.CorrelationID
	return create(ctx, h, caller, domain.StreamName(mailmessage.Kind, id),
		func(s mailmessage.State) ([]domain.Event, error) {
			return mailmessage.Queue(s, request)
		})
}

// Mail is a message on its way.
type Mail struct {
	ID uuid.UUID
	mailmessage.State
	correlation uuid.UUID
}

// MailOf gives a message as it is in the log.
func (h *Handler) MailOf(ctx context.Context, id uuid.UUID) (Mail, error) {
	found, err := load[mailmessage.State](ctx, h.Log, domain.StreamName(mailmessage.Kind, id))
	m := Mail{ID: id, State: found.State}
	if len(found.metadata) > 0 {
		m.correlation = found.metadata[0].CorrelationID
	}
	return m, err
}

// BeginMail starts the next attempt for the caller, who has until the given time. started is false when there is
// nothing to do.
func (h *Handler) BeginMail(ctx context.Context, m Mail, account uuid.UUID,
	until time.Time) (attempt int, started bool, err error) {
	_, err = h.decideMail(ctx, m, func(s mailmessage.State) []domain.Event {
		var events []domain.Event
		events, started = mailmessage.Begin(s, account, h.Now(), until)
		attempt = s.Attempts + 1
		return events
	})
	return attempt, started && err == nil, err
}

// EndMail records the outcome of an attempt; a nil one means that the server accepted the mail.
func (h *Handler) EndMail(ctx context.Context, m Mail, attempt int, outcome *mailmessage.Outcome) error {
	_, err := h.decideMail(ctx, m, func(s mailmessage.State) []domain.Event {
		if outcome == nil {
			return mailmessage.Succeed(s, attempt)
		}
		return mailmessage.Fail(s, attempt, *outcome, h.Now(), jitter())
	})
	return err
}

// PostponeMail notes why an attempt can't begin now.
func (h *Handler) PostponeMail(ctx context.Context, m Mail, reason string) error {
	_, err := h.decideMail(ctx, m, func(s mailmessage.State) []domain.Event {
		return mailmessage.Postpone(s, reason, h.Now(), jitter())
	})
	return err
}

// GiveUpMail ends a message that has become useless.
func (h *Handler) GiveUpMail(ctx context.Context, m Mail, reason string) error {
	_, err := h.decideMail(ctx, m, func(s mailmessage.State) []domain.Event { return mailmessage.GiveUp(s, reason) })
	return err
}

// RetryMail has a message tried now, because an administrator wants it.
func (h *Handler) RetryMail(ctx context.Context, caller Caller, id uuid.UUID) (Result, error) {
	return change(ctx, h, caller.needing(needs("mail", domain.Edit)), domain.StreamName(mailmessage.Kind, id),
		func(s mailmessage.State) ([]domain.Event, error) {
			return mailmessage.Retry(s, h.Now())
		})
}

func (h *Handler) decideMail(ctx context.Context, m Mail,
	decide func(mailmessage.State) []domain.Event) (Result, error) {
	caller := System()
	caller.CorrelationID, caller.CausationID = m.correlation, m.ID
	return change(ctx, h, caller, domain.StreamName(mailmessage.Kind, m.ID),
		func(s mailmessage.State) ([]domain.Event, error) {
			return decide(s), nil
		})
}

// jitter varies pauses. Nothing depends on nobody guessing it.
func jitter() float64 { return rand.Float64() } //nolint:gosec // as said

// asRefusal distinguishes a rule's refusal from a failure.
func asRefusal(err error) (*domain.Error, bool) {
	return errors.AsType[*domain.Error](err)
}

func isRefusal(err error) bool {
	refusal, _ := asRefusal(err)
	return refusal != nil
}
