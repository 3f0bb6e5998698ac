package user

import (
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
)

// SetPassword replaces the local password by the sealed hash of a new one.
func SetPassword(s State, hash domain.Sealed) ([]domain.Event, error) {
	if !s.Exists {
		return nil, ErrNoAccount()
	}
	return []domain.Event{PasswordSet{Hash: hash}}, nil
}

// ErrPasswordElsewhere refuses to give a local password to an account that a directory signs in.
var ErrPasswordElsewhere = &domain.Error{
	Code: domain.CodeDirectoryAccount, Detail: "the password of this account is kept in the directory: change it there",
}

// ReplacePassword is SetPassword by the owner, who has confirmed the password of the account as it was at asked: one
// that was set meanwhile is not replaced without being asked for.
func ReplacePassword(s, asked State, hash domain.Sealed) ([]domain.Event, error) {
	switch {
	case s.Source == SourceDirectory:
		return nil, ErrPasswordElsewhere
	case s.PasswordsSet != asked.PasswordsSet:
		return nil, domain.Refusef(domain.CodeRevisionMismatch,
			"the password was changed in the meantime: send the new one as the current password")
	}
	return SetPassword(s, hash)
}

// RehashPassword stores the same password with newer parameters, unless it was changed meanwhile.
func RehashPassword(s State, from, to domain.Sealed) ([]domain.Event, error) {
	if !slices.Equal(s.Password, from) {
		return nil, nil
	}
	return []domain.Event{PasswordRehashed{Hash: to}}, nil
}

// UseResetLink sets a password by a link. What the link was opened under, the caller has checked; it is void with the
// event. vouched says that the link's mail took no way which somebody who is no superuser chose.
func UseResetLink(s State, link uuid.UUID, hash domain.Sealed, vouched, hasRights bool) []domain.Event {
	// whoever gave the account its rights, or may do as much, knows the address
	doubtful := !hasRights && (s.AddressDoubtful || !vouched)
	return []domain.Event{PasswordSet{Hash: hash, Link: link, Doubtful: doubtful}}
}

// ErrLink says nothing about why.
var ErrLink = &domain.Error{
	Code: domain.CodeInvalidLink, Detail: "the link is wrong, has already been used or has expired: ask for a new one",
}

// TakesResetLinks says whether a reset link may be sent and used: not by accounts that may not sign in, nor where the
// password is kept by a directory.
func (s State) TakesResetLinks(now time.Time) bool {
	return s.Exists && s.Source != SourceDirectory && s.CanSignIn(now) == ""
}

// TakesFirstLogins says whether a first-login link may be sent and used: as TakesResetLinks, until there is a password.
func (s State) TakesFirstLogins(now time.Time) bool {
	return s.TakesResetLinks(now) && !s.Password.Set()
}

// PrepareTwoFactor makes the sealed secret of a new device. It counts only when it is confirmed.
func PrepareTwoFactor(s State, secret domain.Sealed) ([]domain.Event, error) {
	if !s.Exists {
		return nil, ErrNoAccount()
	}
	if s.TwoFactor.Challenges() {
		return nil, domain.Refusef(domain.CodeTwoFactorEnrolled,
			"a device has already been confirmed: switch two-factor off first, or ask an administrator to reset it")
	}
	return []domain.Event{TwoFactorPrepared{Secret: secret}}, nil
}

// ConfirmTwoFactor makes the prepared device the second factor, with new backup codes. step is that of the right code.
func ConfirmTwoFactor(s State, codes []string, step int64) ([]domain.Event, error) {
	if !s.TwoFactor.Prepared.Set() {
		return nil, domain.Refusef(domain.CodeTwoFactorNotPrepared,
			"there is no device to confirm: call POST /me/two-factor first")
	}
	return []domain.Event{TwoFactorEnrolled{Codes: codes, Step: step}}, nil
}

// ReplaceBackupCodes makes the former codes void.
func ReplaceBackupCodes(s State, codes []string) ([]domain.Event, error) {
	if !s.TwoFactor.Enrolled {
		return nil, ErrNotEnrolled()
	}
	return []domain.Event{BackupCodesReplaced{Codes: codes}}, nil
}

