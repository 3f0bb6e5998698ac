package httpapi

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/httpapi/load"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/projections/engine"
	"github.com/secboard/secboard/secrets"
)

// Problem is the body of every error answer: RFC 9457 with a stable code.
type Problem struct {
	Type     string              `json:"type" example:"urn:secboard:problem:invalid" doc:"Kind of problem: urn:secboard:problem:<code>"`
	Title    string              `json:"title" example:"Unprocessable Entity" doc:"The status in words"`
	Status   int                 `json:"status" example:"422" doc:"The HTTP status"`
	Detail   string              `json:"detail" example:"2 fields are wrong" doc:"What is wrong and how to correct it, for people"`
	Instance string              `json:"instance" example:"urn:uuid:01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11" doc:"Id of this answer in the server's log"`
	Code     domain.Code         `json:"code" example:"invalid" doc:"Stable name of the problem, for programs"`
	Errors   []domain.FieldError `json:"errors,omitempty" doc:"Every wrong field, if the code is invalid"`
}

// Error makes Problem an error, as Huma wants it.
func (p *Problem) Error() string { return string(p.Code) + ": " + p.Detail }

// GetStatus tells Huma the status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType tells Huma the media type.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// refusal is an error of the HTTP layer itself.
type refusal struct {
	status  int
	code    domain.Code
	detail  string
	headers map[string]string
}

func (r *refusal) Error() string { return string(r.code) + ": " + r.detail }

// fieldError is one wrong field as an error, as Huma's resolvers give them.
type fieldError struct{ domain.FieldError }

func (e fieldError) Error() string { return e.Field + ": " + e.Message }

// statusOf has the HTTP status of every code that a problem may have.
var statusOf = func() map[domain.Code]int {
	statuses := map[domain.Code]int{}
	for _, section := range domain.Codes {
		for _, entry := range section.Entries {
			statuses[entry.Code] = entry.Status
		}
	}
	return statuses
}()

