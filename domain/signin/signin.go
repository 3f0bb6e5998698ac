// Package signin decides about attempts to sign in to one account: what is recorded, who is locked out, and that a code
// works once. Attempts are frequent and the account's own decisions don't need them, so they have a stream beside the
// account's. Every event carries what later decisions need, so the newest one is all that is ever read of a stream,
// however long others have made it.
//
// Wrong passwords count for the network that they come from, and lock out only that: nobody can close an account for
// its owner, who is elsewhere. Codes come after a right password, and count for the account, wherever they come from.
package signin

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// Kind is the first part of the stream's name; the second is the account's id.
const Kind = "signin"

// Ways to sign in.
const (
	ByPassword   = "password"
	ByCode       = "code"
	ByBackupCode = "backup_code"
	ByFirstLogin = "first_login"
	ByDirectory  = "directory"
)

// Why an attempt failed. Whoever signs in never learns which.
const (
	WrongPassword   = "wrong_password"
	NoPassword      = "no_password"
	WrongCode       = "wrong_code"
	CodeUsed        = "code_used"
	WrongBackupCode = "wrong_backup_code"
	Inactive        = "inactive"
	NotStarted      = "not_started"
	Expired         = "expired"
	// the password of a company's cabinet, which asks for a first-login link
	WrongCabinetPassword = "wrong_cabinet_password"
	// the password may not be the person's, who has rights by now: a reset link replaces it
	PasswordDoubtful = "password_doubtful"
)

// Directory is the start of the reasons that a directory gives, as in directory_password_expired.
const Directory = "directory_"

// Why an account that goes to a directory failed, beside the directory's own reasons.
const (
	DirectoryDisabled = "directory_disabled"
	// the connection that the account is bound to is switched off, or none serves it
	NoDirectory = "directory_off"
)

// Events is the catalogue of the events of signing in.
var Events = []domain.Event{
	Succeeded{}, Challenged{}, Failed{}, LockoutBegan{}, Unlocked{}, PasswordReset{}, SignedOut{},
	ResetLinkRequested{}, FirstLoginRequested{}, LinksLimited{}, Confirmed{},
}

// Succeeded starts a session.
type Succeeded struct {
	Session uuid.UUID `json:"session"`
	Method  string    `json:"method"`
	Limited bool      `json:"limited,omitempty"` // may only set up two-factor
	Memory  Memory    `json:"memory,omitzero" history:"-"`
}

// Challenged says that the password was right and the second factor is asked for.
type Challenged struct {
	Memory Memory `json:"memory,omitzero" history:"-"`
}

// Failed is an attempt with its true reason.
type Failed struct {
	Reason string `json:"reason"`
	Memory Memory `json:"memory,omitzero" history:"-"`
}

// LockoutBegan refuses attempts from one network until a time; or, with Codes, codes for the account from everywhere.
type LockoutBegan struct {
	Until   time.Time `json:"until"`
	Network string    `json:"network,omitempty"`
	Codes   bool      `json:"codes,omitempty"`
	Memory  Memory    `json:"memory,omitzero" history:"-"`
}

// Unlocked ends the lockouts after wrong passwords early.
type Unlocked struct {
	Memory Memory `json:"memory,omitzero" history:"-"`
}

// PasswordReset ends the lockouts after wrong passwords, because a link replaced the password that was guessed.
type PasswordReset struct {
	Memory Memory `json:"memory,omitzero" history:"-"`
}

// Confirmed says that somebody who is signed in confirmed a change by a code of the device.
type Confirmed struct {
	Memory Memory `json:"memory,omitzero" history:"-"`
}

// SignedOut ends a session by its owner.
type SignedOut struct {
	Session uuid.UUID `json:"session"`
	Memory  Memory    `json:"memory,omitzero" history:"-"`
}

