package smtpclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/wneessen/go-mail/smtp"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/targets"
)

// The functions here turn one error of the dialogue into the administrator's sentence.

func (c *Conn) unresolved(ctx context.Context, err error) *Failure {
	var dns *net.DNSError
	switch {
	case ctx.Err() == nil && errors.As(err, &dns) && dns.IsNotFound:
		return &Failure{
			Detail: fmt.Sprintf("There is no host named %s.", c.host),
			Fix:    "Correct the mail server's host, or its DNS entry.",
			Err:    err,
		}
	case errors.Is(ctx.Err(), context.Canceled):
		return stopped(err)
	}
	return &Failure{
		Detail: fmt.Sprintf("The name servers gave no answer for %s.", c.host),
		Fix:    "Check this machine's name servers (DNS), and that they answer for the mail server's host.",
		Err:    err,
	}
}

func (c *Conn) unconnected(ctx context.Context, err error) *Failure {
	f := &Failure{Err: err}
	var dns *net.DNSError
	var refused *targets.Refused
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return stopped(err)
	case errors.As(err, &refused):
		f.Detail = fmt.Sprintf("The address of %s is not allowed: %s.", c.server, refused)
		f.Fix = refused.Fix()
	case errors.As(err, &dns):
		return c.unresolved(ctx, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Detail = fmt.Sprintf("Nothing listens on port %d of %s.", c.server.Port, c.host)
		f.Fix = "Correct the port (usually 587 for starttls, 465 for tls), or start the mail server."
	case isTimeout(err):
		f.Detail = fmt.Sprintf("Port %d of %s did not answer.", c.server.Port, c.host)
		f.Fix = fmt.Sprintf("Most likely a firewall drops the connection: allow it from this machine to %s. Many "+
			"networks block port 25; use 587 or 465 instead.", c.server)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		f.Detail = fmt.Sprintf("There is no route from this machine to %s.", c.host)
		f.Fix = "Check this machine's network and the host's address."
	default:
		f.Detail = fmt.Sprintf("Connecting to %s failed: %s", c.server, sentence(err.Error()))
		f.Fix = "Check host and port, and that the mail server is running."
	}
	return f
}

// noGreeting explains why the first byte of a greeting did not come. A server that waits for TLS is as silent as
// we are; whether it is one, it shows when it is spoken to in TLS.
func (c *Conn) noGreeting(ctx context.Context, err error) *Failure {
	if ctx.Err() != nil {
		return stopped(context.Cause(ctx))
	}
	if !isTimeout(err) {
		return &Failure{
			Detail: fmt.Sprintf("The server %s closed the connection without a greeting.", c.server),
			Fix:    "Allow this machine's address on the mail server, and check that the port is one for mail.",
			Err:    err,
		}
	}
	waited := min(c.server.Timeout, greetingTimeout)
	if c.awaitsTLS(ctx) {
		return &Failure{
			Detail: fmt.Sprintf("Port %d of %s expects TLS from the start, but security is %s, for which the server "+
				"has to speak first.", c.server.Port, c.host, c.server.Security),
			Fix: "Set security to tls, or use the port that fits it (usually 587 for starttls).",
			Err: err,
		}
	}
	return &Failure{
		Detail: fmt.Sprintf("The server %s accepted the connection, but sent no greeting within %s.", c.server, waited),
		Fix: "If the port expects TLS from the start (usually 465), set security to tls. Otherwise check that it is " +
			"a mail server's port, and that no firewall or proxy answers in its place.",
		Err: err,
	}
}

// awaitsTLS says whether the silent server answers in TLS, with whatever certificate. The connection is of no use
// afterwards.
func (c *Conn) awaitsTLS(ctx context.Context) bool {
	c.within(min(c.server.Timeout, 2*time.Second))
	err := tls.Client(c.socket, c.tlsConfig()).HandshakeContext(ctx)
	return err == nil || errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(tls.AlertError))
}

func (c *Conn) badGreeting(ctx context.Context, err error) *Failure {
	answer, failure := c.answer(ctx, "before its greeting", err)
	switch {
	case failure != nil && errors.As(err, new(textproto.ProtocolError)):
		return c.notMail(failure.Err)
	case failure != nil:
		return failure
	}
	f := answer.failure("The server %s accepts no mail from this machine at the moment: %s", c.server, answer)
	f.Fix = "Try again later. If that doesn't help, allow this machine's address on the mail server; its log says " +
		"why it refuses."
	return f
}

