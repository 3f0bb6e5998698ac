package smtpclient_test

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/wneessen/go-mail"

	"github.com/secboard/secboard/smtpclient"
	"github.com/secboard/secboard/smtpclient/mtatest"
	"github.com/secboard/secboard/targets/targetstest"
)

// Against a real mail server.

func message(t testing.TB, from, to string) *mail.Msg {
	t.Helper()
	msg := mail.NewMsg()
	if err := msg.From(from); err != nil {
		t.Fatal(err)
	}
	if err := msg.To(to); err != nil {
		t.Fatal(err)
	}
	msg.Subject("Пароль")
	msg.SetBodyString(mail.TypeTextPlain, "Open https://secboard.example/password_reset/"+token+"\n.\n..\nдякую\n")
	msg.AddAlternativeString(mail.TypeTextHTML, "<p>дякую</p>")
	return msg
}

const token = "s3cr3t-t0ken-of-a-mail-Zm9vYmFyYmF6cXV4"

func account(mta *mtatest.Server) smtpclient.Server {
	return smtpclient.Server{
		Host: mta.Host, Port: mta.Port, Security: smtpclient.SecurityStartTLS, RootCAs: mta.RootCAs,
		Username: mta.Username, Password: mta.Password, Targets: targetstest.Loopback,
	}
}

func TestDelivers(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*smtpclient.Server, *mtatest.Server){
		"STARTTLS": func(*smtpclient.Server, *mtatest.Server) {},
		"TLS at once": func(s *smtpclient.Server, mta *mtatest.Server) {
			s.Security, s.Port = smtpclient.SecurityTLS, mta.TLSPort
		},
		"another name": func(s *smtpclient.Server, _ *mtatest.Server) { s.Host = "localhost" },
		"without TLS and login": func(s *smtpclient.Server, mta *mtatest.Server) {
			s.Security, s.Port, s.Username = smtpclient.SecurityNone, mta.PlainPort, ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mta := mtatest.Start(t)
			server := account(mta)
			change(&server, mta)

			steps, err := server.Send(t.Context(), message(t, "noreply@secboard.example", "anna@"+mtatest.Domain))

			if err != nil {
				t.Fatalf("%s: %v", mta.Log(), err)
			}
			var names []string
			for _, step := range steps {
				names = append(names, step.Step)
				if !step.OK {
					t.Fatal("not step.OK")
				}
				if step.Detail == "" {
					t.Fatalf("step.Detail = %q, want something", step.Detail)
				}
				if step.Fix != "" {
					t.Fatalf("step.Fix = %q, want nothing", step.Fix)
				}
				if step.Took <= 0 {
					t.Fatalf("step.Took = %v", step.Took)
				}
			}
			if diff := cmp.Diff([]string{"resolve", "connect", "tls", "login", "send"}, names); diff != "" {
				t.Fatalf("names (-want +got):\n%s", diff)
			}
			if !strings.Contains(steps[4].Detail, "The server accepted the message: 250 OK id=") {
				t.Fatalf(`%q lacks "The server accepted the message: 250 OK id="`, steps[4].Detail)
			}
			messages := mta.Await(t, 1)
			if len(messages) != 1 {
				t.Fatalf("messages has %d elements, want 1: %v", len(messages), messages)
			}
			if messages[0].From != "noreply@secboard.example" {
				t.Fatalf(`messages[0].From = %q, want "noreply@secboard.example"`, messages[0].From)
			}
			if messages[0].To != "anna@"+mtatest.Domain {
				t.Fatalf("messages[0].To = %q, want %q", messages[0].To, "anna@"+mtatest.Domain)
			}
			if messages[0].Subject != "Пароль" {
				t.Fatalf(`messages[0].Subject = %q, want "Пароль"`, messages[0].Subject)
			}
			if !strings.Contains(messages[0].Body, "/password_reset/"+token+"\n.\n..\nдякую\n") {
				t.Fatalf("%q lacks %q", messages[0].Body, "/password_reset/"+token+"\n.\n..\nдякую\n")
			}
			if !strings.Contains(messages[0].Body, "<p>дякую</p>") {
				t.Fatalf(`%q lacks "<p>дякую</p>"`, messages[0].Body)
			}
		})
	}
}

