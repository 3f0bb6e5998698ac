package smtpclient

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
	"golang.org/x/net/idna"
)

// Conn is a connection on which messages can be handed over, one after the other; not safe for concurrent use.
// A server may close it at any time: a message that failed on it, neither permanently nor in doubt, should be tried on
// another one.
type Conn struct {
	server  Server
	host    string // server.Host in ASCII
	socket  *socket
	client  *smtp.Client
	written string // the content of the message under way: it is cut out of answers that quote it
}

// resolve looks the host up, only to tell that cause apart: connect does it again, and prefers the address that
// answers.
func (c *Conn) resolve(ctx context.Context) (string, *Failure) {
	host, err := idna.Lookup.ToASCII(c.server.Host)
	if _, notAddress := netip.ParseAddr(c.server.Host); notAddress == nil {
		host, err = c.server.Host, nil
	}
	if err != nil || host == "" || c.server.Port < 1 || c.server.Port > 65535 {
		return "", &Failure{
			Detail: fmt.Sprintf("The host %q with port %d is not the address of a mail server.", c.server.Host,
				c.server.Port),
			Fix: "Set host to a name such as mail.example.com and port to a number such as 587.",
			Err: err,
		}
	}
	c.host = host
	ctx, cancel := context.WithTimeout(ctx, c.server.Timeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", c.unresolved(ctx, err)
	}
	texts := make([]string, len(addresses))
	for i, address := range addresses {
		texts[i] = address.Unmap().String()
	}
	if len(texts) == 1 && texts[0] == host {
		return fmt.Sprintf("The host %s is an IP address.", host), nil
	}
	return fmt.Sprintf("The host %s has the address %s.", host, strings.Join(texts, ", ")), nil
}

// connect opens the connection and, unless TLS comes first, reads the server's greeting.
func (c *Conn) connect(ctx context.Context) (string, *Failure) {
	dialer := c.server.Targets.Dialer()
	dialer.Timeout = c.server.Timeout
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(c.host, strconv.Itoa(c.server.Port)))
	if err != nil {
		return "", c.unconnected(ctx, err)
	}
	c.socket = &socket{Conn: conn, reader: bufio.NewReader(conn), left: maxReceived}
	detail := fmt.Sprintf("Connected to %s.", conn.RemoteAddr())
	if c.server.Security == SecurityTLS {
		return detail, nil
	}
	defer c.hangUpWhenDone(ctx)()
	if failure := c.greet(ctx, c.socket); failure != nil {
		return "", failure
	}
	return detail, nil
}

// greet reads the server's greeting, and introduces us.
func (c *Conn) greet(ctx context.Context, conn net.Conn) *Failure {
	c.within(min(c.server.Timeout, greetingTimeout))
	if c.server.Security != SecurityTLS {
		// NewClient closes the connection on errors, and silence has to be looked into. Besides, it takes the greeting
		// of SSH for the first of several lines, and waits for the others.
		start, err := c.socket.reader.Peek(len("220"))
		if err != nil {
			return c.noGreeting(ctx, err)
		}
		if strings.Trim(string(start), "0123456789") != "" {
			return c.notMail(nil)
		}
	}
	client, err := smtp.NewClient(conn, c.host)
	if err != nil {
		return c.badGreeting(ctx, err)
	}
	c.client = client
	c.within(c.server.Timeout)
	if err := client.Hello(ownName(conn.LocalAddr())); err != nil {
		return c.noHello(ctx, err)
	}
	return nil
}

// ownName is what we introduce ourselves as: this machine's name where it is a full one, else its address (RFC 5321,
// 4.1.4). Servers reject a bare "localhost".
func ownName(local net.Addr) string {
	if name, err := os.Hostname(); err == nil && strings.Contains(name, ".") {
		if ascii, err := idna.Lookup.ToASCII(name); err == nil {
			return ascii
		}
	}
	address, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return "localhost"
	}
	if ip := address.Addr().Unmap().WithZone(""); ip.Is4() {
		return "[" + ip.String() + "]"
	}
	return "[IPv6:" + address.Addr().WithZone("").String() + "]"
}

