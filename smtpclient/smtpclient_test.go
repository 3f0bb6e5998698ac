package smtpclient_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secboard/secboard/smtpclient"
	"github.com/secboard/secboard/smtpclient/mtatest"
	"github.com/secboard/secboard/targets/targetstest"
)

// Against servers that are wrong in ways of their own.

// short is the first time-out for servers that are silent, and patience about the last.
const (
	short    = 250 * time.Millisecond
	patience = time.Minute
)

// untilSilence calls try with longer and longer times, until one ends in the silence that is meant: on a busy machine a
// short one is over before.
func untilSilence(try func(limit time.Duration) (meant bool)) {
	for limit := short; !try(limit) && limit < patience; limit *= 4 {
		continue
	}
}

func TestEachMistakeHasItsSentence(t *testing.T) {
	t.Parallel()
	now := time.Now()
	hourAgo, inAnHour := now.Add(-time.Hour), now.Add(time.Hour)
	twoDaysAgo, inTwoDays := now.AddDate(0, 0, -2), now.AddDate(0, 0, 2)
	const dateTime = "2006-01-02 15:04 MST"
	for _, test := range []struct {
		name    string
		script  *script
		change  func(*smtpclient.Server)
		step    string
		detail  string
		fix     string
		code    int
		final   bool
		inDoubt bool
	}{
		// Reaching the server.
		{
			name: "no host", change: func(s *smtpclient.Server) { s.Host = "" },
			step: "resolve", detail: "is not the address of a mail server", fix: "Set host to a name",
		},
		{
			name: "impossible port", change: func(s *smtpclient.Server) { s.Port = 70000 },
			step: "resolve", detail: "with port 70000 is not the address", fix: "port to a number such as 587",
		},
		{
			name: "a name that can't exist", change: func(s *smtpclient.Server) {
				s.Host = strings.Repeat("a", 64) + ".example"
			},
			step: "resolve", detail: "There is no host named aaa", fix: "Correct the mail server's host",
		},
		{
			name: "closed port", change: func(s *smtpclient.Server) { s.Port = closedPort(t) },
			step: "connect", detail: "Nothing listens on port ", fix: "Correct the port",
		},
		{
			name: "unknown security", change: func(s *smtpclient.Server) { s.Security = "ssl" },
			step: "tls", detail: `The value "ssl" of security is unknown`, fix: "Set security to starttls, tls or none",
		},
		// The greeting.
		{
			name: "no greeting", script: &script{answers: map[string]string{"greeting": silence}},
			change: func(s *smtpclient.Server) { s.Timeout = short },
			step:   "connect", detail: "sent no greeting within ", fix: "set security to tls",
		},
		{
			name: "TLS at once", script: &script{tlsAtOnce: true},
			change: func(s *smtpclient.Server) { s.Timeout, s.Security = short, smtpclient.SecurityStartTLS },
			step:   "connect", detail: "expects TLS from the start, but security is starttls",
			fix: "Set security to tls",
		},
		{
			name: "closed before the greeting", script: &script{answers: map[string]string{"greeting": hangUp}},
			step: "connect", detail: "closed the connection without a greeting", fix: "Allow this machine's address",
		},
		{
			name: "another protocol", script: &script{answers: map[string]string{"greeting": "SSH-2.0-OpenSSH_9.2"}},
			step: "connect", detail: "is not a mail server", fix: "Correct host and port",
		},
		{
			name: "endless greeting",
			script: &script{
				answers: map[string]string{"greeting": strings.Repeat("220-hello\r\n", 200_000) + "220 hello"},
			},
			step: "connect", detail: "sent more than a mail server would", fix: "Check that host and port",
		},
		{
			name: "not welcome", script: &script{answers: map[string]string{"greeting": "554 5.7.1 not you"}},
			step: "connect", code: 554, detail: "accepts no mail from this machine at the moment: 554 5.7.1 not you",
			fix: "allow this machine's address",
		},
		{
			name: "busy", script: &script{answers: map[string]string{"greeting": "421 4.3.2 too many connections"}},
			step: "connect", code: 421, detail: "accepts no mail from this machine at the moment: 421 4.3.2",
			fix: "Try again later",
		},
		{
			name: "name refused", script: &script{answers: map[string]string{"EHLO": "550 who?", "HELO": "550 who?"}},
			step: "connect", code: 550, detail: "refused this machine's name (EHLO): 550 who?", fix: "full host name",
		},
		// TLS.
		{
			name: "no STARTTLS", script: &script{offers: []string{"AUTH PLAIN"}},
			step: "tls", detail: "does not offer STARTTLS", fix: "Turn STARTTLS on",
		},
		{
			name:   "STARTTLS refused",
			script: &script{answers: map[string]string{"STARTTLS": "454 4.7.0 TLS not available"}},
			step:   "tls", code: 454, detail: "offers STARTTLS but then refuses it: 454 4.7.0",
			fix: "certificate or key is missing",
		},
		{
			name: "TLS to a server that speaks first", script: &script{},
			change: func(s *smtpclient.Server) { s.Security = smtpclient.SecurityTLS },
			step:   "tls", detail: "does not begin with TLS, but security is tls", fix: "Set security to starttls",
		},
		{
			name:   "TLS to something else",
			script: &script{answers: map[string]string{"greeting": "HTTP/1.1 400 Bad Request"}},
			change: func(s *smtpclient.Server) { s.Security = smtpclient.SecurityTLS },
			step:   "tls", detail: "does not speak TLS", fix: "Correct host and port",
		},
		{
			name:   "silent handshake",
			script: &script{tlsAtOnce: true, answers: map[string]string{"handshake": silence}},
			change: func(s *smtpclient.Server) { s.Timeout = short },
			step:   "tls", detail: " during the TLS handshake", fix: "usually 465",
		},
		{
			name: "closed at the handshake", script: &script{answers: map[string]string{"handshake": hangUp}},
			step: "tls", detail: "closed the connection during the TLS handshake", fix: "security fits the port",
		},
		{
			name: "old TLS", script: &script{config: func(a *mtatest.Authority) *tls.Config {
				config := certificate(t, hourAgo, inAnHour, "127.0.0.1")(a)
				config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
				return config
			}},
			step: "tls", detail: "only versions of TLS older than 1.2", fix: "Update the mail server",
		},
		{
			name:   "certificate of another name",
			script: &script{config: certificate(t, hourAgo, inAnHour, "mx.example", "mail.example", "192.0.2.1")},
			step:   "tls", detail: "certificate is not for 127.0.0.1: it is for mx.example, mail.example, 192.0.2.1",
			fix: "Set host to a name that the certificate is for",
		},
		{
			name: "certificate without names", script: &script{config: certificate(t, hourAgo, inAnHour)},
			step: "tls", detail: "certificate is not for 127.0.0.1: it has no names",
			fix: "Set host to a name that the certificate is for",
		},
		{
			name:   "expired certificate",
			script: &script{config: certificate(t, now.AddDate(0, 0, -90), twoDaysAgo, "127.0.0.1")},
			step:   "tls", detail: "certificate expired on " + twoDaysAgo.UTC().Format(dateTime),
			fix: "Renew the mail server's certificate",
		},
		{
			name:   "certificate of the future",
			script: &script{config: certificate(t, inTwoDays, now.AddDate(0, 0, 90), "127.0.0.1")},
			step:   "tls", detail: "certificate is valid only from " + inTwoDays.UTC().Format(dateTime),
			fix: "Check the clocks",
		},
		{
			name: "unknown authority", script: &script{config: func(*mtatest.Authority) *tls.Config {
				return certificate(t, hourAgo, inAnHour, "127.0.0.1")(mtatest.NewAuthority(t))
			}},
			step: "tls", detail: "from an authority that this machine does not know: CN=SecBoard tests",
			fix: "Add that authority",
		},
		// The login.
		{
			name: "no login", script: &script{offers: []string{"STARTTLS"}},
			step: "login", detail: "offers no login", fix: "Use the port for logins",
		},
		{
			name: "unknown logins", script: &script{offers: []string{"STARTTLS", "AUTH XOAUTH2 GSSAPI"}},
			step: "login", detail: "does not know: XOAUTH2, GSSAPI", fix: "Allow PLAIN or LOGIN",
		},
		{
			name: "login refused", script: &script{answers: map[string]string{"AUTH": "535 5.7.8 no"}},
			step: "login", code: 535, detail: "refused the login of anna: 535 5.7.8 no",
			fix: "Correct the account's username and password",
		},
		{
			name: "login refused with what was sent", script: &script{answers: map[string]string{
				"AUTH": "535 5.7.8 hunter2!hunter2! " +
					base64.StdEncoding.EncodeToString([]byte("\x00anna\x00hunter2!hunter2!")),
			}},
			step: "login", code: 535, detail: "535 5.7.8 … …", fix: "Correct the account's username and password",
		},
		{
			name:   "app password wanted",
			script: &script{answers: map[string]string{"AUTH": "534 5.7.9 app password needed"}},
			step:   "login", code: 534, detail: "another kind of password for anna", fix: "Create an app password",
		},
		{
			name:   "logins can't be checked",
			script: &script{answers: map[string]string{"AUTH": "454 4.7.0 no database"}},
			step:   "login", code: 454, detail: "can't check logins at the moment: 454 4.7.0", fix: "Try again later",
		},
		{
			name: "login not allowed", script: &script{answers: map[string]string{"AUTH": "504 5.5.4 not here"}},
			step: "login", code: 504, detail: "did not accept the login: 504 5.5.4", fix: "Check security and port",
		},
		{
			name:   "login asks for more",
			script: &script{answers: map[string]string{"AUTH": "334 aHVudGVyMiFodW50ZXIyIQ=="}},
			step:   "login", detail: "gave an answer that is not SMTP during the login",
			fix: "Check that host and port",
		},
		{
			name: "silent login", script: &script{answers: map[string]string{"AUTH": silence}},
			change: func(s *smtpclient.Server) { s.Timeout = short },
			step:   "login", detail: "did not answer in time during the login", fix: "timeout_s",
		},
		// The message.
		{
			name:   "login wanted",
			script: &script{answers: map[string]string{"MAIL": "530 5.7.0 Authentication required"}},
			change: func(s *smtpclient.Server) { s.Username = "" },
			step:   "send", code: 530, detail: "accepts messages only after a login: 530",
			fix: "Set username and password",
		},
		{
			name: "sender refused", script: &script{answers: map[string]string{"MAIL": "553 5.7.1 not yours"}},
			step: "send", code: 553, detail: "refused the sender noreply@secboard.example: 553",
			fix: "Set the account's address",
		},
		{
			name: "goodbye", script: &script{answers: map[string]string{"MAIL": "421 4.7.0 too much mail"}},
			step: "send", code: 421, detail: "ended the connection: 421 4.7.0 too much mail",
			fix: "will accept mail again later",
		},
		{
			name: "full server", script: &script{answers: map[string]string{"MAIL": "452 4.3.1 disk full"}},
			step: "send", code: 452, detail: "has no space for messages at the moment: 452 4.3.1", fix: "Free space",
		},
		{
			name: "unknown mailbox", script: &script{answers: map[string]string{"RCPT": "550 no such user"}},
			step: "send", code: 550, final: true, detail: "does not know the mailbox bob@example.org",
			fix: "Correct the recipient's address",
		},
		{
			name:   "relaying without a status",
			script: &script{answers: map[string]string{"RCPT": "554 Relay access denied"}},
			step:   "send", code: 554, detail: "does not relay messages to bob@example.org: 554", fix: "relaying",
		},
		{
			name: "mailbox over quota", script: &script{answers: map[string]string{"RCPT": "552 5.2.2 over quota"}},
			step: "send", code: 552, detail: "mailbox of bob@example.org is full", fix: "delete messages",
		},
		{
			name: "hangs up at the recipient", script: &script{answers: map[string]string{"RCPT": hangUp}},
			step: "send", detail: "closed the connection after the recipient was given (RCPT TO)", fix: "Try again",
		},
		{
			name: "answers nonsense", script: &script{answers: map[string]string{"RCPT": "what?"}},
			step: "send", detail: "gave an answer that is not SMTP after the recipient was given (RCPT TO)",
			fix: "no proxy answers",
		},
		{
			name: "content not wanted", script: &script{answers: map[string]string{"DATA": "451 4.3.0 queue is down"}},
			step: "send", code: 451, detail: "does not accept the message at the moment: 451 4.3.0",
			fix: "may accept it later",
		},
		{
			name: "too large", script: &script{answers: map[string]string{".": "552 5.3.4 at most 1 KB"}},
			step: "send", code: 552, final: true, detail: "too large for the server: 552",
			fix: "Make the message smaller",
		},
		{
			name:   "sender refused at the end",
			script: &script{answers: map[string]string{".": "554 5.2.252 SendAsDenied; noreply@secboard.example"}},
			step:   "send", code: 554, detail: "refused the sender noreply@secboard.example: 554",
			fix: "Set the account's address",
		},
		{
			name: "spam, with a citation", script: &script{answers: map[string]string{
				".": "554-5.7.1 spam: (https://secboard.example/password_reset/" + token +
					")\r\n554 5.7.1 see https://mx.example/why",
			}},
			step: "send", code: 554, final: true,
			detail: "refused the message: 554 5.7.1 spam: (https://secboard.example/password_reset/…) 5.7.1 see " +
				"https://mx.example/why",
			fix: "SPF and DKIM",
		},
		{
			name: "goodbye at the end", script: &script{answers: map[string]string{".": "421 4.3.0 going down"}},
			step: "send", code: 421, detail: "ended the connection: 421 4.3.0", fix: "will accept mail again later",
		},
		{
			name: "hangs up at the end", script: &script{answers: map[string]string{".": hangUp}},
			step: "send", inDoubt: true, detail: "closed the connection after the message was sent. The message may " +
				"or may not have been delivered", fix: "before sending it again",
		},
		{
			name: "silent at the end", script: &script{answers: map[string]string{".": silence}},
			change: func(s *smtpclient.Server) { s.Timeout = short },
			step:   "send", inDoubt: true,
			detail: "did not answer in time after the message was sent. The message may or may not have",
			fix:    "Check the mail server's log",
		},
		{
			name: "nonsense at the end", script: &script{answers: map[string]string{".": "taken " + token}},
			step: "send", inDoubt: true,
			detail: "answer that is not SMTP after the message was sent. The message may or may not have",
			fix:    "Check the mail server's log",
		},
		{
			name: "address outside ASCII", script: &script{},
			step: "send", final: true, detail: "The address анна@example.org has characters outside ASCII",
			fix: "a mail server with SMTPUTF8",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.script == nil {
				test.script = &script{}
			}
			server := test.script.start(t)
			if test.change != nil {
				test.change(&server)
			}
			to := "bob@example.org"
			if strings.Contains(test.detail, "анна") {
				to = "анна@example.org"
			}

			var steps []smtpclient.Step
			var err error
			untilSilence(func(limit time.Duration) bool {
				if server.Timeout != 0 {
					server.Timeout = limit
				}
				steps, err = server.Send(t.Context(), message(t, "noreply@secboard.example", to))
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
			if failure.InDoubt != test.inDoubt {
				t.Fatalf("failure.InDoubt = %v, want %v", failure.InDoubt, test.inDoubt)
			}
			if strings.Contains(failure.Detail, "\n") {
				t.Fatalf("%q contains %q", failure.Detail, "\n")
			}
		})
	}
}

func closedPort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().(*net.TCPAddr).Port
}

