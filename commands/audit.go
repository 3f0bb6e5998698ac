package commands

import (
	"context"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/audit"
	"github.com/secboard/secboard/eventstore"
)

// RecordReading writes down that the caller reads the audit: one of audit.Events. Whoever gets an error must not be
// shown what was asked for.
func (h *Handler) RecordReading(ctx context.Context, caller Caller, reading domain.Event) (Result, error) {
	stream := domain.StreamName(audit.Kind, caller.CommandID)
	appended, err := h.append(ctx, caller, h.Now(), stream, eventstore.NoStream, []domain.Event{reading})
	return Result{ID: caller.CommandID.String(), Revision: appended.Revision, Position: appended.Position,
		Changed: err == nil}, err
}