func (c *Conn) notMail(err error) *Failure {
	return &Failure{
		Detail: fmt.Sprintf("What answers on port %d of %s is not a mail server.", c.server.Port, c.host),
		Fix:    "Correct host and port (usually 587 for starttls, 465 for tls).",
		Err:    err,
	}
}

func (c *Conn) noHello(ctx context.Context, err error) *Failure {
	answer, failure := c.answer(ctx, "when SecBoard introduced itself (EHLO)", err)
	if failure != nil {
		return failure
	}
	f := answer.failure("The server refused this machine's name (EHLO): %s", answer)
	f.Fix = "Give this machine a full host name that is in the DNS, or allow its address on the mail server."
	return f
}

func (c *Conn) noSTARTTLS() *Failure {
	return &Failure{
		Detail: fmt.Sprintf("The server %s does not offer STARTTLS.", c.server),
		Fix: "Turn STARTTLS on at the mail server, use a port that has it (usually 587), or set security to tls and " +
			"the port for it (usually 465). If the server does offer it, a firewall or virus scanner in between " +
			"removes it.",
	}
}

// noTLS explains a failed handshake, and what the server answered to STARTTLS.
func (c *Conn) noTLS(ctx context.Context, err error) *Failure {
	f := &Failure{Err: err}
	var (
		record   tls.RecordHeaderError
		name     x509.HostnameError
		invalid  x509.CertificateInvalidError
		unknown  x509.UnknownAuthorityError
		response *textproto.Error
	)
	switch {
	case ctx.Err() != nil:
		return stopped(context.Cause(ctx))
	case errors.As(err, &response):
		answer := c.answerOf(response)
		f = answer.failure("The server offers STARTTLS but then refuses it: %s", answer)
		f.Fix = "The mail server's log says why; often its own certificate or key is missing."
	case c.server.Security == SecurityTLS && errors.As(err, &record) && record.RecordHeader[0] >= '2' &&
		record.RecordHeader[0] <= '5':
		f.Detail = fmt.Sprintf("Port %d of %s does not begin with TLS, but security is tls: the server speaks first, "+
			"as for starttls.", c.server.Port, c.host)
		f.Fix = "Set security to starttls, or use the port that expects TLS from the start (usually 465)."
	case errors.As(err, &record):
		f.Detail = fmt.Sprintf("What answers on port %d of %s does not speak TLS.", c.server.Port, c.host)
		f.Fix = "Correct host and port (usually 587 for starttls, 465 for tls)."
	case errors.As(err, &name):
		f.Detail = fmt.Sprintf("The server's certificate is not for %s: %s.", c.host, namesOf(name.Certificate))
		f.Fix = "Set host to a name that the certificate is for, or give the mail server a certificate for this one."
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		f.Detail, f.Fix = outOfTime(invalid.Cert)
	case errors.As(err, &unknown):
		f.Detail = "The server's certificate is from an authority that this machine does not know."
		if unknown.Cert != nil {
			f.Detail = fmt.Sprintf("The server's certificate is from an authority that this machine does not know: %s.",
				unknown.Cert.Issuer)
		}
		f.Fix = "Add that authority to this machine's trusted certificates (package ca-certificates), or give the " +
			"mail server a certificate from a known authority, with the intermediate certificates."
	case errors.As(err, &invalid), errors.As(err, new(*tls.CertificateVerificationError)):
		f.Detail = "The server's certificate is not valid: " +
			sentence(strings.TrimPrefix(err.Error(), "tls: failed to verify certificate: "))
		f.Fix = "Give the mail server a valid certificate."
	case strings.Contains(err.Error(), "protocol version"):
		f.Detail = "The server supports only versions of TLS older than 1.2, which are not secure."
		f.Fix = "Update the mail server, or turn TLS 1.2 on there."
	case isTimeout(err):
		f.Detail = fmt.Sprintf("The server did not answer within %s during the TLS handshake.", c.server.Timeout)
		f.Fix = "Check that the port fits security: usually 465 for tls, 587 for starttls."
	case isHangUp(err):
		f.Detail = "The server closed the connection during the TLS handshake."
		f.Fix = "Check that security fits the port (usually 587 for starttls, 465 for tls). The mail server's log " +
			"says more."
	default:
		f.Detail = "The TLS handshake failed: " + sentence(err.Error())
		f.Fix = "See the mail server's log; often its TLS versions or its certificate are too old."
	}
	f.Detail = clean(f.Detail) // whoever answers has written the certificate
	return f
}

