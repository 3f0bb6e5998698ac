package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/pause"
)

// keysLast is how long the answer to a request with an Idempotency-Key is remembered.
const keysLast = 24 * time.Hour

// keptHeaders are those of an answer that are given again with it.
var keptHeaders = []string{"Content-Type", "ETag", "Secboard-Position", "Location", "Preference-Applied"}

// idempotent gives the first answer again to a request that repeats an Idempotency-Key. The key is stored, with the
// id of the command, before the command runs: should the process die in between, the same request repeats the same
// command, whose events have the same ids and so are not recorded twice.
func (s *server) idempotent(o operation) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		key := ctx.Header("Idempotency-Key")
		if key == "" {
			next(ctx)
			return
		}
		if len(key) > 255 || strings.ContainsFunc(key, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
			var invalid domain.Invalid
			invalid.Add("Idempotency-Key", domain.CodePattern, "must have 1 to 255 visible ASCII characters")
			s.refuse(ctx, &invalid)
			return
		}
		c := humagin.Unwrap(ctx)
		body, complete, err := readAhead(ctx, c.Request, o)
		if err != nil {
			s.refuse(ctx,
				&refusal{status: http.StatusBadRequest, code: domain.CodeMalformed, detail: "the body ended early"})
			return
		}
		if !complete {
			next(ctx) // which refuses a body of this size
			return
		}
		kept, err := s.claimKey(ctx.Context(), o, key, c.Request, body)
		if err != nil {
			s.refuse(ctx, err)
			return
		}
		if kept.status != 0 {
			kept.writeTo(c)
			return
		}
		infoOf(ctx.Context()).command = kept.command
		s.answerOnce(ctx, c, key, next)
	}
}

// readAhead reads the body, which the key is compared by, and puts it back. complete is false when it is longer than
// the operation takes.
func readAhead(ctx huma.Context, request *http.Request, o operation) (body []byte, complete bool, err error) {
	//nolint:errcheck // not every connection knows deadlines; ReadTimeout of the server holds anyway
	_ = ctx.SetReadDeadline(time.Now().Add(o.timeout))
	body, err = io.ReadAll(io.LimitReader(request.Body, o.maxBody+1))
	rest := request.Body
	request.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), rest), rest}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return body, false, nil
	}
	return body, int64(len(body)) <= o.maxBody, err
}

// keptAnswer is a row of idempotency_keys: the id of the command, and its answer once there is one.
type keptAnswer struct {
	command uuid.UUID
	status  int
	headers map[string]string
	body    []byte
}

func (k keptAnswer) writeTo(c *gin.Context) {
	for name, value := range k.headers {
		c.Header(name, value)
	}
	c.Header("Idempotency-Replayed", "true")
	c.Status(k.status)
	c.Writer.WriteHeaderNow()
	if _, err := c.Writer.Write(k.body); err != nil {
		infoOf(c.Request.Context()).logger.DebugContext(c.Request.Context(), "the client went away", "error", err)
	}
}

// claimKey makes this request the one that carries out the command of its key, or gives the answer that there is. While
// another request is at it, it waits a little.
func (s *server) claimKey(ctx context.Context, o operation, key string, request *http.Request,
	body []byte) (keptAnswer, error) {
	info := infoOf(ctx)
	// Keyed, so that a body with a secret can't be guessed from the database.
	fingerprint, err := s.Commands.Keys.Name("idempotency", strings.Join([]string{
		request.Method, request.URL.Path, request.URL.RawQuery, request.Header.Get("Content-Type"), string(body),
	}, "\x00"))
	if err != nil {
		return keptAnswer{}, err
	}
	for deadline := time.Now().Add(s.patience); ; {
		kept, found, err := s.claimOrRead(ctx, info.access.UserID, key, []byte(fingerprint), info.command, o.timeout)
		if err != nil || found {
			return kept, err
		}
		if time.Now().After(deadline) {
			return keptAnswer{}, &refusal{
				status: http.StatusConflict, code: domain.CodeInProgress, headers: retryAfter(time.Second),
				detail: "the first request with this Idempotency-Key is still running: try again",
			}
		}
		if !pause.For(ctx, 50*time.Millisecond) {
			return keptAnswer{}, ctx.Err()
		}
	}
}

