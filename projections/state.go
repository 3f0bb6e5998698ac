package projections

import (
	"time"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
)

// States of an account. The first that applies counts, in this order.
const (
	StateInactive          = "inactive"
	StateDirectoryDisabled = "directory_disabled"
	StateNotStarted        = "not_started"
	StateExpired           = "expired"
	StateActive            = "active"
)

// AccountState says whether an account may be used at a time, and else why not in a sentence. Days are days in UTC; the
// end date is the last day of access.
func AccountState(account user.State, inactiveReason string, now time.Time) (state, reason string) {
	today := domain.DateOf(now)
	start, end := account.Details.StartDate, account.Details.EndDate
	switch {
	case !account.Active:
		return StateInactive, "deactivated" + domain.Because(inactiveReason)
	case account.Directory.Disabled:
		return StateDirectoryDisabled, user.DirectoryDisabled{Reason: account.Directory.Reason}.Summary()
	case !start.IsZero() && today.Before(start):
		return StateNotStarted, "access starts on " + start.String()
	case !end.IsZero() && end.Before(today):
		return StateExpired, "access ended on " + end.String()
	}
	return StateActive, ""
}

// inState keeps the accounts that are in a state on the day of now: AccountState as SQL. A state that is none keeps
// nobody.
func (q *query) inState(state string, now time.Time) {
	today := domain.DateOf(now).Time()
	started := func() { q.where("(u.start_date IS NULL OR u.start_date <= ?)", today) }
	switch state {
	case StateInactive:
		q.where("NOT u.active")
	case StateDirectoryDisabled:
		q.where("u.active AND u.directory_disabled")
	case StateNotStarted:
		q.where("u.active AND NOT u.directory_disabled AND u.start_date > ?", today)
	case StateExpired:
		started()
		q.where("u.active AND NOT u.directory_disabled AND u.end_date < ?", today)
	case StateActive:
		started()
		q.where("u.active AND NOT u.directory_disabled AND (u.end_date IS NULL OR u.end_date >= ?)", today)
	default:
		q.where("false")
	}
}
