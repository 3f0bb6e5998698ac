package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
)

type newCompany struct {
	Name string `json:"name" maxLength:"200" example:"Nova Energy" doc:"Unique, case-sensitive"`
}

// Resolve lets the domain check the body beside the schema.
func (b *newCompany) Resolve(huma.Context) []error {
	var problems domain.Invalid
	merge(&problems, company.Details{Name: b.Name}.Normalized().Validate())
	return findings(problems)
}

type companyChanges struct {
	Name Optional[string] `json:"name,omitzero" maxLength:"200" nullable:"false" example:"Nova Energy Group"`
}

func (b *companyChanges) patch(problems *domain.Invalid) company.Patch {
	patch := company.Patch{Name: b.Name.patch("name", problems)}
	if patch.Name != nil {
		merge(problems, company.Details{Name: *patch.Name}.Normalized().Validate())
	}
	return patch
}

// Resolve lets the domain check the body beside the schema.
func (b *companyChanges) Resolve(huma.Context) []error {
	var problems domain.Invalid
	b.patch(&problems)
	return findings(problems)
}

type cabinetPassword struct {
	Password string `json:"password" maxLength:"1024" writeOnly:"true" doc:"At least 12 characters; never readable again"`
}

type defaultMailAccount struct {
	MailAccountID Optional[string] `json:"mail_account_id" format:"uuid" doc:"null for none"`
}

type createCompanyRequest struct {
	CreateHeaders
	Body newCompany
}

type changeCompanyRequest struct {
	ChangeHeaders
	ByID
	Body companyChanges
}

type cabinetPasswordRequest struct {
	ChangeHeaders
	ByID
	Body cabinetPassword
}

type defaultMailAccountRequest struct {
	ChangeHeaders
	ByID
	Body defaultMailAccount
}

func (s *server) companies() resource[projections.Company] {
	return resource[projections.Company]{
		path: "/companies",
		read: func(ctx context.Context, id string) (projections.Company, error) {
			parsed, err := uuid.Parse(id)
			if err != nil {
				return projections.Company{}, err
			}
			return s.ReadModels.Company(ctx, parsed)
		},
		revision: func(c projections.Company) eventstore.Revision { return c.Revision },
	}
}

func (s *server) addCompanies() {
	const tag = "Companies"
	registerCommand(s, operation{
		method: http.MethodPost, path: "/companies", id: "create-company", tag: tag, status: http.StatusCreated,
		required: needs("companies", domain.Add), summary: "Create a company",
	}, func(ctx context.Context, in *createCompanyRequest) (*answer[projections.Company], error) {
		result, err := s.Commands.CreateCompany(ctx, s.caller(ctx), company.Details{Name: in.Body.Name})
		if err != nil {
			return nil, err
		}
		return s.companies().created(ctx, s, in.Prefer, result)
	})
	register(s, operation{
		method: http.MethodGet, path: "/companies", id: "list-companies", tag: tag, required: needs("companies", domain.View), summary: "List companies",
	}, func(ctx context.Context, in *NamedList) (*list[projections.Company], error) {
		return listOf(s.ReadModels.Companies(ctx, projections.CompanyFilter{Query: in.Query, Retired: in.Retired.pointer()}, in.request()))
	})
	register(s, operation{
		method: http.MethodGet, path: "/companies/{id}", id: "get-company", tag: tag, required: needs("companies", domain.View),
		summary: "One company, now or as it was",
	}, s.getCompany)
	registerCommand(s, operation{
		method: http.MethodPatch, path: "/companies/{id}", id: "change-company", tag: tag, required: needs("companies", domain.Edit), summary: "Change a company",
	}, s.changeCompany)
	registerCommand(s, operation{
		method: http.MethodPut, path: "/companies/{id}/cabinet-password", id: "set-cabinet-password", tag: tag, required: needs("companies", domain.Edit),
		summary: "Set the cabinet password", description: "With it and their e-mail address, people of the company ask for their first sign-in.",
	}, s.setCabinetPassword)
	registerCommand(s, operation{
		method: http.MethodPut, path: "/companies/{id}/default-mail-account", id: "set-default-mail-account", tag: tag,
		required: needs("companies", domain.Edit), summary: "Choose the mail account that sends the company's mail",
	}, s.setDefaultMailAccount)
	registerCommand(s, operation{
		method: http.MethodPost, path: "/companies/{id}/retire", id: "retire-company", tag: tag, required: needs("companies", domain.Edit),
		summary: "Take a company out of use", description: "Its name is free again; its history stays.",
	}, func(ctx context.Context, in *actForReasonRequest) (*answer[projections.Company], error) {
		caller, err := s.changer(ctx, in.ChangeHeaders)
		if err != nil {
			return nil, err
		}
		result, err := s.Commands.RetireCompany(ctx, caller, in.ID, in.Body.reason())
		if err != nil {
			return nil, err
		}
		return s.companies().changed(ctx, s, in.Prefer, result)
	})
}

func (s *server) getCompany(ctx context.Context, in *getRequest) (*one[projections.Company], error) {
	var found projections.Company
	var err error
	if at := in.AsOf.end(); at != nil {
		found, err = s.ReadModels.CompanyAsOf(ctx, in.ID, *at)
	} else {
		found, err = s.ReadModels.Company(ctx, in.ID)
	}
	if err != nil {
		return nil, err
	}
	return &one[projections.Company]{ETag: etag(found.Revision), Body: found}, nil
}

func (s *server) changeCompany(ctx context.Context, in *changeCompanyRequest) (*answer[projections.Company], error) {
	var problems domain.Invalid
	patch := in.Body.patch(&problems)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	caller, err := s.changer(ctx, in.ChangeHeaders)
	if err != nil {
		return nil, err
	}
	result, err := s.Commands.ChangeCompany(ctx, caller, in.ID, patch)
	if err != nil {
		return nil, err
	}
	return s.companies().changed(ctx, s, in.Prefer, result)
}

func (s *server) setCabinetPassword(ctx context.Context, in *cabinetPasswordRequest) (*answer[projections.Company], error) {
	caller, err := s.changer(ctx, in.ChangeHeaders)
	if err != nil {
		return nil, err
	}
	result, err := s.Commands.SetCabinetPassword(ctx, caller, in.ID, in.Body.Password)
	if err != nil {
		return nil, err
	}
	return s.companies().changed(ctx, s, in.Prefer, result)
}

func (s *server) setDefaultMailAccount(ctx context.Context, in *defaultMailAccountRequest) (*answer[projections.Company], error) {
	var problems domain.Invalid
	var mailAccount uuid.UUID
	if chosen := in.Body.MailAccountID.patch("mail_account_id", &problems); chosen != nil {
		mailAccount = readID("mail_account_id", *chosen, &problems)
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	caller, err := s.changer(ctx, in.ChangeHeaders)
	if err != nil {
		return nil, err
	}
	result, err := s.Commands.SetDefaultMailAccount(ctx, caller, in.ID, mailAccount)
	if err != nil {
		return nil, err
	}
	return s.companies().changed(ctx, s, in.Prefer, result)
}
