package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/google/uuid"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/secboard/secboard/demo/bulk"
)

// load knows what can be asked for.
type load struct {
	options
	token     string
	accounts  []string
	companies []string
	people    [][]byte // credentials of those who sign in
	run       string   // makes names of this run new
}

const api = "/api/v1"

// prepare signs in and looks up what the requests will be about.
func prepare(ctx context.Context, o options) (*load, error) {
	l := &load{options: o, run: uuid.NewString()[:8]}
	var session struct {
		Token string `json:"token"`
	}
	if err := l.call(ctx, http.MethodPost, "/sessions", credentials(l.email, l.password), &session); err != nil {
		return nil, err
	}
	l.token = session.Token
	var err error
	if l.accounts, err = l.ids(ctx, "/users?state=active&limit=200", 5000); err != nil {
		return nil, err
	}
	if l.companies, err = l.ids(ctx, "/companies?limit=200", 200); err != nil {
		return nil, err
	}
	if len(l.accounts) == 0 || len(l.companies) == 0 {
		return nil, errors.New("there are no accounts or no companies: fill the server first, with serve --demo or " +
			"make bench-data")
	}
	return l, l.findPeople(ctx)
}

// findPeople looks up the accounts of make bench-data that have a password: sign-ins to a single account are limited.
func (l *load) findPeople(ctx context.Context) error {
	for n := range bulk.WithPassword {
		var found struct {
			Items []struct {
				Email string `json:"email"`
			} `json:"items"`
		}
		if err := l.call(ctx, http.MethodGet, fmt.Sprintf("/users?state=active&query=person.%d@", n), nil,
			&found); err != nil {
			return err
		}
		for _, account := range found.Items {
			l.people = append(l.people, credentials(account.Email, bulk.Password))
		}
	}
	if len(l.people) == 0 {
		l.people = [][]byte{credentials(l.email, l.password)}
		fmt.Println("no account of make bench-data exists: everyone signs in to the same account, which is limited")
	}
	return nil
}

func credentials(email, password string) []byte {
	body, err := json.Marshal(map[string]string{"email": email, "password": password})
	if err != nil {
		panic(err) // strings can be encoded
	}
	return body
}

// call sends one request and decodes its answer.
func (l *load) call(ctx context.Context, method, path string, body []byte, answer any) (err error) {
	request, err := http.NewRequestWithContext(ctx, method, l.url+api+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header = l.header(body)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s was answered %d: %s", method, path, response.StatusCode, content)
	}
	return json.Unmarshal(content, answer)
}

func (l *load) header(body []byte) http.Header {
	// Each request as if from another address: limits count per address.
	header := http.Header{"X-Forwarded-For": {fmt.Sprintf("10.%d.%d.%d", rand.N(256), rand.N(256), rand.N(256))}}
	if l.token != "" {
		header.Set("Authorization", "Bearer "+l.token)
	}
	if len(body) > 0 {
		header.Set("Content-Type", "application/json")
	}
	return header
}

// ids gives those of a list, page by page.
func (l *load) ids(ctx context.Context, path string, limit int) ([]string, error) {
	var ids []string
	for cursor := ""; len(ids) < limit; {
		var page struct {
			Items []struct {
				ID string `json:"id"`
			} `json:"items"`
			Next string `json:"next_cursor"`
		}
		if err := l.call(ctx, http.MethodGet, path+cursor, nil, &page); err != nil {
			return nil, err
		}
		for _, item := range page.Items {
			ids = append(ids, item.ID)
		}
		if page.Next == "" {
			break
		}
		cursor = "&cursor=" + page.Next
	}
	return ids, nil
}

func pick[T any](from []T) T { return from[rand.N(len(from))] }

// next is the next request of the profile.
func (l *load) next(t *vegeta.Target) error {
	method, body := http.MethodGet, []byte(nil)
	var path string
	switch {
	case l.profile == "accounts":
		path = "/users/" + pick(l.accounts)
	case l.profile == "audit":
		path = l.audit()
	case l.profile == "access":
		path = "/audit/access?limit=200&company_id=" + pick(l.companies) + "&as_of=" +
			time.Now().Add(-time.Duration(rand.N(300*24))*time.Hour).UTC().Format(time.RFC3339)
	case l.profile == "queries" || rand.N(100) < 80:
		path = l.query()
	case rand.N(20) < 15:
		method, path, body = l.command()
	default:
		method, path, body = http.MethodPost, "/sessions", pick(l.people)
	}
	t.Method, t.URL, t.Body, t.Header = method, l.url+api+path, body, l.header(body)
	return nil
}

func (l *load) query() string {
	account := "/users/" + pick(l.accounts)
	switch n := rand.N(100); {
	case n < 50:
		return account
	case n < 65:
		return account + "/history?limit=20"
	case n < 75:
		return account + "/access"
	case n < 80:
		return account + "/sign-in-check"
	case n < 90:
		return "/users?limit=20&company_id=" + pick(l.companies)
	default:
		return "/me"
	}
}

func (l *load) audit() string {
	filters := []string{
		"subject_id=" + pick(l.accounts), "actor_id=" + pick(l.accounts), "company_id=" + pick(l.companies),
		"type=user.deactivated", "type=user.", "ip=10.1.2.3",
		"from=" + time.Now().Add(-time.Duration(rand.N(300*24))*time.Hour).UTC().Format(time.RFC3339),
		"to=" + time.Now().Add(-time.Duration(rand.N(300*24))*time.Hour).UTC().Format(time.RFC3339),
	}
	return "/audit/events?limit=50&" + pick(filters)
}

func (l *load) command() (method, path string, body []byte) {
	name := uuid.NewString()
	if rand.N(3) == 0 {
		return http.MethodPost, "/users",
			fmt.Appendf(nil,
				`{"email":"load-%s-%s@example.com","first_name":"Load","last_name":"%s","company_id":"%s"}`, l.run,
				name, l.run, pick(l.companies))
	}
	return http.MethodPatch, "/users/" + pick(l.accounts), fmt.Appendf(nil, `{"position":"Load %s"}`, name[:8])
}