func (Succeeded) EventType() string     { return "signin.succeeded" }
func (Challenged) EventType() string    { return "signin.challenged" }
func (Failed) EventType() string        { return "signin.failed" }
func (LockoutBegan) EventType() string  { return "signin.lockout_began" }
func (Unlocked) EventType() string      { return "signin.unlocked" }
func (PasswordReset) EventType() string { return "signin.password_reset" }
func (Confirmed) EventType() string     { return "signin.confirmed" }
func (SignedOut) EventType() string     { return "signin.signed_out" }

func (e Succeeded) Summary() string {
	if e.Limited {
		return "signed in to set up two-factor (" + e.Method + ")"
	}
	return "signed in (" + e.Method + ")"
}
func (Challenged) Summary() string { return "password accepted, second factor requested" }
func (e Failed) Summary() string   { return "sign-in refused: " + e.Reason }
func (e LockoutBegan) Summary() string {
	until := " until " + e.Until.Format(time.RFC3339)
	if e.Codes {
		return "codes are not accepted" + until
	}
	return "sign-ins from " + e.Network + " are refused" + until
}
func (Unlocked) Summary() string      { return "lockout ended by an administrator" }
func (PasswordReset) Summary() string { return "lockout ended by the reset of the password" }
func (Confirmed) Summary() string     { return "a change confirmed by a code" }
func (SignedOut) Summary() string     { return "signed out" }

// Policy is when a network is locked out: after Attempts wrong passwords, each within Within of the one before, for
// For.
type Policy struct {
	Attempts int
	Within   time.Duration
	For      time.Duration
}

// DefaultPolicy locks for 15 minutes after 5, each within 15 minutes of the one before.
var DefaultPolicy = Policy{Attempts: 5, Within: 15 * time.Minute, For: 15 * time.Minute}

// State of signing in to one account.
type State struct{ Memory }

// Evolve folds one event. It carries all that was before it.
func (s *State) Evolve(event domain.Event) {
	switch e := event.(type) {
	case Succeeded:
		s.Memory = e.Memory
	case Challenged:
		s.Memory = e.Memory
	case Failed:
		s.Memory = e.Memory
	case LockoutBegan:
		s.Memory = e.Memory
	case Unlocked:
		s.Memory = e.Memory
	case PasswordReset:
		s.Memory = e.Memory
	case Confirmed:
		s.Memory = e.Memory
	case SignedOut:
		s.Memory = e.Memory
	case ResetLinkRequested:
		s.Memory = e.Memory
	case FirstLoginRequested:
		s.Memory = e.Memory
	case LinksLimited:
		s.Memory = e.Memory
	}
}

// refuted says whether a reason can be given to somebody who doesn't know the password. Such an attempt counts as a
// guess: else a flood of them would fill the log, and tell accounts without a password from addresses without an
// account.
func refuted(reason string) bool {
	switch reason {
	case Inactive, NotStarted, Expired:
		return false
	}
	return true
}

// Fail records an attempt that was refused before a second factor was asked for, and locks its network out when it was
// one wrong password too many. While locked out nothing more is written, so that a flood of attempts does not fill the
// log.
func Fail(s State, attempt Attempt, reason string, policy Policy) []domain.Event {
	if s.Locked(attempt) {
		return nil
	}
	memory := s.at(attempt.Now, policy)
	if !refuted(reason) {
		return []domain.Event{Failed{Reason: reason, Memory: memory}}
	}
	var locked []string
	memory, _ = memory.guess(attempt.Of, attempt.Network, attempt.Now)
	if s.Left(attempt, policy) <= 1 {
		locked = append(locked, attempt.Network)
	}
	if site := attempt.site(); site != "" {
		var wrong int
		if memory, wrong = memory.guess(attempt.Of, site, attempt.Now); wrong >= policy.Attempts*networksOfSite {
			locked = append(locked, site)
		}
	}
	events := []domain.Event{Failed{Reason: reason, Memory: memory}}
	for _, network := range locked {
		until := attempt.Now.Add(policy.For).UTC()
		memory = memory.lock(attempt.Of, network, until)
		events = append(events, LockoutBegan{Until: until, Network: network, Memory: memory})
	}
	return events
}

