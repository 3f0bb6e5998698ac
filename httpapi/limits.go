package httpapi

import "time"

// limits are how long the parts of an answer may take.
type limits struct {
	request time.Duration // the whole of a request whose operation has no limit of its own
	session time.Duration // a look-up or change of sessions, so that an outage of the database is told quickly
	check   time.Duration // each check of /readyz
	// unasked is how long an export goes on without asking whether its session and permission still hold.
	unasked time.Duration
	stall   time.Duration // that a client may take for each piece of an answer
	readOn  time.Duration // that the rest of a refused body may take to arrive
}

var defaultLimits = limits{
	request: 10 * time.Second, session: 3 * time.Second, check: time.Second, unasked: 2 * time.Second,
	stall: 10 * time.Second, readOn: 10 * time.Second,
}
