package httpapi

import (
	"context"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/settings"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
)

type listMailMessagesRequest struct {
	QueryHeaders
	PageParams
	Query     string    `query:"query" maxLength:"200" doc:"Part of the recipient or the subject"`
	State     string    `query:"state" enum:"queued,sending,sent,failed,abandoned"`
	Feature   string    `query:"feature" enum:"password_reset,first_login,security_notice,contact_notification,contact_auto_reply"`
	UserID    uuid.UUID `query:"user_id" format:"uuid" doc:"Whom the mail is about"`
	CompanyID uuid.UUID `query:"company_id" format:"uuid" doc:"Company of the person whom the mail is about"`
}

type mailFeatureList struct {
	Body struct {
		Items []projections.MailFeature `json:"items"`
	}
}

// MailRouteBody chooses the mail account of a feature.
type MailRouteBody struct {
	MailAccountID Optional[string] `json:"mail_account_id" format:"uuid" doc:"null for none"`
	CompanyID     string           `json:"company_id,omitempty" format:"uuid" nullable:"true" doc:"null for all companies"`
}

// MailRouteChoice is which mail account sends a feature's mail for a company, uuid.Nil for all; none is uuid.Nil, too.
type MailRouteChoice struct{ account, company uuid.UUID }

func (b *MailRouteBody) command(problems *domain.Invalid) (chosen MailRouteChoice) {
	if account := b.MailAccountID.patch("mail_account_id", problems); account != nil {
		chosen.account = readID("mail_account_id", *account, problems)
	}
	chosen.company = readID("company_id", b.CompanyID, problems)
	return chosen
}

type setMailRouteRequest struct {
	ChangeHeaders
	CommandBody[MailRouteBody, MailRouteChoice, *MailRouteBody]

	Feature string `path:"feature" maxLength:"50" doc:"One of GET /mail/features"`
}

func (s *server) mailMessages() resource[projections.MailMessage] {
	return resource[projections.MailMessage]{
		path: "/mail/messages", name: "mail-message", tag: mailTag, module: "mail", kind: mailmessage.Kind,
		read: byID(s.ReadModels.MailMessage), asOf: byIDAsOf(s.ReadModels.MailMessageAsOf),
		revision: func(m projections.MailMessage) eventstore.Revision { return m.Revision },
		belongs:  func(m projections.MailMessage) uuid.UUID { return idOf(m.CompanyID) },
	}
}

func (s *server) mailFeatures() resource[projections.MailFeature] {
	return resource[projections.MailFeature]{
		path: "/mail/features", name: "mail-feature", tag: mailTag, module: "mail", kind: settings.Kind,
		read:     s.ReadModels.MailFeature,
		revision: func(f projections.MailFeature) eventstore.Revision { return f.Revision },
	}
}

// addMailMessages adds what was sent and what is to be sent, and which mail account sends what.
func (s *server) addMailMessages() {
	messages := s.mailMessages()
	register(s, operation{
		method: http.MethodGet, path: messages.path, id: "list-mail-messages", tag: mailTag,
		required: messages.needs(domain.View),
		summary:  "List mails, newest first", description: "Shows the outcome of each mail. Its content is never " +
			"shown.",
	}, func(ctx context.Context, in *listMailMessagesRequest) (*list[projections.MailMessage], error) {
		filter := projections.MailMessageFilter{
			Query: in.Query, State: in.State, Feature: in.Feature, UserID: in.UserID,
			CompanyID: idOf(infoOf(ctx).reach.within(in.CompanyID)),
		}
		return listOf(s.ReadModels.MailMessages(ctx, filter, in.request()))
	})
	registerGet(s, messages, "One mail, now or as it was")
	registerHistory(s, messages)
	registerAct(s, messages, "retry", operation{
		summary: "Retry a mail now",
		description: "For a mail that is waiting, has failed or was given up. Refused with 409 `link_expired` if " +
			"the link in it has expired, with `already_sent` or with `being_sent`.",
	}, s.Commands.RetryMail)

	register(s, operation{
		method: http.MethodGet, path: "/mail/features", id: "list-mail-features", tag: mailTag,
		required: needs("mail", domain.View).forCompanies(),
		summary:  "Features that send mail, and the mail account of each",
		description: "The account is that of the first of these that names one in use: the route of the company, " +
			"the route for all companies, the default of the company, the default of the site.",
	}, func(ctx context.Context, _ *struct{ QueryHeaders }) (*mailFeatureList, error) {
		var answered mailFeatureList
		var err error
		answered.Body.Items, err = s.ReadModels.MailFeatures(ctx)
		for i := range answered.Body.Items {
			routes := &answered.Body.Items[i].Routes
			*routes = slices.DeleteFunc(*routes, func(route projections.MailRoute) bool {
				return !infoOf(ctx).reach.includes(idOf(route.CompanyID))
			})
		}
		return &answered, err
	})
	registerCommand(s, operation{
		method: http.MethodPut, path: "/mail/routes/{feature}", id: "set-mail-route", tag: mailTag,
		required:    needs("mail", domain.Edit).forCompanies(),
		summary:     "Choose the mail account that sends a feature's mail",
		description: "For one company, or for all. Answers with the feature.",
	}, s.setMailRoute)
	register(s, operation{
		method: http.MethodGet, path: "/mail/routes/history", id: "mail-routes-history", tag: mailTag,
		required: needs("mail", domain.View).seesHistory().forCompanies(),
		summary:  "History of the routes, newest first",
	}, func(ctx context.Context, in *settingsHistoryRequest) (*list[projections.HistoryEntry], error) {
		_, name := domain.SplitStream(settings.MailRoutesStream)
		filter := in.filter(settings.Kind, name)
		filter.CompanyID = infoOf(ctx).reach.within(uuid.Nil)
		return listOf(s.ReadModels.History(ctx, filter,
			projections.PageRequest{Limit: in.Limit, Cursor: in.Cursor}))
	})
}

func (s *server) setMailRoute(ctx context.Context, in *setMailRouteRequest) (*answer[projections.MailFeature], error) {
	caller, err := s.changer(ctx, in.ChangeHeaders)
	if err != nil {
		return nil, err
	}
	place := settings.MailRoute{Feature: in.Feature, CompanyID: in.command.company}
	result, err := s.Commands.SetMailRoute(ctx, caller, place, in.command.account)
	if err != nil {
		return nil, err
	}
	return s.mailFeatures().changed(ctx, s, in.Prefer,
		commands.Result{ID: in.Feature, Revision: result.Revision, Position: result.Position, Changed: result.Changed})
}
