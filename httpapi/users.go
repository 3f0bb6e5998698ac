package httpapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
)

// newUser is the body of POST /users.
type newUser struct {
	Email            string         `json:"email" maxLength:"254" example:"olena.kovalenko@example.com" doc:"Also the user name; unique, not case-sensitive"`
	FirstName        string         `json:"first_name,omitempty" maxLength:"100" example:"Олена"`
	LastName         string         `json:"last_name,omitempty" maxLength:"100" example:"Коваленко"`
	Phone            string         `json:"phone,omitempty" maxLength:"50" example:"+380 44 000 00 00"`
	CompanyID        string         `json:"company_id,omitempty" format:"uuid" nullable:"true"`
	Department       string         `json:"department,omitempty" maxLength:"200" example:"Risk"`
	Position         string         `json:"position,omitempty" maxLength:"200" example:"Analyst"`
	Active           Optional[bool] `json:"active,omitzero" doc:"Default true"`
	StartDate        string         `json:"start_date,omitempty" format:"date" nullable:"true" doc:"First day of access, in UTC"`
	EndDate          string         `json:"end_date,omitempty" format:"date" nullable:"true" doc:"Last day of access, in UTC"`
	Superuser        Optional[bool] `json:"superuser,omitzero" doc:"Default false; only a superuser can set it"`
	RequireTwoFactor Optional[bool] `json:"require_two_factor,omitzero" doc:"Default false"`
	RoleIDs          []string       `json:"role_ids,omitempty" format:"uuid" maxItems:"1000"`
	GroupIDs         []string       `json:"group_ids,omitempty" format:"uuid" maxItems:"1000" doc:"Only a superuser can give groups with permissions that the caller doesn't have"`
}

func (b *newUser) command(problems *domain.Invalid) commands.RegisterUser {
	command := commands.RegisterUser{
		Details: user.Details{
			Email: b.Email, FirstName: b.FirstName, LastName: b.LastName, Phone: b.Phone,
			CompanyID: readID("company_id", b.CompanyID, problems), Department: b.Department, Position: b.Position,
			StartDate: readDate("start_date", b.StartDate, problems),
			EndDate:   readDate("end_date", b.EndDate, problems),
		},
		Inactive:         flagEquals(readFlag("active", b.Active, problems), false),
		Superuser:        flagEquals(readFlag("superuser", b.Superuser, problems), true),
		RequireTwoFactor: flagEquals(readFlag("require_two_factor", b.RequireTwoFactor, problems), true),
		RoleIDs:          readIDs("role_ids", b.RoleIDs, problems),
		GroupIDs:         readIDs("group_ids", b.GroupIDs, problems),
	}
	merge(problems, command.Details.Normalized().Validate())
	return command
}

// flagEquals says whether a flag stands in the body with that value.
func flagEquals(flag *bool, value bool) bool { return flag != nil && *flag == value }

// readIDs reads a list of ids of a body.
func readIDs(field string, texts []string, problems *domain.Invalid) []uuid.UUID {
	list := make([]uuid.UUID, len(texts))
	for i, text := range texts {
		list[i] = readID(field+"."+strconv.Itoa(i), text, problems)
	}
	return list
}

// userChanges is the body of PATCH /users/{id}.
type userChanges struct {
	Email            Optional[string]   `json:"email,omitzero" maxLength:"254" nullable:"false"`
	FirstName        Optional[string]   `json:"first_name,omitzero" maxLength:"100"`
	LastName         Optional[string]   `json:"last_name,omitzero" maxLength:"100"`
	Phone            Optional[string]   `json:"phone,omitzero" maxLength:"50"`
	CompanyID        Optional[string]   `json:"company_id,omitzero" format:"uuid" doc:"The same request must remove the account from groups of other companies (group_ids)"`
	Department       Optional[string]   `json:"department,omitzero" maxLength:"200"`
	Position         Optional[string]   `json:"position,omitzero" maxLength:"200" example:"Head of risk"`
	Active           Optional[bool]     `json:"active,omitzero" doc:"false ends the account's sessions at once; POST /users/{id}/deactivate takes a reason"`
	StartDate        Optional[string]   `json:"start_date,omitzero" format:"date"`
	EndDate          Optional[string]   `json:"end_date,omitzero" format:"date" example:"2027-06-30"`
	Superuser        Optional[bool]     `json:"superuser,omitzero" doc:"Only a superuser can change it"`
	RequireTwoFactor Optional[bool]     `json:"require_two_factor,omitzero"`
	RoleIDs          Optional[[]string] `json:"role_ids,omitzero" format:"uuid" maxItems:"1000" doc:"Replaces the whole list"`
	GroupIDs         Optional[[]string] `json:"group_ids,omitzero" format:"uuid" maxItems:"1000" doc:"Replaces the whole list"`
}

func (b *userChanges) command(problems *domain.Invalid) commands.ChangeUser {
	command := commands.ChangeUser{
		Patch: user.Patch{
			Email: b.Email.patch("email", problems), FirstName: b.FirstName.patch("first_name", problems),
			LastName: b.LastName.patch("last_name", problems), Phone: b.Phone.patch("phone", problems),
			CompanyID:  converted("company_id", b.CompanyID.patch("company_id", problems), problems, readID),
			Department: b.Department.patch("department", problems), Position: b.Position.patch("position", problems),
			StartDate:        converted("start_date", b.StartDate.patch("start_date", problems), problems, readDate),
			EndDate:          converted("end_date", b.EndDate.patch("end_date", problems), problems, readDate),
			Active:           readFlag("active", b.Active, problems),
			Superuser:        readFlag("superuser", b.Superuser, problems),
			RequireTwoFactor: readFlag("require_two_factor", b.RequireTwoFactor, problems),
		},
		RoleIDs:  converted("role_ids", b.RoleIDs.patch("role_ids", problems), problems, readIDs),
		GroupIDs: converted("group_ids", b.GroupIDs.patch("group_ids", problems), problems, readIDs),
	}
	merge(problems, command.Validate())
	return command
}

