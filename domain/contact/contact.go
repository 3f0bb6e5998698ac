// Package contact decides about messages that people leave in the contact form.
package contact

import (
	"slices"
	"strings"

	"github.com/secboard/secboard/domain"
)

// Kind is the first part of a message's stream name.
const Kind = "contactmessage"

// Events is the catalogue of the contact form's events.
var Events = []domain.Event{Received{}}

// Received is what somebody wrote. The text is for the people whom it is mailed to, not for histories.
type Received struct {
	Name     string `json:"name" personal:"true"`
	Email    string `json:"email" personal:"true"`
	Subject  string `json:"subject" personal:"true"`
	Message  string `json:"message" history:"-" readmodel:"-" personal:"true"`
	Language string `json:"language,omitempty" history:"-"`
}

func (Received) EventType() string { return "contactmessage.received" }

func (e Received) Summary() string { return "message from " + e.Email + " received" }

// State of a message: the message, once there is one.
type State struct {
	Exists  bool
	Message Received
}

// Evolve folds one event into the state.
func (s *State) Evolve(event domain.Event) {
	if e, ok := event.(Received); ok {
		s.Exists, s.Message = true, e
	}
}

// SubjectName is the subject of the message.
func (s State) SubjectName() string { return s.Message.Subject }

// Normalized trims the texts.
func (e Received) Normalized() Received {
	for _, text := range []*string{&e.Name, &e.Email, &e.Subject, &e.Message} {
		*text = strings.TrimSpace(*text)
	}
	return e
}

// Validate reports every wrong field.
func (e Received) Validate() error {
	var invalid domain.Invalid
	invalid.Text("name", e.Name, true, 200)
	if problem := domain.EmailProblem(e.Email); problem != "" {
		invalid.Add("email", domain.CodeEmail, "%s", problem)
	}
	invalid.Text("subject", e.Subject, true, 200)
	invalid.Prose("message", e.Message, true, 10_000)
	return invalid.Err()
}

// Receive accepts a message.
func Receive(s State, message Received) ([]domain.Event, error) {
	message = message.Normalized()
	if err := message.Validate(); err != nil {
		return nil, err
	}
	if s.Exists {
		return nil, nil
	}
	return []domain.Event{message}, nil
}

// robots are the parts before the @ of addresses that no person reads. An answer to them is lost, or is answered by a
// robot, which would be answered again (RFC 3834).
var robots = []string{"mailer-daemon", "postmaster", "noreply", "no-reply", "donotreply", "do-not-reply", "bounce",
	"bounces", "daemon", "root", "nobody"}

// Answerable says whether an address may be sent an automatic answer: it is not a robot's, and not one of our own.
func Answerable(address string, own []string) bool {
	address = strings.ToLower(strings.TrimSpace(address))
	local, _, _ := strings.Cut(address, "@")
	local, _, _ = strings.Cut(local, "+")
	if slices.Contains(robots, local) || strings.HasPrefix(local, "owner-") || strings.HasSuffix(local, "-request") ||
		strings.Contains(local, "bounce") {
		return false
	}
	return !slices.ContainsFunc(own, func(other string) bool {
		return strings.EqualFold(strings.TrimSpace(other), address)
	})
}
