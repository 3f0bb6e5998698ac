package mailing_test

import (
	"bytes"
	"net/mail"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/contact"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/mailing"
	"github.com/secboard/secboard/mailing/mailtest"
)

var sender = commands.MailSender{Account: mailaccount.Details{Address: "accounts@example.com", DisplayName: "SecBoard"}}

func message(feature, notice, language string) mailing.Message {
	return mailing.Message{
		Feature: feature, Notice: notice, Language: language, To: "olena@example.com", Name: "Олена Коваленко",
		Site: settings.Site{Name: "Нова", TimeZone: "Europe/Kyiv"}, MessageID: uuid.NewString() + "@example.com",
		At: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), IP: "192.0.2.7", URL: "https://accounts.example.com/password_reset/abc?lang=uk",
		ExpiresAt: time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC),
		Contact:   contact.Received{Name: "Ганна", Email: "hanna@example.com", Subject: "Ціна", Message: "Скільки?"},
	}
}

func composed(t require.TestingT, m mailing.Message, sender commands.MailSender) mailtest.Message {
	msg, err := mailing.Compose(m, sender)
	require.NoError(t, err)
	var raw bytes.Buffer
	_, err = msg.WriteTo(&raw)
	require.NoError(t, err)
	return mailtest.Message{Raw: raw.String()}
}

// Every mail has every text in every language, and says the same in plain text and in HTML.
func TestEveryMailInEveryLanguage(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, language := range domain.Languages {
		for _, feature := range append(mailmessage.Features, mailing.FeatureTest) {
			notices := []string{""}
			if feature == mailmessage.SecurityNotice {
				notices = mailmessage.Notices
			}
			for _, notice := range notices {
				name := strings.Join([]string{language, feature, notice}, " ")
				m := message(feature, notice, language)
				mail := composed(t, m, sender)
				assert.NotContains(t, mail.Raw, "%!", name) // a placeholder too many or too few
				text, page := mail.Part(t, "text/plain"), mail.Part(t, "text/html")
				subject := mail.Header(t, "Subject")
				assert.NotEmpty(t, subject, name)
				if before, known := seen[subject]; known {
					t.Errorf("%s has the subject of %s", name, before)
				}
				if feature != mailmessage.ContactNotification || language == "en" {
					seen[subject] = name
				}
				for paragraph := range strings.SplitSeq(text, "\n\n") {
					if line, _, several := strings.Cut(paragraph, "\n"); !several && !strings.HasPrefix(line, "-- ") {
						assert.Contains(t, page, line, name)
					}
				}
				assert.Contains(t, page, `<html lang="`+language+`">`)
				switch feature {
				case mailmessage.PasswordReset, mailmessage.FirstLogin:
					assert.Contains(t, page, `href="`+m.URL+`"`)
					assert.Contains(t, text, m.URL)
					assert.Contains(t, text, "2026-11-23 13:00 EET", name)
				case mailmessage.SecurityNotice:
					assert.Contains(t, text, "2026-11-23 12:00 EET", name)
					assert.Contains(t, text, m.IP)
				}
			}
		}
	}
}

// Whatever stands in names and subjects, no header and no recipient is added, and no markup comes alive.
func TestNothingCanBeInjected(t *testing.T) {
	t.Parallel()
	plain := headerNames(t, composed(t, message(mailmessage.ContactNotification, "", "en"), sender))
	rapid.Check(t, func(t *rapid.T) {
		evil := rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
				"\r\n", "\n", "\r", "Bcc: x@example.org", "\r\n\r\n<b>", "<script>", `"`, "<x@example.org>", ", ", "=?utf-8?q?=0D=0ABcc:_x?=", "\u202e", "\x00",
			})), 0, 8).Draw(t, "parts"), "")
		})
		m := message(mailmessage.ContactNotification, "", "en")
		m.Name, m.Site.Name = evil.Draw(t, "name"), evil.Draw(t, "site")
		m.Contact.Subject, m.Contact.Name, m.Contact.Message = evil.Draw(t, "subject"), evil.Draw(t, "sender"), evil.Draw(t, "message")
		from := sender
		from.Account.DisplayName = evil.Draw(t, "display name")
		msg, err := mailing.Compose(m, from)
		require.NoError(t, err)
		recipients, err := msg.GetRecipients()
		require.NoError(t, err)
		require.Equal(t, []string{"<olena@example.com>"}, recipients)
		var raw bytes.Buffer
		_, err = msg.WriteTo(&raw)
		require.NoError(t, err)
		read, err := mail.ReadMessage(&raw)
		require.NoError(t, err)
		names := map[string]int{}
		for name, values := range read.Header {
			names[name] = len(values)
		}
		require.Equal(t, plain, names)
		to, err := read.Header.AddressList("To")
		require.NoError(t, err)
		require.Len(t, to, 1)
		require.Equal(t, "olena@example.com", to[0].Address)
		sent, err := read.Header.AddressList("From")
		require.NoError(t, err)
		require.Len(t, sent, 1)
	})
	m := message(mailmessage.ContactNotification, "", "en")
	m.Contact.Message, m.Contact.Name = "<script>alert(1)</script>", `"><img src=x>`
	page := composed(t, m, sender).Part(t, "text/html")
	assert.NotContains(t, page, "<script>")
	assert.NotContains(t, page, "<img")
}

func headerNames(t *testing.T, m mailtest.Message) map[string]int {
	names := map[string]int{}
	for name, values := range m.Headers(t) {
		names[name] = len(values)
	}
	return names
}

func TestALinkOfAnotherSchemeIsNoLink(t *testing.T) {
	t.Parallel()
	m := message(mailmessage.PasswordReset, "", "en")
	m.URL = "javascript:alert(1)"
	assert.NotContains(t, composed(t, m, sender).Part(t, "text/html"), `href="javascript`)
}

// An auto-reply says nothing that its reader wrote.
func TestAnAutoReplyIsNoRelay(t *testing.T) {
	t.Parallel()
	m := message(mailmessage.ContactAutoReply, "", "en")
	m.Name = ""
	reply := composed(t, m, sender)
	for field := range reflect.ValueOf(m.Contact).NumField() {
		if text := reflect.ValueOf(m.Contact).Field(field).String(); text != "" {
			assert.NotContains(t, reply.Part(t, "text/plain")+reply.Header(t, "Subject"), text)
		}
	}
	assert.Equal(t, "auto-replied", reply.Header(t, "Auto-Submitted"))
}