func (s *server) users() resource[projections.User] {
	return resource[projections.User]{
		path: "/users", name: "user", tag: "Accounts", module: "users", kind: user.Kind,
		read: byID(func(ctx context.Context, id uuid.UUID) (projections.User, error) {
			return s.ReadModels.User(ctx, id, s.Now())
		}),
		asOf:     byIDAsOf(s.ReadModels.UserAsOf),
		revision: func(u projections.User) eventstore.Revision { return u.Revision },
		belongs:  func(u projections.User) uuid.UUID { return idOf(u.CompanyID) },
	}
}

type listUsersRequest struct {
	QueryHeaders
	PageParams
	Query     string              `query:"query" maxLength:"200" doc:"Words of the name or the e-mail address, or parts of them, in any order"`
	CompanyID uuid.UUID           `query:"company_id" format:"uuid"`
	RoleID    uuid.UUID           `query:"role_id" format:"uuid"`
	GroupID   uuid.UUID           `query:"group_id" format:"uuid"`
	State     string              `query:"state" enum:"active,inactive,not_started,expired,directory_disabled"`
	Source    string              `query:"source" enum:"local,directory"`
	Superuser OptionalParam[bool] `query:"superuser"`
	TwoFactor OptionalParam[bool] `query:"two_factor" doc:"Whether a device is enrolled"`

	RequireTwoFactor OptionalParam[bool] `query:"require_two_factor"`
	HasPassword      OptionalParam[bool] `query:"has_password"`
	NeverSignedIn    bool                `query:"never_signed_in" doc:"Only those that were never signed in to"`
	EndsBefore       string              `query:"ends_before" format:"date" doc:"Only those whose last day is before this one"`

	endsBefore *domain.Date
}

// Resolve reads the day.
func (r *listUsersRequest) Resolve(huma.Context) []error {
	if r.EndsBefore == "" {
		return nil
	}
	var problems domain.Invalid
	day := readDate("ends_before", r.EndsBefore, &problems)
	r.endsBefore = &day
	return findings(problems)
}

type userSummaryRequest struct {
	QueryHeaders
	CompanyID uuid.UUID `query:"company_id" format:"uuid"`
}

type userSummaryAnswer struct{ Body projections.UserSummary }

func (s *server) addUsers() {
	users := s.users()
	registerCreate[newUser](s, users, operation{
		summary: "Create an account",
		description: "The account has no password: the person sets one with a reset or first-login link, or signs " +
			"in through the directory.",
		example: map[string]any{
			"email": "olena.kovalenko@example.com", "first_name": "Олена", "last_name": "Коваленко",
			"department": "Risk", "position": "Analyst",
			"start_date": "2026-12-01", "group_ids": []string{"01983c1c-2b7a-7c1e-9d5e-2f6a0c9b7e11"},
		},
	}, s.Commands.RegisterUser)
	register(s, operation{
		method: http.MethodGet, path: "/users", id: "list-users", tag: users.tag, required: users.needs(domain.View),
		summary: "List accounts",
	}, func(ctx context.Context, in *listUsersRequest) (*list[projections.User], error) {
		return listOf(s.ReadModels.Users(ctx, projections.UserFilter{
			Query: in.Query, CompanyID: infoOf(ctx).reach.within(in.CompanyID), RoleID: given(in.RoleID),
			GroupID: given(in.GroupID),
			State:   in.State, Source: in.Source, Superuser: in.Superuser.pointer(), TwoFactor: in.TwoFactor.pointer(),
			RequireTwoFactor: in.RequireTwoFactor.pointer(), HasPassword: in.HasPassword.pointer(),
			NeverSignedIn: in.NeverSignedIn, EndsBefore: in.endsBefore,
		}, in.request(), s.Now()))
	})
	register(s, operation{
		method: http.MethodGet, path: "/users/summary", id: "user-summary", tag: users.tag,
		required: users.needs(domain.View), summary: "How many accounts there are of each kind",
	}, func(ctx context.Context, in *userSummaryRequest) (*userSummaryAnswer, error) {
		summary, err := s.ReadModels.UserSummary(ctx, infoOf(ctx).reach.within(in.CompanyID), s.Now())
		return &userSummaryAnswer{Body: summary}, err
	})
	registerGet(s, users, "One account, now or as it was")
	registerChange[userChanges](s, users, operation{
		summary: "Change an account", description: "All changes happen together or not at all; null clears a field.",
		example: map[string]any{"position": "Head of risk", "end_date": "2027-06-30", "phone": nil},
	}, s.Commands.ChangeUser)
	registerActForReason(s, users, "deactivate", operation{
		summary: "Deactivate an account", description: "Its sessions end at once.",
	}, s.Commands.DeactivateUser)
	registerAct(s, users, "activate", operation{summary: "Activate an account again"}, s.Commands.ActivateUser)
	registerHistory(s, users)
}

// given is nil for an id that the query doesn't have.
func given(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}
