package settings

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// ContactStream is the stream of the contact settings.
const ContactStream = "settings-contact"

// ContactChanged changes what visitors see and who gets their messages; a field that stays is left out.
type ContactChanged struct {
	Address            domain.Changed[string]            `json:"address,omitzero"`
	Phone              domain.Changed[string]            `json:"phone,omitzero"`
	Social             domain.Changed[map[string]string] `json:"social,omitzero"`
	Recipients         domain.Changed[[]string]          `json:"recipients,omitzero"`
	AutoReply          domain.Changed[bool]              `json:"auto_reply,omitzero"`
	AutoReplyAccountID domain.Changed[uuid.UUID]         `json:"auto_reply.mail_account_id,omitzero"`
	AutoReplySubject   domain.Changed[string]            `json:"auto_reply.subject,omitzero"`
	AutoReplyBody      domain.Changed[string]            `json:"auto_reply.body,omitzero"`
	ReplyEmail         domain.Changed[string]            `json:"reply_email,omitzero"`
}

func (ContactChanged) EventType() string { return "settings.contact_changed" }

func (ContactChanged) Summary() string { return "contact settings changed" }

// Contact is how people reach whoever runs the installation.
type Contact struct {
	Address    string
	Phone      string
	Social     map[string]string // address by the name of the network
	Recipients []string          // of messages of the contact form
	AutoReply  *AutoReply        // nil: senders get none
	ReplyEmail string            // where answers to our mails go
}

// AutoReply is what senders of the contact form get.
type AutoReply struct {
	MailAccountID uuid.UUID // uuid.Nil: the one that is chosen for auto-replies
	Subject       string    // "" as Body
	Body          string    // "": our own, in the sender's language
}

// ContactState is the fold of the contact settings.
type ContactState struct{ Contact Contact }

// Evolve folds one event into the state.
func (s *ContactState) Evolve(event domain.Event) {
	e, ok := event.(ContactChanged)
	if !ok {
		return
	}
	c := &s.Contact
	domain.Apply(&c.Address, e.Address)
	domain.Apply(&c.Phone, e.Phone)
	domain.Apply(&c.ReplyEmail, e.ReplyEmail)
	if e.Social.From != nil || e.Social.To != nil {
		c.Social = e.Social.To
	}
	if e.Recipients.From != nil || e.Recipients.To != nil {
		c.Recipients = e.Recipients.To
	}
	reply := c.autoReply()
	on := c.AutoReply != nil
	domain.Apply(&on, e.AutoReply)
	domain.Apply(&reply.MailAccountID, e.AutoReplyAccountID)
	domain.Apply(&reply.Subject, e.AutoReplySubject)
	domain.Apply(&reply.Body, e.AutoReplyBody)
	c.AutoReply = nil
	if on {
		c.AutoReply = &reply
	}
}

func (c Contact) autoReply() AutoReply {
	if c.AutoReply == nil {
		return AutoReply{}
	}
	return *c.AutoReply
}

// ContactPatch changes the contact settings; nil leaves a field. AutoReply replaces the whole of it: a nil one inside
// switches it off.
type ContactPatch struct {
	Address, Phone, ReplyEmail *string
	Social                     *map[string]string
	Recipients                 *[]string
	AutoReply                  **AutoReply
}

