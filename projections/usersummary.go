package projections

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// UserSummary counts accounts. What begins with an account that is active counts accounts in the state active only.
type UserSummary struct {
	All               int `json:"all"`
	Active            int `json:"active"`
	Inactive          int `json:"inactive"`
	NotStarted        int `json:"not_started"`
	Expired           int `json:"expired"`
	DirectoryDisabled int `json:"directory_disabled"`

	Superusers                 int `json:"superusers" doc:"Active ones"`
	SuperusersWithoutTwoFactor int `json:"superusers_without_two_factor" doc:"Active ones that sign in with a password alone"`
	TwoFactorEnrolled          int `json:"two_factor_enrolled"`
	TwoFactorMissing           int `json:"two_factor_missing" doc:"Active ones that have to set up two-factor"`
	WithoutPassword            int `json:"without_password" doc:"Active local ones for which no password was set"`
	NeverSignedIn              int `json:"never_signed_in" doc:"Active ones"`
	SignedInToday              int `json:"signed_in_today" doc:"Since midnight, in UTC"`
	EndingSoon                 int `json:"ending_soon" doc:"Active ones whose last day is within 30 days"`
	StartingSoon               int `json:"starting_soon" doc:"Those whose first day is within 30 days"`
}

// soonDays is how far UserSummary looks ahead.
const soonDays = 30

// userSummary has $1 today, $2 the day until which is soon, $3 the company or null.
const userSummary = `
	SELECT count(*), count(*) FILTER (WHERE usable), count(*) FILTER (WHERE NOT active),
		count(*) FILTER (WHERE begun AND start_date > $1),
		count(*) FILTER (WHERE begun AND NOT coalesce(start_date > $1, false) AND end_date < $1),
		count(*) FILTER (WHERE active AND directory_disabled),
		count(*) FILTER (WHERE usable AND superuser),
		count(*) FILTER (WHERE usable AND superuser AND NOT two_factor_enrolled),
		count(*) FILTER (WHERE two_factor_enrolled),
		count(*) FILTER (WHERE usable AND require_two_factor AND NOT two_factor_enrolled),
		count(*) FILTER (WHERE usable AND NOT has_password AND source = 'local'),
		count(*) FILTER (WHERE usable AND last_at IS NULL),
		count(*) FILTER (WHERE last_at >= $1), count(*) FILTER (WHERE usable AND end_date <= $2),
		count(*) FILTER (WHERE begun AND start_date > $1 AND start_date <= $2)
	FROM (SELECT u.*, s.last_at, active AND NOT directory_disabled AS begun,
			active AND NOT directory_disabled AND NOT coalesce(start_date > $1, false) AND
				NOT coalesce(end_date < $1, false) AS usable
		FROM users u LEFT JOIN sign_ins s ON s.user_id = u.id WHERE $3::uuid IS NULL OR u.company_id = $3) counted`

// UserSummary counts all accounts, or those of a company.
func (r *ReadModels) UserSummary(ctx context.Context, company *uuid.UUID, now time.Time) (UserSummary, error) {
	var s UserSummary
	today := domain.DateOf(now).Time()
	err := r.pool.QueryRow(ctx, userSummary, today, today.AddDate(0, 0, soonDays), company).Scan(&s.All, &s.Active,
		&s.Inactive, &s.NotStarted, &s.Expired, &s.DirectoryDisabled, &s.Superusers, &s.SuperusersWithoutTwoFactor,
		&s.TwoFactorEnrolled, &s.TwoFactorMissing, &s.WithoutPassword, &s.NeverSignedIn, &s.SignedInToday,
		&s.EndingSoon, &s.StartingSoon)
	return s, err
}