// ErrNotEnrolled refuses what takes a device.
func ErrNotEnrolled() error {
	return domain.Refusef(domain.CodeTwoFactorNotEnrolled,
		"two-factor is not set up: set it up first with POST /me/two-factor")
}

// UseBackupCode makes one code void, which is done where there is no such code.
func UseBackupCode(s State, code string) []domain.Event {
	if !slices.Contains(s.TwoFactor.Codes, code) {
		return nil
	}
	return []domain.Event{BackupCodeUsed{Code: code, Left: len(s.TwoFactor.Codes) - 1}}
}

// DisableTwoFactor is the person's own switching off, which a requirement forbids.
func DisableTwoFactor(s State) ([]domain.Event, error) {
	switch {
	case !s.Exists:
		return nil, ErrNoAccount()
	case s.TwoFactorRequired:
		return nil, domain.Refusef(domain.CodeTwoFactorRequired,
			"an administrator requires two-factor for this account: ask an administrator to lift the requirement")
	case !s.TwoFactor.Enrolled && !s.TwoFactor.Prepared.Set():
		return nil, nil
	}
	return []domain.Event{TwoFactorDisabled{}}, nil
}

// ResetTwoFactor throws away a lost device and its codes; a requirement stays.
func ResetTwoFactor(s State, by By, reason string) ([]domain.Event, error) {
	reason, err := domain.Reason(reason, true)
	if err != nil {
		return nil, err
	}
	if err := s.changeable(by); err != nil {
		return nil, err
	}
	if by.Self {
		return nil, domain.Refusef(domain.CodeOwnAccount, "you can't reset two-factor for your own account: switch it "+
			"off with DELETE /me/two-factor, or ask another administrator")
	}
	if !s.TwoFactor.Enrolled && !s.TwoFactor.Prepared.Set() {
		return nil, nil
	}
	return []domain.Event{TwoFactorReset{Reason: reason}}, nil
}

// EndSessions ends all sessions. The log does not know which there are, so it is recorded each time.
func EndSessions(s State, by By) ([]domain.Event, error) {
	if !by.Self {
		if err := s.changeable(by); err != nil {
			return nil, err
		}
	}
	return []domain.Event{SessionsEnded{}}, nil
}

// Profile is what people may change of their own account; nil leaves a field.
type Profile struct {
	FirstName *string
	LastName  *string
	Phone     *string
	Language  *string
}

func (p Profile) patch() Patch {
	return Patch{FirstName: p.FirstName, LastName: p.LastName, Phone: p.Phone}
}

// Validate reports every wrong field that the profile names.
func (p Profile) Validate() error {
	problems := &domain.Invalid{}
	if invalid, ok := errors.AsType[*domain.Invalid](p.patch().Validate()); ok {
		problems = invalid
	}
	if p.Language != nil && !slices.Contains(domain.Languages, *p.Language) {
		problems.Add("language", domain.CodeUnknownLanguage, "must be en, uk or ru")
	}
	return problems.Err()
}

// ChangeProfile applies what people change of their own account.
func ChangeProfile(s State, profile Profile) ([]domain.Event, error) {
	if !s.Exists {
		return nil, ErrNoAccount()
	}
	if err := profile.Validate(); err != nil {
		return nil, err
	}
	events := changeDetails(s.Details, profile.patch().ApplyTo(s.Details), false)
	if language, ok := domain.Change(s.Language, profile.Language); ok {
		events = append(events, LanguageChanged{language})
	}
	return events, nil
}

// SetPhoto replaces the photo by a JPEG of the given size.
func SetPhoto(s State, jpeg []byte, width, height int) ([]domain.Event, error) {
	if !s.Exists {
		return nil, ErrNoAccount()
	}
	return []domain.Event{PhotoChanged{JPEG: jpeg, Width: width, Height: height}}, nil
}

// RemovePhoto takes the photo away.
func RemovePhoto(s State) ([]domain.Event, error) {
	if !s.HasPhoto {
		return nil, nil
	}
	return []domain.Event{PhotoRemoved{}}, nil
}