func TestLoginInSteps(t *testing.T) {
	t.Parallel()
	server := (&script{offers: []string{"STARTTLS", "AUTH LOGIN"}}).start(t)

	_, err := server.Send(t.Context(), message(t, "noreply@secboard.example", "bob@example.org"))
	if err != nil {
		t.Fatal(err)
	}

	server.Password = "tr0ub4dor"
	steps, err := server.Send(t.Context(), message(t, "noreply@secboard.example", "bob@example.org"))
	if got := failed(t, server, steps, err, "login").Code; got != 535 {
		t.Fatalf(`failed(t, server, steps, err, "login").Code = %v, want 535`, got)
	}
}

func TestFarewellDoesNotUndoTheDelivery(t *testing.T) {
	t.Parallel()
	for _, farewell := range []string{silence, hangUp, "421 no", "what?"} {
		t.Run(farewell, func(t *testing.T) {
			t.Parallel()
			server := (&script{answers: map[string]string{"QUIT": farewell}}).start(t)
			server.Timeout = patience

			steps, err := server.Send(t.Context(), message(t, "noreply@secboard.example", "bob@example.org"))

			if err != nil {
				t.Fatal(err)
			}
			if got := steps[len(steps)-1].Detail; got != "The server accepted the message: 250 taken." {
				t.Fatalf(`steps[len(steps)-1].Detail = %q, want "The server accepted the message: 250 taken."`, got)
			}
		})
	}
}

