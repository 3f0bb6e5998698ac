package commands

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// What became of a line of an import.
const (
	LineCreated   = "created"
	LineUnchanged = "unchanged"
	LineFailed    = "failed"
)

// ImportReport says what became of every line.
type ImportReport struct {
	DryRun    bool                `json:"dry_run"`
	Created   int                 `json:"created"`
	Unchanged int                 `json:"unchanged"`
	Failed    int                 `json:"failed"`
	Lines     []LineReport        `json:"lines"`
	Position  eventstore.Position `json:"-"` // of the last event written
}

// LineReport says what became of one line. An account that exists already is left as it is; Differs names the columns
// whose values in the file are others than in the account, to callers who may see accounts.
type LineReport struct {
	Line    int                 `json:"line"`
	Email   string              `json:"email"`
	Status  string              `json:"status"`
	ID      *uuid.UUID          `json:"id,omitempty"`
	Differs []string            `json:"differs,omitempty"`
	Errors  []domain.FieldError `json:"errors,omitempty"`

	position eventstore.Position
}

// importWorkers is how many lines are imported at once; the event store commits their appends in groups.
const importWorkers = 16

// ImportUsers registers an account for each line. Lines that name an account that exists change nothing, so the same
// file can be imported again. With dryRun nothing is written, but the report is the same.
func (h *Handler) ImportUsers(ctx context.Context, caller Caller, lines []ImportLine,
	dryRun bool) (ImportReport, error) {
	report := ImportReport{DryRun: dryRun, Lines: make([]LineReport, len(lines))}
	markDuplicates(lines)
	var away atomic.Bool // the event store: what is left is not tried
	work := make(chan int)
	var workers sync.WaitGroup
	for range importWorkers {
		workers.Go(func() {
			for i := range work {
				report.Lines[i] = h.importLine(ctx, caller, lines[i], dryRun, &away)
			}
		})
	}
	for i := range lines {
		work <- i
	}
	close(work)
	workers.Wait()
	for _, line := range report.Lines {
		switch line.Status {
		case LineCreated:
			report.Created++
		case LineUnchanged:
			report.Unchanged++
		default:
			report.Failed++
		}
		report.Position = max(report.Position, line.position)
	}
	return report, ctx.Err()
}

// markDuplicates makes a line fail that names the e-mail address of an earlier one.
func markDuplicates(lines []ImportLine) {
	first := map[string]int{}
	for i := range lines {
		email := user.NormalizeEmail(lines[i].Register.Details.Email)
		if line, seen := first[email]; seen && email != "" {
			problems := domain.Invalid{Fields: lines[i].Problems}
			problems.Add("email", domain.CodeDuplicateLine, "is already in line %d: remove one of the two", line)
			lines[i].Problems = problems.Fields
			continue
		}
		first[email] = lines[i].Line
	}
}

func (h *Handler) importLine(ctx context.Context, caller Caller, line ImportLine, dryRun bool,
	away *atomic.Bool) LineReport {
	report := LineReport{Line: line.Line, Email: line.Register.Details.Email}
	fail := func(fields ...domain.FieldError) LineReport {
		report.Status, report.Errors = LineFailed, fields
		return report
	}
	if away.Load() || ctx.Err() != nil {
		return fail(notImported)
	}
	if len(line.Problems) > 0 {
		problems := problemsOf(line.Register.Details.Normalized().Validate())
		for _, problem := range line.Problems { // a cell that can't be read says more than the check of its empty value
			problems.Fields = slices.DeleteFunc(problems.Fields, func(f domain.FieldError) bool {
				return f.Field == problem.Field || problem.Field == "line"
			})
		}
		return fail(append(slices.Clone(line.Problems), problems.Fields...)...)
	}
	caller.CorrelationID = cmp.Or(caller.CorrelationID, caller.CommandID)
	caller.CommandID = uuid.Must(uuid.NewV7())
	id, position, err := h.importAccount(ctx, caller, line.Register, dryRun)
	var refused *domain.Error
	var invalid *domain.Invalid
	switch {
	case err == nil:
		report.Status, report.position = LineCreated, position
		if !dryRun {
			report.ID = &id
		}
		return report
	case errors.As(err, &refused) && refused.Code == domain.CodeEmailTaken:
		return h.reportExisting(ctx, caller, line, report)
	case errors.As(err, &refused):
		return fail(domain.FieldError{Field: "line", Code: refused.Code, Message: refused.Detail})
	case errors.As(err, &invalid):
		return fail(invalid.Fields...)
	}
	slog.ErrorContext(ctx, "a line could not be imported", "line", line.Line, "error", err)
	away.Store(true)
	return fail(notImported)
}

