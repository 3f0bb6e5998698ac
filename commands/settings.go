package commands

import (
	"context"
	"slices"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/settings"
)

// ChangeSite changes the settings of the site. Domain and protocol say where links in mails lead, also those that open
// accounts; so only superusers change them.
func (h *Handler) ChangeSite(ctx context.Context, caller Caller, patch settings.SitePatch) (Result, error) {
	if patch.DefaultMailAccountID != nil {
		if err := h.checkMailAccount(ctx, "default_mail_account_id", *patch.DefaultMailAccountID); err != nil {
			return Result{}, err
		}
	}
	caller = caller.needing(needs("settings", domain.Edit))
	return changeBy(ctx, h, caller, settings.SiteStream, func(s settings.SiteState,
		who *authority) ([]domain.Event, error) {
		events, err := settings.ChangeSite(s, patch)
		if err != nil || who.Superuser || !slices.ContainsFunc(events, settings.ChangesLinkAddress) {
			return events, err
		}
		return nil, domain.Refusef(domain.CodeForbidden,
			"only a superuser can change domain and protocol: links in mails lead there")
	})
}

// ChangeSecurity changes when accounts are locked out and sessions end.
func (h *Handler) ChangeSecurity(ctx context.Context, caller Caller, patch settings.SecurityPatch) (Result, error) {
	return change(ctx, h, caller.needing(superuserOnly), settings.SecurityStream,
		func(s settings.SecurityState) ([]domain.Event, error) {
			return settings.ChangeSecurity(s, patch)
		})
}

// ChangeContact changes how people reach whoever runs the installation.
func (h *Handler) ChangeContact(ctx context.Context, caller Caller, patch settings.ContactPatch) (Result, error) {
	if patch.AutoReply != nil && *patch.AutoReply != nil {
		if err := h.checkMailAccount(ctx, "auto_reply.mail_account_id", (*patch.AutoReply).MailAccountID); err != nil {
			return Result{}, err
		}
	}
	caller = caller.needing(needs("settings", domain.Edit))
	return change(ctx, h, caller, settings.ContactStream, func(s settings.ContactState) ([]domain.Event, error) {
		return settings.ChangeContact(s, patch)
	})
}

// SiteSettings gives the settings of the site in force.
func (h *Handler) SiteSettings(ctx context.Context) (settings.Site, error) {
	found, err := load[settings.SiteState](ctx, h.Log, settings.SiteStream)
	return found.State.Site(), err
}

// ContactSettings gives the contact settings in force.
func (h *Handler) ContactSettings(ctx context.Context) (settings.Contact, error) {
	found, err := load[settings.ContactState](ctx, h.Log, settings.ContactStream)
	return found.State.Contact, err
}
