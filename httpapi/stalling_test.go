package httpapi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/secboard/secboard/pause/pausetest"
)

// dial connects to the API as a client that decides itself what it reads and sends.
func (a *api) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() }) //nolint:errcheck // the server may have closed it
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// pipelined asks for the OpenAPI document so often that no buffer takes all answers.
var pipelined = strings.Repeat("GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n", 40)

// Clients that take no answer take no place: others are answered while they stand there.
func TestWhoReadsNoAnswerKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.limiter.Most = 2
	for range 10 {
		if _, err := a.dial(t).Write([]byte(pipelined)); err != nil {
			t.Fatal(err)
		}
		pausetest.Until(t, "the answers stall without a slot", func() bool { return a.limiter.AtWork() == 0 })
	}
	for _, path := range []string{"/me", "/companies"} {
		if got := a.call(t, a.admin, http.MethodGet, path, nil); got.status != http.StatusOK {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// A client that takes nothing for some time is cut off; one that takes pieces slowly is not.
func TestAnAnswerThatStallsEnds(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(o *Options) { o.limits.stall = 300 * time.Millisecond })
	silent := a.dial(t)
	if _, err := silent.Write([]byte(pipelined)); err != nil {
		t.Fatal(err)
	}
	// It is cut off while the buffers between are full, so what it reads after that ends within an answer.
	pausetest.Until(t, "the connection is cut off", func() bool {
		_, err := silent.Write([]byte(pipelined[:1]))
		return err != nil
	})
	n, err := io.Copy(io.Discard, silent)
	if errors.Is(err, os.ErrDeadlineExceeded) || n >= 40*400_000 {
		t.Errorf("%d bytes came, %v", n, err)
	}
}

// An export has limits of its own, which are longer.
func TestAnExportSetsItsOwnLimit(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(o *Options) { o.limits.stall = time.Nanosecond })
	response, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		a.url+basePath+"/audit/export?format=ndjson", nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Header.Set("Authorization", "Bearer "+a.admin)
	got, err := http.DefaultClient.Do(response)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close() //nolint:errcheck // it was read
	if n, err := io.Copy(io.Discard, got.Body); err != nil || n == 0 {
		t.Errorf("%d bytes came, %v", n, err)
	}
}

// refusedWithBody are requests that are refused before all of their body was read.
var refusedWithBody = map[string]struct {
	path   string
	status int
}{
	"nobody signed in":     {"/companies", http.StatusUnauthorized},
	"too large for all":    {"/companies", http.StatusRequestEntityTooLarge},
	"too large for one":    {"/sessions", http.StatusRequestEntityTooLarge},
	"no such path":         {"/nothing", http.StatusNotFound},
	"a path without POST":  {"/me", http.StatusMethodNotAllowed},
	"a query that is none": {"/sessions?%zz", http.StatusBadRequest},
}

// A client that has sent its whole body before it reads sees why it is refused, and no reset.
func TestARefusedBodyIsReadOn(t *testing.T) {
	t.Parallel()
	const size = 8 << 20 // more than the buffers between
	a := newAPI(t, func(o *Options) { o.MaxBody = size })
	for name, c := range refusedWithBody {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			length := size
			if name == "too large for all" {
				length++
			}
			conn := a.dial(t)
			if _, err := fmt.Fprintf(conn, "POST %s%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: "+
				"application/json\r\nContent-Length: %d\r\n\r\n{", basePath, c.path, length); err != nil {
				t.Fatal(err)
			}
			if n, err := io.CopyN(conn, spaces{}, int64(length-1)); err != nil {
				t.Fatalf("after %d bytes: %v", n, err)
			}
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close() //nolint:errcheck // it was read
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != c.status || !strings.Contains(string(body), `"code"`) {
				t.Errorf("got %d %s, %v, want %d", response.StatusCode, body, err, c.status)
			}
		})
	}
}

// A client that waits for the answer in the middle of its body has it at once, and is not waited for for ever.
func TestAnAnswerComesWhileTheBodyIsMissing(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(o *Options) { o.limits.readOn = 300 * time.Millisecond })
	for name, c := range map[string]struct{ header, sent string }{
		"a part is sent": {"", "{"},
		// who was not told to send anything yet, is neither told to nor waited for
		"nothing is sent yet": {"Expect: 100-continue\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := a.dial(t)
			if _, err := fmt.Fprintf(conn, "POST %s/companies HTTP/1.1\r\nHost: localhost\r\n%sContent-Type: "+
				"application/json\r\nContent-Length: 5000000\r\n\r\n%s", basePath, c.header, c.sent); err != nil {
				t.Fatal(err)
			}
			all, err := io.ReadAll(conn)
			if err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 401") ||
				!strings.Contains(string(all), "unauthenticated") {
				t.Errorf("got %s, %v", all, err)
			}
		})
	}
}

// A connection whose refused body was read to its end serves the next request.
func TestAConnectionSurvivesARefusedBody(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	conn := a.dial(t)
	answers := bufio.NewReader(conn)
	for range 3 {
		if _, err := fmt.Fprintf(conn, "POST %s/companies HTTP/1.1\r\nHost: localhost\r\nContent-Type: "+
			"application/json\r\nContent-Length: 1000\r\n\r\n%s", basePath, strings.Repeat(" ", 1000)); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		if err := errors.Join(err, response.Body.Close()); err != nil ||
			response.StatusCode != http.StatusUnauthorized {
			t.Errorf("got %d, %v", response.StatusCode, err)
		}
	}
}

// spaces are what JSON may have anywhere.
type spaces struct{}

func (spaces) Read(into []byte) (int, error) {
	for i := range into {
		into[i] = ' '
	}
	return len(into), nil
}
