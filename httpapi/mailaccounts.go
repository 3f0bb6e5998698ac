package httpapi

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/mailing"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/smtpclient"
)

type newMailAccount struct {
	ServerID    string `json:"server_id" format:"uuid"`
	Address     string `json:"address" maxLength:"254" example:"accounts@example.com" doc:"E-mail address of the sender"`
	DisplayName string `json:"display_name,omitempty" maxLength:"200" nullable:"true" example:"Nova Energy" doc:"Name of the sender; without one, the site's name"`
	Username    string `json:"username,omitempty" maxLength:"254" nullable:"true" doc:"User name at the server; without one, mail is sent without signing in"`
	Password    string `json:"password,omitempty" maxLength:"1024" nullable:"true" writeOnly:"true" doc:"Password at the server; can't be read back"`
}

// mailAccountCommand is a new mail account with its password.
type mailAccountCommand struct {
	mailaccount.Details
	password string
}

func (b *newMailAccount) command(problems *domain.Invalid) mailAccountCommand {
	command := mailAccountCommand{mailaccount.Details{
		ServerID: readID("server_id", b.ServerID, problems), Address: b.Address, DisplayName: b.DisplayName,
		Username: b.Username,
	}, b.Password}
	merge(problems, command.Normalized().Validate())
	if problem := mailaccount.PasswordProblem(b.Password); problem != "" {
		problems.Add("password", domain.CodePassword, "%s", problem)
	}
	return command
}

type mailAccountChanges struct {
	ServerID    Optional[string] `json:"server_id,omitzero" format:"uuid" nullable:"false"`
	Address     Optional[string] `json:"address,omitzero" maxLength:"254" nullable:"false"`
	DisplayName Optional[string] `json:"display_name,omitzero" maxLength:"200"`
	Username    Optional[string] `json:"username,omitzero" maxLength:"254"`
	Password    Optional[string] `json:"password,omitzero" maxLength:"1024" writeOnly:"true" doc:"null removes it"`
}

// mailAccountPatch is a change of a mail account with its password; a nil one stays.
type mailAccountPatch struct {
	mailaccount.Patch
	password *string
}

func (b *mailAccountChanges) command(problems *domain.Invalid) mailAccountPatch {
	patch := mailAccountPatch{mailaccount.Patch{
		ServerID: converted("server_id", b.ServerID.patch("server_id", problems), problems, readID),
		Address:  b.Address.patch("address", problems), DisplayName: b.DisplayName.patch("display_name", problems),
		Username: b.Username.patch("username", problems),
	}, b.Password.patch("password", problems)}
	merge(problems, patch.Validate())
	if patch.password != nil {
		if problem := mailaccount.PasswordProblem(*patch.password); problem != "" {
			problems.Add("password", domain.CodePassword, "%s", problem)
		}
	}
	return patch
}

type listMailAccountsRequest struct {
	QueryHeaders
	PageParams
	Query    string              `query:"query" maxLength:"200" doc:"Part of the address or the display name"`
	ServerID uuid.UUID           `query:"server_id" format:"uuid"`
	Retired  OptionalParam[bool] `query:"retired"`
}

type testMailRequest struct {
	ByID
	Body struct {
		To string `json:"to" maxLength:"254" example:"me@example.com" doc:"Who gets the test mail"`
	}
}

// testStep is what came of one step of a test.
type testStep struct {
	Step   string  `json:"step" enum:"resolve,connect,tls,login,send"`
	OK     bool    `json:"ok"`
	Detail string  `json:"detail" doc:"What happened"`
	MS     int64   `json:"ms" doc:"How long it took, in milliseconds"`
	Fix    *string `json:"fix" doc:"How to fix it; null when nothing is wrong"`
}

type testAnswer struct {
	Body struct {
		OK    bool       `json:"ok" doc:"Whether the server accepted the mail"`
		Steps []testStep `json:"steps" doc:"In order; if a step failed, it is the last one"`
	}
}

// testTime is longer than any failure takes with a time-out of usual length.
const testTime = 2 * time.Minute

func (s *server) mailAccounts() resource[projections.MailAccount] {
	return resource[projections.MailAccount]{
		path: "/mail/accounts", name: "mail-account", tag: mailTag, module: "mail", kind: mailaccount.Kind,
		read: byID(s.ReadModels.MailAccount), asOf: byIDAsOf(s.ReadModels.MailAccountAsOf),
		revision: func(m projections.MailAccount) eventstore.Revision { return m.Revision },
	}
}

