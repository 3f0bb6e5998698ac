package user

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/signin"
)

// credentialEvents is the catalogue of what concerns the ways to sign in.
var credentialEvents = []domain.Event{
	PasswordSet{}, PasswordRehashed{}, FirstLoginUsed{},
	TwoFactorPrepared{}, TwoFactorEnrolled{}, BackupCodesReplaced{}, BackupCodeUsed{}, TwoFactorDisabled{},
	TwoFactorReset{},
	SessionsEnded{},
}

// PasswordSet replaces the local password by a new one, as its sealed Argon2id hash. Link is the reset link that was
// used, uuid.Nil without one. Doubtful: the link went where somebody who is no superuser sent it, so that whoever set
// the password may not be the person: it opens the account only while that has no rights.
type PasswordSet struct {
	Hash     domain.Sealed `json:"hash" history:"-" secret:"true"`
	Link     uuid.UUID     `json:"link,omitzero" history:"-"`
	Doubtful bool          `json:"doubtful,omitempty"`
}

// PasswordRehashed keeps the password but stores its hash with newer parameters.
type PasswordRehashed struct {
	Hash domain.Sealed `json:"hash" history:"-" secret:"true"`
}

// FirstLoginUsed says that a first-login link was used.
type FirstLoginUsed struct {
	Link uuid.UUID `json:"link" history:"-"`
}

// TwoFactorPrepared makes the secret of a new device, which does not count before it is confirmed.
type TwoFactorPrepared struct {
	Secret domain.Sealed `json:"secret" history:"-" secret:"true"`
}

// TwoFactorEnrolled makes the prepared device the account's second factor. Codes are fingerprints of its backup codes.
type TwoFactorEnrolled struct {
	Codes []string `json:"codes" history:"-" secret:"true"`
	Step  int64    `json:"step" history:"-"` // of the code that confirmed it
}

// BackupCodesReplaced makes the former backup codes void.
type BackupCodesReplaced struct {
	Codes []string `json:"codes" history:"-" secret:"true"`
}

// BackupCodeUsed makes one backup code void.
type BackupCodeUsed struct {
	Code string `json:"code" history:"-" secret:"true"`
	Left int    `json:"left"`
}

// TwoFactorDisabled is the person's own switching off.
type TwoFactorDisabled struct{}

// TwoFactorReset throws away a lost device and its codes.
type TwoFactorReset struct {
	Reason string `json:"reason"`
}

// SessionsEnded ends all sessions of the account.
type SessionsEnded struct{}

func (PasswordSet) EventType() string         { return "user.password_set" }
func (PasswordRehashed) EventType() string    { return "user.password_rehashed" }
func (FirstLoginUsed) EventType() string      { return "user.first_login_used" }
func (TwoFactorPrepared) EventType() string   { return "user.two_factor_prepared" }
func (TwoFactorEnrolled) EventType() string   { return "user.two_factor_enrolled" }
func (BackupCodesReplaced) EventType() string { return "user.backup_codes_replaced" }
func (BackupCodeUsed) EventType() string      { return "user.backup_code_used" }
func (TwoFactorDisabled) EventType() string   { return "user.two_factor_disabled" }
func (TwoFactorReset) EventType() string      { return "user.two_factor_reset" }
func (SessionsEnded) EventType() string       { return "user.sessions_ended" }

func (e PasswordSet) Summary() string {
	switch {
	case e.Doubtful:
		return "password set by a reset link that may not have gone to the person"
	case e.Link != uuid.Nil:
		return "password set by a reset link"
	}
	return "password set"
}
func (PasswordRehashed) Summary() string    { return "password hash renewed with stronger parameters" }
func (FirstLoginUsed) Summary() string      { return "first-login link used" }
func (TwoFactorPrepared) Summary() string   { return "two-factor setup started" }
func (TwoFactorEnrolled) Summary() string   { return "two-factor device confirmed" }
func (BackupCodesReplaced) Summary() string { return "backup codes replaced" }
func (BackupCodeUsed) Summary() string      { return "backup code used" }
func (TwoFactorDisabled) Summary() string   { return "two-factor switched off" }
func (e TwoFactorReset) Summary() string    { return "two-factor reset" + domain.Because(e.Reason) }
func (SessionsEnded) Summary() string       { return "all sessions ended" }