// claimOrRead is one try of claimKey; found is false while another request carries out the command.
func (s *server) claimOrRead(ctx context.Context, actor uuid.UUID, key string, fingerprint []byte, command uuid.UUID,
	lock time.Duration) (kept keptAnswer, found bool, err error) {
	now := s.Now()
	s.cleaning.clean(ctx, s)
	// A new key, one that is forgotten by now, or one whose request ended without an answer: the last keeps its
	// command. A lock that lasts longer than any is from a clock that was wrong.
	err = s.Pool.QueryRow(ctx, `
		INSERT INTO app.idempotency_keys AS k (actor_id, key, request_hash, command_id, created_at, locked_until)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (actor_id, key) DO UPDATE SET
			request_hash = excluded.request_hash,
			command_id   = CASE WHEN k.created_at < $7 THEN excluded.command_id ELSE k.command_id END,
			created_at   = CASE WHEN k.created_at < $7 THEN excluded.created_at ELSE k.created_at END,
			locked_until = excluded.locked_until, status = NULL, headers = NULL, body = NULL
		WHERE k.created_at < $7
		   OR (k.status IS NULL AND k.request_hash = excluded.request_hash AND (k.locked_until <= $5
		   OR k.locked_until > $8))
		RETURNING command_id`,
		actor, key, fingerprint, command, now, now.Add(lock), now.Add(-keysLast), now.Add(2*lock)).Scan(&kept.command)
	if err == nil {
		return kept, true, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return kept, false, err
	}
	var status *int
	var stored, headers []byte
	err = s.Pool.QueryRow(ctx, `SELECT request_hash, status, headers, body FROM app.idempotency_keys
		WHERE actor_id = $1 AND key = $2`,
		actor, key).Scan(&stored, &status, &headers, &kept.body)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return kept, false, nil // cleaned away just now: try again
	case err != nil:
		return kept, false, err
	case !bytes.Equal(stored, fingerprint):
		return kept, false, &refusal{
			status: http.StatusUnprocessableEntity, code: domain.CodeIdempotencyKeyReused,
			detail: "this Idempotency-Key was used for another request within the last 24 hours: use a new one for " +
				"each change",
		}
	case status == nil:
		return kept, false, nil
	}
	kept.status = *status
	return kept, true, json.Unmarshal(headers, &kept.headers)
}

// answerOnce carries out the command, stores its answer and only then sends it. An answer that says nothing about the
// outcome (5xx) is not kept; the key is then free for another try of the same command.
func (s *server) answerOnce(ctx huma.Context, c *gin.Context, key string, next func(huma.Context)) {
	held := &heldWriter{ResponseWriter: c.Writer}
	c.Writer = held
	defer func() { c.Writer = held.ResponseWriter }() // also after a panic, which answers by itself
	next(ctx)

	actor := infoOf(ctx.Context()).access.UserID
	// The client may be gone, but the answer is kept for when it asks again.
	storing, cancel := context.WithTimeout(context.WithoutCancel(ctx.Context()), s.limits.session)
	defer cancel()
	if err := s.keepAnswer(storing, actor, key, held); err != nil {
		s.Logger.WarnContext(ctx.Context(), "the answer for an Idempotency-Key could not be stored; the same "+
			"request will repeat the same command",
			"request_id", infoOf(ctx.Context()).id, "error", err)
	}
	held.send()
}

func (s *server) keepAnswer(ctx context.Context, actor uuid.UUID, key string, held *heldWriter) error {
	if held.Status() >= http.StatusInternalServerError {
		_, err := s.Pool.Exec(ctx, `UPDATE app.idempotency_keys SET locked_until = $3 WHERE actor_id = $1 AND key = $2
			AND status IS NULL`,
			actor, key, s.Now())
		return err
	}
	headers := map[string]string{}
	for _, name := range keptHeaders {
		headers[name] = held.Header().Get(name)
	}
	maps.DeleteFunc(headers, func(_, value string) bool { return value == "" })
	encoded, err := json.Marshal(headers)
	if err != nil {
		return err
	}
	_, err = s.Pool.Exec(ctx, `UPDATE app.idempotency_keys SET status = $3, headers = $4, body = $5, locked_until = NULL
		WHERE actor_id = $1 AND key = $2`,
		actor, key, held.Status(), encoded, held.body.Bytes())
	return err
}

// heldWriter keeps an answer back until send.
type heldWriter struct {
	gin.ResponseWriter
	body bytes.Buffer
}

func (w *heldWriter) Write(data []byte) (int, error)       { return w.body.Write(data) }
func (w *heldWriter) WriteString(text string) (int, error) { return w.body.WriteString(text) }
func (w *heldWriter) WriteHeaderNow()                      {}
func (w *heldWriter) Flush()                               {}

func (w *heldWriter) send() {
	w.ResponseWriter.WriteHeaderNow()
	if _, err := w.ResponseWriter.Write(w.body.Bytes()); err != nil {
		return // the client went away; it can ask again with the same key
	}
}
