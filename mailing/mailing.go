// Package mailing turns what happened into a mail in the reader's language, and hands it to a mail server. Sending for
// real and an administrator's test go the same way.
package mailing

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"embed"
	"fmt"
	htmltemplate "html/template"
	netmail "net/mail"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"

	"github.com/wneessen/go-mail"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/contact"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/smtpclient"
	"github.com/secboard/secboard/targets"
)

// FeatureTest is the mail by which an administrator tries a mail account. No route leads to it.
const FeatureTest = "test"

// Message is what a mail is made of.
type Message struct {
	Feature   string // one of mailmessage.Features, or FeatureTest
	Notice    string // of a security notice: one of mailmessage.Notices
	Language  string // en, uk or ru; anything else is en
	To        string
	Name      string        // of the recipient, "" when it is not to be shown
	Site      settings.Site // which the mail comes from
	MessageID string        // without angle brackets; the same for each attempt
	ReplyTo   string        // "": the sender

	At        time.Time // when that which it is about happened
	IP        string    // from where it was done; "" for unknown
	URL       string    // of a link. It lets whoever has it into the account
	ExpiresAt time.Time // of the link
	Contact   contact.Received
	AutoReply settings.AutoReply
}

// parts of a mail's text. The same for its plain and its HTML form.
type parts struct {
	Language, Subject, Site, Greeting string
	Paragraphs                        []string
	Link, Button                      string
	Facts                             []fact
	Quote                             string
	Closing                           []string
}

type fact struct{ Label, Value string }

// Subject is one line without a secret.
func (m Message) Subject() string {
	texts := m.texts()
	subject := ""
	switch m.Feature {
	case mailmessage.PasswordReset:
		subject = fmt.Sprintf(texts.ResetSubject, m.Site.Name)
	case mailmessage.FirstLogin:
		subject = fmt.Sprintf(texts.FirstSubject, m.Site.Name)
	case mailmessage.SecurityNotice:
		subject = fmt.Sprintf(texts.Notices[m.Notice].Subject, m.Site.Name)
	case mailmessage.ContactNotification:
		subject = fmt.Sprintf(texts.ContactSubject, m.Contact.Subject)
	case mailmessage.ContactAutoReply:
		subject = cmp.Or(m.AutoReply.Subject, fmt.Sprintf(texts.AutoReplySubject, m.Site.Name))
	case FeatureTest:
		subject = fmt.Sprintf(texts.TestMail, m.Site.Name)
	}
	return oneLine(subject)
}

func (m Message) texts() mailTexts {
	texts, known := textsOf[m.Language]
	if !known {
		return textsOf["en"]
	}
	return texts
}

func (m Message) parts() parts {
	texts := m.texts()
	p := parts{Language: m.Language, Subject: m.Subject(), Site: m.Site.Name}
	if m.Name != "" {
		p.Greeting = fmt.Sprintf(texts.Greeting, oneLine(m.Name))
	}
	switch m.Feature {
	case mailmessage.PasswordReset:
		p.Paragraphs, p.Link, p.Button = []string{texts.ResetText}, m.URL, texts.ResetButton
		p.Closing = []string{fmt.Sprintf(texts.ValidUntil, m.clock(m.ExpiresAt)), texts.ResetIgnore}
	case mailmessage.FirstLogin:
		p.Paragraphs, p.Link, p.Button = []string{texts.FirstText}, m.URL, texts.FirstButton
		p.Closing = []string{fmt.Sprintf(texts.ValidUntil, m.clock(m.ExpiresAt)), texts.FirstIgnore}
	case mailmessage.SecurityNotice:
		p.Paragraphs, p.Facts = []string{texts.Notices[m.Notice].Text}, []fact{{texts.When, m.clock(m.At)}}
		if m.IP != "" {
			p.Facts = append(p.Facts, fact{texts.Address, m.IP})
		}
		p.Closing = []string{texts.NoticeAdvice}
	case mailmessage.ContactNotification:
		p.Paragraphs = []string{texts.ContactText}
		p.Facts = []fact{{texts.ContactName, m.Contact.Name}, {texts.ContactEmail, m.Contact.Email}, {
			texts.About, m.Contact.Subject,
		}, {texts.When, m.clock(m.At)}}
		p.Quote, p.Closing = m.Contact.Message, []string{texts.ContactAnswer}
	case mailmessage.ContactAutoReply:
		// Nothing that the sender wrote: it would make us a relay for mail to whomever the sender names.
		p.Paragraphs, p.Closing = []string{cmp.Or(m.AutoReply.Body, texts.AutoReplyText)}, []string{texts.AutoReplyWhy}
	case FeatureTest:
		p.Paragraphs = []string{texts.TestOK}
	}
	return p
}

