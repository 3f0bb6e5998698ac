// Package mailtest runs a mail server in the test's process, which takes, refuses or loses messages as the test says.
package mailtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// Sink is a mail server on a loopback port, without TLS and without login.
type Sink struct {
	Host string
	Port int

	mu       sync.Mutex
	answer   func(Message) error
	taken    []Message
	arrived  chan struct{} // closed and replaced when a message is taken
	sessions int
	most     int
}

// ErrDie as an answer breaks the connection instead of answering: the client can't know whether the message was taken.
var ErrDie = errors.New("the server dies")

// Refusal is an answer such as 451 or 550.
func Refusal(code int, text string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 0, 0}, Message: text}
}

// Message is what a client handed over.
type Message struct {
	From string
	To   string
	Raw  string
}

// NewSink starts a mail server that takes everything. It ends with the test.
func NewSink(t testing.TB) *Sink {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // of a test
	if err != nil {
		t.Fatal(err)
	}
	s := &Sink{Host: "127.0.0.1", arrived: make(chan struct{})}
	s.Port = listener.Addr().(*net.TCPAddr).Port
	server := smtp.NewServer(s)
	server.Domain, server.ErrorLog = "sink.example", silent{}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		// The listener too: the server may not have come to know it yet.
		if err := errors.Join(server.Close(), listener.Close(), <-served); err != nil {
			t.Log("the end of the mail server: ", err) // the connections that were open
		}
	})
	return s
}

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

// Answer has each message judged before it is taken: nil takes it. It may wait.
func (s *Sink) Answer(judge func(Message) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = judge
}

// Taken lists the messages that were taken, and those whose client was left in doubt.
func (s *Sink) Taken() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.taken...)
}

// Most is how many connections there were at once.
func (s *Sink) Most() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// Wait gives the messages as soon as n were taken.
func (s *Sink) Wait(t testing.TB, n int) []Message {
	t.Helper()
	deadline := time.NewTimer(3 * time.Minute)
	defer deadline.Stop()
	for {
		s.mu.Lock()
		taken, arrived := append([]Message(nil), s.taken...), s.arrived
		s.mu.Unlock()
		if len(taken) >= n {
			return taken
		}
		select {
		case <-arrived:
		case <-deadline.C:
			t.Fatalf("%d messages arrived, not %d", len(taken), n)
		}
	}
}

// NewSession implements smtp.Backend.
func (s *Sink) NewSession(conn *smtp.Conn) (smtp.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions++
	s.most = max(s.most, s.sessions)
	return &session{sink: s, conn: conn}, nil
}

type session struct {
	sink    *Sink
	conn    *smtp.Conn
	message Message
}

func (s *session) Reset() { s.message = Message{} }

func (s *session) Logout() error {
	s.sink.mu.Lock()
	defer s.sink.mu.Unlock()
	s.sink.sessions--
	return nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.message.From = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.message.To = to
	return nil
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.message.Raw = string(raw)
	s.sink.mu.Lock()
	judge := s.sink.answer
	s.sink.mu.Unlock()
	if judge != nil {
		err = judge(s.message)
	}
	if err != nil && !errors.Is(err, ErrDie) {
		return err
	}
	s.sink.mu.Lock()
	s.sink.taken = append(s.sink.taken, s.message)
	close(s.sink.arrived)
	s.sink.arrived = make(chan struct{})
	s.sink.mu.Unlock()
	if err != nil {
		return errors.Join(err, s.conn.Conn().Close())
	}
	return nil
}

// Header gives a header, decoded; "" without one.
func (m Message) Header(t testing.TB, name string) string {
	t.Helper()
	decoded, err := new(mime.WordDecoder).DecodeHeader(m.parse(t).Header.Get(name))
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

// Headers are all of the message's headers as they came, in the form of net/mail.
func (m Message) Headers(t testing.TB) mail.Header {
	t.Helper()
	return m.parse(t).Header
}

func (m Message) parse(t testing.TB) *mail.Message {
	t.Helper()
	parsed, err := mail.ReadMessage(strings.NewReader(m.Raw))
	if err != nil {
		t.Fatalf("%v\n%s", err, m.Raw)
	}
	return parsed
}

// Part gives the text of the first part of a media type, such as text/plain.
func (m Message) Part(t testing.TB, mediaType string) string {
	t.Helper()
	text, err := part(m.parse(t), mediaType)
	if err != nil {
		t.Fatalf("%v\n%s", err, m.Raw)
	}
	return text
}

func part(message *mail.Message, wanted string) (string, error) {
	_, params, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		return "", err
	}
	reader := multipart.NewReader(message.Body, params["boundary"])
	for {
		next, err := reader.NextRawPart()
		if err != nil {
			return "", fmt.Errorf("no part is %s: %w", wanted, err)
		}
		mediaType, params, err := mime.ParseMediaType(next.Header.Get("Content-Type"))
		if err != nil {
			return "", err
		}
		if mediaType != wanted {
			continue
		}
		if !strings.EqualFold(params["charset"], "utf-8") {
			return "", fmt.Errorf("the charset is %q", params["charset"])
		}
		var body bytes.Buffer
		_, err = body.ReadFrom(quotedprintable.NewReader(next))
		return body.String(), err
	}
}