// secure turns TLS on, in the way that the server's security asks for.
func (c *Conn) secure(ctx context.Context) (string, *Failure) {
	defer c.hangUpWhenDone(ctx)()
	c.within(c.server.Timeout)
	switch c.server.Security {
	case SecurityNone:
		return "Not encrypted, because security is none.", nil
	case SecurityTLS:
		conn := tls.Client(c.socket, c.tlsConfig())
		if err := conn.HandshakeContext(ctx); err != nil {
			return "", c.noTLS(ctx, err)
		}
		if failure := c.greet(ctx, conn); failure != nil {
			return "", failure
		}
	case SecurityStartTLS:
		if offered, _ := c.client.Extension("STARTTLS"); !offered {
			return "", c.noSTARTTLS()
		}
		if err := c.client.StartTLS(c.tlsConfig()); err != nil {
			return "", c.noTLS(ctx, err)
		}
	default:
		return "", &Failure{
			Detail: fmt.Sprintf("The value %q of security is unknown.", c.server.Security),
			Fix:    "Set security to starttls, tls or none.",
		}
	}
	state, err := c.client.GetTLSConnectionState()
	if err != nil {
		return "", c.noTLS(ctx, err)
	}
	return fmt.Sprintf("Encrypted the connection with %s; the certificate for %s is valid until %s.",
		tls.VersionName(state.Version), c.host, state.PeerCertificates[0].NotAfter.UTC().Format(time.DateOnly)), nil
}

func (c *Conn) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: c.host, RootCAs: c.server.RootCAs, MinVersion: tls.VersionTLS12}
}

// login presents user name and password. It never sends them unencrypted over a network, whatever the server offers.
func (c *Conn) login(ctx context.Context) (string, *Failure) {
	if c.server.Username == "" {
		return "Not logged in, because the account has no username.", nil
	}
	defer c.hangUpWhenDone(ctx)()
	offered, names := c.client.Extension("AUTH")
	mechanisms := strings.Fields(strings.ToUpper(names))
	var auth smtp.Auth
	switch {
	case c.server.Password == "":
		return "", &Failure{
			Detail: "The account has a username but no password, and a login needs both.",
			Fix: "Set the account's password, or remove its username if the server accepts messages without a " +
				"login.",
		}
	case c.server.Security == SecurityNone && !c.isLoopback():
		return "", &Failure{
			Detail: "The password was not sent, because the connection is not encrypted: security is none.",
			Fix: "Set security to starttls (usually port 587) or tls (usually port 465), or remove the account's " +
				"username.",
		}
	case !offered || len(mechanisms) == 0:
		return "", c.noLogin()
	case slices.Contains(mechanisms, "PLAIN"):
		auth = smtp.PlainAuth("", c.server.Username, c.server.Password, c.host, true)
	case slices.Contains(mechanisms, "LOGIN"):
		auth = smtp.LoginAuth(c.server.Username, c.server.Password, c.host, true)
	default:
		return "", c.noKnownLogin(mechanisms)
	}
	c.within(c.server.Timeout)
	if err := c.client.Auth(auth); err != nil {
		return "", c.refusedLogin(ctx, err)
	}
	return fmt.Sprintf("Logged in as %s.", c.server.Username), nil
}

func (c *Conn) isLoopback() bool {
	address, err := netip.ParseAddrPort(c.socket.RemoteAddr().String())
	return err == nil && address.Addr().Unmap().IsLoopback()
}

// Send hands one message over, to all its recipients or to none. An error is a *Failure.
func (c *Conn) Send(ctx context.Context, msg *mail.Msg) (Step, error) {
	step, failure := run(ctx, StepSend, func(ctx context.Context) (string, *Failure) { return c.send(ctx, msg) })
	if failure != nil {
		return step, failure
	}
	return step, nil
}

func (c *Conn) send(ctx context.Context, msg *mail.Msg) (string, *Failure) {
	from, recipients, failure := c.envelope(msg)
	if failure != nil {
		return "", failure
	}
	var content bytes.Buffer
	if _, err := msg.WriteTo(&content); err != nil {
		return "", &Failure{
			Detail:    "The message could not be composed: " + sentence(err.Error()),
			Fix:       "This is a bug in SecBoard: please report it.",
			Permanent: true,
			Err:       err,
		}
	}
	c.written = content.String() + texts(msg)
	defer func() { c.written = "" }()

	defer c.hangUpWhenDone(ctx)()
	c.within(c.server.Timeout)
	if err := c.client.Mail(from); err != nil {
		return "", c.refusedSender(ctx, from, err)
	}
	for _, recipient := range recipients {
		c.within(c.server.Timeout)
		if err := c.client.Rcpt(recipient); err != nil {
			return "", c.refusedRecipient(ctx, recipient, err)
		}
	}
	return c.data(ctx, from, content.Bytes())
}