// clock shows a time in the time zone of the site.
func (m Message) clock(t time.Time) string {
	zone, err := time.LoadLocation(m.Site.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	return t.In(zone).Format("2006-01-02 15:04 MST")
}

// oneLine keeps what could begin another header, or fool the eye, out of a header and a greeting.
func oneLine(text string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, text)), " ")
}

// address is that of a person with a name. A backslash in it goes: net/mail writes it bare into an encoded word, where
// it makes the header one that no program can read.
func address(name, email string) *netmail.Address {
	return &netmail.Address{Name: oneLine(strings.ReplaceAll(name, `\`, " ")), Address: email}
}

//go:embed templates
var files embed.FS

var (
	plain = texttemplate.Must(texttemplate.ParseFS(files, "templates/mail.txt"))
	html  = htmltemplate.Must(htmltemplate.ParseFS(files, "templates/mail.html"))
)

// Compose makes the mail that a sender's account sends.
func Compose(m Message, sender commands.MailSender) (*mail.Msg, error) {
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	msg.FromMailAddress(address(cmp.Or(sender.Account.DisplayName, m.Site.Name), sender.Account.Address))
	msg.ToMailAddress(address(m.Name, m.To))
	if m.ReplyTo != "" {
		msg.ReplyToMailAddress(address("", m.ReplyTo))
	}
	msg.Subject(m.Subject())
	msg.SetMessageIDWithValue(m.MessageID)
	msg.SetDateWithValue(m.At)
	// RFC 3834: whoever answers automatically leaves this alone.
	automatic := "auto-generated"
	if m.Feature == mailmessage.ContactAutoReply {
		automatic = "auto-replied"
	}
	msg.SetGenHeader("Auto-Submitted", automatic)
	msg.SetGenHeader("X-Auto-Response-Suppress", "All")

	content := m.parts()
	var text, page bytes.Buffer
	if err := plain.Execute(&text, content); err != nil {
		return nil, fmt.Errorf("write the text of a mail: %w", err)
	}
	if err := html.Execute(&page, content); err != nil {
		return nil, fmt.Errorf("write the HTML of a mail: %w", err)
	}
	msg.SetBodyString(mail.TypeTextPlain, text.String())
	msg.AddAlternativeString(mail.TypeTextHTML, page.String())
	return msg, nil
}

// Transport hands mails to mail servers.
type Transport struct {
	// RootCAs are trusted to certify mail servers; nil: those of the system.
	RootCAs *x509.CertPool
	// Targets are the addresses that may be connected to.
	Targets targets.Policy
}

// Send hands a mail to the sender's server, and says what each step did. Its error is a *smtpclient.Failure.
func (t Transport) Send(ctx context.Context, sender commands.MailSender, msg *mail.Msg) ([]smtpclient.Step, error) {
	return t.server(sender).Send(ctx, msg)
}

// Check does everything but send.
func (t Transport) Check(ctx context.Context, sender commands.MailSender) ([]smtpclient.Step, error) {
	return t.server(sender).Check(ctx)
}

func (t Transport) server(sender commands.MailSender) smtpclient.Server {
	return smtpclient.Server{
		Host: sender.Server.Host, Port: sender.Server.Port, Security: sender.Server.Security,
		Timeout:  time.Duration(sender.Server.TimeoutS) * time.Second,
		Username: sender.Account.Username, Password: sender.Password, RootCAs: t.RootCAs,
		Targets: t.Targets,
	}
}
