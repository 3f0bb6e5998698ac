package httpapi

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
)

// mostAtWork is how many requests are worked on at once. More would only wait for each other, longer and longer, and fill the
// memory; so they are told to come again, and those that were let in are answered in time. It leaves room beside a full
// queue of passwords.
const mostAtWork = 256

// overloadPause is how often turned-away requests are logged.
const overloadPause = 10 * time.Second

var errOverloaded = &refusal{
	status: http.StatusServiceUnavailable, code: "unavailable", headers: retryAfter(time.Second),
	detail: "there are more requests at this moment than can be answered in time: try again",
}

// work counts the requests that are worked on.
type work struct {
	most   int64
	now    atomic.Int64
	turned atomic.Int64 // away, since the log told so
	told   atomic.Int64 // when, in Unix nanoseconds
}

// limitWork turns requests away while there are too many. Probes and scrapers always come through.
func (s *server) limitWork(c *gin.Context) {
	if isProbe(c.Request) {
		return
	}
	if s.work.now.Add(1) > s.work.most {
		s.work.now.Add(-1)
		s.turnAway(c)
		return
	}
	defer s.work.now.Add(-1)
	if c.Request.Body != http.NoBody {
		c.Request.Body = &uncountedBody{ReadCloser: c.Request.Body, work: &s.work}
	}
	c.Next()
}

func (s *server) turnAway(c *gin.Context) {
	s.metrics.turnedAway.Inc()
	s.work.turned.Add(1)
	now, told := time.Now().UnixNano(), s.work.told.Load()
	if now-told > int64(overloadPause) && s.work.told.CompareAndSwap(told, now) {
		s.Logger.WarnContext(c.Request.Context(), "overload: requests are turned away", "requests", s.work.turned.Swap(0), "at_work", s.work.most)
	}
	writeProblem(c, errOverloaded)
}

// withoutSlot does what is no work but waiting, for which nobody else must be turned away. It must not be called within itself.
func (w *work) withoutSlot(waiting func() error) error {
	w.now.Add(-1)
	defer w.now.Add(1)
	return waiting()
}

// uncountedBody is the body of a request. Clients that send it slowly, or never, keep nobody out.
type uncountedBody struct {
	io.ReadCloser
	work *work
}

func (u *uncountedBody) Read(into []byte) (n int, err error) {
	err = u.work.withoutSlot(func() error {
		n, err = u.ReadCloser.Read(into)
		return err
	})
	return n, err
}
