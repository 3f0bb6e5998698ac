package settings

import (
	"slices"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/mailmessage"
)

// MailRoutesStream is the stream of the routes of mail.
const MailRoutesStream = "settings-mailroutes"

// MailRouteSet chooses the mail account that sends one feature's mail: for one company, or for all (uuid.Nil).
type MailRouteSet struct {
	Feature       string                    `json:"feature"`
	CompanyID     uuid.UUID                 `json:"company_id,omitzero"`
	MailAccountID domain.Changed[uuid.UUID] `json:"mail_account_id"`
}

func (MailRouteSet) EventType() string { return "settings.mail_route_set" }

func (e MailRouteSet) Summary() string {
	whose := " in all companies"
	if e.CompanyID != uuid.Nil {
		whose = " in one company"
	}
	if e.MailAccountID.To == uuid.Nil {
		return "mail account for " + e.Feature + whose + " no longer chosen"
	}
	return "mail account for " + e.Feature + whose + " chosen"
}

// MailRoute is where a route applies. CompanyID is uuid.Nil for all companies.
type MailRoute struct {
	Feature   string
	CompanyID uuid.UUID
}

// MailRoutesState is the fold of the routes: mail account by place.
type MailRoutesState struct{ Routes map[MailRoute]uuid.UUID }

// Evolve folds one event into the state.
func (s *MailRoutesState) Evolve(event domain.Event) {
	e, ok := event.(MailRouteSet)
	if !ok {
		return
	}
	if s.Routes == nil {
		s.Routes = map[MailRoute]uuid.UUID{}
	}
	place := MailRoute{e.Feature, e.CompanyID}
	if e.MailAccountID.To == uuid.Nil {
		delete(s.Routes, place)
		return
	}
	s.Routes[place] = e.MailAccountID.To
}

// SetMailRoute chooses a mail account, uuid.Nil for none. An unknown one, or an unknown company, is for the caller to
// refuse.
func SetMailRoute(s MailRoutesState, place MailRoute, account uuid.UUID) ([]domain.Event, error) {
	if !slices.Contains(mailmessage.Features, place.Feature) {
		return nil, domain.Refusef(domain.CodeNotFound, "there is no mail feature %q", place.Feature)
	}
	if chosen, ok := domain.Change(s.Routes[place], &account); ok {
		return []domain.Event{MailRouteSet{Feature: place.Feature, CompanyID: place.CompanyID, MailAccountID: chosen}},
			nil
	}
	return nil, nil
}
