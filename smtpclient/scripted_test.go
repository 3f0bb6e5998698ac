package smtpclient_test

import (
	"crypto/tls"
	"encoding/base64"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secboard/secboard/smtpclient"
	"github.com/secboard/secboard/smtpclient/mtatest"
	"github.com/secboard/secboard/targets/targetstest"
)

// script is a mail server that answers as no real one can be made to.
type script struct {
	// answers are those that differ from a good server's: to a command, by its first word, to "greeting", to
	// "handshake" (only silence or hangUp), and to "." (the end of a message).
	answers   map[string]string
	offers    []string // instead of STARTTLS before TLS and AUTH PLAIN after
	tlsAtOnce bool
	config    func(*mtatest.Authority) *tls.Config // nil: a good certificate

	mu       sync.Mutex
	received []string
	silent   bool
}

// Answers that are none.
const (
	silence = "(silence)"
	hangUp  = "(hang up)"
)

// start starts the server, and gives a client of it.
func (s *script) start(t testing.TB) smtpclient.Server {
	t.Helper()
	authority := mtatest.NewAuthority(t)
	if s.config == nil {
		s.config = certificate(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "127.0.0.1")
	}
	config := s.config(authority)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	stop := make(chan struct{})
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = conn.Close() }()
				d := &dialogue{script: s, config: config, stop: stop, conn: conn, text: textproto.NewConn(conn)}
				d.run()
			})
		}
	})
	t.Cleanup(func() {
		close(stop)
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		serving.Wait()
	})
	server := smtpclient.Server{
		Host: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port, Security: smtpclient.SecurityStartTLS,
		RootCAs: authority.Pool, Username: "anna", Password: "hunter2!hunter2!",
		Targets: targetstest.Loopback,
	}
	if s.tlsAtOnce {
		server.Security = smtpclient.SecurityTLS
	}
	return server
}

// certificate makes a configuration with one that the client's RootCAs trust.
func certificate(t testing.TB, notBefore, notAfter time.Time, hosts ...string) func(*mtatest.Authority) *tls.Config {
	return func(authority *mtatest.Authority) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{authority.Issue(t, notBefore, notAfter, hosts...)}}
	}
}

// commands are the lines that clients have sent until now.
func (s *script) commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.received)
}

// fellSilent says whether a client has come to where the server says nothing.
func (s *script) fellSilent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.silent
}

// dialogue is one connection to a scripted server.
type dialogue struct {
	*script
	config  *tls.Config
	stop    <-chan struct{}
	conn    net.Conn
	text    *textproto.Conn
	secured bool
}

func (d *dialogue) run() {
	if d.tlsAtOnce && !d.secure() {
		return
	}
	if !d.answer("greeting", "220 mx.example ESMTP") {
		return
	}
	for {
		line, err := d.text.ReadLine()
		if err != nil {
			return
		}
		d.mu.Lock()
		d.received = append(d.received, line)
		d.mu.Unlock()
		if !d.command(line) {
			return
		}
	}
}

// command answers one, and says whether the dialogue goes on.
func (d *dialogue) command(line string) bool {
	verb, argument, _ := strings.Cut(line, " ")
	switch verb {
	case "EHLO":
		offers := d.offers
		switch {
		case offers == nil && d.secured:
			offers = []string{"AUTH PLAIN"}
		case offers == nil:
			offers = []string{"STARTTLS"}
		}
		return d.answer(verb, "250-"+strings.Join(append([]string{"mx.example"}, offers...), "\r\n250-")+"\r\n250 HELP")
	case "STARTTLS":
		if !d.answer(verb, "220 go ahead") {
			return false
		}
		return d.answers[verb] != "" || d.secure()
	case "AUTH":
		if argument == "LOGIN" {
			return d.loginInSteps()
		}
		return d.answer(verb, "235 welcome")
	case "DATA":
		if !d.answer(verb, "354 go ahead") {
			return false
		}
		if d.answers[verb] != "" && !strings.HasPrefix(d.answers[verb], "354") {
			return true
		}
		if _, err := d.text.ReadDotLines(); err != nil {
			return false
		}
		return d.answer(".", "250 taken")
	case "QUIT":
		d.answer(verb, "221 bye")
		return false
	}
	return d.answer(verb, "250 ok")
}

// loginInSteps is the server's side of AUTH LOGIN.
func (d *dialogue) loginInSteps() bool {
	for _, step := range [][2]string{{"Username:", "anna"}, {"Password:", "hunter2!hunter2!"}} {
		if !d.send("334 " + base64.StdEncoding.EncodeToString([]byte(step[0]))) {
			return false
		}
		line, err := d.text.ReadLine()
		if err != nil {
			return false
		}
		if text, err := base64.StdEncoding.DecodeString(line); err != nil || string(text) != step[1] {
			return d.send("535 5.7.8 wrong")
		}
	}
	return d.answer("AUTH", "235 welcome")
}

func (d *dialogue) secure() bool {
	if line := d.answers["handshake"]; line != "" {
		return d.answer("handshake", "")
	}
	encrypted := tls.Server(d.conn, d.config)
	d.text, d.secured = textproto.NewConn(encrypted), true
	return encrypted.Handshake() == nil
}

// answer gives the script's answer to what, or the usual one.
func (d *dialogue) answer(what, usual string) bool {
	line, scripted := d.answers[what]
	switch {
	case !scripted:
		line = usual
	case line == silence:
		d.mu.Lock()
		d.silent = true
		d.mu.Unlock()
		<-d.stop
		return false
	case line == hangUp:
		return false
	}
	return d.send(line)
}

func (d *dialogue) send(line string) bool { return d.text.PrintfLine("%s", line) == nil }
