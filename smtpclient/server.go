// Package smtpclient hands messages to mail servers and says of each step what happened, in sentences that an
// administrator can act on. Deliveries and the test of a mail account go the same way.
package smtpclient

import (
	"context"
	"crypto/x509"
	"net"
	"strconv"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/targets"
)

// Values of Server.Security.
const (
	SecurityStartTLS = "starttls" // plain at first, then TLS or nothing; usually port 587
	SecurityTLS      = "tls"      // TLS from the first byte; usually port 465
	SecurityNone     = "none"     // never TLS
)

// Names of steps, in their order.
const (
	StepResolve = "resolve"
	StepConnect = "connect"
	StepTLS     = "tls"
	StepLogin   = "login"
	StepSend    = "send"
)

const (
	defaultTimeout = 20 * time.Second
	// greetingTimeout is longer than the 6 seconds for which Postfix's postscreen lets newcomers wait, and short enough
	// that the silence between a STARTTLS client and a TLS port is explained within 10 seconds.
	greetingTimeout = 7 * time.Second
)

// Server is a mail server, and the account on it that messages are handed over with.
//
// With TLS the version is at least 1.2, and the certificate must be valid for Host. Without (SecurityNone) a password
// is sent to a loopback address only.
type Server struct {
	Host     string // a name or an IP address
	Port     int
	Security string
	// Timeout is how long the connection, the TLS handshake, the login and each command may take; 20 seconds if zero.
	// The greeting must come within 7 seconds. The answer to a message's end may take three times as long as a command:
	// servers look for viruses then, and to give up there leaves the message in doubt.
	Timeout time.Duration
	// Username is empty for a server that accepts messages without a login.
	Username string
	Password string         `json:"-"`
	RootCAs  *x509.CertPool `json:"-"` // nil: the system's
	Targets  targets.Policy `json:"-"` // the addresses that may be connected to
}

// String is the server's address: printed anywhere, it must not show the password.
func (s Server) String() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// Step is the result of one step. Detail and Fix are sentences for the administrator; Fix is empty if OK is true.
type Step struct {
	Step   string
	OK     bool
	Detail string
	Took   time.Duration
	Fix    string
}

// Send delivers one message to all its recipients or to none, and says what each step did. The steps end with the
// first that failed; then the error is a *Failure. Domains outside ASCII are rewritten in msg to their xn-- form, which
// every server knows.
func (s Server) Send(ctx context.Context, msg *mail.Msg) ([]Step, error) {
	conn, steps, err := s.Dial(ctx)
	if err != nil {
		return steps, err
	}
	defer conn.Close()
	step, err := conn.Send(ctx, msg)
	return append(steps, step), err
}

// Check does everything but a message: resolve, connect, tls, login. Its error is as that of Send.
func (s Server) Check(ctx context.Context) ([]Step, error) {
	conn, steps, err := s.Dial(ctx)
	if err != nil {
		return steps, err
	}
	conn.Close()
	return steps, nil
}

// Dial connects and logs in, for several messages over one connection. Its steps and its error are as those of Check.
func (s Server) Dial(ctx context.Context) (*Conn, []Step, error) {
	if s.Timeout <= 0 {
		s.Timeout = defaultTimeout
	}
	c := &Conn{server: s}
	var steps []Step
	for _, next := range []struct {
		name string
		do   func(context.Context) (string, *Failure)
	}{
		{StepResolve, c.resolve},
		{StepConnect, c.connect},
		{StepTLS, c.secure},
		{StepLogin, c.login},
	} {
		step, failure := run(ctx, next.name, next.do)
		steps = append(steps, step)
		if failure != nil {
			c.hangUp()
			return nil, steps, failure
		}
	}
	return c, steps, nil
}

// run does one step and measures it.
func run(ctx context.Context, name string, do func(context.Context) (string, *Failure)) (Step, *Failure) {
	started := time.Now()
	detail, failure := do(ctx)
	step := Step{Step: name, OK: failure == nil, Detail: detail, Took: time.Since(started)}
	if failure != nil {
		failure.Step = name
		step.Detail, step.Fix = failure.Detail, failure.Fix
	}
	step.Detail, step.Fix = domain.Sentences(step.Detail), domain.Sentences(step.Fix)
	return step, failure
}
