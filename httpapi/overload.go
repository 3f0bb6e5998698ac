package httpapi

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/httpapi/load"
)

// overloadPause is how often rejected requests are logged.
const overloadPause = 10 * time.Second

// rejections counts what was rejected since the log said so.
type rejections struct {
	rejected atomic.Int64
	loggedAt atomic.Int64 // in Unix nanoseconds
}

// limitWork rejects requests while there are too many. Probes always come through. The console itself does no work:
// what it asks the API for is counted.
func (s *server) limitWork(c *gin.Context) {
	answer := newPacedAnswer(c, s.limits.stall)
	c.Writer = answer
	defer answer.end()
	if isProbe(c.Request) || s.isForConsole(c) {
		c.Next()
		return
	}
	ctx, end, err := s.limiter.Begin(c.Request.Context(), signin.Network(infoOf(c.Request.Context()).ip))
	if err != nil {
		s.reject(c, err)
		return
	}
	defer end()
	answer.ctx = ctx
	c.Request = c.Request.WithContext(ctx)
	if c.Request.Body != http.NoBody {
		c.Request.Body = load.Body{ReadCloser: c.Request.Body, Context: ctx}
	}
	c.Next()
}

func (s *server) reject(c *gin.Context, overloaded error) {
	s.metrics.rejected.Inc()
	s.rejections.rejected.Add(1)
	now, loggedAt := time.Now().UnixNano(), s.rejections.loggedAt.Load()
	if now-loggedAt > int64(overloadPause) && s.rejections.loggedAt.CompareAndSwap(loggedAt, now) {
		s.Logger.WarnContext(c.Request.Context(), "overload: requests are rejected", "requests",
			s.rejections.rejected.Swap(0), "at_work", s.limiter.Most)
	}
	writeProblem(c, overloaded)
}

// withoutSlot is for operations that mostly wait.
func (s *server) withoutSlot(waiting *load.Waiting) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		err := waiting.WithoutSlot(ctx.Context(), "", func() error {
			next(ctx)
			return nil
		})
		if err != nil {
			s.refuse(ctx, err)
		}
	}
}
