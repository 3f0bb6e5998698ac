package projections

import (
	"time"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/access"
)

// inState keeps the accounts that are in a state on the day of now: access.Standing.State as SQL. A state that is none
// keeps nobody.
func (q *query) inState(state string, now time.Time) {
	today := domain.DateOf(now).Time()
	started := func() { q.where("(u.start_date IS NULL OR u.start_date <= ?)", today) }
	switch state {
	case access.Inactive:
		q.where("NOT u.active")
	case access.DirectoryDisabled:
		q.where("u.active AND u.directory_disabled")
	case access.NotStarted:
		q.where("u.active AND NOT u.directory_disabled AND u.start_date > ?", today)
	case access.Expired:
		started()
		q.where("u.active AND NOT u.directory_disabled AND u.end_date < ?", today)
	case access.Active:
		started()
		q.where("u.active AND NOT u.directory_disabled AND (u.end_date IS NULL OR u.end_date >= ?)", today)
	default:
		q.where("false")
	}
}
