package commands

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
)

// Issuer is the name under which authenticator apps show our accounts.
const Issuer = "SecBoard"

// period is the length of a TOTP time step, and skew how many steps before and after are accepted (RFC 6238).
const (
	period = 30
	skew   = 1
)

// stepOf finds the time step that a code belongs to, within the accepted skew.
func stepOf(secret, code string, now time.Time) (int64, bool) {
	code = strings.ReplaceAll(code, " ", "")
	for offset := int64(-skew); offset <= skew; offset++ {
		at := now.Add(time.Duration(offset*period) * time.Second)
		options := totp.ValidateOpts{Period: period, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1}
		if ok, err := totp.ValidateCustom(code, secret, at, options); err == nil && ok {
			return at.Unix() / period, true
		}
	}
	return 0, false
}

// Device is a new authenticator device as it is shown, once, to its owner.
type Device struct {
	Secret string // base32
	URI    string // otpauth://…
}

// PrepareTwoFactor makes a new device for somebody's own account. It counts once ConfirmTwoFactor was given its code.
func (h *Handler) PrepareTwoFactor(ctx context.Context, caller Caller, id uuid.UUID) (Device, Result, error) {
	var device Device
	stream := domain.StreamName(user.Kind, id)
	result, err := change(ctx, h, caller.needing(ownAccount), stream, func(s user.State) ([]domain.Event, error) {
		key, err := totp.Generate(totp.GenerateOpts{Issuer: Issuer, AccountName: s.Details.Email, Period: period,
			SecretSize: 20})
		if err != nil {
			return nil, err
		}
		device = Device{Secret: key.Secret(), URI: key.URL()}
		sealed, err := h.Keys.Seal([]byte(device.Secret), stream)
		if err != nil {
			return nil, err
		}
		return user.PrepareTwoFactor(s, sealed)
	})
	return device, result, err
}

// ConfirmTwoFactor makes the prepared device the second factor and gives its backup codes, which are shown only now.
func (h *Handler) ConfirmTwoFactor(ctx context.Context, caller Caller, id uuid.UUID,
	code string) ([]string, Result, error) {
	var codes []string
	stream := domain.StreamName(user.Kind, id)
	var result Result
	err := h.guessCode(ctx, caller, id, func(a attempt) (refusal string, err error) {
		result, err = change(ctx, h, caller.needing(ownAccount), stream, func(s user.State) ([]domain.Event, error) {
			if !s.TwoFactor.Prepared.Set() {
				return user.ConfirmTwoFactor(s, nil, 0)
			}
			secret, err := h.Keys.Open(s.TwoFactor.Prepared, stream)
			if err != nil {
				return nil, err
			}
			step, ok := stepOf(string(secret), code, h.Now())
			if !ok {
				return nil, errWrongCode()
			}
			if err := h.checksCodes(ctx, a); err != nil {
				return nil, err
			}
			var names []string
			if codes, names, err = h.newBackupCodes(id); err != nil {
				return nil, err
			}
			return user.ConfirmTwoFactor(s, names, step)
		})
		if isWrongCode(err) {
			refusal = signin.WrongCode
		}
		return refusal, err
	})
	return codes, result, err
}

// guessCode checks a code of somebody who is signed in. Wrong ones, for which check gives the reason beside the error,
// count as those of sign-ins do.
func (h *Handler) guessCode(ctx context.Context, caller Caller, id uuid.UUID,
	check func(attempt) (refusal string, err error)) error {
	a, err := h.attemptFor(ctx, caller, id)
	if err != nil {
		return err
	}
	if err := h.checksCodes(ctx, a); err != nil {
		return err
	}
	refusal, wrong := check(a)
	if refusal == "" {
		return wrong
	}
	//nolint:errorlint // the one value that refuseCode gives
	if err := h.refuseCode(ctx, caller, a, uuid.Nil, refusal); err != ErrCredentials {
		return err
	}
	return wrong
}

// checksCodes refuses where there were too many wrong codes. A right one that was checked before others were counted
// comes after them, so this is asked again before it is accepted.
func (h *Handler) checksCodes(ctx context.Context, a attempt) error {
	state, _, err := h.newestAttempts(ctx, a)
	if err == nil && state.CodesRefused(a.Now) {
		err = errCodesRefused()
	}
	return err
}

func errWrongCode() error {
	return wrongField("code", domain.CodeWrongCode,
		"is not the code that the device shows now: check the device's clock")
}