var notImported = domain.FieldError{
	Field: "line", Code: domain.CodeUnavailable,
	Message: "was not imported because a part of the system failed: import the file again later",
}

func (h *Handler) importAccount(ctx context.Context, caller Caller, command RegisterUser,
	dryRun bool) (uuid.UUID, eventstore.Position, error) {
	if !dryRun {
		result, err := h.RegisterUser(ctx, caller, command)
		return caller.CommandID, result.Position, err
	}
	caller = caller.needing(needs("users", domain.Add))
	rights, err := h.RightsOf(ctx, caller)
	if err != nil {
		return uuid.Nil, 0, err
	}
	who := &authority{Rights: rights, h: h, caller: caller}
	stream := domain.StreamName(user.Kind, caller.CommandID)
	if err := caller.permit(rights, stream); err != nil {
		return uuid.Nil, 0, err
	}
	grants, err := h.checkRegistration(ctx, who, command)
	if err != nil {
		return uuid.Nil, 0, err
	}
	if _, exists, err := h.accountOf(ctx, command.Details.Email); err != nil {
		return uuid.Nil, 0, err
	} else if exists {
		return uuid.Nil, 0, taken(user.EmailClaim(command.Details.Email))
	}
	events, err := user.Register(user.State{}, by(rights, caller, uuid.Nil), command.Details, grants)
	if err != nil {
		return uuid.Nil, 0, err
	}
	return uuid.Nil, 0, caller.permitResult(rights, stream, after[user.State](loaded[user.State]{}, events))
}

// reportExisting compares a line with the account that has its e-mail address. Whoever may not see accounts gets no
// differences: a file with guesses would show what is in them.
func (h *Handler) reportExisting(ctx context.Context, caller Caller, line ImportLine, report LineReport) LineReport {
	report.Status, report.Errors = LineFailed, []domain.FieldError{notImported}
	id, exists, err := h.accountOf(ctx, line.Register.Details.Email)
	if err != nil || !exists {
		return report
	}
	found, err := load[user.State](ctx, h.Log, domain.StreamName(user.Kind, id))
	if err != nil {
		return report
	}
	report.Status, report.Errors, report.ID = LineUnchanged, nil, &id
	rights, err := h.RightsOf(ctx, caller)
	if err == nil && rights.AllowsFor(found.State.Details.CompanyID, "users", domain.View) {
		report.Differs = differences(line, found.State)
	}
	return report
}

func differences(line ImportLine, account user.State) []string {
	wanted, current := line.Register.Details.Normalized(), account.Details
	same := map[string]bool{
		"email": true, "first_name": wanted.FirstName == current.FirstName,
		"last_name": wanted.LastName == current.LastName,
		"phone":     wanted.Phone == current.Phone, "company_id": wanted.CompanyID == current.CompanyID,
		"department": wanted.Department == current.Department, "position": wanted.Position == current.Position,
		"start_date": wanted.StartDate == current.StartDate, "end_date": wanted.EndDate == current.EndDate,
		"active": line.Register.Inactive != account.Active, "superuser": line.Register.Superuser == account.Superuser,
		"require_two_factor": line.Register.RequireTwoFactor == account.TwoFactorRequired,
		"role_ids":           sameIDs(line.Register.RoleIDs, account.Roles),
		"group_ids":          sameIDs(line.Register.GroupIDs, account.Groups),
	}
	var differs []string
	for _, column := range line.columns {
		if !same[column] {
			differs = append(differs, column)
		}
	}
	return differs
}

func sameIDs(ids []uuid.UUID, held map[uuid.UUID]string) bool {
	distinct := map[uuid.UUID]bool{}
	for _, id := range ids {
		if _, has := held[id]; !has {
			return false
		}
		distinct[id] = true
	}
	return len(distinct) == len(held)
}
