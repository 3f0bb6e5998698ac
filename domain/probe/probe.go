// Package probe records that SecBoard connects to a directory or to a mail server because somebody asks for it: whoever
// may set such a server up decides what is connected to, and what it answers is shown.
//
// Each directory and mail account has one stream for it, beside its own: that one is read whenever something is decided
// about it, and its revision is that of its settings.
package probe

import (
	"fmt"
	"strings"

	"github.com/secboard/secboard/domain"
)

// The first parts of the streams' names; the second is the id of the directory or mail account.
const (
	DirectoryKind = "directorytest"
	MailKind      = "mailtest"
)

// DirectoryEvents and MailEvents are the events of the two kinds. They are recorded before anything is connected to.
var (
	DirectoryEvents = []domain.Event{DirectoryTested{}, DirectoryChecked{}}
	MailEvents      = []domain.Event{MailSent{}}
)

// DirectoryTested is a test of a connection, step by step.
type DirectoryTested struct {
	URLs  []string `json:"urls"`                            // all of them are connected to
	Email string   `json:"email,omitempty" personal:"true"` // whose entry is looked for; empty for nobody's
	// Password says that one was tried, too.
	Password bool `json:"password,omitempty"`
}

// DirectoryChecked is a comparison of all accounts with a directory that a person asked for.
type DirectoryChecked struct {
	URLs []string `json:"urls"` // in this order, until one answers
}

// MailSent is a test mail.
type MailSent struct {
	Host string `json:"host"`
	Port int    `json:"port"`
	To   string `json:"to" personal:"true"`
}

func (DirectoryTested) EventType() string  { return "directorytest.tested" }
func (DirectoryChecked) EventType() string { return "directorytest.checked" }
func (MailSent) EventType() string         { return "mailtest.sent" }

func (e DirectoryTested) Summary() string {
	text := "tested the connection to " + strings.Join(e.URLs, ", ")
	switch {
	case e.Password:
		text += ", with the password of " + e.Email
	case e.Email != "":
		text += ", and looked for " + e.Email
	}
	return text
}

func (e DirectoryChecked) Summary() string {
	return "compared accounts with the directory at " + strings.Join(e.URLs, ", ")
}

func (e MailSent) Summary() string {
	return fmt.Sprintf("sent a test mail to %s through %s, port %d", e.To, e.Host, e.Port)
}