func TestRealRefusals(t *testing.T) {
	t.Parallel()
	mta := mtatest.Start(t)
	good := account(mta)
	anna := "anna@" + mtatest.Domain
	for name, test := range map[string]struct {
		change   func(*smtpclient.Server)
		from, to string
		step     string
		detail   string
		fix      string
		code     int
		final    bool
	}{
		"unknown mailbox": {
			to: mtatest.Unknown, step: "send", code: 550, final: true,
			detail: "The server does not know the mailbox unknown@acme.example, or refuses it: 550 5.1.1 " +
				"<unknown@acme.example>: no such mailbox",
			fix: "Correct the recipient's address",
		},
		"full mailbox": {
			to: mtatest.Full, step: "send", code: 452,
			detail: "The mailbox of full@acme.example is full: 452 4.2.2",
			fix:    "Ask the recipient to delete messages",
		},
		"sender refused": {
			from: mtatest.Refused, to: anna, step: "send", code: 550,
			detail: "The server refused the sender refused@acme.example: 550 5.7.1 You may not send",
			fix:    "Set the account's address",
		},
		"relaying": {
			change: func(s *smtpclient.Server) { s.Username = "" },
			to:     "bob@elsewhere.example", step: "send", code: 550,
			detail: "The server does not relay messages to bob@elsewhere.example: 550 5.7.1 Relaying is not permitted",
			fix:    "Set username and password",
		},
		"wrong password": {
			change: func(s *smtpclient.Server) { s.Password = "tr0ub4dor" },
			to:     anna, step: "login", code: 535,
			detail: "The server refused the login of secboard: 535 Incorrect authentication data",
			fix:    "Correct the account's username and password",
		},
		"no password": {
			change: func(s *smtpclient.Server) { s.Password = "" },
			to:     anna, step: "login",
			detail: "The account has a username but no password",
			fix:    "Set the account's password",
		},
		"no login offered": {
			change: func(s *smtpclient.Server) { s.Port, s.Security = mta.PlainPort, smtpclient.SecurityNone },
			to:     anna, step: "login",
			detail: "offers no login",
			fix:    "Use the port for logins",
		},
		"no STARTTLS offered": {
			change: func(s *smtpclient.Server) { s.Port = mta.PlainPort },
			to:     anna, step: "tls",
			detail: "does not offer STARTTLS",
			fix:    "Turn STARTTLS on",
		},
		"TLS on a STARTTLS port": {
			change: func(s *smtpclient.Server) { s.Security = smtpclient.SecurityTLS },
			to:     anna, step: "tls",
			detail: "does not begin with TLS, but security is tls",
			fix:    "Set security to starttls",
		},
		"STARTTLS on a TLS port": {
			change: func(s *smtpclient.Server) { s.Port, s.Timeout = mta.TLSPort, short },
			to:     anna, step: "connect",
			detail: "expects TLS from the start, but security is starttls",
			fix:    "Set security to tls",
		},
		"unknown authority": {
			change: func(s *smtpclient.Server) { s.RootCAs = x509.NewCertPool() },
			to:     anna, step: "tls",
			detail: "from an authority that this machine does not know: CN=SecBoard tests",
			fix:    "Add that authority",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := good
			if test.change != nil {
				test.change(&server)
			}
			if test.from == "" {
				test.from = "noreply@secboard.example"
			}

			var steps []smtpclient.Step
			var err error
			untilSilence(func(limit time.Duration) bool {
				if server.Timeout != 0 {
					server.Timeout = limit
				}
				steps, err = server.Send(t.Context(), message(t, test.from, test.to))
				return server.Timeout == 0 || (err != nil && strings.Contains(err.Error(), test.detail))
			})

			failure := failed(t, server, steps, err, test.step)
			if !strings.Contains(failure.Detail, test.detail) {
				t.Fatalf("%q lacks %q", failure.Detail, test.detail)
			}
			if !strings.Contains(failure.Fix, test.fix) {
				t.Fatalf("%q lacks %q", failure.Fix, test.fix)
			}
			if failure.Code != test.code {
				t.Fatalf("failure.Code = %v, want %v", failure.Code, test.code)
			}
			if failure.Permanent != test.final {
				t.Fatalf("failure.Permanent = %v, want %v", failure.Permanent, test.final)
			}
			if failure.InDoubt {
				t.Fatal("failure.InDoubt")
			}
		})
	}
}