// Challenge records that the password was right. The challenge can be answered until it has failed mostTries times, or
// succeeded.
func Challenge(s State, attempt Attempt, id uuid.UUID, policy Policy) []domain.Event {
	memory := s.at(attempt.Now, policy)
	return []domain.Event{Challenged{Memory: memory.opened(Open{ID: id, At: attempt.Now.UTC()})}}
}

// FailCode records a wrong code, as an answer to a challenge or, with uuid.Nil, by somebody who is signed in.
func FailCode(s State, attempt Attempt, challenge uuid.UUID, reason string, policy Policy) []domain.Event {
	if s.CodesRefused(attempt.Now) || challenge != uuid.Nil && !s.Answerable(challenge, attempt.Now) {
		return nil
	}
	memory := s.at(attempt.Now, policy).tried(challenge)
	if reason == WrongCode || reason == WrongBackupCode { // who knows a code that was right doesn't guess
		memory = memory.wrongCode(attempt.Now)
	}
	events := []domain.Event{Failed{Reason: reason, Memory: memory}}
	if until := memory.CodesFrom(attempt.Now); until.After(attempt.Now) {
		events = append(events, LockoutBegan{Until: until, Codes: true, Memory: memory})
	}
	return events
}

// Entry is a sign-in that is to succeed.
type Entry struct {
	Session   uuid.UUID
	Method    string
	Limited   bool
	Step      int64     // of the code that was used, 0 without one
	Challenge uuid.UUID // that was answered, uuid.Nil without one

	BackupCode  string   // the name of the one that was used, "" without one
	BackupCodes []string // the names of those that the account still has
}

// Succeed starts a session. A code whose step was used before fails, and so does a backup code that was used.
func Succeed(s State, attempt Attempt, entry Entry, policy Policy) ([]domain.Event, bool) {
	if entry.Step != 0 && entry.Step <= s.Step || entry.BackupCode != "" && slices.Contains(s.Used, entry.BackupCode) {
		return nil, false
	}
	memory := s.at(attempt.Now, policy).answered(entry.Challenge).knows(attempt.Network)
	memory = memory.forget(attempt.Of, attempt.Network).used(entry.BackupCode, entry.BackupCodes)
	memory.Step = max(entry.Step, memory.Step)
	return []domain.Event{
		Succeeded{Session: entry.Session, Method: entry.Method, Limited: entry.Limited, Memory: memory},
	}, true
}

// Confirm uses up the step of a code by somebody who is signed in; a code whose step was used before fails.
func Confirm(s State, attempt Attempt, step int64, policy Policy) ([]domain.Event, bool) {
	if step <= s.Step {
		return nil, false
	}
	memory := s.at(attempt.Now, policy)
	memory.Step = step
	return []domain.Event{Confirmed{Memory: memory}}, true
}

// SignOut ends a session.
func SignOut(s State, now time.Time, session uuid.UUID, policy Policy) []domain.Event {
	return []domain.Event{SignedOut{Session: session, Memory: s.at(now, policy)}}
}

// Unlock ends all lockouts after wrong passwords; without one it changes nothing. Wrong codes go on counting: who may
// end lockouts gets no more guesses of a second factor than anybody else.
func Unlock(s State, now time.Time, policy Policy) []domain.Event {
	if !s.anyLocked(now) {
		return nil
	}
	return []domain.Event{Unlocked{Memory: s.at(now, policy).forgetAll()}}
}

// ResetPassword ends what wrong guesses of the former password led to.
func ResetPassword(s State, now time.Time, policy Policy) []domain.Event {
	if !s.anyLocked(now) {
		return nil
	}
	return []domain.Event{PasswordReset{Memory: s.at(now, policy).forgetAll()}}
}