func isWrongCode(err error) bool {
	invalid, ok := errors.AsType[*domain.Invalid](err)
	return ok && slices.ContainsFunc(invalid.Fields, func(f domain.FieldError) bool {
		return f.Code == domain.CodeWrongCode
	})
}

func errLockedOut(field string) error {
	return wrongField(field, domain.CodeLockedOut,
		"isn't checked for some minutes: there were too many wrong passwords from your network")
}

func errCodesRefused() error {
	return wrongField("code", domain.CodeLockedOut, "isn't checked for up to an hour: there were too many wrong codes")
}

// Confirmation is how somebody who is signed in shows again who is there: by the password, or else by a code of the
// device.
type Confirmation struct {
	Password string
	Code     string
}

// confirm asks for the password or a code. Wrong ones count as those of sign-ins do, and a code works once.
func (h *Handler) confirm(ctx context.Context, caller Caller, id uuid.UUID, given Confirmation) error {
	if given.Password != "" {
		return h.confirmPassword(ctx, caller, id, "password", given.Password)
	}
	return h.guessCode(ctx, caller, id, func(a attempt) (refusal string, err error) {
		if !a.account.TwoFactor.Enrolled {
			return "", user.ErrNotEnrolled()
		}
		step, refusal, err := h.checkCode(a, given.Code)
		if err != nil {
			return "", err
		}
		if refusal == "" {
			_, err = h.decide(ctx, asOwner(caller, id), a, func(s signin.State) ([]domain.Event, error) {
				if s.CodesRefused(a.Now) {
					return nil, errCodesRefused()
				}
				events, ok := signin.Confirm(s, a.Attempt, step, h.Lockout())
				if !ok {
					return nil, errCodeUsed
				}
				return events, nil
			})
		}
		if errors.Is(err, errCodeUsed) {
			refusal, err = signin.CodeUsed, nil
		}
		if refusal != "" {
			err = errWrongCode()
		}
		return refusal, err
	})
}

// ReplaceBackupCodes makes a new set of backup codes, which are shown only now; the former ones are void.
func (h *Handler) ReplaceBackupCodes(ctx context.Context, caller Caller, id uuid.UUID,
	given Confirmation) ([]string, Result, error) {
	if err := h.confirm(ctx, caller, id, given); err != nil {
		return nil, Result{}, err
	}
	codes, names, err := h.newBackupCodes(id)
	if err != nil {
		return nil, Result{}, err
	}
	result, err := change(ctx, h, caller.needing(ownAccount), domain.StreamName(user.Kind, id),
		func(s user.State) ([]domain.Event, error) {
			return user.ReplaceBackupCodes(s, names)
		})
	return codes, result, err
}

// DisableTwoFactor switches two-factor off for somebody's own account, whose password is asked for again.
func (h *Handler) DisableTwoFactor(ctx context.Context, caller Caller, id uuid.UUID, password string) (Result, error) {
	if err := h.confirmPassword(ctx, caller, id, "password", password); err != nil {
		return Result{}, err
	}
	return change(ctx, h, caller.needing(ownAccount), domain.StreamName(user.Kind, id), user.DisableTwoFactor)
}

// ResetTwoFactor throws away the lost device of an account.
func (h *Handler) ResetTwoFactor(ctx context.Context, caller Caller, id uuid.UUID, reason string) (Result, error) {
	return h.changeAccount(ctx, caller, id, func(s user.State, by user.By) ([]domain.Event, error) {
		return user.ResetTwoFactor(s, by, reason)
	})
}

// newBackupCodes makes a set of codes of 50 random bits, as "abcde-fghij", and their names.
func (h *Handler) newBackupCodes(account uuid.UUID) (codes, names []string, err error) {
	for range user.BackupCodes {
		random := make([]byte, 7)
		if _, err := rand.Read(random); err != nil {
			return nil, nil, err
		}
		text := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(random))[:10]
		name, err := h.backupCodeName(account, text)
		if err != nil {
			return nil, nil, err
		}
		codes, names = append(codes, text[:5]+"-"+text[5:]), append(names, name)
	}
	return codes, names, nil
}

func (h *Handler) backupCodeName(account uuid.UUID, code string) (string, error) {
	code = strings.ToLower(strings.NewReplacer("-", "", " ", "").Replace(code))
	return h.Keys.Name("backup_code", account.String()+code)
}

func wrongField(field string, code domain.Code, message string) error {
	return &domain.Invalid{Fields: []domain.FieldError{{Field: field, Code: code, Message: message}}}
}
