package smtpclient_test

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wneessen/go-mail"

	"github.com/secboard/secboard/smtpclient"
	"github.com/secboard/secboard/smtpclient/mtatest"
)

// Against a real mail server.

func message(t testing.TB, from, to string) *mail.Msg {
	t.Helper()
	msg := mail.NewMsg()
	require.NoError(t, msg.From(from))
	require.NoError(t, msg.To(to))
	msg.Subject("Пароль")
	msg.SetBodyString(mail.TypeTextPlain, "Open https://secboard.example/password_reset/"+token+"\n.\n..\nдякую\n")
	msg.AddAlternativeString(mail.TypeTextHTML, "<p>дякую</p>")
	return msg
}

const token = "s3cr3t-t0ken-of-a-mail-Zm9vYmFyYmF6cXV4"

func account(mta *mtatest.Server) smtpclient.Server {
	return smtpclient.Server{
		Host: mta.Host, Port: mta.Port, Security: smtpclient.SecurityStartTLS, RootCAs: mta.RootCAs,
		Username: mta.Username, Password: mta.Password,
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

			require.NoError(t, err, mta.Log())
			var names []string
			for _, step := range steps {
				names = append(names, step.Step)
				require.True(t, step.OK)
				require.NotEmpty(t, step.Detail)
				require.Empty(t, step.Fix)
				require.Positive(t, step.Took)
			}
			require.Equal(t, []string{"resolve", "connect", "tls", "login", "send"}, names)
			require.Contains(t, steps[4].Detail, "The server accepted the message: 250 OK id=")
			messages := mta.Await(t, 1)
			require.Len(t, messages, 1)
			require.Equal(t, "noreply@secboard.example", messages[0].From)
			require.Equal(t, "anna@"+mtatest.Domain, messages[0].To)
			require.Equal(t, "Пароль", messages[0].Subject)
			require.Contains(t, messages[0].Body, "/password_reset/"+token+"\n.\n..\nдякую\n")
			require.Contains(t, messages[0].Body, "<p>дякую</p>")
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
			detail: "The server does not know the mailbox unknown@acme.example, or refuses it: 550 5.1.1 <unknown@acme.example>: no such mailbox",
			fix:    "Correct the recipient's address",
		},
		"full mailbox": {
			to: mtatest.Full, step: "send", code: 452,
			detail: "The mailbox of full@acme.example is full: 452 4.2.2",
			fix:    "Ask the recipient to make room",
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
			detail: "expects TLS at once, but security is starttls",
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
			require.Contains(t, failure.Detail, test.detail)
			require.Contains(t, failure.Fix, test.fix)
			require.Equal(t, test.code, failure.Code)
			require.Equal(t, test.final, failure.Permanent)
			require.False(t, failure.InDoubt)
		})
	}
}

// failed checks what all failures have in common.
func failed(t testing.TB, server smtpclient.Server, steps []smtpclient.Step, err error, at string) *smtpclient.Failure {
	t.Helper()
	var failure *smtpclient.Failure
	require.ErrorAs(t, err, &failure)
	require.Equal(t, at, failure.Step, failure.Detail)
	require.Equal(t, failure.Detail, err.Error())
	require.NotEmpty(t, failure.Detail)
	require.NotEmpty(t, failure.Fix)
	for i, step := range steps {
		last := i == len(steps)-1
		require.Equal(t, !last, step.OK)
		if last {
			require.Equal(t, at, step.Step)
			require.Equal(t, failure.Detail, step.Detail)
			require.Equal(t, failure.Fix, step.Fix)
		}
	}
	shown := err.Error() + failure.Fix
	for cause := failure.Err; cause != nil; cause = errors.Unwrap(cause) {
		shown += cause.Error()
	}
	require.NotContains(t, shown, token)
	if server.Password != "" {
		require.NotContains(t, shown, server.Password)
	}
	return failure
}

