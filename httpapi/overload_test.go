package httpapi

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/pause/pausetest"
)

// held is an API whose requests stop, once asked to, where they look up who is signed in.
type held struct {
	*api
	arrived chan struct{}
	stop    chan struct{} // closed: they go on
}

func newHeld(t *testing.T) held {
	h := held{arrived: make(chan struct{}, 100), stop: make(chan struct{})}
	h.api = newAPI(t, func(o *Options) {
		o.Security = func(ctx context.Context) (settings.Security, error) {
			if ctx.Value(infoKey{}) != nil && infoOf(ctx).userAgent == "held" {
				h.arrived <- struct{}{}
				<-h.stop
			}
			return settings.DefaultSecurity, nil
		}
	})
	return h
}

func TestTooManyRequestsAreTurnedAwayAtOnce(t *testing.T) {
	t.Parallel()
	a := newHeld(t)
	a.limiter.Most = 2
	answers := make(chan answered, 2)
	for range 2 {
		go func() {
			answers <- a.call(t, a.admin, http.MethodGet, "/companies", nil, with{"User-Agent", "held"})
		}()
		<-a.arrived
	}

	for _, path := range []string{"/companies", "/me"} {
		t.Run(path, func(t *testing.T) {
			refused := a.call(t, a.admin, http.MethodGet, path, nil)
			if refused.status != http.StatusServiceUnavailable {
				t.Errorf("%v: got %v, want %v", refused, refused.status, http.StatusServiceUnavailable)
			}
			if got := refused.text("code"); got != "unavailable" {
				t.Errorf(`code = %q, want "unavailable"`, got)
			}
			if got := refused.header.Get("Retry-After"); got != "1" {
				t.Errorf(`Retry-After = %q, want "1"`, got)
			}
		})
	}
	if got := strings.Count(a.log.String(), "overload: requests are rejected"); got != 1 {
		t.Errorf("the log is not flooded too: got %v, want 1", got)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		t.Run(path, func(t *testing.T) {
			response, err := http.Get(a.url + path)
			if err != nil {
				t.Fatal(err)
			}
			if err := response.Body.Close(); err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != http.StatusOK {
				t.Errorf("got %v, want %v", response.StatusCode, http.StatusOK)
			}
		})
	}
	if got := a.metricsPage(t); !strings.Contains(got, "secboard_http_requests_rejected_total 2\n") {
		t.Errorf("%q lacks %q", got, "secboard_http_requests_rejected_total 2\n")
	}

	close(a.stop)
	for range 2 {
		if got := (<-answers).status; got != http.StatusOK {
			t.Errorf("who was let in is answered: got %v, want %v", got, http.StatusOK)
		}
	}
	if got := a.call(t, a.admin, http.MethodGet, "/companies", nil).status; got != http.StatusOK {
		t.Errorf("and all is as before: got %v, want %v", got, http.StatusOK)
	}
	if got := a.limiter.AtWork(); got != 0 {
		t.Errorf("a.limiter.AtWork() = %v, want nothing", got)
	}
}

func TestWhoOnlyWaitsKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	a := newHeld(t)
	a.limiter.Most = 1
	close(a.stop)
	idle := func() {
		<-a.arrived
		pausetest.Until(t, "nothing is at work", func() bool { return a.limiter.AtWork() == 0 })
	}
	for range 3 {
		slow, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := slow.Close(); err != nil {
				t.Error(err)
			}
		})
		_, err = slow.Write([]byte("POST " + basePath + "/companies HTTP/1.1\r\nHost: localhost\r\nUser-Agent: " +
			"held\r\nAuthorization: Bearer " + a.admin +
			"\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"))
		if err != nil {
			t.Fatal(err)
		}
		idle()
	}
	a.stopRunner()
	var ahead []context.CancelFunc
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		ahead = append(ahead, cancel)
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+basePath+"/me", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header = http.Header{
			"Authorization": {"Bearer " + a.admin}, "User-Agent": {"held"}, "Secboard-Min-Position": {"999999999999"},
		}
		go http.DefaultClient.Do(request) //nolint:errcheck // given up below
		idle()
	}
	if got := a.call(t, a.admin, http.MethodGet, "/me", nil).status; got != http.StatusOK {
		t.Errorf(`a.call(t, a.admin, http.MethodGet, "/me", nil).status = %v, want %v`, got, http.StatusOK)
	}
	for _, giveUp := range ahead {
		giveUp()
	}
}
