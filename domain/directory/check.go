package directory

import (
	"github.com/secboard/secboard/domain"
)

// Findings is how many accounts of a connection a check looked at, and how many of them it is to close or open.
type Findings struct {
	Accounts int
	Entries  int // that the directory has
	Close    int
	Open     int
}

// fewChanges are never too many, however few accounts there are.
const fewChanges = 2

// TooMany says why a check should not change so many accounts without confirmation, or "". A filter or a base that was
// changed by mistake makes everybody vanish.
func (s State) TooMany(f Findings) string {
	changes := f.Close + f.Open
	switch {
	case f.Entries == 0 && f.Close > 0:
		return "the directory returned no entries at all: check base_dn and user_filter"
	case changes > fewChanges && changes*100 > f.Accounts*s.Settings.CheckLimit:
		return "that is more than check_limit_percent allows at once"
	}
	return ""
}

// EndCheck records that a check stopped, or that checks are resumed. It says so once, not at every check.
func EndCheck(s State, f Findings, confirmed bool) ([]domain.Event, error) {
	reason := s.TooMany(f)
	switch {
	case !s.Exists:
		return nil, domain.Refusef(domain.CodeNotFound, "there is no such directory")
	case reason != "" && confirmed, reason == "" && s.Stopped:
		return []domain.Event{CheckResumed{Confirmed: confirmed}}, nil
	case reason != "" && !s.Stopped:
		return []domain.Event{CheckStopped{Accounts: f.Accounts, Close: f.Close, Open: f.Open, Reason: reason}}, nil
	}
	return nil, nil
}
