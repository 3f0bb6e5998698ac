package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/httpapi/sessions"
	"github.com/secboard/secboard/projections"
)

// requestInfo is what is known about a request; each step on its way adds to it.
type requestInfo struct {
	id          uuid.UUID // of this request, also in the answer and the log: the correlation or a new one
	given       uuid.UUID // by the client, or uuid.Nil
	correlation uuid.UUID // of given, or uuid.Nil
	command     uuid.UUID // for the command that the request asks for
	route       string    // template of the path, "unmatched" without one
	ip          string
	userAgent   string
	https       bool
	logger      *slog.Logger
	session     sessions.Session // zero until somebody is signed in
	access      projections.Access
	reach       reach // where the permissions hold that the operation takes
}

// by makes the correlation of what the client gave and of who asks, uuid.Nil for somebody who is not signed in: nobody
// can choose the correlation of another's request, or the id of an event, and so appear among what that led to.
func (i *requestInfo) by(actor uuid.UUID) {
	if i.given != uuid.Nil {
		i.correlation = uuid.NewSHA1(actor, i.given[:])
		i.id = i.correlation
	}
}

type infoKey struct{}

func infoOf(ctx context.Context) *requestInfo {
	info, ok := ctx.Value(infoKey{}).(*requestInfo)
	if !ok { // only in a context that did not come through begin
		return &requestInfo{logger: slog.Default()}
	}
	return info
}

// begin notes what is known about the request, sets the headers that every answer has, and in the end writes the
// access log and the metrics.
func (s *server) begin(c *gin.Context) {
	started := time.Now()
	info := &requestInfo{
		command: uuid.Must(uuid.NewV7()), given: givenID(c.Request.Header),
		route: c.FullPath(), userAgent: printable(c.Request.UserAgent(), 256), logger: s.Logger,
	}
	info.id = info.command
	info.by(uuid.Nil)
	switch {
	case info.route != "":
	case s.isForConsole(c):
		info.route = consoleRoute
	default:
		info.route = "unmatched"
	}
	info.ip, info.https = s.clientOf(c.Request)
	c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), infoKey{}, info))
	if c.Request.Body != nil && c.Request.Body != http.NoBody {
		body := &receivedBody{ReadCloser: c.Request.Body}
		c.Request.Body = body
		defer s.readOn(c, body) // after the access log, which is about the answer
	}

	header := c.Writer.Header()
	header.Set("X-Request-ID", info.id.String())
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Content-Security-Policy",
		"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	header.Set("Cache-Control", "no-store")
	if info.https {
		header.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	}

	c.Next()

	took := time.Since(started)
	s.metrics.observe(info.route, c.Request.Method, c.Writer.Status(), took)
	level := slog.LevelInfo
	if !strings.HasPrefix(info.route, basePath) && c.Writer.Status() < http.StatusBadRequest {
		level = slog.LevelDebug // probes
	}
	attributes := []slog.Attr{
		slog.String("request_id", info.id.String()), slog.String("method", printable(c.Request.Method, 20)),
		slog.String("route", info.route),
		slog.Int("status", c.Writer.Status()), slog.Int("bytes", max(0, c.Writer.Size())), slog.Duration("took", took),
		slog.String("ip", info.ip),
	}
	if info.given != uuid.Nil {
		attributes = append(attributes, slog.String("given_id", info.given.String()))
	}
	if info.access.UserID != uuid.Nil {
		attributes = append(attributes, slog.String("user_id", info.access.UserID.String()))
	}
	s.Logger.LogAttrs(c.Request.Context(), level, "request", attributes...)
}

// givenID is the id under which the client follows what it does: X-Request-ID, or the trace of a traceparent.
func givenID(header http.Header) uuid.UUID {
	if id, err := uuid.Parse(header.Get("X-Request-ID")); err == nil {
		return id
	}
	if parts := strings.Split(header.Get("Traceparent"), "-"); len(parts) >= 4 && len(parts[1]) == 32 {
		if id, err := uuid.Parse(parts[1]); err == nil {
			return id
		}
	}
	return uuid.Nil
}

// printable cuts a text of the client to so many characters and drops what could garble a log or a history.
func printable(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most])
	}
	return text
}

