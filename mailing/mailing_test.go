package mailing_test

import (
	"bytes"
	"net/mail"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
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
		At: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), IP: "192.0.2.7",
		URL:       "https://accounts.example.com/password_reset/abc?lang=uk",
		ExpiresAt: time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC),
		Contact:   contact.Received{Name: "Ганна", Email: "hanna@example.com", Subject: "Ціна", Message: "Скільки?"},
	}
}

func composed(t testing.TB, m mailing.Message, sender commands.MailSender) mailtest.Message {
	msg, err := mailing.Compose(m, sender)
	if err != nil {
		t.Fatal(err)
	}
	var raw bytes.Buffer
	_, err = msg.WriteTo(&raw)
	if err != nil {
		t.Fatal(err)
	}
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
				name := strings.TrimSpace(language + " " + feature + " " + notice)
				t.Run(name, func(t *testing.T) {
					m := message(feature, notice, language)
					mail := composed(t, m, sender)
					if strings.Contains(mail.Raw, "%!") {
						t.Errorf("%q contains %q", mail.Raw, "%!")
					} // a placeholder too many or too few
					text, page := mail.Part(t, "text/plain"), mail.Part(t, "text/html")
					subject := mail.Header(t, "Subject")
					if subject == "" {
						t.Errorf("got %q, want something", subject)
					}
					if before, known := seen[subject]; known {
						t.Errorf("it has the subject of %s", before)
					}
					if feature != mailmessage.ContactNotification || language == "en" {
						seen[subject] = name
					}
					for paragraph := range strings.SplitSeq(text, "\n\n") {
						line, _, several := strings.Cut(paragraph, "\n")
						if !several && !strings.HasPrefix(line, "-- ") && !strings.Contains(page, line) {
							t.Errorf("%q lacks %q", page, line)
						}
					}
					if !strings.Contains(page, `<html lang="`+language+`">`) {
						t.Errorf("%q lacks %q", page, `<html lang="`+language+`">`)
					}
					switch feature {
					case mailmessage.PasswordReset, mailmessage.FirstLogin:
						if !strings.Contains(page, `href="`+m.URL+`"`) {
							t.Errorf("%q lacks %q", page, `href="`+m.URL+`"`)
						}
						if !strings.Contains(text, m.URL) {
							t.Errorf("%q lacks %q", text, m.URL)
						}
						if !strings.Contains(text, "2026-11-23 13:00 EET") {
							t.Errorf(`%s: %q lacks "2026-11-23 13:00 EET"`, name, text)
						}
					case mailmessage.SecurityNotice:
						if !strings.Contains(text, "2026-11-23 12:00 EET") {
							t.Errorf(`%s: %q lacks "2026-11-23 12:00 EET"`, name, text)
						}
						if !strings.Contains(text, m.IP) {
							t.Errorf("%q lacks %q", text, m.IP)
						}
					}
				})
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
				"\r\n", "\n", "\r", "Bcc: x@example.org", "\r\n\r\n<b>", "<script>", `"`, "<x@example.org>", ", ",
				"=?utf-8?q?=0D=0ABcc:_x?=", "\u202e", "\x00",
			})), 0, 8).Draw(t, "parts"), "")
		})
		m := message(mailmessage.ContactNotification, "", "en")
		m.Name, m.Site.Name = evil.Draw(t, "name"), evil.Draw(t, "site")
		m.Contact.Subject, m.Contact.Name, m.Contact.Message = evil.Draw(t, "subject"), evil.Draw(t, "sender"),
			evil.Draw(t, "message")
		from := sender
		from.Account.DisplayName = evil.Draw(t, "display name")
		msg, err := mailing.Compose(m, from)
		if err != nil {
			t.Fatal(err)
		}
		recipients, err := msg.GetRecipients()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"<olena@example.com>"}, recipients); diff != "" {
			t.Fatalf("recipients (-want +got):\n%s", diff)
		}
		var raw bytes.Buffer
		_, err = msg.WriteTo(&raw)
		if err != nil {
			t.Fatal(err)
		}
		read, err := mail.ReadMessage(&raw)
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]int{}
		for name, values := range read.Header {
			names[name] = len(values)
		}
		if diff := cmp.Diff(plain, names); diff != "" {
			t.Fatalf("names (-want +got):\n%s", diff)
		}
		to, err := read.Header.AddressList("To")
		if err != nil {
			t.Fatal(err)
		}
		if len(to) != 1 {
			t.Fatalf("to has %d elements, want 1: %v", len(to), to)
		}
		if to[0].Address != "olena@example.com" {
			t.Fatalf(`to[0].Address = %q, want "olena@example.com"`, to[0].Address)
		}
		sent, err := read.Header.AddressList("From")
		if err != nil {
			t.Fatal(err)
		}
		if len(sent) != 1 {
			t.Fatalf("sent has %d elements, want 1: %v", len(sent), sent)
		}
	})
	m := message(mailmessage.ContactNotification, "", "en")
	m.Contact.Message, m.Contact.Name = "<script>alert(1)</script>", `"><img src=x>`
	page := composed(t, m, sender).Part(t, "text/html")
	if strings.Contains(page, "<script>") {
		t.Errorf(`%q contains "<script>"`, page)
	}
	if strings.Contains(page, "<img") {
		t.Errorf(`%q contains "<img"`, page)
	}
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
	if got := composed(t, m, sender).Part(t, "text/html"); strings.Contains(got, `href="javascript`) {
		t.Errorf("%q contains %q", got, `href="javascript`)
	}
}

// An auto-reply says nothing that its reader wrote.
func TestAnAutoReplyIsNoRelay(t *testing.T) {
	t.Parallel()
	m := message(mailmessage.ContactAutoReply, "", "en")
	m.Name = ""
	reply := composed(t, m, sender)
	for field := range reflect.ValueOf(m.Contact).NumField() {
		if text := reflect.ValueOf(m.Contact).Field(field).String(); text != "" {
			if got := reply.Part(t, "text/plain") + reply.Header(t, "Subject"); strings.Contains(got, text) {
				t.Errorf("%q contains %q", got, text)
			}
		}
	}
	if got := reply.Header(t, "Auto-Submitted"); got != "auto-replied" {
		t.Errorf(`reply.Header(t, "Auto-Submitted") = %q, want "auto-replied"`, got)
	}
}
