package httpapi

import (
	"bufio"
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/audit"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/export"
	"github.com/secboard/secboard/httpapi/load"
	"github.com/secboard/secboard/projections"
)

type auditExportRequest struct {
	QueryHeaders
	Format string `query:"format" enum:"ndjson,csv" default:"ndjson"`
	From   Moment `query:"from" doc:"Earliest time (RFC 3339), or first day (UTC)"`
	To     Moment `query:"to" doc:"Latest time (RFC 3339), or last day (UTC)"`
	After  uint64 `query:"after" maximum:"9007199254740991" doc:"Resume after this position: that of the last complete line of an export that ended early"`
}

const (
	exportTimeout = 24 * time.Hour
	exportBuffer  = 64 << 10 // in bytes
	// stallTime is how long a client may take for one buffer: longer than for other answers, since it costs no slot.
	stallTime = time.Minute
)

var exportTypes = map[string]string{
	export.NDJSON: "application/x-ndjson", export.CSV: "text/csv; charset=utf-8",
}

func (s *server) addAuditExport() {
	register(s, operation{
		method: http.MethodGet, path: "/audit/export", id: "audit-export", tag: auditTag,
		required: needs("audit", domain.Export).forCompanies(), timeout: exportTimeout,
		waiting: load.NewWaiting(load.MostExports),
		summary: "Export the log as a stream",
		description: "Every event up to this request, in the order of the log, without gaps and without secrets: " +
			"one line each with at least `id`, `position`, `stream`, `revision`, `type`, `at`, `metadata` and " +
			"`data`. It is read from the log itself, not from read models. An export that ended early, without the " +
			"end of the chunked answer, is resumed with `after`; a CSV then has no header line. In CSV, a cell " +
			"that a spreadsheet would read as a formula begins with an apostrophe. The export is itself recorded. It " +
			"ends early when the session ends or the permission is lost.",
	}, s.auditExport)
	content := map[string]*huma.MediaType{}
	for _, mediaType := range exportTypes {
		content[mediaType] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	s.documented(http.MethodGet, "/audit/export").Responses["200"] = &huma.Response{Description: "OK", Content: content}
}

func (s *server) auditExport(ctx context.Context, in *auditExportRequest) (*huma.StreamResponse, error) {
	reading := audit.Exported{Format: in.Format, From: in.From.from, To: in.To.to, After: in.After}
	copied := export.Copy{Format: in.Format, From: reading.From, To: reading.To, After: eventstore.Position(in.After)}
	if in.From.start() != nil || in.To.end() != nil {
		after, last, known, err := s.ReadModels.Extent(ctx, in.From.start(), in.To.end())
		if err != nil {
			return nil, err
		}
		copied.After, copied.Gap = max(copied.After, after), [2]eventstore.Position{last, known}
	}
	recorded, err := s.Commands.RecordReading(ctx, s.caller(ctx), reading)
	if err != nil {
		return nil, err
	}
	copied.Before, copied.Header = recorded.Position, in.After == 0
	if reached := infoOf(ctx).reach; !reached.everywhere {
		copied.Keep = projections.OfCompany(reached.company)
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) { s.streamExport(ctx, copied) }}, nil
}

// streamExport answers with an export. The server's limits for a whole request do not hold for it, but a client that
// takes nothing any more is cut off.
func (s *server) streamExport(ctx huma.Context, copied export.Copy) {
	info, control := infoOf(ctx.Context()), http.NewResponseController(humagin.Unwrap(ctx).Writer)
	ctx.SetHeader("Content-Type", exportTypes[copied.Format])
	ctx.SetHeader("Content-Disposition", `attachment; filename="secboard-events.`+copied.Format+`"`)
	ctx.SetStatus(http.StatusOK)
	err := control.SetReadDeadline(time.Time{})
	if err == nil {
		out := bufio.NewWriterSize(&patientWriter{ctx: ctx, control: control, permitted: s.stillPermitted(ctx)},
			exportBuffer)
		if _, err = copied.Write(ctx.Context(), s.Commands.Log, out); err == nil {
			err = out.Flush()
		}
	}
	if err != nil {
		s.Logger.WarnContext(ctx.Context(), "an export ended early", "request_id", info.id, "error", err)
		// The answer must not end as a whole one does: with this its end can't be written.
		if err := control.SetWriteDeadline(time.Unix(1, 0)); err != nil {
			panic(err)
		}
	}
}

// stillPermitted gives what says whether a request that is answered over a long time would still be admitted, and keeps
// to what it reached when it began.
func (s *server) stillPermitted(ctx huma.Context) func() error {
	token, _ := tokenOf(humagin.Unwrap(ctx).Request)
	began, asked := infoOf(ctx.Context()).reach, time.Now()
	return func() error {
		if time.Since(asked) < s.limits.unasked {
			return nil
		}
		asked = time.Now()
		_, access, err := s.authenticate(ctx.Context(), token, false)
		if err != nil {
			return err
		}
		if now, _, ok := reachOf(access, []permission{{"audit", domain.Export}}); !ok || now != began {
			return domain.Refusef(domain.CodeForbidden, "the permission %s was lost or reaches less",
				permission{"audit", domain.Export})
		}
		return nil
	}
}

// patientWriter gives the client stallTime for each write, as long as the export is permitted.
type patientWriter struct {
	ctx       huma.Context
	control   *http.ResponseController
	permitted func() error
}

func (w *patientWriter) Write(p []byte) (int, error) {
	if err := w.permitted(); err != nil {
		return 0, err
	}
	if err := w.control.SetWriteDeadline(time.Now().Add(stallTime)); err != nil {
		return 0, err
	}
	n, err := w.ctx.BodyWriter().Write(p)
	if err != nil {
		return n, err
	}
	return n, w.control.Flush()
}
