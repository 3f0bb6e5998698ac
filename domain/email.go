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
		return "must not be empty"
	}
	address, err := mail.ParseAddress(email)
	switch {
	case err != nil || address.Address != email || address.Name != "":
		return fmt.Sprintf("%q is not an e-mail address such as anna@example.com", email)
	case len(email) > 254:
		return "must have at most 254 characters"
	case strings.Contains(email, `"`), strings.ContainsFunc(email, isUnseen):
		return "must not contain quotes, spaces or invisible characters"
	}
	return ""
}

// isUnseen is for characters that make two addresses look alike, or do something to the text around them: control and
// format characters, also those of the direction of writing, and spaces of any kind.
func isUnseen(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Z) }

// Languages of pages and mails.
var Languages = []string{"en", "uk", "ru"}