func TestSMTPUTF8IsAskedForOnlyWhereNeeded(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]string{
		"bob@example.org":    "MAIL FROM:<noreply@secboard.example>",
		"anna@пошта.example": "MAIL FROM:<noreply@secboard.example>",
		"анна@example.org":   "MAIL FROM:<noreply@secboard.example> SMTPUTF8",
	} {
		t.Run(to, func(t *testing.T) {
			t.Parallel()
			s := &script{offers: []string{"STARTTLS", "AUTH PLAIN", "SMTPUTF8"}}

			_, err := s.start(t).Send(t.Context(), message(t, "noreply@secboard.example", to))

			if err != nil {
				t.Fatal(err)
			}
			if got := s.commands(); !slices.Contains(got, want) {
				t.Fatalf("%v lacks %v", got, want)
			}
		})
	}
}

func TestNothingIsSentBeforeTLS(t *testing.T) {
	t.Parallel()
	s := &script{offers: []string{"AUTH PLAIN"}}

	_, err := s.start(t).Send(t.Context(), message(t, "noreply@secboard.example", "bob@example.org"))

	if err == nil {
		t.Fatal("no error")
	}
	for _, line := range s.commands() {
		if verb, _, _ := strings.Cut(line, " "); verb != "EHLO" && verb != "QUIT" {
			t.Fatalf("the client said %q, want EHLO or QUIT", line)
		}
	}
}