func namesOf(certificate *x509.Certificate) string {
	names := slices.Clone(certificate.DNSNames)
	for _, ip := range certificate.IPAddresses {
		names = append(names, ip.String())
	}
	switch {
	case len(names) == 0:
		return "it has no names"
	case len(names) > 8:
		return fmt.Sprintf("it is for %s and %d more", strings.Join(names[:8], ", "), len(names)-8)
	}
	return "it is for " + strings.Join(names, ", ")
}

func outOfTime(certificate *x509.Certificate) (detail, fix string) {
	const format = "2006-01-02 15:04 MST"
	if from := certificate.NotBefore.UTC(); time.Now().Before(from) {
		return fmt.Sprintf("The server's certificate is valid only from %s.", from.Format(format)),
			"Check the clocks of this machine and of the mail server."
	}
	return fmt.Sprintf("The server's certificate expired on %s.", certificate.NotAfter.UTC().Format(format)),
		"Renew the mail server's certificate. If it has been renewed already, restart the mail server; " +
			"otherwise check this machine's clock."
}

func (c *Conn) noLogin() *Failure {
	return &Failure{
		Detail: fmt.Sprintf("The server %s offers no login.", c.server),
		Fix: "Use the port for logins (usually 587 for starttls, 465 for tls), or remove the account's username " +
			"if the server accepts messages without a login.",
	}
}

func (c *Conn) noKnownLogin(mechanisms []string) *Failure {
	return &Failure{
		Detail: fmt.Sprintf("The server offers only login mechanisms that SecBoard does not know: %s.",
			clean(strings.Join(mechanisms, ", "))),
		Fix: "Allow PLAIN or LOGIN on the mail server (with TLS), or use another mail server.",
	}
}

func (c *Conn) refusedLogin(ctx context.Context, err error) *Failure {
	answer, failure := c.answer(ctx, "during the login", err)
	if failure != nil {
		return failure
	}
	var f *Failure
	switch {
	case answer.code < 500:
		f = answer.failure("The server can't check logins at the moment: %s", answer)
		f.Fix = "Try again later. If that doesn't help, the mail server's log says more."
	case answer.code == 534:
		f = answer.failure("The server requires another kind of password for %s: %s", c.server.Username, answer)
		f.Fix = "Create an app password at the mail provider and set it as the account's password."
	case answer.code == 535:
		f = answer.failure("The server refused the login of %s: %s", c.server.Username, answer)
		f.Fix = "Correct the account's username and password. Some providers require the whole address as username, " +
			"an app password, or that SMTP logins are enabled for the mailbox."
	default:
		f = answer.failure("The server did not accept the login: %s", answer)
		f.Fix = "Check security and port, and that the mail server allows this mailbox to log in. Its log says more."
	}
	return f
}

func (c *Conn) noSMTPUTF8(address string, recipient bool) *Failure {
	return &Failure{
		Detail: fmt.Sprintf("The address %s has characters outside ASCII before the @, and the server does not "+
			"accept such addresses (SMTPUTF8).", bare(address)),
		Fix:       "Use another address, or a mail server with SMTPUTF8.",
		Permanent: recipient,
	}
}

// Causes of a refusal that may come in answer to any command of a transaction.
func (c *Conn) refused(answer answer) *Failure {
	var f *Failure
	switch {
	case answer.code == 421:
		c.hangUp()
		f = answer.failure("The server ended the connection: %s", answer)
		f.Fix = "Wait: it will accept mail again later. If it keeps happening, the mail server's log says more; it " +
			"may limit connections or messages."
	case answer.code == 530, answer.code == 550 && answer.status == "5.7.57":
		f = answer.failure("The server accepts messages only after a login: %s", answer)
		if c.server.Username == "" {
			f.Fix = "Set username and password of the account."
		} else {
			f.Fix = "Check security and port: the server may require TLS first."
		}
	case answer.code == 452 && answer.status == "", answer.status == "4.3.1":
		f = answer.failure("The server has no space for messages at the moment: %s", answer)
		f.Fix = "Free space on the mail server, or wait."
	}
	return f
}

