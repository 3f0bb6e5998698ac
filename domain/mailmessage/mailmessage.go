package mailmessage

import (
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// Features are the occasions of mails; a route chooses the mail account of each.
const (
	PasswordReset       = "password_reset"
	FirstLogin          = "first_login"
	SecurityNotice      = "security_notice"
	ContactNotification = "contact_notification"
	ContactAutoReply    = "contact_auto_reply"
)

// Features lists them in the order in which they are shown.
var Features = []string{PasswordReset, FirstLogin, SecurityNotice, ContactNotification, ContactAutoReply}

// Kinds of security notice.
const (
	NoticePasswordChanged = "password_changed"
	NoticeTwoFactorOn     = "two_factor_on"
	NoticeTwoFactorOff    = "two_factor_off"
	NoticeTwoFactorReset  = "two_factor_reset"
	NoticeEmailChanged    = "email_changed"
	NoticeLockedOut       = "locked_out"
	NoticeBackupCodes     = "backup_codes_replaced"
	NoticeBackupCodeUsed  = "backup_code_used"
	NoticeProposed        = "approval_proposed" // to superusers
	NoticeDecided         = "approval_decided"  // to who proposed
	NoticeSuperuserMade   = "superuser_made"    // on the server; goes to the other superusers
)

// Notices lists the kinds of security notice.
var Notices = []string{
	NoticePasswordChanged, NoticeTwoFactorOn, NoticeTwoFactorOff, NoticeTwoFactorReset, NoticeEmailChanged,
	NoticeLockedOut, NoticeBackupCodes, NoticeBackupCodeUsed, NoticeProposed, NoticeDecided, NoticeSuperuserMade,
}

// States of a message.
const (
	StateQueued    = "queued" // waits for its first or next attempt
	StateSending   = "sending"
	StateSent      = "sent"
	StateFailed    = "failed"
	StateAbandoned = "abandoned"
)

// States lists them.
var States = []string{StateQueued, StateSending, StateSent, StateFailed, StateAbandoned}

// Route is what the mail account that sends a message depends on.
type Route struct {
	Feature   string
	CompanyID uuid.UUID // uuid.Nil for none
}

// Due is a message that something has to be done about.
type Due struct {
	ID uuid.UUID
	Route
}

// Patience is how long a mail that bears no link is tried.
const Patience = 48 * time.Hour

// Pauses between attempts: the first, doubled each time up to the longest. Each is varied by a fifth, so that what
// failed together does not come back together.
const (
	firstPause   = 15 * time.Second
	longestPause = 4 * time.Hour
)

// State of a message; its zero value is one that does not exist.
type State struct {
	Exists    bool
	Queued    Queued
	State     string
	Attempts  int
	Doubts    int // attempts after which nobody knows whether the mail arrived
	AccountID uuid.UUID
	LastError string
	DueAt     time.Time // of the next attempt, or when one under way counts as cut short; zero when it is over
	ExpiresAt time.Time
	round     int // attempts since it was queued, or tried again by hand
}

// Evolve folds one event into the state.
func (s *State) Evolve(event domain.Event) {
	switch e := event.(type) {
	case Queued:
		s.Exists, s.Queued, s.State, s.DueAt, s.ExpiresAt = true, e, StateQueued, e.At, e.ExpiresAt
	case Sending:
		s.State, s.Attempts, s.AccountID, s.DueAt = StateSending, e.Attempt, e.AccountID, e.Until
		s.round++
	case Sent:
		s.finish(StateSent, "")
	case Deferred:
		s.State, s.LastError, s.DueAt = StateQueued, e.Reason, e.NextAt
		if s.Attempts < e.Attempt { // it failed before a server was asked
			s.Attempts = e.Attempt
			s.round++
		}
	case InDoubt:
		s.State, s.LastError, s.DueAt = StateQueued, e.Reason, e.NextAt
		s.Doubts++
	case Failed:
		s.finish(StateFailed, e.Reason)
	case Abandoned:
		s.finish(StateAbandoned, e.Reason)
	case Retried:
		s.State, s.DueAt, s.ExpiresAt, s.round = StateQueued, s.Queued.At, e.ExpiresAt, 0
	}
}

// SubjectName is the subject of the mail.
func (s State) SubjectName() string { return s.Queued.Subject }

func (s *State) finish(state, reason string) {
	s.State, s.LastError, s.DueAt = state, reason, time.Time{}
}

// Over says whether nothing more will happen by itself.
func (s State) Over() bool { return s.DueAt.IsZero() }

// BearsLink says whether the mail is of use only as long as the link in it.
func (s State) BearsLink() bool { return s.Queued.Link != uuid.Nil }

// Queue starts a message; of one that there is already it makes no second.
func Queue(s State, request Queued) ([]domain.Event, error) {
	if s.Exists {
		return nil, nil
	}
	request.At, request.ExpiresAt = instant(request.At), instant(request.ExpiresAt)
	return []domain.Event{request}, nil
}

// instant is a time to the microsecond, in UTC, as databases keep it.
func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// Begin starts the next attempt for whoever records it: of several that do at once, one gets it. Until must be a time
// at which the attempt has certainly ended. started is false when there is nothing to do now, which may be recorded.
func Begin(s State, account uuid.UUID, now, until time.Time) (events []domain.Event, started bool) {
	if !s.Exists || s.Over() || now.Before(s.DueAt) {
		return nil, false
	}
	events = s.cutShort(now)
	if !now.Before(s.ExpiresAt) {
		return append(events, s.expired()), false
	}
	return append(events, Sending{Attempt: s.Attempts + 1, AccountID: account, Until: instant(until)}), true
}

// cutShort notes an attempt whose time has passed without a word of how it ended.
func (s State) cutShort(now time.Time) []domain.Event {
	if s.State != StateSending {
		return nil
	}
	return []domain.Event{
		InDoubt{Attempt: s.Attempts, Reason: "SecBoard was stopped while the mail was being sent",
			NextAt: instant(now)},
	}
}

// expired gives the mail up.
func (s State) expired() Abandoned {
	if s.BearsLink() {
		return Abandoned{Reason: because("the link in it has expired", s.LastError)}
	}
	return Abandoned{Reason: because("it could not be sent in time", s.LastError)}
}

func because(reason, last string) string {
	if last == "" {
		return reason
	}
	return reason + "; the last attempt: " + last
}

// Outcome of an attempt that did not end with the server taking the mail.
type Outcome struct {
	Reason    string // for an administrator, without secrets
	Permanent bool   // the server will never take this mail
	InDoubt   bool   // it was handed over, but the answer got lost
}

// Succeed ends the attempt under way. A message that was taken over meanwhile stays as it is.
func Succeed(s State, attempt int) []domain.Event {
	if s.State != StateSending || s.Attempts != attempt {
		return nil
	}
	return []domain.Event{Sent{Attempt: attempt}}
}

// Fail ends the attempt under way. jitter, from 0 to 1, varies the pause before the next one.
func Fail(s State, attempt int, outcome Outcome, now time.Time, jitter float64) []domain.Event {
	if s.State != StateSending || s.Attempts != attempt {
		return nil
	}
	if outcome.Permanent {
		return []domain.Event{Failed{Attempt: attempt, Reason: outcome.Reason}}
	}
	next := instant(now.Add(pause(s.round, jitter)))
	if outcome.InDoubt {
		return []domain.Event{InDoubt{Attempt: attempt, Reason: outcome.Reason, NextAt: next}}
	}
	return s.putOff(attempt, outcome.Reason, next)
}

// Postpone notes that an attempt can't even begin, such as without a mail account.
func Postpone(s State, reason string, now time.Time, jitter float64) []domain.Event {
	if !s.Exists || s.Over() || now.Before(s.DueAt) {
		return nil
	}
	events := s.cutShort(now)
	if !now.Before(s.ExpiresAt) {
		return append(events, s.expired())
	}
	return append(events, s.putOff(s.Attempts+1, reason, instant(now.Add(pause(s.round+1, jitter))))...)
}

// putOff gives up at once when the next attempt would come too late.
func (s State) putOff(attempt int, reason string, next time.Time) []domain.Event {
	deferred := Deferred{Attempt: attempt, Reason: reason, NextAt: next}
	if next.Before(s.ExpiresAt) {
		return []domain.Event{deferred}
	}
	s.LastError = reason
	deferred.NextAt = s.ExpiresAt
	return []domain.Event{deferred, s.expired()}
}

// GiveUp ends a message that has become useless.
func GiveUp(s State, reason string) []domain.Event {
	if !s.Exists || s.Over() {
		return nil
	}
	return []domain.Event{Abandoned{Reason: reason}}
}

// Retry has a message tried at once, because an administrator asks for it, and with new patience.
func Retry(s State, now time.Time) ([]domain.Event, error) {
	switch {
	case !s.Exists:
		return nil, domain.Refusef(domain.CodeNotFound, "there is no such mail")
	case s.State == StateSent:
		return nil, domain.Refusef(domain.CodeAlreadySent, "the mail has already been sent")
	case s.State == StateSending:
		return nil, domain.Refusef(domain.CodeBeingSent, "the mail is being sent right now")
	case s.BearsLink() && !now.Before(s.Queued.ExpiresAt):
		return nil, domain.Refusef(domain.CodeLinkExpired,
			"the link in the mail has expired: the person has to request a new one")
	}
	expires := s.Queued.ExpiresAt
	if !s.BearsLink() {
		expires = instant(now.Add(Patience))
	}
	return []domain.Event{Retried{ExpiresAt: expires}}, nil
}

// pause before the attempt after the n-th one that failed.
func pause(n int, jitter float64) time.Duration {
	length := longestPause
	if n = max(n, 1); n <= 11 {
		length = min(firstPause<<(n-1), longestPause)
	}
	return time.Duration(float64(length) * (0.8 + 0.4*jitter))
}