func TestCancelledContextEndsAtOnce(t *testing.T) {
	t.Parallel()
	for at, inDoubt := range map[string]bool{
		"greeting": false, "EHLO": false, "handshake": false, "AUTH": false, "RCPT": false, ".": true,
	} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			s := &script{answers: map[string]string{at: silence}}
			server := s.start(t)
			server.Timeout = time.Hour
			var steps []smtpclient.Step
			var err error
			untilSilence(func(limit time.Duration) bool {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				steps, err = server.Send(ctx, message(t, "noreply@secboard.example", "bob@example.org"))
				return s.fellSilent()
			})

			failure := failed(t, server, steps, err, steps[len(steps)-1].Step)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%v, want %v", err, context.DeadlineExceeded)
			}
			if !strings.Contains(failure.Detail, "The delivery ran out of time.") {
				t.Fatalf(`%q lacks "The delivery ran out of time."`, failure.Detail)
			}
			if failure.InDoubt != inDoubt {
				t.Fatalf("failure.InDoubt = %v, want %v", failure.InDoubt, inDoubt)
			}
			if failure.Permanent {
				t.Fatal("failure.Permanent")
			}
		})
	}

	t.Run("before anything", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s := &script{}
		server := s.start(t)
		server.Host = "localhost"

		_, err := server.Send(ctx, message(t, "noreply@secboard.example", "bob@example.org"))

		if !errors.Is(err, context.Canceled) {
			t.Fatalf("%v, want %v", err, context.Canceled)
		}
		if got := s.commands(); len(got) != 0 {
			t.Fatalf("s.commands() = %v, want nothing", got)
		}
	})
}