// problemOf is the one place where errors become answers. unexpected is true for what nobody foresaw: the answer says
// nothing about it, so that it has to stand in the log.
func problemOf(err error) (problem *Problem, headers map[string]string, unexpected bool) {
	var refused *refusal
	var invalid *domain.Invalid
	var decided *domain.Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, load.ErrOverloaded):
		return newProblem(http.StatusServiceUnavailable, domain.CodeUnavailable,
			"there are too many requests at the moment: try again"), retryAfter(time.Second), false
	case errors.Is(err, load.ErrTooManyWaiting):
		return newProblem(http.StatusServiceUnavailable, domain.CodeUnavailable,
			"too many requests of this kind are running at the moment: try again"), retryAfter(5 * time.Second), false
	case errors.As(err, &refused):
		return newProblem(refused.status, refused.code, refused.detail), refused.headers, false
	case errors.As(err, &invalid):
		return invalidProblem(invalid.Fields), nil, false
	case errors.Is(err, user.ErrLink):
		problem := newProblem(http.StatusUnprocessableEntity, user.ErrLink.Code, user.ErrLink.Detail)
		problem.Errors = []domain.FieldError{{Field: "token", Code: user.ErrLink.Code, Message: user.ErrLink.Detail}}
		return problem, nil, false
	case errors.Is(err, commands.ErrBusy): // it passes, so it must not be kept as the answer to an Idempotency-Key
		return newProblem(http.StatusServiceUnavailable, domain.CodeUnavailable, commands.ErrBusy.Detail),
			retryAfter(time.Second), false
	case errors.As(err, &decided):
		return newProblem(cmp.Or(statusOf[decided.Code], http.StatusConflict), decided.Code, decided.Detail), nil, false
	case errors.Is(err, projections.ErrNotFound):
		return newProblem(http.StatusNotFound, domain.CodeNotFound,
			"it does not exist, or did not exist at that time"), nil, false
	case errors.Is(err, projections.ErrBadCursor):
		return invalidProblem([]domain.FieldError{{Field: "cursor", Code: domain.CodeCursor, Message: "is not a " +
			"cursor of this list: use next_cursor of the previous page, with the same sort"}}), nil, false
	case errors.Is(err, projections.ErrBadSort):
		return invalidProblem([]domain.FieldError{{Field: "sort", Code: domain.CodeSort, Message: err.Error()}}), nil,
			false
	case errors.Is(err, engine.ErrBehind):
		return newProblem(http.StatusServiceUnavailable, domain.CodeBehind,
			"the read models are behind the event log: try again in a moment"), retryAfter(time.Second), false
	case errors.Is(err, eventstore.ErrTooLarge), errors.As(err, &tooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, domain.CodeTooLarge, "the request is too large"), nil, false
	case errors.Is(err, secrets.ErrBusy):
		return newProblem(http.StatusServiceUnavailable, domain.CodeUnavailable,
			"too many passwords are being checked right now: try again"), retryAfter(time.Second), false
	case errors.Is(err, commands.ErrDirectory):
		return newProblem(http.StatusServiceUnavailable, domain.CodeUnavailable,
			"the directory does not answer: try again"), retryAfter(5 * time.Second), false
	case errors.Is(err, eventstore.ErrUnavailable):
		return newProblem(http.StatusServiceUnavailable, domain.CodeUnavailable,
			"the event store does not answer: try again"), retryAfter(2 * time.Second), false
	case isDatabaseAway(err):
		return newProblem(http.StatusServiceUnavailable, domain.CodeUnavailable,
			"the database does not answer: try again"), retryAfter(2 * time.Second), false
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return newProblem(http.StatusServiceUnavailable, domain.CodeUnavailable,
			"the request took too long and was cancelled: try again"), retryAfter(2 * time.Second), false
	}
	return newProblem(http.StatusInternalServerError, domain.CodeInternal,
		"an unexpected error occurred; the server's log has it under the id in instance"), nil, true
}

func newProblem(status int, code domain.Code, detail string) *Problem {
	return &Problem{Type: "urn:secboard:problem:" + string(code), Title: http.StatusText(status), Status: status,
		Code: code, Detail: detail}
}

func invalidProblem(fields []domain.FieldError) *Problem {
	detail := "one field is wrong: " + fields[0].Field + " " + fields[0].Message
	if len(fields) > 1 {
		detail = strconv.Itoa(len(fields)) + " fields are wrong: see errors"
	}
	// When nothing is wrong but that the API does not know what it is given, the code of the whole says so.
	code := fields[0].Code
	differs := slices.ContainsFunc(fields, func(f domain.FieldError) bool { return f.Code != code })
	if differs || (code != domain.CodeUnknownField && code != domain.CodeUnknownParameter) {
		code = domain.CodeInvalid
	}
	problem := newProblem(http.StatusUnprocessableEntity, code, detail)
	problem.Errors = fields
	return problem
}

// settingNamed is what a detail adds about the setting that an operator has to change.
func settingNamed(setting string) string {
	if setting == "" {
		return ""
	}
	return " (" + setting + ")"
}

func retryAfter(d time.Duration) map[string]string {
	return map[string]string{"Retry-After": strconv.Itoa(max(1, int((d+time.Second-1)/time.Second)))}
}

// errDatabaseSilent is for a time that was Postgres' alone to answer in.
var errDatabaseSilent = errors.New("the database did not answer in time")

