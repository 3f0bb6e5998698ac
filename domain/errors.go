package domain

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Error is a refusal by a rule of the domain. Code is stable and part of the HTTP contract; Detail is for people.
type Error struct {
	Code   Code
	Detail string
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Detail }

// Is makes errors.Is match two refusals by their code.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == e.Code
}

// Refusef makes an Error.
func Refusef(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// FieldError names one wrong field: Field as in the HTTP API ("permissions.risks"), Code stable, Message for people.
type FieldError struct {
	Field   string `json:"field"`
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// Invalid is bad input: every wrong field at once.
type Invalid struct{ Fields []FieldError }

func (e *Invalid) Error() string {
	parts := make([]string, len(e.Fields))
	for i, field := range e.Fields {
		parts[i] = field.Field + ": " + field.Message
	}
	return strings.Join(parts, "; ")
}

// Add notes one wrong field.
func (e *Invalid) Add(field string, code Code, format string, args ...any) {
	e.Fields = append(e.Fields, FieldError{Field: field, Code: code, Message: fmt.Sprintf(format, args...)})
}

// Err is nil when no field is wrong.
func (e *Invalid) Err() error {
	if len(e.Fields) == 0 {
		return nil
	}
	return e
}

// Text checks one line of text: at most max characters, no control characters, not empty when required.
func (e *Invalid) Text(field, value string, required bool, max int) {
	e.text(field, value, required, max, unicode.IsControl)
}

// Prose checks text of several lines: as Text, but line breaks and tabs are allowed.
func (e *Invalid) Prose(field, value string, required bool, max int) {
	e.text(field, value, required, max, func(r rune) bool {
		return unicode.IsControl(r) && !strings.ContainsRune("\n\r\t", r)
	})
}

func (e *Invalid) text(field, value string, required bool, max int, forbidden func(rune) bool) {
	switch {
	case required && strings.TrimSpace(value) == "":
		e.Add(field, CodeRequired, "must not be empty")
	case !utf8.ValidString(value):
		e.Add(field, CodeNotUTF8, "must be valid UTF-8 text")
	case utf8.RuneCountInString(value) > max:
		e.Add(field, CodeTooLong, "must have at most %d characters", max)
	case strings.ContainsFunc(value, forbidden):
		e.Add(field, CodeControlCharacter, "must not contain control characters")
	}
}

// Between checks a number.
func (e *Invalid) Between(field string, value, low, high int) {
	if value < low || value > high {
		e.Add(field, CodeRange, "must be between %d and %d", low, high)
	}
}

// Reason checks and trims the reason that somebody gives for a change.
func Reason(reason string, required bool) (string, error) {
	var invalid Invalid
	invalid.Prose("reason", reason, required, 1000)
	return strings.TrimSpace(reason), invalid.Err()
}
