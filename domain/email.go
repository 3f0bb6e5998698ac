package domain

import (
	"fmt"
	"net/mail"
	"strings"
	"unicode"
)

// EmailProblem says what is wrong with an address, or "".
func EmailProblem(email string) string {
	if email == "" {
		return "must not be empty: the e-mail address is the user name"
	}
	address, err := mail.ParseAddress(email)
	switch {
	case err != nil || address.Address != email || address.Name != "":
		return fmt.Sprintf("%q is not an e-mail address such as anna@example.com", email)
	case len(email) > 254:
		return "must have at most 254 characters"
	case strings.ContainsAny(email, `" `), strings.ContainsFunc(email, isControl):
		return "must not contain quotes, spaces or control characters"
	}
	return ""
}

// isControl is for characters that do something to the text around them, to that of a terminal or to the direction of writing.
func isControl(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Bidi_Control) }

// Languages of pages and mails.
var Languages = []string{"en", "uk", "ru"}
