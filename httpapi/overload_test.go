package httpapi

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/secboard/secboard/domain/settings"
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
		refused := a.call(t, a.admin, http.MethodGet, path, nil)
		assert.Equal(t, http.StatusServiceUnavailable, refused.status, refused)
		assert.Equal(t, "unavailable", refused.text("code"))
		assert.Equal(t, "1", refused.header.Get("Retry-After"))
	}
	assert.Equal(t, 1, strings.Count(a.log.String(), "overload: requests are rejected"), "the log is not flooded too")
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		response, err := http.Get(a.url + path)
		require.NoError(t, err)
		body := new(strings.Builder)
		_, err = bufio.NewReader(response.Body).WriteTo(body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, http.StatusOK, response.StatusCode, path)
		if path == "/metrics" {
			assert.Contains(t, body.String(), "secboard_http_requests_turned_away_total 2\n")
		}
	}

	close(a.stop)
	for range 2 {
		assert.Equal(t, http.StatusOK, (<-answers).status, "who was let in is answered")
	}
	assert.Equal(t, http.StatusOK, a.call(t, a.admin, http.MethodGet, "/companies", nil).status, "and all is as before")
	assert.Zero(t, a.limiter.AtWork())
}

func TestWhoOnlyWaitsKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	a := newHeld(t)
	a.limiter.Most = 1
	close(a.stop)
	idle := func() {
		<-a.arrived
		require.Eventually(t, func() bool { return a.limiter.AtWork() == 0 }, patience, time.Millisecond)
	}
	for range 3 {
		slow, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, slow.Close()) })
		_, err = slow.Write([]byte("POST " + basePath + "/companies HTTP/1.1\r\nHost: localhost\r\nUser-Agent: held\r\nAuthorization: Bearer " + a.admin +
			"\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"))
		require.NoError(t, err)
		idle()
	}
	a.stopRunner()
	var ahead []context.CancelFunc
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		ahead = append(ahead, cancel)
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+basePath+"/me", nil)
		require.NoError(t, err)
		request.Header = http.Header{"Authorization": {"Bearer " + a.admin}, "User-Agent": {"held"}, "Secboard-Min-Position": {"999999999999"}}
		go http.DefaultClient.Do(request) //nolint:errcheck // given up below
		idle()
	}
	assert.Equal(t, http.StatusOK, a.call(t, a.admin, http.MethodGet, "/me", nil).status)
	for _, giveUp := range ahead {
		giveUp()
	}
}
