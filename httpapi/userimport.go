package httpapi

import (
	"bytes"
	"context"
	"mime"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
)

const (
	maxImport     = 20 << 20
	importTimeout = 10 * time.Minute
)

type importRequest struct {
	CreateHeaders
	DryRun  bool   `query:"dry_run" doc:"Check every line, but save nothing"`
	RawBody []byte `contentType:"text/csv"`
}

// Resolve refuses what is not said to be CSV, and gives a long import the time to send its answer.
func (*importRequest) Resolve(ctx huma.Context) []error {
	mediaType, _, err := mime.ParseMediaType(ctx.Header("Content-Type"))
	if err != nil || mediaType != "text/csv" {
		return []error{notCSV{}}
	}
	later := time.Now().Add(importTimeout)
	//nolint:errcheck // a connection that knows no deadline needs none moved
	_ = http.NewResponseController(humagin.Unwrap(ctx).Writer).SetWriteDeadline(later)
	return nil
}

// notCSV tells Huma the status of the whole answer.
type notCSV struct{}

func (notCSV) Error() string  { return "the body must be CSV" }
func (notCSV) GetStatus() int { return http.StatusUnsupportedMediaType }

type importAnswer struct {
	Position string `header:"Secboard-Position" doc:"Opaque value for Secboard-Min-Position"`
	Body     commands.ImportReport
}

func (s *server) addUserImport() {
	register(s, operation{
		method: http.MethodPost, path: "/users/import", id: "import-users", tag: "Accounts",
		required:    needs("users", domain.Add).forCompanies(),
		keepsAnswer: true, maxBody: maxImport, timeout: importTimeout, errors: []int{http.StatusUnsupportedMediaType},
		summary: "Import accounts from CSV",
		description: "UTF-8, separated by commas or semicolons. The first line names the columns: the fields of " +
			"`POST /users`; several ids in one cell are separated by spaces. Every line is reported as `created`, " +
			"`unchanged` (the account exists; with `users.view`, `differs` names the columns in which it differs) " +
			"or `failed` with errors. Importing the same file again creates nothing twice.",
	}, s.importUsers)
}

func (s *server) importUsers(ctx context.Context, in *importRequest) (*importAnswer, error) {
	lines, err := commands.ParseUsersCSV(bytes.NewReader(in.RawBody))
	if err != nil {
		return nil, err
	}
	report, err := s.Commands.ImportUsers(ctx, s.caller(ctx), lines, in.DryRun)
	if err != nil {
		return nil, err
	}
	answered := &importAnswer{Body: report}
	if report.Position == 0 {
		return answered, nil
	}
	answered.Position = positionText(report.Position)
	if wantsAsync(in.Prefer) {
		return answered, nil
	}
	// Whoever asks at once again waits with Secboard-Min-Position; the report itself is complete.
	if err := s.waitFor(ctx, report.Position); err != nil {
		return answered, s.notReadBack(ctx, err)
	}
	return answered, nil
}
