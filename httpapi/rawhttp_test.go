package httpapi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// What no HTTP client would send: each connection gets an answer that is not the server's mistake, or is closed.
// net/http answers the requests that it can't read, so those are no problems with a code.
func TestRawRequests(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	listen := func(headers time.Duration) (address string) {
		listening := httptest.NewUnstartedServer(a.engine)
		// the second as serve sets it
		listening.Config.ReadHeaderTimeout, listening.Config.MaxHeaderBytes = headers, 64<<10
		listening.Start()
		t.Cleanup(listening.Close)
		return listening.Listener.Addr().String()
	}
	patient, hasty := listen(patience), listen(500*time.Millisecond)
	sessions := "POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	const get = " HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, c := range map[string]struct {
		request string
		status  []int // 0: closed without an answer
	}{
		"no request line":          {"\r\n\r\n\r\n", []int{400}},
		"not HTTP":                 {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", []int{400}},
		"a line without a version": {"GET /healthz\r\n\r\n", []int{400}},
		"HTTP/2 in clear":          {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{0, 400, 404, 405, 505}},
		"HTTP/9.9":                 {"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n", []int{400, 505}},
		"HTTP/1.0":                 {"GET /healthz HTTP/1.0\r\n\r\n", []int{200}},
		"no host":                  {"GET /healthz HTTP/1.1\r\n\r\n", []int{400}},
		"two hosts":                {"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", []int{400}},
		"an odd host":              {"GET /healthz HTTP/1.1\r\nHost: x y\r\n\r\n", []int{400}},
		"an absolute URI":          {"GET http://elsewhere.example/healthz" + get, []int{200}},
		"a URI of another scheme":  {"GET file:///etc/passwd" + get, []int{404}},
		"an asterisk":              {"OPTIONS *" + get, []int{200, 404, 405}},
		"CONNECT":                  {"CONNECT example.com:443" + get, []int{404, 405}},
		"TRACE":                    {"TRACE /healthz" + get, []int{405}},
		"a method of our own":      {"RETIRE /api/v1/companies" + get, []int{405}},
		"a method that is none":    {"GE(T /" + get, []int{400}},
		"up and away":              {"GET /../../../../etc/passwd" + get, []int{404}},
		"up and away, encoded":     {"GET /docs/%2e%2e%2f%2e%2e%2fetc%2fpasswd" + get, []int{404}},
		"backslashes":              {`GET /docs/..\..\etc\passwd` + get, []int{404}},
		"double slashes":           {"GET //api//v1//users" + get, []int{404}},
		"an encoded slash":         {"GET /api/v1%2fusers" + get, []int{401, 404}},
		"a NUL in the path":        {"GET /api/v1/users/%00" + get, []int{401}},
		"bad UTF-8 in the path":    {"GET /api/v1/users/%ff%fe" + get, []int{401}},
		"a raw byte in the path":   {"GET /api/v1/users/\xff" + get, []int{400, 401}},
		"a broken escape":          {"GET /api/v1/users/%zz" + get, []int{400}},
		"a space in the path":      {"GET /api/v1/users/a b" + get, []int{400}},
		"a long path":              {"GET /" + strings.Repeat("a", 60_000) + get, []int{404}},
		"a very long path":         {"GET /" + strings.Repeat("a", 100_000) + get, []int{431}},
		"large headers": {
			"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 100_000) + "\r\n\r\n", []int{431},
		},
		"many headers": {"GET /healthz HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("a: b\r\n", 20_000) +
			"\r\n", []int{431}},
		"a NUL in a header":       {"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", []int{400}},
		"a folded header":         {"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", []int{200, 400}},
		"a header without a name": {"GET /healthz HTTP/1.1\r\nHost: x\r\n: a\r\n\r\n", []int{400}},
		"two lengths":             {sessions + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", []int{400}},
		"a negative length":       {sessions + "Content-Length: -2\r\n\r\n{}", []int{400}},
		"a length of lies":        {sessions + "Content-Length: 99999999999\r\n\r\n{}", []int{413}},
		"length and chunks": {
			sessions + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", []int{400, 422},
		},
		"an encoding that is none": {sessions + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", []int{400, 501}},
		"encoded twice": {
			sessions + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []int{400, 501},
		},
		"a chunk of lies": {
			sessions + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}", []int{400},
		},
		"a chunk that is none": {sessions + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", []int{400}},
		"chunks with extensions": {sessions + "Transfer-Encoding: chunked\r\n\r\n2;" + strings.Repeat("x", 20_000) +
			"\r\n{}\r\n0\r\n\r\n", []int{400, 422}},
		"chunks of one byte": {
			sessions + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", []int{422},
		},
		"trailers": {
			sessions + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n", []int{422},
		},
		"an expectation that is odd": {sessions + "Expect: the-worst\r\nContent-Length: 2\r\n\r\n{}", []int{417}},
		"an upgrade": {
			"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", []int{200},
		},
		"an incomplete body": {
			sessions + "Content-Length: 20\r\nConnection: close\r\n\r\n{\"email\"", []int{400},
		},
		"slow headers": {"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ", []int{0, 408}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := patient
			if name == "slow headers" {
				address = hasty
			}
			status, answer := rawRequest(t, address, c.request, name == "an incomplete body")
			if !slices.Contains(c.status, status) {
				t.Errorf("%.400s: %v lacks %v", answer, c.status, status)
			}
			if found := internals.FindString(answer); found != "" {
				t.Errorf("%.400s: it shows %q", answer, found)
			}
			if strings.Contains(answer, "root:") {
				t.Errorf(`%q contains "root:"`, answer)
			}
		})
	}
}

// rawRequest sends bytes over a connection of its own, and with end no more after them. The status is 0 when the server
// closes the connection without an answer.
func rawRequest(t *testing.T, address, request string, end bool) (status int, answer string) {
	t.Helper()
	connection, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := connection.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(connection, request); err != nil {
		t.Logf("the server closed the connection before everything was sent: %v", err)
	}
	if end {
		if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("neither answered nor closed: %v, want anything but %v", err, os.ErrDeadlineExceeded)
		}
		return 0, err.Error()
	}
	content, err := io.ReadAll(response.Body)
	if errNow := errors.Join(err, response.Body.Close()); errNow != nil {
		t.Fatal(errNow)
	}
	return response.StatusCode, fmt.Sprint(response.Header, string(content))
}
