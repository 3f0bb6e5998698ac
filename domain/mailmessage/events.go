// Package mailmessage decides about one mail on its way: when it is tried, how an attempt ended, and when it is over.
//
// The text of a mail is not kept: it is made for each attempt from the events that asked for it, so that no link and no
// token is in the log. Its id is made from the event that asked for it, so that asking twice can't make two.
package mailmessage

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// Kind is the first part of a message's stream name.
const Kind = "mailmessage"

// Events is the catalogue of the message's events.
var Events = []domain.Event{Queued{}, Sending{}, Sent{}, Deferred{}, InDoubt{}, Failed{}, Abandoned{}, Retried{}}

// Queued asks for a mail to be sent. What its text needs and is no secret is kept here; the rest is read when it is
// sent.
type Queued struct {
	Feature   string    `json:"feature"`
	To        string    `json:"to" personal:"true"`
	Subject   string    `json:"subject"`
	Language  string    `json:"language"`
	MessageID string    `json:"message_id" history:"-"` // of the mail's header: the same at each attempt
	ExpiresAt time.Time `json:"expires_at"`             // after which it is of no use to anybody
	UserID    uuid.UUID `json:"user_id,omitzero"`       // whom it is about
	CompanyID uuid.UUID `json:"company_id,omitzero"`    // whose mail account sends it
	Link      uuid.UUID `json:"link,omitzero" history:"-"`
	Notice    string    `json:"notice,omitempty"` // of a security notice
	ContactID uuid.UUID `json:"contact_id,omitzero"`
	At        time.Time `json:"at"` // when that which it is about happened
	IP        string    `json:"ip,omitempty" personal:"true"`
}

// Sending says that an attempt begins. Whoever finds this as the last event after Until knows that the attempt was cut
// short, and that the mail may have arrived.
type Sending struct {
	Attempt   int       `json:"attempt"`
	AccountID uuid.UUID `json:"account_id"`
	Until     time.Time `json:"until" history:"-"`
}

// Sent says that the server took the mail.
type Sent struct {
	Attempt int `json:"attempt"`
}

// Deferred says that an attempt failed for now, and when the next one follows.
type Deferred struct {
	Attempt int       `json:"attempt"`
	Reason  string    `json:"reason"`
	NextAt  time.Time `json:"next_at"`
}

// InDoubt says that the mail was handed over and the server's answer got lost: it may have arrived. It is sent again,
// with the same Message-ID, by which mail programs know a copy.
type InDoubt struct {
	Attempt int       `json:"attempt"`
	Reason  string    `json:"reason"`
	NextAt  time.Time `json:"next_at"`
}

// Failed says that the server refused the mail permanently.
type Failed struct {
	Attempt int    `json:"attempt"`
	Reason  string `json:"reason"`
}

// Abandoned says that the mail is not tried any more.
type Abandoned struct {
	Reason string `json:"reason"`
}

// Retried says that an administrator had it tried again.
type Retried struct {
	ExpiresAt time.Time `json:"expires_at"`
}

func (Queued) EventType() string    { return "mailmessage.queued" }
func (Sending) EventType() string   { return "mailmessage.sending" }
func (Sent) EventType() string      { return "mailmessage.sent" }
func (Deferred) EventType() string  { return "mailmessage.deferred" }
func (InDoubt) EventType() string   { return "mailmessage.in_doubt" }
func (Failed) EventType() string    { return "mailmessage.failed" }
func (Abandoned) EventType() string { return "mailmessage.abandoned" }
func (Retried) EventType() string   { return "mailmessage.retried" }

func (e Queued) Summary() string  { return "mail to " + e.To + " queued: " + e.Subject }
func (e Sending) Summary() string { return fmt.Sprintf("attempt %d started", e.Attempt) }
func (e Sent) Summary() string    { return fmt.Sprintf("sent on attempt %d", e.Attempt) }
func (e Deferred) Summary() string {
	return fmt.Sprintf("attempt %d failed, to be repeated: %s", e.Attempt, e.Reason)
}
func (e InDoubt) Summary() string {
	return fmt.Sprintf("attempt %d may have arrived: %s", e.Attempt, e.Reason)
}
func (e Failed) Summary() string    { return "refused permanently: " + e.Reason }
func (e Abandoned) Summary() string { return "given up: " + e.Reason }
func (Retried) Summary() string     { return "queued again" }