// clientOf finds the address of the client and whether it came over https. Behind trusted proxies that is the last
// address of X-Forwarded-For that is none of theirs: what stands before it could have been made up. Where all of them
// are in trusted networks, the client is in one itself, and only the last address, which the proxy in front of us saw,
// is no claim of the client.
func (s *server) clientOf(r *http.Request) (ip string, https bool) {
	address := addressOf(r.RemoteAddr)
	https = r.TLS != nil
	if !s.isTrustedProxy(address) {
		return textOf(address), https
	}
	if forwarded := r.Header.Values("X-Forwarded-Proto"); len(forwarded) > 0 {
		https = strings.EqualFold(forwarded[len(forwarded)-1], "https")
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i, hop := range slices.Backward(hops) {
		next := addressOf(strings.TrimSpace(hop))
		if !next.IsValid() {
			break
		}
		if i == len(hops)-1 {
			address = next
		}
		if !s.isTrustedProxy(next) {
			return textOf(next), https
		}
	}
	return textOf(address), https
}

func (s *server) isTrustedProxy(address netip.Addr) bool {
	return slices.ContainsFunc(s.TrustedProxies, func(prefix netip.Prefix) bool { return prefix.Contains(address) })
}

// addressOf reads an address with or without a port.
func addressOf(text string) netip.Addr {
	if withPort, err := netip.ParseAddrPort(text); err == nil {
		return withPort.Addr().Unmap()
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{} // a Unix socket has none
	}
	return address.Unmap()
}

func textOf(address netip.Addr) string {
	if !address.IsValid() {
		return ""
	}
	return address.WithZone("").String()
}

// recoverPanics answers 500 and keeps the process alive.
func (s *server) recoverPanics(c *gin.Context) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		err, isError := cause.(error)
		if isError &&
			(errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) ||
				errors.Is(err, http.ErrAbortHandler)) {
			c.Abort() // the client went away
			return
		}
		info := infoOf(c.Request.Context())
		s.Logger.ErrorContext(c.Request.Context(), "panic", "request_id", info.id, "route", info.route, "cause", cause,
			"stack", string(debug.Stack()))
		if c.Writer.Written() {
			panic(http.ErrAbortHandler) // so that the client does not take half an answer for a whole one
		}
		writeProblem(c, errors.New("panic"))
	}()
	c.Next()
}

// checkHost refuses requests for another host, as DNS rebinding sends them, or somebody who wants links to lead there.
func (s *server) checkHost(c *gin.Context) {
	if len(s.AllowedHosts) == 0 || isProbe(c.Request) {
		return
	}
	host := strings.TrimSuffix(hostName(c.Request), ".")
	if !slices.ContainsFunc(s.AllowedHosts, func(allowed string) bool { return strings.EqualFold(allowed, host) }) {
		writeProblem(c, &refusal{
			status: http.StatusMisdirectedRequest, code: domain.CodeUnknownHost,
			detail: "this server does not answer for this host name: if it should, add it to the allowed hosts" +
				settingNamed(s.HostsSetting),
		})
	}
}

// isProbe: probes come by address and over http.
func isProbe(r *http.Request) bool {
	return r.URL.Path == "/healthz" || r.URL.Path == "/readyz"
}

// hostName is the name or address that a request is addressed to, without port and brackets.
func hostName(r *http.Request) string {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.Trim(host, "[]")
}

// checkRequest bounds the body and refuses parameters that no text of ours can hold.
func (s *server) checkRequest(c *gin.Context) {
	if c.Request.ContentLength > s.MaxBody { // refused before it arrives
		writeProblem(c, &http.MaxBytesError{Limit: s.MaxBody})
		return
	}
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, s.MaxBody)
	query, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		writeProblem(c, &refusal{status: http.StatusBadRequest, code: domain.CodeMalformed, detail: "the query of " +
			"the URL can't be read: is something not percent-encoded?"})
		return
	}
	for _, values := range query {
		for _, value := range values {
			if !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
				writeProblem(c, &refusal{status: http.StatusUnprocessableEntity, code: domain.CodeInvalid,
					detail: "the query of the URL must be UTF-8 text without control characters"})
				return
			}
		}
	}
}

// writeProblem ends a request outside of Huma.
func writeProblem(c *gin.Context, err error) {
	problem := describe(c.Request.Context(), err, c.Header)
	c.Header("Content-Type", problem.ContentType(""))
	c.Status(problem.Status)
	if err := json.NewEncoder(c.Writer).Encode(problem); err != nil {
		infoOf(c.Request.Context()).logger.DebugContext(c.Request.Context(), "the client went away", "error", err)
	}
	c.Abort()
}
