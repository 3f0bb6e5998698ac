package contact_test

import (
	"testing"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/contact"
	"github.com/secboard/secboard/domain/scenario"
)

func TestReceiving(t *testing.T) {
	t.Parallel()
	receive := func(message contact.Received) func(contact.State) ([]domain.Event, error) {
		return func(s contact.State) ([]domain.Event, error) { return contact.Receive(s, message) }
	}
	message := contact.Received{
		Name: "Olena", Email: "olena@example.com", Subject: "Price", Message: "How much?\nThank you", Language: "uk",
	}
	padded := message
	padded.Name, padded.Message = " Olena ", "\nHow much?\nThank you\n"
	scenario.Given[contact.State]().When(receive(padded)).Then(t, message)
	scenario.Given[contact.State](message).When(receive(message)).Then(t)
	scenario.Given[contact.State]().When(receive(contact.Received{Subject: "a\r\nBcc: b@example.com"})).ThenInvalid(t,
		"name", "email", "subject", "message")
}

func TestWhoMayBeAnsweredAutomatically(t *testing.T) {
	t.Parallel()
	own := []string{"office@example.com", "", "Accounts@example.com"}
	for address, want := range map[string]bool{
		"olena@example.com": true, "rooted@example.com": true,
		"MAILER-DAEMON@example.org": false, "postmaster@example.org": false, "no-reply@example.org": false,
		"noreply+x@example.org":    false,
		"list-request@example.org": false, "owner-list@example.org": false, "bounces-17@example.org": false,
		"office@example.com": false, "ACCOUNTS@example.com": false,
	} {
		t.Run(address, func(t *testing.T) {
			if got := contact.Answerable(address, own); got != want {
				t.Errorf("%s: %v", address, got)
			}
		})
	}
}
