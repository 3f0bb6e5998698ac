package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/secboard/secboard/httpapi/load"
)

// answerPiece is how much of an answer a client has limits.stall for.
const answerPiece = 64 << 10 // in bytes

// pacedAnswer writes an answer as fast as the client takes it. While it waits for the client, the request has no slot;
// and a client that takes a piece too slowly, or nothing, is cut off.
//
// An answer that comes before all of the body is held back until it is whole, so that it has a length: a proxy then
// stops sending the body, and would wait for the answer's end while the rest of the body is waited for.
type pacedAnswer struct {
	gin.ResponseWriter
	ctx     context.Context //nolint:containedctx // that of the request, whose slot it is
	stall   time.Duration
	control *http.ResponseController
	own     bool // the handler has its own limits

	body *receivedBody // nil: there is none
	held []byte
	open bool // nothing is held back any more
}

func newPacedAnswer(c *gin.Context, stall time.Duration) *pacedAnswer {
	body, _ := c.Request.Body.(*receivedBody) // without one there is none
	return &pacedAnswer{
		ResponseWriter: c.Writer, ctx: c.Request.Context(), stall: stall, body: body,
		control: http.NewResponseController(c.Writer), open: body == nil,
	}
}

// Write implements io.Writer.
func (a *pacedAnswer) Write(p []byte) (int, error) {
	if !a.open && !a.body.ended && len(a.held)+len(p) <= answerPiece {
		a.held = append(a.held, p...)
		return len(p), nil
	}
	if err := a.letGo(); err != nil {
		return 0, err
	}
	return a.write(p)
}

// letGo writes what was held back.
func (a *pacedAnswer) letGo() error {
	held := a.held
	a.held, a.open = nil, true
	if len(held) == 0 {
		return nil
	}
	_, err := a.write(held)
	return err
}

// end lets an answer go that is whole.
func (a *pacedAnswer) end() {
	if len(a.held) > 0 && a.Header().Get("Content-Length") == "" {
		a.Header().Set("Content-Length", strconv.Itoa(len(a.held)))
	}
	if err := a.letGo(); err != nil {
		infoOf(a.ctx).logger.DebugContext(a.ctx, "the client went away", "error", err)
	}
}

func (a *pacedAnswer) write(p []byte) (written int, err error) {
	for {
		piece := p[written:min(len(p), written+answerPiece)]
		if err := a.limit(); err != nil {
			return written, err
		}
		err := load.WithoutSlot(a.ctx, func() error {
			n, err := a.ResponseWriter.Write(piece)
			written += n
			return err
		})
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// WriteString implements io.StringWriter.
func (a *pacedAnswer) WriteString(text string) (int, error) { return a.Write([]byte(text)) }

// Flush implements http.Flusher.
func (a *pacedAnswer) Flush() { a.FlushError() } //nolint:errcheck,gosec // http.Flusher tells nobody either

// FlushError is what http.ResponseController calls.
func (a *pacedAnswer) FlushError() error {
	if err := a.letGo(); err != nil {
		return err
	}
	if err := a.limit(); err != nil {
		return err
	}
	return load.WithoutSlot(a.ctx, a.control.Flush)
}

// SetWriteDeadline is for answers with a limit of their own.
func (a *pacedAnswer) SetWriteDeadline(deadline time.Time) error {
	a.own = true
	return a.control.SetWriteDeadline(deadline)
}

// Unwrap lets an http.ResponseController find the connection.
func (a *pacedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// limit gives the client time for the next piece.
func (a *pacedAnswer) limit() error {
	if a.own {
		return nil
	}
	err := a.control.SetWriteDeadline(time.Now().Add(a.stall))
	if errors.Is(err, http.ErrNotSupported) { // no connection: a test
		return nil
	}
	return err
}

// readOnBytes is how much of a refused body is read on.
const readOnBytes = 256 << 20

// receivedBody is the body as it comes from the client, whatever the operation makes of it.
type receivedBody struct {
	io.ReadCloser
	begun, ended bool
}

// Read implements io.Reader.
func (b *receivedBody) Read(into []byte) (int, error) {
	b.begun = true
	n, err := b.ReadCloser.Read(into)
	b.ended = b.ended || err != nil
	return n, err
}

// Close implements io.Closer. The server closes the body itself, after readOn.
func (b *receivedBody) Close() error { return nil }

// readOn takes what is left of a body that was not read to its end, as that of a refused request. If the connection
// were closed with unread bytes, it would be reset, and a proxy that is still sending would never see why. It is
// limited in bytes and in time; a client that was not told to send its body yet is not waited for.
func (s *server) readOn(c *gin.Context, body *receivedBody) {
	if body.ended || !body.begun && c.Request.Header.Get("Expect") != "" {
		return
	}
	control := http.NewResponseController(c.Writer)
	if err := control.SetReadDeadline(time.Now().Add(s.limits.readOn)); err != nil {
		return // no connection: a test
	}
	// Whoever reads the answer before everything is sent, sees it now.
	if err := control.Flush(); err != nil {
		return
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(body, readOnBytes)); err != nil {
		infoOf(c.Request.Context()).logger.DebugContext(c.Request.Context(), "the rest of a body did not come",
			"error", err)
	}
}
