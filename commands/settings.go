package commands

import (
	"context"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/settings"
)

// ChangeSite changes the settings of the site.
func (h *Handler) ChangeSite(ctx context.Context, caller Caller, patch settings.SitePatch) (Result, error) {
	if patch.DefaultMailAccountID != nil {
		if err := h.checkMailAccount(ctx, "default_mail_account_id", *patch.DefaultMailAccountID); err != nil {
			return Result{}, err
		}
	}
	return change(ctx, h, caller, settings.SiteStream, func(s settings.SiteState) ([]domain.Event, error) {
		return settings.ChangeSite(s, patch)
	})
}

// ChangeSecurity changes when accounts are locked out and sessions end.
func (h *Handler) ChangeSecurity(ctx context.Context, caller Caller, patch settings.SecurityPatch) (Result, error) {
	return change(ctx, h, caller, settings.SecurityStream, func(s settings.SecurityState) ([]domain.Event, error) {
		return settings.ChangeSecurity(s, patch)
	})
}

// checkMailAccount refuses a mail account that there is not; uuid.Nil is none.
func (h *Handler) checkMailAccount(ctx context.Context, field string, id uuid.UUID) error {
	if id == uuid.Nil {
		return nil
	}
	events, err := h.Log.ReadStream(ctx, domain.StreamName("mailaccount", id))
	if err != nil || len(events) > 0 {
		return err
	}
	var problems domain.Invalid
	problems.Add(field, "unknown_mail_account", "there is no mail account %s", id)
	return problems.Err()
}
