package smtpclient

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/textproto"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Networks that a test can't have.

func TestNetworkFailures(t *testing.T) {
	t.Parallel()
	c := &Conn{server: Server{Host: "mail.example", Port: 587}, host: "mail.example"}
	for name, test := range map[string]struct {
		explain     func(context.Context, error) *Failure
		err         error
		detail, fix string
	}{
		"unknown host": {
			c.unresolved, &net.DNSError{Name: "mail.example", IsNotFound: true},
			"There is no host named mail.example.", "Correct the mail server's host",
		},
		"no name server": {
			c.unresolved, &net.DNSError{Name: "mail.example", IsTimeout: true},
			"The name servers gave no answer for mail.example.", "name servers (DNS)",
		},
		"host that is gone when connecting": {
			c.unconnected, &net.OpError{Op: "dial", Err: &net.DNSError{Name: "mail.example", IsNotFound: true}},
			"There is no host named mail.example.", "Correct the mail server's host",
		},
		"firewall": {
			c.unconnected, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded},
			"Port 587 of mail.example did not answer.",
			"Most likely a firewall drops the connection: allow it from this machine to mail.example:587.",
		},
		"no route": {
			c.unconnected, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)},
			"There is no route from this machine to mail.example.", "Check this machine's network",
		},
		"something else": {
			c.unconnected, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EMFILE)},
			"Connecting to mail.example:587 failed: dial: connect: too many open files.", "Check host and port",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failure := test.explain(t.Context(), test.err)
			if failure.Detail != test.detail {
				t.Fatalf("failure.Detail = %q, want %q", failure.Detail, test.detail)
			}
			if !strings.Contains(failure.Fix, test.fix) {
				t.Fatalf("%q lacks %q", failure.Fix, test.fix)
			}
			if !errors.Is(failure, test.err) {
				t.Fatalf("%v, want %v", failure, test.err)
			}
			if failure.Permanent {
				t.Fatal("failure.Permanent")
			}
		})
	}
}

// elsewhere is a connection to another machine.
type elsewhere struct{ net.Conn }

func (elsewhere) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25}
}

func TestPasswordIsNotSentUnencryptedOverANetwork(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	received := make(chan string)
	go func() {
		defer close(received)
		text := textproto.NewConn(theirs)
		if text.PrintfLine("220 mx.example") != nil {
			return
		}
		for {
			line, err := text.ReadLine()
			if err != nil {
				return
			}
			received <- line
			if text.PrintfLine("250-mx.example\r\n250 AUTH PLAIN LOGIN") != nil {
				return
			}
		}
	}()
	c := &Conn{
		server: Server{Host: "mx.example", Port: 25, Security: SecurityNone, Timeout: 30 * time.Second,
			Username: "anna", Password: "hunter2!hunter2!"},
		host:   "mx.example",
		socket: &socket{Conn: elsewhere{ours}, reader: bufio.NewReader(ours), left: maxReceived},
	}
	t.Cleanup(c.hangUp)
	greeted := make(chan *Failure)
	go func() { greeted <- c.greet(t.Context(), c.socket) }()
	if line := <-received; !strings.HasPrefix(line, "EHLO ") {
		t.Fatalf("the client said %q, want EHLO", line)
	}
	if got := <-greeted; got != nil {
		t.Fatalf("<-greeted = %v, want nil", got)
	}

	_, failure := c.login(t.Context())

	if failure == nil {
		t.Fatalf("failure = %v, want something", failure)
	}
	if failure.Detail != "The password was not sent, because the connection is not encrypted: security is none." {
		t.Fatalf("failure.Detail = %q, want %q", failure.Detail,
			"The password was not sent, because the connection is not encrypted: security is none.")
	}
	if !strings.Contains(failure.Fix, "Set security to starttls") {
		t.Fatalf(`%q lacks "Set security to starttls"`, failure.Fix)
	}
	c.hangUp()
	for line := range received {
		t.Errorf("received %q", line)
	}
}

func TestOwnName(t *testing.T) {
	t.Parallel()
	name := ownName(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711})
	if hostname, err := os.Hostname(); err == nil && name == hostname {
		return
	}
	if name != "[192.0.2.1]" {
		t.Fatalf(`name = %q, want "[192.0.2.1]"`, name)
	}
	if got := ownName(&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}); got != "[IPv6:fe80::1]" {
		t.Fatalf(`got %q, want "[IPv6:fe80::1]"`, got)
	}
}
