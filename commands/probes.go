package commands

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/probe"
	"github.com/secboard/secboard/eventstore"
)

// RecordMailTest records that the caller sends a test mail. Whoever gets an error must not send it.
func (h *Handler) RecordMailTest(ctx context.Context, caller Caller, sender MailSender, to string) error {
	return h.recordProbe(ctx, caller.needing(needs("mail", domain.Edit).of(uuid.Nil)),
		domain.StreamName(probe.MailKind, sender.ID),
		probe.MailSent{Host: sender.Server.Host, Port: sender.Server.Port, To: to})
}

// recordProbe records what a person is about to have connected to, if he or she has the caller's right. Nothing of the
// stream but its newest revision is read: no decision needs what came before.
func (h *Handler) recordProbe(ctx context.Context, caller Caller, stream string, event domain.Event) error {
	for range 10 * attempts { // several may try the same server at once
		err := h.tryProbe(ctx, caller, stream, event)
		if !errors.Is(err, eventstore.ErrConflict) {
			return err
		}
	}
	return ErrBusy
}

func (h *Handler) tryProbe(ctx context.Context, caller Caller, stream string, event domain.Event) error {
	who, release, err := h.authorize(ctx, caller, stream, nil)
	if err != nil {
		return err
	}
	defer release()
	if err := caller.permit(who.Rights, stream); err != nil {
		return err
	}
	if !caller.reaches(who.Rights, stream, uuid.Nil) {
		return domain.Refusef(domain.CodeNotFound, "there is nothing with this id that you may see")
	}
	newest, err := h.Log.ReadNewest(ctx, stream, 1)
	if err != nil {
		return err
	}
	revision, at := eventstore.NoStream, h.Now()
	for _, recorded := range newest {
		envelope := eventstore.Decode(recorded)
		if envelope.Err != nil {
			return envelope.Err
		}
		revision, at = recorded.Revision, later(at, envelope.Meta.At)
	}
	_, err = h.append(ctx, caller, at, stream, revision, []domain.Event{event})
	return err
}