func TestGreylistedMessageIsTakenLater(t *testing.T) {
	t.Parallel()
	mta := mtatest.Start(t)
	server := account(mta)

	steps, err := server.Send(t.Context(), message(t, "noreply@secboard.example", mtatest.Greylisted))
	failure := failed(t, server, steps, err, "send")
	require.Equal(t, 451, failure.Code)
	require.False(t, failure.Permanent)
	require.Contains(t, failure.Detail, "The server defers messages to greylisted@acme.example: 451 4.7.1 Greylisted")
	require.Contains(t, failure.Fix, "greylisting")

	_, err = server.Send(t.Context(), message(t, "noreply@secboard.example", mtatest.Greylisted))
	require.NoError(t, err)
	require.Len(t, mta.Await(t, 1), 1)
}

func TestTooLargeMessage(t *testing.T) {
	t.Parallel()
	mta := mtatest.Start(t)
	msg := message(t, "noreply@secboard.example", "anna@"+mtatest.Domain)
	msg.SetBodyString(mail.TypeTextPlain, strings.Repeat("All work and no play. ", mtatest.MaxMessage/20))

	steps, err := account(mta).Send(t.Context(), msg)

	failure := failed(t, account(mta), steps, err, "send")
	require.Equal(t, 552, failure.Code)
	require.True(t, failure.Permanent)
	require.Contains(t, failure.Detail, "The message is too large for the server: 552")
}

func TestSeveralMessagesOnOneConnection(t *testing.T) {
	t.Parallel()
	mta := mtatest.Start(t)
	conn, _, err := account(mta).Dial(t.Context())
	require.NoError(t, err)
	defer conn.Close()

	_, err = conn.Send(t.Context(), message(t, "noreply@secboard.example", "anna@"+mtatest.Domain))
	require.NoError(t, err)
	_, err = conn.Send(t.Context(), message(t, "noreply@secboard.example", mtatest.Unknown))
	require.Error(t, err)
	_, err = conn.Send(t.Context(), message(t, "noreply@secboard.example", "bob@"+mtatest.Domain))
	require.NoError(t, err, "a refused message does no harm to the next")

	require.Len(t, mta.Await(t, 2), 2)
}

func TestOneRefusedRecipientRefusesTheMessage(t *testing.T) {
	t.Parallel()
	mta := mtatest.Start(t)
	msg := message(t, "noreply@secboard.example", "anna@"+mtatest.Domain)
	require.NoError(t, msg.AddCc(mtatest.Unknown))
	conn, _, err := account(mta).Dial(t.Context())
	require.NoError(t, err)
	defer conn.Close()

	_, err = conn.Send(t.Context(), msg)
	require.ErrorContains(t, err, mtatest.Unknown)
	_, err = conn.Send(t.Context(), message(t, "noreply@secboard.example", "bob@"+mtatest.Domain))
	require.NoError(t, err)

	messages := mta.Await(t, 1)
	require.Len(t, messages, 1)
	require.Equal(t, "bob@"+mtatest.Domain, messages[0].To)
}

func TestAddressesOutsideASCII(t *testing.T) {
	t.Parallel()
	mta := mtatest.Start(t)

	_, err := account(mta).Send(t.Context(), message(t, "noreply@secboard.example", "анна@пошта.example"))
	require.NoError(t, err)

	messages := mta.Await(t, 1)
	require.Equal(t, "анна@xn--80a1acn3a.example", messages[0].To)
}

func TestCheckDoesEverythingButTheMessage(t *testing.T) {
	t.Parallel()
	mta := mtatest.Start(t)

	steps, err := account(mta).Check(t.Context())

	require.NoError(t, err)
	require.Len(t, steps, 4)
	require.Contains(t, steps[2].Detail, "TLS 1.3, with a certificate for 127.0.0.1 that is valid until ")
	require.Equal(t, "Logged in as secboard.", steps[3].Detail)

	wrong := account(mta)
	wrong.Password = "tr0ub4dor"
	steps, err = wrong.Check(t.Context())
	require.Equal(t, 535, failed(t, wrong, steps, err, "login").Code)
	require.Empty(t, mta.Messages(t))
}