// isDatabaseAway tells an unreachable, silent or stopping Postgres from a statement that is wrong, and from a time that
// was over for another reason.
func isDatabaseAway(err error) bool {
	var connecting *pgconn.ConnectError
	var answered *pgconn.PgError
	var network net.Error
	switch {
	case errors.Is(err, errDatabaseSilent):
		return true
	case errors.As(err, &connecting):
		return true // also when it was refused by the server: it is starting, full, or has another password
	case errors.As(err, &answered):
		// 08 connection exception, 53 insufficient resources, 57P operator intervention, 58 system error.
		for _, class := range []string{"08", "53", "57P", "58"} {
			if strings.HasPrefix(answered.Code, class) {
				return true
			}
		}
		return answered.Code == "57014" // a statement that took longer than allowed
	case pgconn.Timeout(err):
		return !pgconn.SafeToRetry(err) // else the time was over before anything was asked
	case errors.Is(err, context.DeadlineExceeded): // which is a net.Error too
		return false
	case errors.As(err, &network):
		return true
	}
	return pgconn.SafeToRetry(err) || errors.Is(err, io.ErrUnexpectedEOF)
}

// describe finishes a problem for one request: its instance, its headers, and the log line for what is unexpected.
func describe(ctx context.Context, err error, set func(name, value string)) *Problem {
	problem, headers, unexpected := problemOf(err)
	info := infoOf(ctx)
	problem.Instance = "urn:uuid:" + info.id.String()
	for name, value := range headers {
		set(name, value)
	}
	switch {
	case unexpected:
		info.logger.ErrorContext(ctx, "unexpected error", "request_id", info.id, "route", info.route, "error", err)
	case problem.Status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) &&
		!errors.Is(err, load.ErrOverloaded):
		info.logger.WarnContext(ctx, "unavailable", slog.String("code", string(problem.Code)), "request_id", info.id,
			"route", info.route, "error", err)
	}
	return problem
}

func init() {
	// Huma takes its errors from these variables; there is no other way to give it a type of one's own.
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		return newProblem(status, domain.CodeInternal, message)
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, message string, errs ...error) huma.StatusError {
		return describe(ctx.Context(), humaError(ctx.Operation(), status, message, errs), ctx.SetHeader)
	}
}

// humaError turns what Huma reports into an error that problemOf knows.
func humaError(operation *huma.Operation, status int, message string, errs []error) error {
	body := "JSON"
	if operation != nil && operation.RequestBody != nil {
		body = strings.Join(slices.Sorted(maps.Keys(operation.RequestBody.Content)), " or ")
	}
	switch {
	case status == http.StatusUnprocessableEntity && len(errs) > 0:
		return &domain.Invalid{Fields: fieldErrors(errs)}
	case status == http.StatusBadRequest && len(errs) > 0:
		return &refusal{status: status, code: domain.CodeMalformed, detail: "the body is not valid JSON: " +
			jsonProblem(errs[0])}
	case status == http.StatusBadRequest:
		return &refusal{status: status, code: domain.CodeMalformed, detail: "the request needs a body: " + body}
	case status == http.StatusUnsupportedMediaType:
		return &refusal{status: status, code: domain.CodeUnsupportedMediaType, detail: "the body must be " + body +
			", and Content-Type must say so"}
	case status == http.StatusRequestEntityTooLarge:
		return &refusal{status: status, code: domain.CodeTooLarge, detail: "the body is too large: " +
			strings.TrimPrefix(message, "request body is too large ")}
	case status == http.StatusRequestTimeout:
		return &refusal{status: status, code: domain.CodeTimeout, detail: "the body did not arrive in time"}
	case message == "cannot read request body" && len(errs) > 0:
		var tooLarge *http.MaxBytesError
		if errors.As(errs[0], &tooLarge) {
			return tooLarge
		}
		return &refusal{status: http.StatusBadRequest, code: domain.CodeMalformed, detail: "the body ended early"}
	case len(errs) > 0:
		return errs[0]
	}
	return errors.New(message)
}

// jsonProblem is the parser's message without the names of Go types.
func jsonProblem(err error) string {
	message := err.Error()
	var detail *huma.ErrorDetail
	if errors.As(err, &detail) {
		message = detail.Message
	}
	if strings.HasPrefix(message, "json: ") {
		return "a number in it is out of range"
	}
	return message
}