func TestConnectionThatBreaksWithinTheMessageIsNoDoubt(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		text := textproto.NewConn(conn)
		for _, line := range []string{"220 hello", "250 ok", "250 ok", "250 ok", "354 go ahead"} {
			if text.PrintfLine("%s", line) != nil {
				break
			}
			if _, err := text.ReadLine(); err != nil {
				break
			}
		}
		// With received data unread, closing resets the connection.
		_ = conn.Close()
	}()
	t.Cleanup(func() { <-served })
	t.Cleanup(func() { _ = listener.Close() })
	server := smtpclient.Server{
		Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port, Security: smtpclient.SecurityNone,
		Timeout: patience, Targets: targetstest.Loopback,
	}
	msg := message(t, "noreply@secboard.example", "bob@example.org")
	msg.SetBodyString("text/plain", strings.Repeat("All work and no play. ", 1_000_000)) // more than any buffer takes

	steps, err := server.Send(t.Context(), msg)

	failure := failed(t, server, steps, err, "send")
	if !strings.Contains(failure.Detail, "closed the connection while the message was sent") {
		t.Fatalf("%q lacks %q", failure.Detail, "closed the connection while the message was sent")
	}
	if failure.InDoubt {
		t.Fatal("failure.InDoubt")
	}
	if failure.Permanent {
		t.Fatal("failure.Permanent")
	}
}

func TestPasswordIsNotPrinted(t *testing.T) {
	t.Parallel()
	server := smtpclient.Server{Host: "mx.example", Port: 587, Password: "hunter2!hunter2!"}
	text, err := json.Marshal(server)
	if err != nil {
		t.Fatal(err)
	}
	for how, shown := range map[string]string{
		"printed": fmt.Sprint(server), "printed with its fields": fmt.Sprintf("%+v", &server), "as JSON": string(text),
	} {
		t.Run(how, func(t *testing.T) {
			if strings.Contains(shown, "hunter2") {
				t.Fatalf(`%q contains "hunter2"`, shown)
			}
		})
	}
}
