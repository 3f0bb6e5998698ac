//go:build linux

package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/pause"
)

// requestTime is how long a client waits for an answer unless it is told otherwise. The server gives up earlier.
const requestTime = 15 * time.Second

// client talks to one instance through its front proxy.
type client struct {
	http    *http.Client
	url     string
	session *session // nil: nobody is signed in
	ip      string   // as which it shows itself
	ledger  *ledger

	patience time.Duration // how long it waits for an answer
}

// session of the superuser, for all workers.
type session struct {
	mu    sync.Mutex
	token string
}

func (s *session) current() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

func newClient(url string, ledger *ledger) *client {
	// On a connection that was used before, the transport would send by itself again what broke.
	return &client{http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, url: url, ledger: ledger,
		ip: "192.0.2.1", patience: requestTime}
}

// reply is an answer of the API.
type reply struct {
	status int
	header http.Header
	raw    []byte
	body   map[string]any
	took   time.Duration
}

func (r reply) code() string {
	code, _ := r.body["code"].(string)
	return code
}

func (r reply) text(field string) string {
	text, _ := r.body[field].(string)
	return text
}

func (r reply) position() eventstore.Position {
	position, _ := strconv.ParseUint(r.header.Get("Secboard-Position"), 10, 64)
	return eventstore.Position(position)
}

// do sends a request; body is sent as JSON, a string as CSV. The error says that there is no whole answer.
func (c *client) do(ctx context.Context, method, path string, body any, header map[string]string) (_ reply, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	var content io.Reader
	contentType := ""
	switch body := body.(type) {
	case nil:
	case string:
		content, contentType = bytes.NewReader([]byte(body)), "text/csv"
	default:
		encoded, err := json.Marshal(body)
		if err != nil {
			return reply{}, err
		}
		content, contentType = bytes.NewReader(encoded), "application/json"
	}
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, content)
	if err != nil {
		return reply{}, err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	token := ""
	if c.session != nil {
		token = c.session.current()
		request.Header.Set("Authorization", "Bearer "+token)
	}
	request.Header.Set("X-Forwarded-For", c.ip)
	for name, value := range header {
		request.Header.Set(name, value)
	}
	started := time.Now()
	kind := "query"
	if method != http.MethodGet {
		kind = "command"
	}
	response, err := c.http.Do(request)
	if err != nil {
		c.ledger.answered(kind, 0, time.Since(started))
		return reply{}, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	answer := reply{status: response.StatusCode, header: response.Header}
	if answer.raw, err = io.ReadAll(response.Body); err != nil {
		c.ledger.answered(kind, 0, time.Since(started))
		return reply{}, err
	}
	answer.took = time.Since(started)
	c.ledger.answered(kind, answer.status, answer.took)
	if len(answer.raw) > 0 {
		if err := json.Unmarshal(answer.raw, &answer.body); err != nil {
			c.ledger.violate(fmt.Sprintf("%s %s answered %d with what is no JSON: %.200q", method, path, answer.status,
				answer.raw))
		}
	}
	c.check(method, path, answer)
	if answer.code() == "unauthenticated" && c.session != nil {
		c.renew(ctx, token) // a clock that went forth ends sessions
	}
	return answer, nil
}

// check looks at what every answer has to keep: only 503 says that something failed, with when to come again and a
// code.
func (c *client) check(method, path string, answer reply) {
	if answer.status < http.StatusInternalServerError {
		return
	}
	switch {
	case answer.status != http.StatusServiceUnavailable:
		c.ledger.violate(fmt.Sprintf("%s %s answered %d: %.300s", method, path, answer.status, answer.raw))
	case answer.header.Get("Retry-After") == "" || answer.code() == "" || answer.text("detail") == "":
		c.ledger.violate(fmt.Sprintf("%s %s answered 503 without Retry-After, code or detail: %.300s", method, path,
			answer.raw))
	}
}

// mustSignIn opens a session of the superuser, with as many attempts as a busy machine needs.
func (c *client) mustSignIn(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	for {
		err := c.signIn(ctx)
		if err == nil {
			return
		}
		if !pause.For(ctx, 3*time.Second) { // less often than the limit of attempts allows
			t.Fatal(err)
		}
	}
}

// signIn opens a session of the superuser.
func (c *client) signIn(ctx context.Context) error {
	token, err := c.open(ctx)
	c.session = &session{token: token}
	return err
}

func (c *client) open(ctx context.Context) (string, error) {
	stranger := *c
	stranger.session = nil
	answer, err := stranger.do(ctx, http.MethodPost, "/api/v1/sessions",
		map[string]string{"email": rootEmail, "password": rootPassword}, nil)
	if err != nil {
		return "", err
	}
	if answer.status != http.StatusCreated {
		return "", fmt.Errorf("signing in was answered %d %s", answer.status, answer.raw)
	}
	return answer.text("token"), nil
}

// renew opens another session in place of one that has ended; the first who notices does it for all.
func (c *client) renew(ctx context.Context, ended string) {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	if c.session.token != ended {
		return
	}
	if token, err := c.open(ctx); err == nil { // else with the next request
		c.session.token = token
	}
}
