package projections

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/eventstore"
)

// ContactSettings are how people reach whoever runs the installation. UpdatedAt and Revision as in Site.
type ContactSettings struct {
	Address    *string             `json:"address"`
	Phone      *string             `json:"phone"`
	Social     map[string]string   `json:"social"` // address by the name of the network
	Recipients []string            `json:"recipients"`
	AutoReply  *ContactAutoReply   `json:"auto_reply"`
	ReplyEmail *string             `json:"reply_email"`
	UpdatedAt  *time.Time          `json:"updated_at"`
	Revision   eventstore.Revision `json:"revision"`
}

// ContactAutoReply is what senders of the contact form get; without a text of its own a built-in one.
type ContactAutoReply struct {
	MailAccountID *uuid.UUID `json:"mail_account_id"`
	Subject       *string    `json:"subject"`
	Body          *string    `json:"body"`
}

// ContactSettings gives the contact settings as they are.
func (r *ReadModels) ContactSettings(ctx context.Context) (ContactSettings, error) {
	return r.ContactSettingsAsOf(ctx, endOfTime)
}

// ContactSettingsAsOf gives the contact settings as they were at a time.
func (r *ReadModels) ContactSettingsAsOf(ctx context.Context, at time.Time) (ContactSettings, error) {
	row, err := r.settingsAt(ctx, settings.ContactStream, at)
	if err != nil {
		return ContactSettings{}, err
	}
	c := row.contact.Contact
	shown := ContactSettings{
		Address: optional(c.Address), Phone: optional(c.Phone), Social: map[string]string{},
		Recipients: notNil(c.Recipients),
		ReplyEmail: optional(c.ReplyEmail), UpdatedAt: row.changedAt(), Revision: row.revision,
	}
	maps.Copy(shown.Social, c.Social)
	if reply := c.AutoReply; reply != nil {
		shown.AutoReply = &ContactAutoReply{
			MailAccountID: optional(reply.MailAccountID), Subject: optional(reply.Subject), Body: optional(reply.Body),
		}
	}
	return shown, nil
}

// MailFeature is an occasion of mails, with the mail accounts that are chosen for it.
type MailFeature struct {
	Feature  string              `json:"feature"`
	Routes   []MailRoute         `json:"routes"`
	Revision eventstore.Revision `json:"revision"` // of the routes of all features
}

// MailRoute chooses a mail account, for one company or (null) for all.
type MailRoute struct {
	CompanyID     *uuid.UUID `json:"company_id"`
	MailAccountID uuid.UUID  `json:"mail_account_id"`
}

// MailFeatures lists the features with their routes.
func (r *ReadModels) MailFeatures(ctx context.Context) ([]MailFeature, error) {
	row, err := r.settingsAt(ctx, settings.MailRoutesStream, endOfTime)
	if err != nil {
		return nil, err
	}
	features := make([]MailFeature, len(mailmessage.Features))
	for i, name := range mailmessage.Features {
		features[i] = MailFeature{Feature: name, Routes: []MailRoute{}, Revision: row.revision}
		for place, account := range row.routes.Routes {
			if place.Feature == name {
				features[i].Routes = append(features[i].Routes,
					MailRoute{CompanyID: optional(place.CompanyID), MailAccountID: account})
			}
		}
		slices.SortFunc(features[i].Routes, func(a, b MailRoute) int {
			first, second := valueOf(a.CompanyID), valueOf(b.CompanyID)
			return cmp.Or(bytes.Compare(first[:], second[:]), bytes.Compare(a.MailAccountID[:], b.MailAccountID[:]))
		})
	}
	return features, nil
}

// MailFeature gives one feature with its routes.
func (r *ReadModels) MailFeature(ctx context.Context, name string) (MailFeature, error) {
	features, err := r.MailFeatures(ctx)
	for _, feature := range features {
		if feature.Feature == name {
			return feature, err
		}
	}
	return MailFeature{}, cmp.Or(err, ErrNotFound)
}

// MailAccountUses describes where a mail account is chosen.
func (r *ReadModels) MailAccountUses(ctx context.Context, id uuid.UUID) ([]string, error) {
	var uses []string
	features, err := r.MailFeatures(ctx)
	if err != nil {
		return nil, err
	}
	for _, feature := range features {
		for _, route := range feature.Routes {
			switch {
			case route.MailAccountID != id:
			case route.CompanyID == nil:
				uses = append(uses, "the route of "+feature.Feature)
			default:
				uses = append(uses, "the route of "+feature.Feature+" for the company "+route.CompanyID.String())
			}
		}
	}
	companies, err := r.pool.Query(ctx,
		"SELECT name FROM companies WHERE default_mail_account_id = $1 AND NOT retired ORDER BY name_key LIMIT 10", id)
	if err != nil {
		return nil, err
	}
	defer companies.Close()
	for companies.Next() {
		var name string
		if err := companies.Scan(&name); err != nil {
			return nil, err
		}
		uses = append(uses, "the default of the company "+name)
	}
	if err := companies.Err(); err != nil {
		return nil, err
	}
	site, err := r.Site(ctx)
	if err != nil {
		return nil, err
	}
	if valueOf(site.DefaultMailAccountID) == id {
		uses = append(uses, "the default of the site")
	}
	contact, err := r.ContactSettings(ctx)
	if err != nil {
		return nil, err
	}
	if contact.AutoReply != nil && valueOf(contact.AutoReply.MailAccountID) == id {
		uses = append(uses, "the auto-reply of the contact settings")
	}
	return uses, nil
}