func (c *Conn) refusedSender(ctx context.Context, from string, err error) *Failure {
	answer, failure := c.answer(ctx, "after the sender was given (MAIL FROM)", err)
	if failure != nil {
		return failure
	}
	defer c.reset()
	if f := c.refused(answer); f != nil {
		return f
	}
	if answer.code < 500 {
		f := answer.failure("The server accepts no messages from %s at the moment: %s", bare(from), answer)
		f.Fix = "Wait: it may accept them later. If it keeps happening, the mail server's log says why."
		return f
	}
	return wrongSender(from, answer)
}

func wrongSender(from string, answer answer) *Failure {
	f := answer.failure("The server refused the sender %s: %s", bare(from), answer)
	f.Fix = "Set the account's address to one that its login may send from, or allow it on the mail server."
	return f
}

// bare is an address without its angle brackets.
func bare(address string) string { return strings.Trim(address, "<>") }

// relayWords tell denied relaying from an unknown mailbox where the server has no status for it.
var relayWords = regexp.MustCompile(`(?i)\brelay|not permitted|authenti`)

func (c *Conn) refusedRecipient(ctx context.Context, recipient string, err error) *Failure {
	answer, failure := c.answer(ctx, "after the recipient was given (RCPT TO)", err)
	if failure != nil {
		return failure
	}
	defer c.reset()
	if f := c.refused(answer); f != nil {
		return f
	}
	var f *Failure
	switch {
	case answer.code == 552, strings.HasSuffix(answer.status, ".2.2"):
		f = answer.failure("The mailbox of %s is full: %s", bare(recipient), answer)
		f.Fix = "Ask the recipient to delete messages."
	case answer.code < 500:
		f = answer.failure("The server defers messages to %s: %s", bare(recipient), answer)
		f.Fix = "Wait a few minutes: servers that don't know a sender yet accept the message when it comes again " +
			"(greylisting). If it keeps happening, the mail server's log says why."
	case strings.HasPrefix(answer.status, "5.7."), answer.status == "" && relayWords.MatchString(answer.text):
		f = answer.failure("The server does not relay messages to %s: %s", bare(recipient), answer)
		f.Fix = "Set username and password of the account, or allow this machine to send through the mail server " +
			"(relaying)."
	default:
		f = answer.failure("The server does not know the mailbox %s, or refuses it: %s", bare(recipient), answer)
		f.Fix = "Correct the recipient's address."
		f.Permanent = true
	}
	return f
}

// refusedMessage explains the answer to the content, or to the request to send it.
func (c *Conn) refusedMessage(ctx context.Context, from string, err error) *Failure {
	answer, failure := c.answer(ctx, "before the message was sent", err)
	if failure != nil {
		return failure
	}
	defer c.reset()
	if f := c.refused(answer); f != nil {
		return f
	}
	var f *Failure
	switch {
	case answer.code < 500:
		f = answer.failure("The server does not accept the message at the moment: %s", answer)
		f.Fix = "Wait: it may accept it later. If it keeps happening, the mail server's log says why."
	case answer.status == "5.7.60", strings.Contains(answer.text, "SendAsDenied"): // Exchange says it only now
		f = wrongSender(from, answer)
	case answer.code == 552, answer.status == "5.3.4":
		f = answer.failure("The message is too large for the server: %s", answer)
		f.Fix = "Make the message smaller, or raise the limit on the mail server."
		f.Permanent = true
	default:
		f = answer.failure("The server refused the message: %s", answer)
		f.Fix = "The mail server's log says why; often a filter considers it spam. Allow the account's address " +
			"there, and check that SPF and DKIM are set up for its domain."
		f.Permanent = true
	}
	return f
}

// unconfirmed explains why the message's end was not answered with consent.
func (c *Conn) unconfirmed(ctx context.Context, from string, err error) *Failure {
	if errors.As(err, new(*textproto.Error)) {
		return c.refusedMessage(ctx, from, err)
	}
	c.hangUp()
	f := c.broken(ctx, "after the message was sent", err)
	f.Detail = domain.Sentences(f.Detail, "The message may or may not have been delivered.")
	f.Fix = "Check the mail server's log, or ask the recipient, before sending it again."
	f.InDoubt = true
	return f
}

