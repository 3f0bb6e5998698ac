package httpapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"image/png"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/pquerna/otp"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/httpapi/sessions"
)

// qrSide is the width and height of a QR code in pixels.
const qrSide = 256

type newDevice struct {
	Secret    string `json:"secret" doc:"Secret to type in, base32; shown only here"`
	URI       string `json:"otpauth_uri" doc:"URI for the authenticator app; shown only here"`
	QRPNGText string `json:"qr_png_base64" doc:"otpauth_uri as a QR code: a PNG in base64"`
}

type newDeviceAnswer struct {
	Position string `header:"Secboard-Position" doc:"Opaque value for Secboard-Min-Position"`
	Body     newDevice
}

type confirmDeviceRequest struct {
	Body struct {
		Code string `json:"code" maxLength:"20" example:"123456" writeOnly:"true" doc:"Code that the device shows now"`
	}
}

type backupCodesAnswer struct {
	Position string `header:"Secboard-Position" doc:"Opaque value for Secboard-Min-Position"`
	Body     struct {
		BackupCodes []string `json:"backup_codes" doc:"Each can be used once instead of a code; shown only here"`
	}
}

// confirmation is how a person shows again who is there.
type confirmation struct {
	Password string `json:"password,omitempty" maxLength:"1024" writeOnly:"true" doc:"Password of the account"`
	Code     string `json:"code,omitempty" maxLength:"20" example:"123456" writeOnly:"true" doc:"Code from the authenticator app, instead of password"`
}

// Resolve asks for one of the two.
func (b *confirmation) Resolve(huma.Context) []error {
	var problems domain.Invalid
	switch {
	case b.Password == "" && b.Code == "":
		problems.Add("password", domain.CodeRequired, "must be given, or code")
	case b.Password != "" && b.Code != "":
		problems.Add("code", domain.CodeConflict, "must not be given together with password")
	}
	return findings(problems)
}

type replaceBackupCodesRequest struct {
	Body confirmation
}

type disableTwoFactorRequest struct {
	Body struct {
		Password string `json:"password" maxLength:"1024" writeOnly:"true" doc:"Password of the account"`
	}
}

// addTwoFactor adds what a person does with their own device. None of the answers is kept for an Idempotency-Key: they
// hold secrets.
func (s *server) addTwoFactor() {
	const path = "/me/two-factor"
	register(s, operation{
		method: http.MethodPost, path: path, id: "prepare-two-factor", tag: ownTag, required: signedIn.evenLimited(),
		summary: "Start setting up two-factor",
		description: "Returns the secret of a new device, which takes effect once it is confirmed. If another " +
			"device is in use, switch two-factor off first.",
	}, s.prepareTwoFactor)
	register(s, operation{
		method: http.MethodPost, path: path + "/confirm", id: "confirm-two-factor", tag: ownTag,
		required: signedIn.evenLimited(), maxBody: maxLinkBody,
		summary: "Confirm the new device",
		description: "Sign-ins ask for its codes from now on. A session that could only set up two-factor becomes " +
			"a full one, with the same token.",
	}, s.confirmTwoFactor)
	register(s, operation{
		method: http.MethodPost, path: path + "/backup-codes", id: "replace-backup-codes", tag: ownTag,
		required: signedIn, maxBody: maxLinkBody, summary: "Create new backup codes",
		description: "The previous ones stop working. Takes the password, or a code of the device.",
		example:     map[string]any{"code": "123456"},
	}, func(ctx context.Context, in *replaceBackupCodesRequest) (*backupCodesAnswer, error) {
		codes, result, err := s.Commands.ReplaceBackupCodes(ctx, s.caller(ctx), infoOf(ctx).access.UserID,
			commands.Confirmation(in.Body))
		if err != nil {
			return nil, err
		}
		answered := &backupCodesAnswer{Position: s.settle(ctx, result)}
		answered.Body.BackupCodes = codes
		return answered, nil
	})
	register(s, operation{
		method: http.MethodDelete, path: path, id: "disable-two-factor", tag: ownTag, status: http.StatusNoContent,
		required: signedIn, maxBody: maxLinkBody,
		summary:     "Switch two-factor off",
		description: "Refused with 409 `two_factor_required` while an administrator requires two-factor.",
	}, func(ctx context.Context, in *disableTwoFactorRequest) (*settled, error) {
		result, err := s.Commands.DisableTwoFactor(ctx, s.caller(ctx), infoOf(ctx).access.UserID, in.Body.Password)
		if err != nil {
			return nil, err
		}
		return &settled{Position: s.settle(ctx, result)}, nil
	})
}

func (s *server) prepareTwoFactor(ctx context.Context, _ *struct{}) (*newDeviceAnswer, error) {
	device, result, err := s.Commands.PrepareTwoFactor(ctx, s.caller(ctx), infoOf(ctx).access.UserID)
	if err != nil {
		return nil, err
	}
	key, err := otp.NewKeyFromURL(device.URI)
	if err != nil {
		return nil, err
	}
	picture, err := key.Image(qrSide, qrSide)
	if err != nil {
		return nil, err
	}
	var encoded bytes.Buffer
	if err := png.Encode(&encoded, picture); err != nil {
		return nil, err
	}
	return &newDeviceAnswer{Position: s.settle(ctx, result), Body: newDevice{
		Secret: device.Secret, URI: device.URI, QRPNGText: base64.StdEncoding.EncodeToString(encoded.Bytes()),
	}}, nil
}

func (s *server) confirmTwoFactor(ctx context.Context, in *confirmDeviceRequest) (*backupCodesAnswer, error) {
	info := infoOf(ctx)
	codes, result, err := s.Commands.ConfirmTwoFactor(ctx, s.caller(ctx), info.access.UserID, in.Body.Code)
	if err != nil {
		return nil, err
	}
	if info.session.Kind != sessions.Full {
		// Should this fail, the backup codes must reach the person all the same: signing in again gives a full session.
		if err := s.sessions.MakeFull(ctx, info.session.ID); err != nil {
			s.Logger.WarnContext(ctx, "a session stays limited after two-factor was set up", "request_id", info.id,
				"error", err)
		}
	}
	answered := &backupCodesAnswer{Position: s.settle(ctx, result)}
	answered.Body.BackupCodes = codes
	return answered, nil
}