// texts is the message as it was before it was encoded for the way.
func texts(msg *mail.Msg) string {
	var all strings.Builder
	for _, part := range msg.GetParts() {
		if text, err := part.GetContent(); err == nil { // else it could not be written either
			all.Write(text)
		}
	}
	return all.String()
}

// data sends the content. Done by hand where smtp.DataCloser does not tell a connection that broke before the final
// dot, which is no delivery, from one that broke after it, which may be one.
func (c *Conn) data(ctx context.Context, from string, content []byte) (string, *Failure) {
	c.within(c.server.Timeout)
	writer, err := c.client.Data()
	if err != nil {
		return "", c.refusedMessage(ctx, from, err)
	}
	c.within(c.server.Timeout)
	dotted := writer.(*smtp.DataCloser).WriteCloser
	_, err = dotted.Write(content)
	if err == nil {
		err = dotted.Close()
	}
	if err != nil {
		c.hangUp() // anything else would end the message here, and deliver half of it
		return "", c.broken(ctx, "while the message was sent", err)
	}
	c.within(3 * c.server.Timeout)
	code, text, err := c.client.Text.ReadResponse(250)
	if err != nil {
		return "", c.unconfirmed(ctx, from, err)
	}
	return "The server accepted the message: " + c.reply(code, text), nil
}

// envelope gives sender and recipients as they are written in commands, in angle brackets.
func (c *Conn) envelope(msg *mail.Msg) (from string, recipients []string, failure *Failure) {
	asciiDomains(msg)
	from, err := msg.GetSender(false)
	if err == nil {
		recipients, err = msg.GetRecipients()
	}
	if err != nil {
		return "", nil, &Failure{
			Detail:    "The message has no sender or no recipient.",
			Fix:       "This is a bug in SecBoard: please report it.",
			Permanent: true,
			Err:       err,
		}
	}
	needed := false
	offered, _ := c.client.Extension("SMTPUTF8")
	for i, address := range append([]string{from}, recipients...) {
		if isASCII(address) {
			continue
		}
		needed = true
		if !offered {
			return "", nil, c.noSMTPUTF8(address, i > 0)
		}
	}
	c.client.SkipSMTPUTF8(!needed)
	return from, recipients, nil
}

// asciiDomains rewrites the domains of all addresses to their xn-- form.
func asciiDomains(msg *mail.Msg) {
	for _, header := range []mail.AddrHeader{
		mail.HeaderEnvelopeFrom, mail.HeaderFrom, mail.HeaderReplyTo, mail.HeaderTo, mail.HeaderCc, mail.HeaderBcc,
	} {
		for _, address := range msg.GetAddrHeader(header) {
			at := strings.LastIndexByte(address.Address, '@')
			if domain, err := idna.Lookup.ToASCII(address.Address[at+1:]); err == nil &&
				!isASCII(address.Address[at+1:]) {
				address.Address = address.Address[:at+1] + domain
			}
		}
	}
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 126 })
}

// reset ends a transaction that the server refused, so that the next message finds a clean one. If that fails, the next
// message will.
func (c *Conn) reset() {
	c.within(c.server.Timeout)
	if err := c.client.Reset(); err != nil {
		c.hangUp()
	}
}

// Close ends the session with the server. What was delivered is delivered, so it waits for the answer a moment only.
func (c *Conn) Close() {
	c.within(min(c.server.Timeout, 2*time.Second))
	if err := c.client.Quit(); err != nil {
		c.hangUp()
	}
}

// within sets the deadline for what follows.
func (c *Conn) within(d time.Duration) {
	if err := c.socket.SetDeadline(time.Now().Add(d)); err != nil {
		c.hangUp() // what follows then fails
	}
}

// hangUpWhenDone closes the connection as soon as ctx is done, until it is released.
func (c *Conn) hangUpWhenDone(ctx context.Context) (release func()) {
	stop := context.AfterFunc(ctx, c.hangUp)
	return func() { stop() }
}

func (c *Conn) hangUp() {
	if c.socket != nil {
		_ = c.socket.Close() //nolint:errcheck // nothing more is expected of it
	}
}

// maxReceived bounds what a server may send on one connection, in bytes: answers are read into memory.
const maxReceived = 1 << 20

var errTooMuch = errors.New("the server sent more than 1 MiB")

// socket is the connection beneath TLS.
type socket struct {
	net.Conn
	reader *bufio.Reader
	left   int
}

func (s *socket) Read(p []byte) (int, error) {
	if s.left <= 0 {
		return 0, errTooMuch
	}
	n, err := s.reader.Read(p)
	s.left -= n
	return n, err
}