// ChangeContact applies a patch. An unknown mail account is for the caller to refuse.
func ChangeContact(s ContactState, patch ContactPatch) ([]domain.Event, error) {
	if err := patch.Validate(); err != nil {
		return nil, err
	}
	patch = patch.normalized()
	current := s.Contact
	var event ContactChanged
	changed := false
	note := func(differs bool) { changed = changed || differs }
	var differs bool
	event.Address, differs = domain.Change(current.Address, patch.Address)
	note(differs)
	event.Phone, differs = domain.Change(current.Phone, patch.Phone)
	note(differs)
	event.ReplyEmail, differs = domain.Change(current.ReplyEmail, patch.ReplyEmail)
	note(differs)
	if patch.Social != nil && !maps.Equal(*patch.Social, current.Social) {
		event.Social = domain.Changed[map[string]string]{From: current.Social, To: *patch.Social}
		note(true)
	}
	if patch.Recipients != nil && !slices.Equal(*patch.Recipients, current.Recipients) {
		event.Recipients = domain.Changed[[]string]{From: current.Recipients, To: *patch.Recipients}
		note(true)
	}
	if patch.AutoReply != nil {
		before, on := current.autoReply(), *patch.AutoReply != nil
		wanted := Contact{AutoReply: *patch.AutoReply}.autoReply()
		event.AutoReply, differs = domain.Change(current.AutoReply != nil, &on)
		note(differs)
		event.AutoReplyAccountID, differs = domain.Change(before.MailAccountID, &wanted.MailAccountID)
		note(differs)
		event.AutoReplySubject, differs = domain.Change(before.Subject, &wanted.Subject)
		note(differs)
		event.AutoReplyBody, differs = domain.Change(before.Body, &wanted.Body)
		note(differs)
	}
	if !changed {
		return nil, nil
	}
	return []domain.Event{event}, nil
}

func (p ContactPatch) normalized() ContactPatch {
	trim := func(text *string) *string {
		if text == nil {
			return nil
		}
		trimmed := strings.TrimSpace(*text)
		return &trimmed
	}
	p.Address, p.Phone, p.ReplyEmail = trim(p.Address), trim(p.Phone), trim(p.ReplyEmail)
	if p.Recipients != nil {
		trimmed := []string{}
		for _, recipient := range *p.Recipients {
			if recipient = strings.TrimSpace(recipient); !slices.Contains(trimmed, recipient) {
				trimmed = append(trimmed, recipient)
			}
		}
		p.Recipients = &trimmed
	}
	if p.AutoReply != nil && *p.AutoReply != nil {
		reply := **p.AutoReply
		reply.Subject, reply.Body = strings.TrimSpace(reply.Subject), strings.TrimSpace(reply.Body)
		copied := &reply
		p.AutoReply = &copied
	}
	return p
}

// Bounds of the contact settings.
const (
	maxRecipients = 20
	maxSocial     = 20
)

// Validate reports every wrong field that the patch names.
func (p ContactPatch) Validate() error {
	p = p.normalized()
	var invalid domain.Invalid
	if p.Address != nil {
		invalid.Prose("address", *p.Address, false, 500)
	}
	if p.Phone != nil {
		invalid.Text("phone", *p.Phone, false, 50)
	}
	if p.ReplyEmail != nil && *p.ReplyEmail != "" {
		if problem := domain.EmailProblem(*p.ReplyEmail); problem != "" {
			invalid.Add("reply_email", domain.CodeEmail, "%s", problem)
		}
	}
	if p.Social != nil {
		validateSocial(*p.Social, &invalid)
	}
	if p.Recipients != nil {
		if len(*p.Recipients) > maxRecipients {
			invalid.Add("recipients", domain.CodeTooMany, "must have at most %d entries", maxRecipients)
		}
		for i, recipient := range *p.Recipients {
			if problem := domain.EmailProblem(recipient); problem != "" {
				invalid.Add(fmt.Sprintf("recipients.%d", i), domain.CodeEmail, "%s", problem)
			}
		}
	}
	if p.AutoReply != nil && *p.AutoReply != nil {
		reply := **p.AutoReply
		invalid.Text("auto_reply.subject", reply.Subject, false, 200)
		invalid.Prose("auto_reply.body", reply.Body, false, 10_000)
	}
	return invalid.Err()
}

func validateSocial(social map[string]string, invalid *domain.Invalid) {
	if len(social) > maxSocial {
		invalid.Add("social", domain.CodeTooMany, "must have at most %d entries", maxSocial)
	}
	for _, name := range slices.Sorted(maps.Keys(social)) {
		if !domain.ModuleKey.MatchString(name) {
			invalid.Add("social", domain.CodeName, "must have names such as facebook, not %q", name)
		}
		address := social[name]
		parsed, err := url.Parse(address)
		if err != nil || parsed.Host == "" || (parsed.Scheme != "https" && parsed.Scheme != "http") ||
			len(address) > 500 {
			invalid.Add("social."+name, domain.CodeURL, "must be an address such as https://social.example/secboard")
		}
	}
}
