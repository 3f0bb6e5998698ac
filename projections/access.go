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

// Session is a row of app.sessions. IP and UserAgent are empty where unknown.
type Session struct {
	ID         uuid.UUID
	UserID     uuid.UUID
	Kind       string
	CreatedAt  time.Time
	LastSeenAt time.Time
	ExpiresAt  time.Time
	IP         string
	UserAgent  string
}

// accessColumns are of users u.
const accessColumns = `u.id, u.email, u.first_name, u.last_name, u.company_id, u.start_date, u.end_date, u.active, u.directory_disabled, u.superuser,
	u.require_two_factor AND NOT u.two_factor_enrolled,
	ARRAY(SELECT g.permissions FROM memberships s JOIN groups g ON g.id = s.group_id
		WHERE s.user_id = u.id AND s.left_at IS NULL AND NOT g.retired)`

func scanAccess(row pgx.Row, now time.Time, place ...any) (Access, error) {
	var answer Access
	var account access.Standing
	var start, end *time.Time
	var granted []domain.Permissions
	var d user.Details
	err := row.Scan(append([]any{&answer.UserID, &d.Email, &d.FirstName, &d.LastName, &answer.CompanyID, &start, &end,
		&account.Active, &account.Closed, &account.Superuser, &answer.MustSetUpTwoFactor, &granted}, place...)...)
	if err != nil {
		return Access{}, err
	}
	account.Start, account.End = dateOf(start), dateOf(end)
	answer.Email, answer.Name = d.Email, d.Name()
	groups := make([]access.Offer, len(granted))
	for i, permissions := range granted {
		groups[i] = access.Offer{Permissions: permissions}
	}
	answer.Rights = access.RightsOf(account, groups, now)
	return answer, nil
}

// Access gives what an account may do; now decides on its state.
func (r *ReadModels) Access(ctx context.Context, userID uuid.UUID, now time.Time) (Access, error) {
	return orNotFound(scanAccess(r.pool.QueryRow(ctx, "SELECT "+accessColumns+" FROM users u WHERE u.id = $1", userID), now))
}

// goesOn keeps the sessions a of users u that no event of their account has ended.
const goesOn = `(a.account_revision >= u.sessions_ended OR a.id = u.session_kept)`

// AccessOfSession gives the session with a token's hash and what its account may do, in one statement. ErrNotFound when
// there is no such session, or it has expired or was ended. That an event ended it is seen here too, so that it ends
// even where whoever wrote the event crashed before removing the row.
func (r *ReadModels) AccessOfSession(ctx context.Context, tokenHash []byte, now time.Time) (Session, Access, error) {
	const statement = "SELECT " + accessColumns + `, a.id, a.user_id, a.kind, a.created_at, a.last_seen_at, a.expires_at,
			coalesce(a.ip, ''), coalesce(a.user_agent, '')
		FROM app.sessions a JOIN users u ON u.id = a.user_id WHERE a.token_hash = $1 AND a.expires_at > $2 AND ` + goesOn
	var s Session
	answer, err := orNotFound(scanAccess(r.pool.QueryRow(ctx, statement, tokenHash, now), now,
		&s.ID, &s.UserID, &s.Kind, &s.CreatedAt, &s.LastSeenAt, &s.ExpiresAt, &s.IP, &s.UserAgent))
	return s, answer, err
}

// Sessions lists what app.sessions has of an account, newest first, also those that have ended by themselves.
func (r *ReadModels) Sessions(ctx context.Context, userID uuid.UUID) ([]Session, error) {
	rows, err := r.pool.Query(ctx, `SELECT a.id, a.user_id, a.kind, a.created_at, a.last_seen_at, a.expires_at, coalesce(a.ip, ''), coalesce(a.user_agent, '')
		FROM app.sessions a JOIN users u ON u.id = a.user_id WHERE a.user_id = $1 AND `+goesOn+` ORDER BY a.created_at DESC, a.id DESC`, userID)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Session])
}