func (s *server) addMailAccounts() {
	accounts := s.mailAccounts()
	registerCreate[newMailAccount](s, accounts, operation{summary: "Create a mail account"},
		func(ctx context.Context, caller commands.Caller, command mailAccountCommand) (commands.Result, error) {
			return s.Commands.CreateMailAccount(ctx, caller, command.Details, command.password)
		})
	register(s, operation{
		method: http.MethodGet, path: accounts.path, id: "list-mail-accounts", tag: mailTag,
		required: needs("mail", domain.View), summary: "List mail accounts",
	}, func(ctx context.Context, in *listMailAccountsRequest) (*list[projections.MailAccount], error) {
		filter := projections.MailAccountFilter{Query: in.Query, ServerID: in.ServerID, Retired: in.Retired.pointer()}
		return listOf(s.ReadModels.MailAccounts(ctx, filter, in.request()))
	})
	registerGet(s, accounts, "One mail account, now or as it was")
	registerChange[mailAccountChanges](s, accounts, operation{summary: "Change a mail account"},
		func(ctx context.Context, caller commands.Caller, id uuid.UUID,
			patch mailAccountPatch) (commands.Result, error) {
			return s.Commands.ChangeMailAccount(ctx, caller, id, patch.Patch, patch.password)
		})
	registerActForReason(s, accounts, "retire", operation{
		summary:     "Retire a mail account",
		description: "Refused with 409 `in_use` while a route or a default uses it. Its history stays.",
	}, s.retireMailAccount)
	registerHistory(s, accounts)
	register(s, operation{
		method: http.MethodPost, path: accounts.path + "/{id}/test", id: "test-mail-account", tag: mailTag,
		required: needs("mail", domain.Edit),
		summary:  "Send a test mail", timeout: testTime, example: map[string]any{"to": "me@example.com"},
		errors: []int{http.StatusTooManyRequests},
		description: "It is sent the same way as every other mail. Each step says what happened and, if it failed, " +
			"what to do. The account's history shows who sent it. Tests are limited to 30 an hour for each person.",
	}, s.testMailAccount)
}

// retireMailAccount looks for where the account is chosen first, against mistakes: a retired account is skipped.
func (s *server) retireMailAccount(ctx context.Context, caller commands.Caller, id uuid.UUID,
	reason string) (commands.Result, error) {
	uses, err := s.ReadModels.MailAccountUses(ctx, id)
	if err != nil {
		return commands.Result{}, err
	}
	if len(uses) > 0 {
		return commands.Result{},
			domain.Refusef(domain.CodeInUse, "the mail account is %s: choose another one there first",
				strings.Join(uses, ", "))
	}
	return s.Commands.RetireMailAccount(ctx, caller, id, reason)
}

func (s *server) testMailAccount(ctx context.Context, in *testMailRequest) (*testAnswer, error) {
	if problem := domain.EmailProblem(in.Body.To); problem != "" {
		var problems domain.Invalid
		problems.Add("to", domain.CodeEmail, "%s", problem)
		return nil, problems.Err()
	}
	sender, err := s.Commands.MailSenderOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	site, err := s.Commands.SiteSettings(ctx)
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	_, host, _ := strings.Cut(sender.Account.Address, "@")
	msg, err := mailing.Compose(mailing.Message{
		Feature: mailing.FeatureTest, Language: site.DefaultLanguage, To: in.Body.To, Site: site,
		MessageID: id.String() + "@" + host, At: s.Now(),
	}, sender)
	if err != nil {
		return nil, err
	}
	if err := s.limitTests(ctx); err != nil {
		return nil, err
	}
	if err := s.Commands.RecordMailTest(ctx, s.caller(ctx), sender, in.Body.To); err != nil {
		return nil, err
	}
	var steps []smtpclient.Step
	var failure error // that of the try, which is what was asked for
	err = s.testMails.WithoutSlot(ctx, sender.Server.Host, func() error {
		steps, failure = s.MailTransport.Send(ctx, sender, msg)
		return nil
	})
	if err != nil {
		return nil, err
	}
	answered := &testAnswer{}
	answered.Body.OK, answered.Body.Steps = failure == nil, shownSteps(steps)
	return answered, nil
}

func shownSteps(steps []smtpclient.Step) []testStep {
	shown := make([]testStep, len(steps))
	for i, step := range steps {
		shown[i] = testStep{Step: step.Step, OK: step.OK, Detail: step.Detail, MS: step.Took.Milliseconds()}
		if !step.OK {
			fix := cmp.Or(step.Fix, "look into the log of the mail server, then test again")
			shown[i].Fix = &fix
		}
	}
	return shown
}