// failed checks what all failures have in common.
func failed(t testing.TB, server smtpclient.Server, steps []smtpclient.Step, err error, at string) *smtpclient.Failure {
	t.Helper()
	var failure *smtpclient.Failure
	if !errors.As(err, &failure) {
		t.Fatalf("%T is not of the wanted type: %v", err, err)
	}
	if failure.Step != at {
		t.Fatalf("%s: got %q, want %q", failure.Detail, failure.Step, at)
	}
	if got := err.Error(); got != failure.Detail {
		t.Fatalf("err.Error() = %q, want %q", got, failure.Detail)
	}
	if failure.Detail == "" {
		t.Fatalf("failure.Detail = %q, want something", failure.Detail)
	}
	if failure.Fix == "" {
		t.Fatalf("failure.Fix = %q, want something", failure.Fix)
	}
	for i, step := range steps {
		last := i == len(steps)-1
		if step.OK != !last {
			t.Fatalf("step.OK = %v, want %v", step.OK, !last)
		}
		if last {
			if step.Step != at {
				t.Fatalf("step.Step = %q, want %q", step.Step, at)
			}
			if strings.TrimSuffix(step.Detail, ".") != strings.TrimSuffix(failure.Detail, ".") {
				t.Fatalf("step.Detail = %q, want %q", step.Detail, failure.Detail)
			}
			if step.Fix != failure.Fix {
				t.Fatalf("step.Fix = %q, want %q", step.Fix, failure.Fix)
			}
		}
	}
	shown := err.Error() + failure.Fix
	for cause := failure.Err; cause != nil; cause = errors.Unwrap(cause) {
		shown += cause.Error()
	}
	if strings.Contains(shown, token) {
		t.Fatalf("%q contains %q", shown, token)
	}
	if server.Password != "" {
		if strings.Contains(shown, server.Password) {
			t.Fatalf("%q contains %q", shown, server.Password)
		}
	}
	return failure
}

func TestGreylistedMessageIsTakenLater(t *testing.T) {
	t.Parallel()
	mta := mtatest.Start(t)
	server := account(mta)

	steps, err := server.Send(t.Context(), message(t, "noreply@secboard.example", mtatest.Greylisted))
	failure := failed(t, server, steps, err, "send")
	if failure.Code != 451 {
		t.Fatalf("failure.Code = %v, want 451", failure.Code)
	}
	if failure.Permanent {
		t.Fatal("failure.Permanent")
	}
	if !strings.Contains(failure.Detail,
		"The server defers messages to greylisted@acme.example: 451 4.7.1 Greylisted") {
		t.Fatalf("%q lacks %q", failure.Detail,
			"The server defers messages to greylisted@acme.example: 451 4.7.1 Greylisted")
	}
	if !strings.Contains(failure.Fix, "greylisting") {
		t.Fatalf(`%q lacks "greylisting"`, failure.Fix)
	}

	_, err = server.Send(t.Context(), message(t, "noreply@secboard.example", mtatest.Greylisted))
	if err != nil {
		t.Fatal(err)
	}
	if got := mta.Await(t, 1); len(got) != 1 {
		t.Fatalf("mta.Await(t, 1) has %d elements, want 1: %v", len(got), got)
	}
}

func TestTooLargeMessage(t *testing.T) {
	t.Parallel()
	mta := mtatest.Start(t)
	msg := message(t, "noreply@secboard.example", "anna@"+mtatest.Domain)
	msg.SetBodyString(mail.TypeTextPlain, strings.Repeat("All work and no play. ", mtatest.MaxMessage/20))

	steps, err := account(mta).Send(t.Context(), msg)

	failure := failed(t, account(mta), steps, err, "send")
	if failure.Code != 552 {
		t.Fatalf("failure.Code = %v, want 552", failure.Code)
	}
	if !failure.Permanent {
		t.Fatal("not failure.Permanent")
	}
	if !strings.Contains(failure.Detail, "The message is too large for the server: 552") {
		t.Fatalf(`%q lacks "The message is too large for the server: 552"`, failure.Detail)
	}
}

