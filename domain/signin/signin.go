// Package signin decides about one account's attempts to sign in: what is recorded, when it is locked out, and that a
// code works once. Attempts are frequent and the account's own decisions don't need them, so they have a stream beside
// the account's. Of a long stream only the newest part is folded: every event carries what later decisions need.
package signin

import (
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// Kind is the first part of the stream's name; the second is the account's id.
const Kind = "signin"

// Window is how many of the newest events of a stream are enough to decide. One is, but for streams whose newest events
// are from before events carried the guesses.
const Window = 100

// Glance is how many are read first: mostly they are enough, as State.Enough says.
const Glance = 5

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
var Events = []domain.Event{Succeeded{}, Challenged{}, Failed{}, LockoutBegan{}, Unlocked{}, SignedOut{}}

// Guess is a secret that was guessed wrong from an address, or with Until the lockout that it led to.
type Guess struct {
	IP    string    `json:"ip,omitempty"` // of a lockout: whom it refuses; "" for all
	At    time.Time `json:"at,omitzero"`
	Until time.Time `json:"until,omitzero"`
	Old   bool      `json:"old,omitempty"` // somebody signed in since: it counts for its own address only
}

// maxGuesses is how many guesses an event carries at most. It is more than the limit of requests for one account lets
// in within the 15 minutes of DefaultPolicy; under a longer one, hundreds of addresses together can make the oldest
// forgotten.
const maxGuesses = 500

// Every event carries what was known before it and later decisions need: Step, the time step of the newest code that
// was used (0 for none), and, put there by Carry, Guesses: those that still count and the lockouts that are not over.
// After an unlocking there are none.

// Succeeded starts a session.
type Succeeded struct {
	Session uuid.UUID `json:"session"`
	Method  string    `json:"method"`
	Limited bool      `json:"limited,omitempty"` // may only set up two-factor
	Step    int64     `json:"step,omitempty" history:"-"`
	Guesses []Guess   `json:"guesses,omitempty" history:"-"`
}

// Challenged says that the password was right and the second factor is asked for.
type Challenged struct {
	Step    int64   `json:"step,omitempty" history:"-"`
	Guesses []Guess `json:"guesses,omitempty" history:"-"`
}

// Failed is an attempt with its true reason.
type Failed struct {
	Reason  string  `json:"reason"`
	Step    int64   `json:"step,omitempty" history:"-"`
	Guesses []Guess `json:"guesses,omitempty" history:"-"`
}

// LockoutBegan refuses all attempts until a time; with an IP only those from there.
type LockoutBegan struct {
	Until   time.Time `json:"until"`
	IP      string    `json:"ip,omitempty"`
	Step    int64     `json:"step,omitempty" history:"-"`
	Guesses []Guess   `json:"guesses,omitempty" history:"-"`
}

// Unlocked ends a lockout early.
type Unlocked struct {
	Step int64 `json:"step,omitempty" history:"-"`
}

// SignedOut ends a session by its owner.
type SignedOut struct {
	Session uuid.UUID `json:"session"`
	Step    int64     `json:"step,omitempty" history:"-"`
	Guesses []Guess   `json:"guesses,omitempty" history:"-"`
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
func (Challenged) Summary() string     { return "password accepted, second factor requested" }
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
	guesses     []Guess // the failures in their order
	complete    bool    // an event carried all that was before it
}

// Attempt is when and from where somebody tries. PerIP is for superusers: only the address that guesses is locked out,
// so that nobody can keep the last of them outside.
type Attempt struct {
	Now   time.Time
	IP    string // as Network gives it
	PerIP bool
}

// Network is what counts as one place that somebody tries from: an IPv4 address, or the /64 network that an IPv6
// address is in, of which a single connection has 2⁶⁴.
func Network(ip string) string {
	address, err := netip.ParseAddr(ip)
	if err != nil || address.Is4() {
		return ip
	}
	prefix, err := address.Prefix(64)
	if err != nil {
		return ip
	}
	return prefix.String()
}

// EvolveAt folds one event with the time and the address in its metadata.
func (s *State) EvolveAt(event domain.Event, at time.Time, ip string) {
	ip = Network(ip)
	switch e := event.(type) {
	case Succeeded:
		s.knew(e.Step, e.Guesses)
		s.LastSuccess = at
		s.forget(ip)
		for i := range s.guesses {
			s.guesses[i].Old = true
		}
	case Challenged:
		s.knew(e.Step, e.Guesses)
	case Failed:
		s.knew(e.Step, e.Guesses)
		if guessed(e.Reason) {
			s.guesses = append(s.guesses, Guess{IP: ip, At: at})
		}
	case LockoutBegan:
		s.knew(e.Step, e.Guesses)
		s.forget(e.IP)
		if e.IP == "" {
			s.guesses = slices.DeleteFunc(s.guesses, func(g Guess) bool { return g.Until.IsZero() })
		}
		s.guesses = append(s.guesses, Guess{IP: e.IP, Until: e.Until})
	case Unlocked:
		s.knew(e.Step, nil)
		s.guesses = nil
	case SignedOut:
		s.knew(e.Step, e.Guesses)
	}
}

// knew takes over what an event carries. One that carries no guesses says nothing: it may be from before events did.
func (s *State) knew(step int64, guesses []Guess) {
	s.LastStep = max(s.LastStep, step)
	if len(guesses) > 0 {
		s.guesses, s.complete = slices.Clone(guesses), true
	}
}

// forget removes the guesses from an address, but no lockout.
func (s *State) forget(ip string) {
	s.guesses = slices.DeleteFunc(s.guesses, func(g Guess) bool { return g.Until.IsZero() && g.IP == ip })
}

// Carry gives each event the guesses that count when it is recorded, so that no flood of events makes one forgotten.
func Carry(s State, events []domain.Event, at time.Time, ip string, policy Policy) []domain.Event {
	s.guesses = slices.Clone(s.guesses)
	carrying := make([]domain.Event, len(events))
	for i, event := range events {
		guesses := s.counting(at, policy)
		switch e := event.(type) {
		case Succeeded:
			e.Guesses = guesses
			event = e
		case Challenged:
			e.Guesses = guesses
			event = e
		case Failed:
			e.Guesses = guesses
			event = e
		case LockoutBegan:
			e.Guesses = guesses
			event = e
		case SignedOut:
			e.Guesses = guesses
			event = e
		}
		carrying[i] = event
		s.EvolveAt(event, at, ip)
	}
	return carrying
}

// counting is the guesses that count at a time.
func (s State) counting(at time.Time, policy Policy) []Guess {
	var counting []Guess
	for _, g := range s.guesses {
		if at.Before(g.Until) || g.Until.IsZero() && at.Sub(g.At) < policy.Within {
			counting = append(counting, g)
		}
	}
	if excess := len(counting) - maxGuesses; excess > 0 {
		// Single guesses are the first to go, then the lockouts that end first.
		slices.SortStableFunc(counting, func(a, b Guess) int { return a.Until.Compare(b.Until) })
		counting = counting[excess:]
	}
	return counting
}

// Enough says whether what was folded decides about an attempt, whatever came before it. An event that carries guesses
// includes all that was before. A success decides too: it got past the lockouts that there were, cancels the failures,
// and carries the newest step; but lockouts of single addresses outlast the successes from others.
func (s State) Enough(attempt Attempt) bool {
	return s.complete || !s.LastSuccess.IsZero() && !attempt.PerIP
}

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
	for _, g := range s.guesses {
		if attempt.Now.Before(g.Until) && (g.IP == "" || g.IP == attempt.IP) {
			return g.Until
		}
	}
	return time.Time{}
}

// Locked says whether an attempt meets a lockout.
func (s State) Locked(attempt Attempt) bool { return !s.LockedUntil(attempt).IsZero() }

// Fail records a refused attempt, and begins a lockout when it was one too many. While locked out nothing more is
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
	for _, g := range s.guesses {
		counts := !g.Old
		if attempt.PerIP {
			counts = g.IP == attempt.IP
		}
		if counts && g.Until.IsZero() && attempt.Now.Sub(g.At) < policy.Within {
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
	return []domain.Event{Succeeded{Session: session, Method: method, Limited: limited, Step: max(step, s.LastStep)}},
		true
}

// Unlock ends all lockouts; without one it changes nothing.
func Unlock(s State, now time.Time) []domain.Event {
	for _, g := range s.guesses {
		if now.Before(g.Until) {
			return []domain.Event{Unlocked{Step: s.LastStep}}
		}
	}
	return nil
}
