package httpapi

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
)

type newCompany struct {
	Name string `json:"name" maxLength:"200" example:"Nova Energy" doc:"Unique, case-sensitive"`
}

func (b *newCompany) command(problems *domain.Invalid) company.Details {
	details := company.Details{Name: b.Name}
	merge(problems, details.Normalized().Validate())
	return details
}

type companyChanges struct {
	Name Optional[string] `json:"name,omitzero" maxLength:"200" nullable:"false" example:"Nova Energy Group"`
}

func (b *companyChanges) command(problems *domain.Invalid) company.Patch {
	patch := company.Patch{Name: b.Name.patch("name", problems)}
	merge(problems, patch.Validate())
	return patch
}

type cabinetPassword struct {
	Password string `json:"password" maxLength:"1024" writeOnly:"true" doc:"At least 12 characters; can't be read back"`
}

func (b *cabinetPassword) command(*domain.Invalid) string { return b.Password }

type defaultMailAccount struct {
	MailAccountID Optional[string] `json:"mail_account_id" format:"uuid" doc:"null for none"`
}

func (b *defaultMailAccount) command(problems *domain.Invalid) uuid.UUID {
	if chosen := b.MailAccountID.patch("mail_account_id", problems); chosen != nil {
		return readID("mail_account_id", *chosen, problems)
	}
	return uuid.Nil
}

func (s *server) companies() resource[projections.Company] {
	return resource[projections.Company]{
		path: "/companies", name: "company", tag: "Companies", module: "companies", kind: company.Kind,
		read: byID(s.ReadModels.Company), asOf: byIDAsOf(s.ReadModels.CompanyAsOf),
		revision: func(c projections.Company) eventstore.Revision { return c.Revision },
		belongs:  func(c projections.Company) uuid.UUID { return c.ID },
	}
}

func (s *server) addCompanies() {
	companies := s.companies()
	registerCreate[newCompany](s, companies, operation{summary: "Create a company"}, s.Commands.CreateCompany)
	register(s, operation{
		method: http.MethodGet, path: "/companies", id: "list-companies", tag: companies.tag,
		required: companies.needs(domain.View), summary: "List companies",
	}, func(ctx context.Context, in *NamedList) (*list[projections.Company], error) {
		return listOf(s.ReadModels.Companies(ctx,
			projections.CompanyFilter{
				Query: in.Query, ID: infoOf(ctx).reach.within(uuid.Nil), Retired: in.Retired.pointer(),
			}, in.request()))
	})
	registerGet(s, companies, "One company, now or as it was")
	registerChange[companyChanges](s, companies, operation{summary: "Change a company"}, s.Commands.ChangeCompany)
	registerChange[cabinetPassword](s, companies, operation{
		method: http.MethodPut, path: "/cabinet-password", id: "set-cabinet-password",
		summary:     "Set the cabinet password",
		description: "People of the company enter it with their e-mail address to ask for a first-login link.",
	}, s.Commands.SetCabinetPassword)
	registerChange[defaultMailAccount](s, companies, operation{
		method: http.MethodPut, path: "/default-mail-account", id: "set-default-mail-account",
		summary: "Choose the mail account that sends the company's mail",
	}, s.Commands.SetDefaultMailAccount)
	registerActForReason(s, companies, "retire", operation{
		summary: "Retire a company", description: "Its name is free again; its history stays.",
	}, s.Commands.RetireCompany)
	registerHistory(s, companies)
}
