package settings_test

import (
	"testing"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/scenario"
	"github.com/secboard/secboard/domain/settings"
)

func TestContactSettings(t *testing.T) {
	t.Parallel()
	change := func(patch settings.ContactPatch) func(settings.ContactState) ([]domain.Event, error) {
		return func(s settings.ContactState) ([]domain.Event, error) { return settings.ChangeContact(s, patch) }
	}
	recipients, none := []string{" office@example.com", "boss@example.com", "office@example.com"}, []string{}
	set := settings.ContactChanged{
		Recipients: domain.Changed[[]string]{To: []string{"office@example.com", "boss@example.com"}},
	}
	scenario.Given[settings.ContactState]().When(change(settings.ContactPatch{Recipients: &recipients})).Then(t, set)
	scenario.Given[settings.ContactState](set).When(change(settings.ContactPatch{Recipients: &recipients})).Then(t)
	scenario.Given[settings.ContactState](set).When(change(settings.ContactPatch{Recipients: &none})).
		Then(t, settings.ContactChanged{Recipients: domain.Changed[[]string]{From: set.Recipients.To, To: none}})

	reply, off := &settings.AutoReply{Subject: "Thank you "}, (*settings.AutoReply)(nil)
	on := settings.ContactChanged{
		AutoReply: domain.Changed[bool]{To: true}, AutoReplySubject: domain.Changed[string]{To: "Thank you"},
	}
	scenario.Given[settings.ContactState]().When(change(settings.ContactPatch{AutoReply: &reply})).Then(t, on)
	scenario.Given[settings.ContactState](on).When(change(settings.ContactPatch{AutoReply: &reply})).Then(t)
	scenario.Given[settings.ContactState](on).When(change(settings.ContactPatch{AutoReply: &off})).Then(t,
		settings.ContactChanged{
			AutoReply: domain.Changed[bool]{From: true}, AutoReplySubject: domain.Changed[string]{From: "Thank you"},
		})
	plain := &settings.AutoReply{}
	scenario.Given[settings.ContactState]().When(change(settings.ContactPatch{AutoReply: &plain})).
		Then(t, settings.ContactChanged{AutoReply: domain.Changed[bool]{To: true}})

	social, wrong := map[string]string{"linkedin": "javascript:alert(1)"}, "x"
	scenario.Given[settings.ContactState]().When(
		change(settings.ContactPatch{Social: &social, ReplyEmail: &wrong})).ThenInvalid(t, "reply_email",
		"social.linkedin")
}

func TestMailRoutes(t *testing.T) {
	t.Parallel()
	account, company := uuid.New(), uuid.New()
	route := func(place settings.MailRoute, account uuid.UUID) func(settings.MailRoutesState) ([]domain.Event, error) {
		return func(s settings.MailRoutesState) ([]domain.Event, error) {
			return settings.SetMailRoute(s, place, account)
		}
	}
	forAll, forOne := settings.MailRoute{Feature: mailmessage.FirstLogin},
		settings.MailRoute{Feature: mailmessage.FirstLogin, CompanyID: company}
	chosen := settings.MailRouteSet{
		Feature: mailmessage.FirstLogin, MailAccountID: domain.Changed[uuid.UUID]{To: account},
	}
	ofOne := settings.MailRouteSet{
		Feature: mailmessage.FirstLogin, CompanyID: company, MailAccountID: domain.Changed[uuid.UUID]{To: account},
	}
	scenario.Given[settings.MailRoutesState]().When(route(forAll, account)).Then(t, chosen)
	scenario.Given[settings.MailRoutesState](chosen).When(route(forAll, account)).Then(t)
	scenario.Given[settings.MailRoutesState](chosen).When(route(forOne, account)).Then(t, ofOne)
	scenario.Given[settings.MailRoutesState](chosen, ofOne).When(route(forOne, uuid.Nil)).
		Then(t, settings.MailRouteSet{Feature: mailmessage.FirstLogin, CompanyID: company,
			MailAccountID: domain.Changed[uuid.UUID]{From: account}})
	scenario.Given[settings.MailRoutesState]().When(
		route(settings.MailRoute{Feature: "newsletter"}, account)).ThenRefused(t, domain.CodeNotFound)
}
