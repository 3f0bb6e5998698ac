package projections

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/domain/user"
)

// Access is what an account may do.
type Access struct {
	UserID    uuid.UUID
	Email     string
	Name      string
	CompanyID *uuid.UUID
	access.Rights
	// MustSetUpTwoFactor: two-factor is required, and there is no device yet.
	MustSetUpTwoFactor bool
}

// AccessColumns say what the account of a row u of the table users may do, for a statement that finds it by something
// else; ScanAccess reads them.
const AccessColumns = `u.id, u.email, u.first_name, u.last_name, u.company_id, u.start_date, u.end_date, u.active,
	u.directory_disabled, u.superuser,
	u.require_two_factor AND NOT u.two_factor_enrolled,
	ARRAY(SELECT jsonb_build_object('company_id', g.company_id, 'permissions', g.permissions) FROM memberships s
	JOIN groups g ON g.id = s.group_id
		WHERE s.user_id = u.id AND s.left_at IS NULL AND NOT g.retired)`

// ScanAccess reads a row of AccessColumns and what follows them, which goes into others; now decides on the account's
// state.
func ScanAccess(row pgx.Row, now time.Time, others ...any) (Access, error) {
	var answer Access
	var account access.Standing
	var start, end *time.Time
	var granted []struct {
		CompanyID   *uuid.UUID         `json:"company_id"`
		Permissions domain.Permissions `json:"permissions"`
	}
	var d user.Details
	err := row.Scan(append([]any{&answer.UserID, &d.Email, &d.FirstName, &d.LastName, &answer.CompanyID, &start, &end,
		&account.Active, &account.Closed, &account.Superuser, &answer.MustSetUpTwoFactor, &granted}, others...)...)
	if err != nil {
		return Access{}, err
	}
	account.Start, account.End, account.CompanyID = dateOf(start), dateOf(end), valueOf(answer.CompanyID)
	answer.Email, answer.Name = d.Email, d.Name()
	groups := make([]access.Offer, len(granted))
	for i, group := range granted {
		groups[i] = access.Offer{Permissions: group.Permissions}
		if group.CompanyID != nil {
			groups[i].CompanyID = *group.CompanyID
		}
	}
	answer.Rights = access.RightsOf(account, groups, now)
	return answer, nil
}

// Access gives what an account may do; now decides on its state.
func (r *ReadModels) Access(ctx context.Context, userID uuid.UUID, now time.Time) (Access, error) {
	return orNotFound(ScanAccess(r.pool.QueryRow(ctx, "SELECT "+AccessColumns+" FROM users u WHERE u.id = $1", userID),
		now))
}
