package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/httpapi/sessions"
	"github.com/secboard/secboard/projections"
)

// ReadOnly is a field that only an administrator can change.
type ReadOnly struct{ Set bool }

// UnmarshalJSON notes that the field stands in the body.
func (r *ReadOnly) UnmarshalJSON([]byte) error {
	r.Set = true
	return nil
}

// Schema allows anything: what is given is refused in any case.
func (ReadOnly) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Description: "403 `read_only_field`: an administrator changes it with PATCH /users/{id}"}
}

// profileChanges is the body of PATCH /me.
type profileChanges struct {
	FirstName Optional[string] `json:"first_name,omitzero" maxLength:"100"`
	LastName  Optional[string] `json:"last_name,omitzero" maxLength:"100"`
	Phone     Optional[string] `json:"phone,omitzero" maxLength:"50"`
	Language  Optional[string] `json:"language,omitzero" nullable:"false" doc:"en, uk or ru"`

	Email      ReadOnly `json:"email,omitzero"`
	CompanyID  ReadOnly `json:"company_id,omitzero"`
	Company    ReadOnly `json:"company,omitzero"`
	Department ReadOnly `json:"department,omitzero"`
	Position   ReadOnly `json:"position,omitzero"`
}

// readOnly is the first field of the body that can't be changed here.
func (b *profileChanges) readOnly() string {
	for _, field := range []struct {
		name string
		ReadOnly
	}{{"email", b.Email}, {"company_id", b.CompanyID}, {"company", b.Company}, {"department", b.Department}, {
		"position", b.Position,
	}} {
		if field.Set {
			return field.name
		}
	}
	return ""
}

func (b *profileChanges) command(problems *domain.Invalid) user.Profile {
	profile := user.Profile{
		FirstName: b.FirstName.patch("first_name", problems), LastName: b.LastName.patch("last_name", problems),
		Phone: b.Phone.patch("phone", problems), Language: b.Language.patch("language", problems),
	}
	merge(problems, profile.Validate())
	return profile
}

type changeProfileRequest struct {
	ChangeHeaders
	CommandBody[profileChanges, user.Profile, *profileChanges]
}

type changePasswordRequest struct {
	Body struct {
		CurrentPassword string `json:"current_password,omitempty" maxLength:"1024" writeOnly:"true" doc:"Leave it out to set a first password after a first-login link"`
		NewPassword     string `json:"new_password" maxLength:"1024" writeOnly:"true" doc:"At least 12 characters; neither the e-mail address nor a common password"`
	}
}

// settled is an answer to a command without a resource to show.
type settled struct {
	Position string `header:"Secboard-Position" doc:"Opaque value for Secboard-Min-Position"`
}

const ownTag = "Own account"

// own answers commands on the account of whoever asks.
func (s *server) own() resource[projections.User] {
	account := s.users()
	account.path, account.module, account.belongs = "/me", "", nil
	return account
}

func (s *server) addOwnAccount() {
	register(s, operation{
		method: http.MethodGet, path: "/me", id: "own-account", tag: ownTag, required: signedIn,
		summary: "Your own account",
	}, func(ctx context.Context, _ *struct{ QueryHeaders }) (*one[projections.User], error) {
		account, err := s.ReadModels.User(ctx, infoOf(ctx).access.UserID, s.Now())
		if err != nil {
			return nil, err
		}
		return &one[projections.User]{ETag: etag(account.Revision), Body: account}, nil
	})
	registerCommand(s, operation{
		method: http.MethodPatch, path: "/me", id: "change-own-account", tag: ownTag, required: signedIn,
		summary: "Change your own account",
		description: "Names, phone and language. E-mail address, company, department and position are for " +
			"administrators: 403 `read_only_field`.",
		example: map[string]any{"phone": "+380 44 000 00 00", "language": "uk"},
	}, s.changeProfile)
	register(s, operation{
		method: http.MethodPut, path: "/me/password", id: "change-own-password", tag: ownTag,
		status: http.StatusNoContent, required: signedIn.evenLimited(),
		maxBody: maxLinkBody, summary: "Change your own password",
		description: "Every other session ends at once. A session that may only set up two-factor can set a first " +
			"password.",
	}, s.changePassword)
}

func (s *server) changeProfile(ctx context.Context, in *changeProfileRequest) (*answer[projections.User], error) {
	if field := in.Body.readOnly(); field != "" {
		return nil, &refusal{status: http.StatusForbidden, code: domain.CodeReadOnlyField, detail: field +
			" can only be changed by an administrator"}
	}
	caller, err := s.changer(ctx, in.ChangeHeaders)
	if err != nil {
		return nil, err
	}
	result, err := s.Commands.ChangeProfile(ctx, caller, infoOf(ctx).access.UserID, in.command)
	if err != nil {
		return nil, err
	}
	return s.own().changed(ctx, s, in.Prefer, result)
}

func (s *server) changePassword(ctx context.Context, in *changePasswordRequest) (*settled, error) {
	info := infoOf(ctx)
	if info.session.Kind != sessions.Full {
		account, err := s.ReadModels.User(ctx, info.access.UserID, s.Now())
		if err != nil {
			return nil, err
		}
		if account.HasPassword {
			return nil, errSetupOnly
		}
	}
	result, err := s.Commands.ChangeOwnPassword(ctx, s.caller(ctx), info.access.UserID, in.Body.CurrentPassword,
		in.Body.NewPassword)
	if err != nil {
		return nil, err
	}
	return &settled{Position: s.settle(ctx, result)}, nil
}