// broken explains a connection that failed between commands and answers. when completes "The server closed the
// connection".
func (c *Conn) broken(ctx context.Context, when string, err error) *Failure {
	f := &Failure{Err: err, Fix: "Try again. If it keeps happening, see the mail server's log; a firewall in between " +
		"may also break connections."}
	switch {
	case ctx.Err() != nil:
		f = stopped(context.Cause(ctx))
	case isTimeout(err):
		f.Detail = fmt.Sprintf("The server did not answer in time %s.", when)
		f.Fix = "Try again. If it keeps happening, raise the mail server's timeout_s, or find out what keeps it busy."
	case isHangUp(err):
		f.Detail = fmt.Sprintf("The server closed the connection %s.", when)
	case errors.Is(err, errTooMuch):
		f.Detail = fmt.Sprintf("The server sent more than a mail server would %s.", when)
		f.Fix = "Check that host and port are those of a mail server."
	case errors.As(err, new(textproto.ProtocolError)), errors.Is(err, smtp.ErrUnexpectedServerResponse),
		errors.Is(err, smtp.ErrUnexpectedServerChallange):
		f.Detail = fmt.Sprintf("The server gave an answer that is not SMTP %s.", when)
		f.Fix = "Check that host and port are those of a mail server, and that no proxy answers in its place."
		f.Err = errors.New("malformed answer") // err cites it
	default:
		f.Detail = fmt.Sprintf("The connection failed %s: %s", when, sentence(err.Error()))
	}
	return f
}

func stopped(cause error) *Failure {
	f := &Failure{Detail: "The delivery was stopped before it was finished.", Fix: "Try again.", Err: cause}
	if errors.Is(cause, context.DeadlineExceeded) {
		f.Detail = "The delivery ran out of time."
		f.Fix = "Try again. If it keeps happening, find out what keeps the mail server busy."
	}
	return f
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

func isHangUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

// answer is a server's refusal, such as 550 5.1.1 No such user.
type answer struct {
	code   int
	status string // the enhanced status code (RFC 3463), such as 5.1.1, or ""
	text   string // without secrets
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.code, a.text) }

func (a answer) failure(format string, args ...any) *Failure {
	return &Failure{
		Detail: fmt.Sprintf(format, args...), Code: a.code, Err: &textproto.Error{Code: a.code, Msg: a.text},
	}
}

// answer is what the server refused with; or, where it did not answer, the failure of the connection.
func (c *Conn) answer(ctx context.Context, when string, err error) (answer, *Failure) {
	var response *textproto.Error
	if !errors.As(err, &response) {
		return answer{}, c.broken(ctx, when, err)
	}
	return c.answerOf(response), nil
}

var enhancedStatus = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}\b`)

func (c *Conn) answerOf(response *textproto.Error) answer {
	return answer{
		code:   response.Code,
		status: enhancedStatus.FindString(response.Msg),
		text:   c.withoutSecrets(response.Msg),
	}
}

func (c *Conn) reply(code int, text string) string {
	return answer{code: code, text: c.withoutSecrets(text)}.String()
}

// longWords are those that could be a token or the like of a message.
var longWords = regexp.MustCompile(`[\w-]{16,}`)

// withoutSecrets is a server's text in one line, without what it cites of our password and of the message.
func (c *Conn) withoutSecrets(text string) string {
	if password := c.server.Password; password != "" {
		for _, secret := range []string{
			base64.StdEncoding.EncodeToString([]byte("\x00" + c.server.Username + "\x00" + password)),
			base64.StdEncoding.EncodeToString([]byte(password)),
			password,
		} {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	text = longWords.ReplaceAllStringFunc(text, func(word string) string {
		if strings.Contains(c.written, word) {
			return "…"
		}
		return word
	})
	return clean(text)
}

// clean is text of the server's in one line of bounded length, without control characters.
func clean(text string) string {
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, text)), " ")
	const most = 300
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// sentence ends text with a full stop.
func sentence(text string) string { return domain.Sentences(clean(text)) }
