package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// A client signs in, creates an account, and sees it in the list at once, because it says which change the answer must
// have. The Idempotency-Key makes it safe to send a command again whose answer was lost.
func Example() {
	emails, err := createAndList("http://127.0.0.1:8080/api/v1", "admin@example.com", "a long enough pass phrase")
	fmt.Println(emails, err)
}

func createAndList(url, email, password string) ([]string, error) {
	var session struct {
		Token string `json:"token"`
	}
	credentials := map[string]string{"email": email, "password": password}
	if _, err := ask(http.MethodPost, url+"/sessions", nil, credentials, &session); err != nil {
		return nil, err
	}
	headers := http.Header{
		"Authorization": {"Bearer " + session.Token}, "Idempotency-Key": {"import of 1 December, line 7"},
	}
	account := map[string]string{"email": "anna@example.com", "first_name": "Anna"}
	created, err := ask(http.MethodPost, url+"/users", headers, account, nil)
	if err != nil {
		return nil, err
	}
	headers = http.Header{"Authorization": {"Bearer " + session.Token}}
	headers.Set("Secboard-Min-Position", created.Get("Secboard-Position"))
	var page struct {
		Items []struct {
			Email string `json:"email"`
		} `json:"items"`
	}
	if _, err := ask(http.MethodGet, url+"/users?sort=email", headers, nil, &page); err != nil {
		return nil, err
	}
	var emails []string
	for _, item := range page.Items {
		emails = append(emails, item.Email)
	}
	return emails, nil
}

// ask sends a request, reads the answer into into, and gives its headers. An answer that is an error is a problem with
// a code for programs and a detail for people.
func ask(method, url string, headers http.Header, body, into any) (_ http.Header, err error) {
	content, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(method, url, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	if headers != nil {
		request.Header = headers
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode >= http.StatusBadRequest {
		var problem struct {
			Code   string `json:"code"`
			Detail string `json:"detail"`
		}
		err := json.NewDecoder(response.Body).Decode(&problem)
		return nil, errors.Join(fmt.Errorf("%d %s: %s", response.StatusCode, problem.Code, problem.Detail), err)
	}
	if into == nil {
		return response.Header, nil
	}
	return response.Header, json.NewDecoder(response.Body).Decode(into)
}