func TestSeveralMessagesOnOneConnection(t *testing.T) {
	t.Parallel()
	mta := mtatest.Start(t)
	conn, _, err := account(mta).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	_, err = conn.Send(t.Context(), message(t, "noreply@secboard.example", "anna@"+mtatest.Domain))
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Send(t.Context(), message(t, "noreply@secboard.example", mtatest.Unknown))
	if err == nil {
		t.Fatal("no error")
	}
	_, err = conn.Send(t.Context(), message(t, "noreply@secboard.example", "bob@"+mtatest.Domain))
	if err != nil {
		t.Fatalf("a refused message does no harm to the next: %v", err)
	}

	if got := mta.Await(t, 2); len(got) != 2 {
		t.Fatalf("mta.Await(t, 2) has %d elements, want 2: %v", len(got), got)
	}
}

func TestOneRefusedRecipientRefusesTheMessage(t *testing.T) {
	t.Parallel()
	mta := mtatest.Start(t)
	msg := message(t, "noreply@secboard.example", "anna@"+mtatest.Domain)
	if err := msg.AddCc(mtatest.Unknown); err != nil {
		t.Fatal(err)
	}
	conn, _, err := account(mta).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	_, err = conn.Send(t.Context(), msg)
	if err == nil || !strings.Contains(err.Error(), mtatest.Unknown) {
		t.Fatalf("%v does not say %q", err, mtatest.Unknown)
	}
	_, err = conn.Send(t.Context(), message(t, "noreply@secboard.example", "bob@"+mtatest.Domain))
	if err != nil {
		t.Fatal(err)
	}

	messages := mta.Await(t, 1)
	if len(messages) != 1 {
		t.Fatalf("messages has %d elements, want 1: %v", len(messages), messages)
	}
	if messages[0].To != "bob@"+mtatest.Domain {
		t.Fatalf("messages[0].To = %q, want %q", messages[0].To, "bob@"+mtatest.Domain)
	}
}

func TestAddressesOutsideASCII(t *testing.T) {
	t.Parallel()
	mta := mtatest.Start(t)

	_, err := account(mta).Send(t.Context(), message(t, "noreply@secboard.example", "анна@пошта.example"))
	if err != nil {
		t.Fatal(err)
	}

	messages := mta.Await(t, 1)
	if messages[0].To != "анна@xn--80a1acn3a.example" {
		t.Fatalf(`messages[0].To = %q, want "анна@xn--80a1acn3a.example"`, messages[0].To)
	}
}

func TestCheckDoesEverythingButTheMessage(t *testing.T) {
	t.Parallel()
	mta := mtatest.Start(t)

	steps, err := account(mta).Check(t.Context())

	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != 4 {
		t.Fatalf("steps has %d elements, want 4: %v", len(steps), steps)
	}
	const encrypted = "Encrypted the connection with TLS 1.3; the certificate for 127.0.0.1 is valid until "
	if !strings.HasPrefix(steps[2].Detail, encrypted) {
		t.Fatalf("%q lacks %q", steps[2].Detail, encrypted)
	}
	if steps[3].Detail != "Logged in as secboard." {
		t.Fatalf(`steps[3].Detail = %q, want "Logged in as secboard."`, steps[3].Detail)
	}

	wrong := account(mta)
	wrong.Password = "tr0ub4dor"
	steps, err = wrong.Check(t.Context())
	if got := failed(t, wrong, steps, err, "login").Code; got != 535 {
		t.Fatalf(`failed(t, wrong, steps, err, "login").Code = %v, want 535`, got)
	}
	if got := mta.Messages(t); len(got) != 0 {
		t.Fatalf("mta.Messages(t) = %v, want nothing", got)
	}
}
