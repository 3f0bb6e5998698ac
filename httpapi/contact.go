package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/contact"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
)

//nolint:unused // the linter does not see type arguments of what is embedded: contactRequest
type contactMessage struct {
	Name    string `json:"name" maxLength:"200" example:"Olena Kovalenko"`
	Email   string `json:"email" maxLength:"254" example:"olena.kovalenko@example.com"`
	Subject string `json:"subject" maxLength:"200" example:"A question about our contract"`
	Message string `json:"message" maxLength:"10000"`
}

// command leaves the language to the handler, which knows the request's headers.
//
//nolint:unused // as contactMessage
func (b *contactMessage) command(problems *domain.Invalid) contact.Received {
	received := contact.Received{Name: b.Name, Email: b.Email, Subject: b.Subject, Message: b.Message}
	merge(problems, received.Normalized().Validate())
	return received
}

type contactRequest struct {
	LinkHeaders
	CommandBody[contactMessage, contact.Received, *contactMessage]
}

type contactChanges struct {
	Address    Optional[string]            `json:"address,omitzero" maxLength:"500" doc:"Address of the office"`
	Phone      Optional[string]            `json:"phone,omitzero" maxLength:"50"`
	Social     Optional[map[string]string] `json:"social,omitzero" doc:"Addresses by the name of the network; replaces all of them"`
	Recipients Optional[[]string]          `json:"recipients,omitzero" maxItems:"20" doc:"Who gets the messages of the contact form; replaces the whole list"`
	AutoReply  Optional[autoReplyBody]     `json:"auto_reply,omitzero" doc:"Automatic answer to senders of the contact form; null: none"`
	ReplyEmail Optional[string]            `json:"reply_email,omitzero" maxLength:"254" doc:"Where answers to SecBoard's mails go; null: to the address that sent them"`
}

type autoReplyBody struct {
	MailAccountID string `json:"mail_account_id,omitempty" format:"uuid" nullable:"true" doc:"null: the one that is chosen for contact_auto_reply"`
	Subject       string `json:"subject,omitempty" maxLength:"200" nullable:"true" doc:"null: a built-in one, in the sender's language"`
	Body          string `json:"body,omitempty" maxLength:"10000" nullable:"true" doc:"null: a built-in one, in the sender's language"`
}

func (b *contactChanges) command(problems *domain.Invalid) settings.ContactPatch {
	patch := settings.ContactPatch{
		Address: b.Address.patch("address", problems), Phone: b.Phone.patch("phone", problems),
		ReplyEmail: b.ReplyEmail.patch("reply_email", problems),
		Social:     b.Social.patch("social", problems), Recipients: b.Recipients.patch("recipients", problems),
	}
	if chosen := b.AutoReply.patch("auto_reply", problems); chosen != nil {
		var reply *settings.AutoReply
		if !b.AutoReply.Null {
			reply = &settings.AutoReply{
				MailAccountID: readID("auto_reply.mail_account_id", chosen.MailAccountID, problems),
				Subject:       chosen.Subject, Body: chosen.Body,
			}
		}
		patch.AutoReply = &reply
	}
	merge(problems, patch.Validate())
	return patch
}

func (s *server) contactSettings() resource[projections.ContactSettings] {
	return resource[projections.ContactSettings]{
		path: "/settings/contact", name: "contact-settings", kind: settings.Kind,
		read: func(ctx context.Context, _ string) (projections.ContactSettings, error) {
			return s.ReadModels.ContactSettings(ctx)
		},
		asOf: func(ctx context.Context, _ string, at time.Time) (projections.ContactSettings, error) {
			return s.ReadModels.ContactSettingsAsOf(ctx, at)
		},
		revision: func(c projections.ContactSettings) eventstore.Revision { return c.Revision },
	}
}

// addContact adds the contact form and its settings.
func (s *server) addContact() {
	registerSettings[contactChanges](s, s.contactSettings(), "Contact settings, now or as they were", operation{
		required: needs("settings", domain.Edit), summary: "Change the contact settings",
		example: map[string]any{
			"phone": "+380 44 123 45 67", "recipients": []string{"office@example.com"},
			"reply_email": "office@example.com",
			"auto_reply":  map[string]any{"subject": "Thank you for your message"},
			"social":      map[string]string{"linkedin": "https://www.linkedin.com/company/example"},
		},
	}, s.Commands.ChangeContact)
	register(s, operation{
		method: http.MethodPost, path: "/contact", id: "contact", tag: mailTag, status: http.StatusAccepted,
		required: anybody,
		maxBody:  maxContactBody, errors: []int{http.StatusTooManyRequests},
		summary: "Send a message with the contact form",
		description: "Notifies the recipients in the contact settings. The sender gets an automatic answer if one " +
			"is set up, at most one a day. More than 5 messages with one e-mail address, or 20 from one network " +
			"address, within 15 minutes are refused with 429.",
	}, s.receiveContact)
}

const maxContactBody = 64 << 10

func (s *server) receiveContact(ctx context.Context, in *contactRequest) (*struct{}, error) {
	s.cleaning.clean(ctx, s)
	over, err := s.count(ctx, contactRate, in.Body.Email)
	if err != nil {
		return nil, err
	}
	if over.account || over.address {
		return nil, over.refusal()
	}
	received := in.command
	received.Language = languageOf(in.Language)
	_, err = s.Commands.ReceiveContact(ctx, s.caller(ctx), received)
	return nil, err
}
