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
	PasswordSet{}, PasswordRehashed{}, PasswordResetRequested{}, FirstLoginRequested{}, FirstLoginUsed{},
	TwoFactorPrepared{}, TwoFactorEnrolled{}, BackupCodesReplaced{}, BackupCodeUsed{}, TwoFactorDisabled{},
	TwoFactorReset{},
	SessionsEnded{},
}

// PasswordSet replaces the local password by a new one, as its sealed Argon2id hash. Link is the reset link that was
// used, uuid.Nil without one.
type PasswordSet struct {
	Hash domain.Sealed `json:"hash" history:"-" secret:"true"`
	Link uuid.UUID     `json:"link,omitzero" history:"-"`
}

// PasswordRehashed keeps the password but stores its hash with newer parameters.
type PasswordRehashed struct {
	Hash domain.Sealed `json:"hash" history:"-" secret:"true"`
}

// PasswordResetRequested asks for a link with which a new password can be set, once, until ExpiresAt. The link's
// token is signed and computed from this event when it is needed; it is stored nowhere.
type PasswordResetRequested struct {
	Link      uuid.UUID `json:"link" history:"-"`
	ExpiresAt time.Time `json:"expires_at"`
	Language  string    `json:"language,omitempty" history:"-"`
}

// FirstLoginRequested asks for a link that signs in once, with the company's cabinet password.
type FirstLoginRequested struct {
	Link      uuid.UUID `json:"link" history:"-"`
	ExpiresAt time.Time `json:"expires_at"`
	Language  string    `json:"language,omitempty" history:"-"`
}

// FirstLoginUsed says that the link was used.
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

func (PasswordSet) EventType() string            { return "user.password_set" }
func (PasswordRehashed) EventType() string       { return "user.password_rehashed" }
func (PasswordResetRequested) EventType() string { return "user.password_reset_requested" }
func (FirstLoginRequested) EventType() string    { return "user.first_login_requested" }
func (FirstLoginUsed) EventType() string         { return "user.first_login_used" }
func (TwoFactorPrepared) EventType() string      { return "user.two_factor_prepared" }
func (TwoFactorEnrolled) EventType() string      { return "user.two_factor_enrolled" }
func (BackupCodesReplaced) EventType() string    { return "user.backup_codes_replaced" }
func (BackupCodeUsed) EventType() string         { return "user.backup_code_used" }
func (TwoFactorDisabled) EventType() string      { return "user.two_factor_disabled" }
func (TwoFactorReset) EventType() string         { return "user.two_factor_reset" }
func (SessionsEnded) EventType() string          { return "user.sessions_ended" }

func (e PasswordSet) Summary() string {
	if e.Link != uuid.Nil {
		return "password set by a reset link"
	}
	return "password set"
}
func (PasswordRehashed) Summary() string       { return "password hash renewed with stronger parameters" }
func (PasswordResetRequested) Summary() string { return "password reset link requested" }
func (FirstLoginRequested) Summary() string    { return "first-login link requested" }
func (FirstLoginUsed) Summary() string         { return "first-login link used" }
func (TwoFactorPrepared) Summary() string      { return "two-factor setup started" }
func (TwoFactorEnrolled) Summary() string      { return "two-factor device confirmed" }
func (BackupCodesReplaced) Summary() string    { return "backup codes replaced" }
func (BackupCodeUsed) Summary() string         { return "backup code used" }
func (TwoFactorDisabled) Summary() string      { return "two-factor switched off" }
func (e TwoFactorReset) Summary() string       { return "two-factor reset" + domain.Because(e.Reason) }
func (SessionsEnded) Summary() string          { return "all sessions ended" }

// EndsSessions says whether the sessions of an account end with an event; KeepsOwnSession, whether all do.
func EndsSessions(event domain.Event) bool {
	switch event.(type) {
	case PasswordSet, TwoFactorReset, Deactivated, DirectoryDisabled, SessionsEnded:
		return true
	}
	return false
}

// KeepsOwnSession says whether the session in which somebody causes an event continues when the others end with it: the
// one in which people change their own password does. A link is used outside of every session.
func KeepsOwnSession(event domain.Event) bool {
	_, own := event.(PasswordSet)
	return own
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
	switch e := event.(type) {
	case PasswordSet:
		s.Password, s.ResetLinks = e.Hash, nil
		s.PasswordsSet++
	case PasswordRehashed:
		s.Password = e.Hash
	case PasswordResetRequested:
		s.ResetLinks = append(s.ResetLinks, Link{e.Link, e.ExpiresAt})
	case FirstLoginRequested:
		s.FirstLogins = append(s.FirstLogins, Link{e.Link, e.ExpiresAt})
	case FirstLoginUsed:
		s.FirstLogins = nil
	case EmailChanged, Deactivated, DirectoryLinked:
		// what was sent to the former address, or before, opens nothing any more
		s.ResetLinks, s.FirstLogins = nil, nil
	case SessionsEnded:
		s.SessionsEnded++
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

// Link is a link that was asked for and may still be used.
type Link struct {
	ID        uuid.UUID
	ExpiresAt time.Time
}

// usable finds a link that has not expired.
func usable(links []Link, id uuid.UUID, now time.Time) bool {
	return slices.ContainsFunc(links, func(link Link) bool { return link.ID == id && now.Before(link.ExpiresAt) })
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
