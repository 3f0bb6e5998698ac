// Package signin decides about one account's attempts to sign in: what is written down, when it is locked out, and that
// a code works once. Attempts are frequent and the account's own decisions don't need them, so they have a stream beside
// the account's. Of a long stream only the newest part is folded: every event carries what later decisions need.
package signin

import (
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// Kind is the first part of the stream's name; the second is the account's id.
const Kind = "signin"

// Window is how many of the newest events of a stream are enough to decide.
const Window = 100

// Glance is how many are read first: mostly they are enough, as State.Enough tells.
const Glance = 5

// Ways to sign in.
const (
	ByPassword   = "password"
	ByCode       = "code"
	ByBackupCode = "backup_code"
	ByFirstLogin = "first_login"
	ByDirectory  = "directory"
)

// Why an attempt failed. People at the door never learn which.
const (
	WrongPassword   = "wrong_password"
	NoPassword      = "no_password"
	WrongCode       = "wrong_code"
	CodeUsed        = "code_used"
	WrongBackupCode = "wrong_backup_code"
	Inactive        = "inactive"
	NotStarted      = "not_started"
	Expired         = "expired"
	LockedOut       = "locked_out"
)

// Directory is the start of the reasons that a directory gives, as in directory_password_expired.
const Directory = "directory_"

// Why an account that goes to a directory failed, beside the directory's own reasons.
const (
	DirectoryDisabled = "directory_disabled"
	NoDirectory       = "directory_off" // the connection that the account is bound to is switched off, or none serves it
)

// Events is the catalogue of the events of signing in.
var Events = []domain.Event{Succeeded{}, Challenged{}, Failed{}, LockoutBegan{}, Unlocked{}, SignedOut{}}

// Succeeded starts a session. Step is the time step of the newest code that was used, 0 for none.
type Succeeded struct {
	Session uuid.UUID `json:"session"`
	Method  string    `json:"method"`
	Limited bool      `json:"limited,omitempty"` // may only set up two-factor
	Step    int64     `json:"step,omitempty" history:"-"`
}

// Challenged says that the password was right and the second factor is asked for.
type Challenged struct {
	Step int64 `json:"step,omitempty" history:"-"`
}

// Failed is an attempt with its true reason.
type Failed struct {
	Reason string `json:"reason"`
	Step   int64  `json:"step,omitempty" history:"-"`
}

// LockoutBegan refuses all attempts until a time; with an IP only those from there.
type LockoutBegan struct {
	Until time.Time `json:"until"`
	IP    string    `json:"ip,omitempty"`
	Step  int64     `json:"step,omitempty" history:"-"`
}

// Unlocked ends a lockout early.
type Unlocked struct {
	Step int64 `json:"step,omitempty" history:"-"`
}

// SignedOut ends a session by its owner.
type SignedOut struct {
	Session uuid.UUID `json:"session"`
	Step    int64     `json:"step,omitempty" history:"-"`
}

func (Succeeded) EventType() string    { return "signin.succeeded" }
func (Challenged) EventType() string   { return "signin.challenged" }
func (Failed) EventType() string       { return "signin.failed" }
func (LockoutBegan) EventType() string { return "signin.lockout_began" }
func (Unlocked) EventType() string     { return "signin.unlocked" }
func (SignedOut) EventType() string    { return "signin.signed_out" }

func (e Succeeded) Summary() string {
	if e.Limited {
		return "signed in to set up two-factor (" + e.Method + ")"
	}
	return "signed in (" + e.Method + ")"
}
func (Challenged) Summary() string     { return "password right, second factor asked for" }
func (e Failed) Summary() string       { return "sign-in refused: " + e.Reason }
func (e LockoutBegan) Summary() string { return "locked out until " + e.Until.Format(time.RFC3339) }
func (Unlocked) Summary() string       { return "lockout ended by an administrator" }
func (SignedOut) Summary() string      { return "signed out" }

// Policy is when an account is locked out: after Attempts wrong passwords or codes within Within, for For.
type Policy struct {
	Attempts int
	Within   time.Duration
	For      time.Duration
}

// DefaultPolicy locks for 15 minutes after 5 in 15 minutes.
var DefaultPolicy = Policy{Attempts: 5, Within: 15 * time.Minute, For: 15 * time.Minute}

// State of signing in to one account.
type State struct {
	LastStep    int64
	LastSuccess time.Time
	lockouts    []LockoutBegan
	failures    []failure // of secrets guessed wrong, since the last success, lockout or unlock
}

type failure struct {
	at time.Time
	ip string
}

// Attempt is when and from where somebody tries. PerIP is for superusers: only the address that guesses is locked out, so
// that nobody can keep the last of them outside.
type Attempt struct {
	Now   time.Time
	IP    string
	PerIP bool
}

// EvolveAt folds one event with the time and the address in its metadata.
func (s *State) EvolveAt(event domain.Event, at time.Time, ip string) {
	switch e := event.(type) {
	case Succeeded:
		s.step(e.Step)
		s.LastSuccess, s.failures = at, nil
	case Challenged:
		s.step(e.Step)
	case Failed:
		s.step(e.Step)
		if guessed(e.Reason) {
			s.failures = append(s.failures, failure{at, ip})
		}
	case LockoutBegan:
		s.step(e.Step)
		s.lockouts, s.failures = append(s.lockouts, e), nil
	case Unlocked:
		s.step(e.Step)
		s.lockouts, s.failures = nil, nil
	case SignedOut:
		s.step(e.Step)
	}
}

// Enough says whether what was folded decides about an attempt, whatever stands before it. A success does: it got past the
// lockouts that there were, takes the failures back, and carries the newest step. Lockouts of single addresses outlast the
// successes from others, so with those it does not.
func (s State) Enough(attempt Attempt) bool { return !s.LastSuccess.IsZero() && !attempt.PerIP }

func (s *State) step(step int64) { s.LastStep = max(s.LastStep, step) }

// guessed says whether a reason is a secret that was wrong, as opposed to an account that may not sign in.
func guessed(reason string) bool {
	switch reason {
	case WrongPassword, WrongCode, CodeUsed, WrongBackupCode:
		return true
	}
	return false
}

// LockedUntil is when the lockout that an attempt meets ends; the zero time when there is none.
func (s State) LockedUntil(attempt Attempt) time.Time {
	for _, lockout := range s.lockouts {
		if attempt.Now.Before(lockout.Until) && (lockout.IP == "" || lockout.IP == attempt.IP) {
			return lockout.Until
		}
	}
	return time.Time{}
}

// Locked says whether an attempt meets a lockout.
func (s State) Locked(attempt Attempt) bool { return !s.LockedUntil(attempt).IsZero() }

// Fail writes a refused attempt down, and begins a lockout when it was one too many. While locked out nothing more is
// written, so that a flood of attempts does not fill the log.
func Fail(s State, attempt Attempt, reason string, policy Policy) []domain.Event {
	if s.Locked(attempt) {
		return nil
	}
	events := []domain.Event{Failed{Reason: reason, Step: s.LastStep}}
	if !guessed(reason) {
		return events
	}
	recent := 1
	for _, failure := range s.failures {
		if attempt.Now.Sub(failure.at) < policy.Within && (!attempt.PerIP || failure.ip == attempt.IP) {
			recent++
		}
	}
	if recent >= policy.Attempts {
		lockout := LockoutBegan{Until: attempt.Now.Add(policy.For).UTC(), Step: s.LastStep}
		if attempt.PerIP {
			lockout.IP = attempt.IP
		}
		events = append(events, lockout)
	}
	return events
}

// Succeed starts a session. step is the time step of the code that was used, 0 without one; a step that was used before
// fails.
func Succeed(s State, session uuid.UUID, method string, limited bool, step int64) ([]domain.Event, bool) {
	if step != 0 && step <= s.LastStep {
		return nil, false
	}
	return []domain.Event{Succeeded{Session: session, Method: method, Limited: limited, Step: max(step, s.LastStep)}}, true
}

// Unlock ends all lockouts; without one it changes nothing.
func Unlock(s State, now time.Time) []domain.Event {
	for _, lockout := range s.lockouts {
		if now.Before(lockout.Until) {
			return []domain.Event{Unlocked{Step: s.LastStep}}
		}
	}
	return nil
}