// EndsSessions says whether the sessions of an account end with an event: because it is closed, because a credential is
// another one, or because it may do more from then on. KeepsOwnSession says whether all do. What a group gives to all
// of its members at once is not in here: see group.Widens.
func EndsSessions(event domain.Event) bool {
	switch e := event.(type) {
	case Deactivated, DirectoryDisabled, SessionsEnded,
		PasswordSet, FirstLoginUsed, TwoFactorEnrolled, TwoFactorRequired, TwoFactorReset,
		SuperuserGranted, GroupJoined:
		return true
	case AccessPeriodChanged:
		return e.extends()
	}
	return false
}

// KeepsOwnSession says whether the session of the person in which the person causes an event continues when the others
// end with it: nobody gains anything by what they may do to their own account. A link is used outside of every session.
func KeepsOwnSession(event domain.Event) bool {
	switch event.(type) {
	case PasswordSet, TwoFactorEnrolled, TwoFactorRequired, GroupJoined:
		return true
	}
	return false
}

// voidsLinks says whether links and challenges are void with an event: with the sessions, and when what was sent to the
// former address, or before, must open nothing any more.
func voidsLinks(event domain.Event) bool {
	switch event.(type) {
	case EmailChanged, DirectoryLinked, DirectoryUnlinked:
		return true
	}
	return EndsSessions(event)
}

// BackupCodes is how many backup codes a set has.
const BackupCodes = 10

// TwoFactor is the state of an account's second factor.
type TwoFactor struct {
	Enrolled  bool
	Suspended bool          // lifted by an administrator: no challenge until a new device is confirmed
	Secret    domain.Sealed // of the confirmed device
	Prepared  domain.Sealed // of a device that is not confirmed yet
	Codes     []string      // fingerprints of the backup codes that are left
	Step      int64         // of the code that confirmed the device
}

// Challenges says whether a sign-in is asked for the second factor.
func (f TwoFactor) Challenges() bool { return f.Enrolled && !f.Suspended }

func (s *State) evolveCredentials(event domain.Event) {
	if voidsLinks(event) {
		s.Mark++
	}
	switch e := event.(type) {
	case PasswordSet:
		s.Password, s.PasswordDoubtful = e.Hash, e.Doubtful
		s.PasswordsSet++
	case PasswordRehashed:
		s.Password = e.Hash
	case EmailChanged:
		s.AddressDoubtful = e.Doubtful
		s.PasswordDoubtful = s.PasswordDoubtful || e.Doubtful && s.PasswordsSet > 0
	case TwoFactorPrepared:
		s.TwoFactor.Prepared = e.Secret
	case TwoFactorEnrolled:
		s.TwoFactor = TwoFactor{Enrolled: true, Secret: s.TwoFactor.Prepared, Codes: e.Codes, Step: e.Step}
	case BackupCodesReplaced:
		s.TwoFactor.Codes = e.Codes
	case BackupCodeUsed:
		s.TwoFactor.Codes = slices.DeleteFunc(slices.Clone(s.TwoFactor.Codes), func(code string) bool {
			return code == e.Code
		})
	case TwoFactorDisabled, TwoFactorReset:
		s.TwoFactor = TwoFactor{}
	case TwoFactorRequired:
		s.TwoFactor.Suspended = false
	case TwoFactorRequirementLifted:
		s.TwoFactor.Suspended = s.TwoFactor.Enrolled
	}
}

// CanSignIn gives the reason of package signin for which the account may not sign in at a time, or "" when it may.
func (s State) CanSignIn(now time.Time) string {
	today := domain.DateOf(now)
	switch {
	case !s.Active:
		return signin.Inactive
	case s.Directory.Disabled:
		return signin.DirectoryDisabled
	case !s.Details.StartDate.IsZero() && today.Before(s.Details.StartDate):
		return signin.NotStarted
	case !s.Details.EndDate.IsZero() && s.Details.EndDate.Before(today):
		return signin.Expired
	}
	return ""
}
