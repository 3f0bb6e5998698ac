package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/secboard/secboard/domain"
)

const basePath = "/api/v1"

// problem is how the API refuses.
type problem struct {
	Status   int                 `json:"status"`
	Code     domain.Code         `json:"code"`
	Detail   string              `json:"detail"`
	Instance string              `json:"instance"`
	Errors   []domain.FieldError `json:"errors"`
}

// Error makes it an error.
func (p *problem) Error() string { return fmt.Sprintf("%d %s: %s", p.Status, p.Code, p.Detail) }

// statusOf is the status of a refusal; 0 for anything else.
func statusOf(err error) int {
	if refused, ok := errors.AsType[*problem](err); ok {
		return refused.Status
	}
	return 0
}

// codeOf is the code of a refusal; "" for anything else.
func codeOf(err error) domain.Code {
	if refused, ok := errors.AsType[*problem](err); ok {
		return refused.Code
	}
	return ""
}

// answer is what the API answers.
type answer struct {
	status int
	header http.Header
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(content []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(content)
}

// Flush implements http.Flusher, which the API's router takes for granted.
func (*answer) Flush() {}

// SetReadDeadline and SetWriteDeadline are for time limits of connections; here there is none.
func (*answer) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline is for time limits of connections; here there is none.
func (*answer) SetWriteDeadline(time.Time) error { return nil }

// fromClient are the headers of the person's request that the API judges by.
var fromClient = []string{"X-Forwarded-For", "X-Forwarded-Proto", "User-Agent", "Sec-Fetch-Site", "Origin", "Referer",
	"Traceparent"}

// request makes a request to the API on behalf of whoever visits.
func (v *visit) request(method, path string, body any) (*http.Request, error) {
	content, contentType := io.Reader(http.NoBody), ""
	switch b := body.(type) {
	case nil:
	case *upload:
		content, contentType = bytes.NewReader(b.content), b.contentType
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		content, contentType = bytes.NewReader(encoded), "application/json"
	}
	inner, err := http.NewRequestWithContext(v.context(), method, basePath+path, content)
	if err != nil {
		return nil, err
	}
	inner.RequestURI, inner.Host, inner.RemoteAddr, inner.TLS = basePath+path, v.r.Host, v.r.RemoteAddr, v.r.TLS
	for _, name := range fromClient {
		if values := v.r.Header.Values(name); len(values) > 0 {
			inner.Header[name] = slices.Clone(values)
		}
	}
	if origin := inner.Header.Get("Origin"); origin == "null" && inner.Header.Get("Sec-Fetch-Site") == "" {
		// Over plain http a page without a referrer sends no more than this. That the form is ours was checked before.
		inner.Header.Del("Origin")
	}
	if id := v.w.Header().Get("X-Request-ID"); id != "" {
		inner.Header.Set("X-Request-ID", id) // so that all that one page does has one id
	}
	if contentType != "" {
		inner.Header.Set("Content-Type", contentType)
	}
	inner.Header.Set("Accept-Language", v.lang)
	if v.token != "" {
		inner.AddCookie(&http.Cookie{Name: sessionCookie, Value: v.token})
	}
	if v.session != nil && !isSafe(method) {
		inner.Header.Set("X-CSRF-Token", v.session.CSRFToken)
	}
	if seen, err := v.r.Cookie(positionCookie); err == nil && isSafe(method) && isNumber(seen.Value) {
		inner.Header.Set("Secboard-Min-Position", seen.Value)
	}
	return inner, nil
}

// upload is a body that is not JSON.
type upload struct {
	contentType string
	content     []byte
}

// call asks the API. headers are pairs of name and value. What is not a success is a *problem.
func (v *visit) call(method, path string, body any, headers ...string) (*answer, error) {
	inner, err := v.request(method, path, body)
	if err != nil {
		return nil, err
	}
	for pair := range slices.Chunk(headers, 2) {
		inner.Header.Set(pair[0], pair[1])
	}
	answered := &answer{header: http.Header{}}
	v.API.ServeHTTP(answered, inner)
	if position := answered.header.Get("Secboard-Position"); position != "" && !isSafe(method) {
		v.setCookie(positionCookie, position, time.Minute)
	}
	if answered.status >= http.StatusBadRequest {
		refused := &problem{Status: answered.status, Code: domain.CodeInternal}
		if err := json.Unmarshal(answered.body.Bytes(), refused); err != nil {
			refused.Detail = http.StatusText(answered.status)
		}
		return answered, refused
	}
	if location := answered.header.Get("Location"); answered.status >= http.StatusMultipleChoices && location != "" {
		return answered, &problem{Status: answered.status, Detail: location}
	}
	return answered, nil
}

// get reads something from the API.
func get[T any](v *visit, path string) (T, error) {
	var found T
	answered, err := v.call(http.MethodGet, path, nil)
	if err == nil {
		err = json.Unmarshal(answered.body.Bytes(), &found)
	}
	return found, err
}

// decode reads the body of an answer.
func decode[T any](answered *answer) (T, error) {
	var found T
	err := json.Unmarshal(answered.body.Bytes(), &found)
	return found, err
}

// passCookies hands the API's cookies on to the browser.
func (v *visit) passCookies(answered *answer) {
	for _, cookie := range answered.header.Values("Set-Cookie") {
		v.w.Header().Add("Set-Cookie", cookie)
	}
}

func isNumber(text string) bool {
	return text != "" && len(text) < 20 && strings.Trim(text, "0123456789") == ""
}
