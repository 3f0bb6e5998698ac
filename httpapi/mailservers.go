package httpapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/mailserver"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
)

type newMailServer struct {
	Name     string `json:"name" maxLength:"200" example:"Office"`
	Host     string `json:"host" maxLength:"253" example:"smtp.example.com" doc:"Name or IP address. The server's certificate must be valid for it"`
	Port     int    `json:"port" minimum:"1" maximum:"65535" example:"587"`
	Security string `json:"security,omitempty" enum:"starttls,tls,none" default:"starttls" doc:"starttls: usually port 587; tls: from the first byte, usually port 465; none: not encrypted, so a password is sent only to a server on this machine"`
	TimeoutS int    `json:"timeout_s,omitempty" minimum:"1" maximum:"120" default:"30" doc:"Seconds that one step of the SMTP dialogue may take"`
}

func (b *newMailServer) command(problems *domain.Invalid) mailserver.Details {
	details := mailserver.Details{Name: b.Name, Host: b.Host, Port: b.Port, Security: b.Security, TimeoutS: b.TimeoutS}
	merge(problems, details.Normalized().Validate())
	return details
}

type mailServerChanges struct {
	Name     Optional[string] `json:"name,omitzero" maxLength:"200" nullable:"false"`
	Host     Optional[string] `json:"host,omitzero" maxLength:"253" nullable:"false"`
	Port     Optional[int]    `json:"port,omitzero" minimum:"1" maximum:"65535" nullable:"false"`
	Security Optional[string] `json:"security,omitzero" enum:"starttls,tls,none" nullable:"false"`
	TimeoutS Optional[int]    `json:"timeout_s,omitzero" minimum:"1" maximum:"120" nullable:"false"`
}

func (b *mailServerChanges) command(problems *domain.Invalid) mailserver.Patch {
	patch := mailserver.Patch{
		Name: b.Name.patch("name", problems), Host: b.Host.patch("host", problems),
		Security: b.Security.patch("security", problems),
		Port:     readNumber("port", b.Port, problems), TimeoutS: readNumber("timeout_s", b.TimeoutS, problems),
	}
	merge(problems, patch.Validate())
	return patch
}

const mailTag = "Mail"

func (s *server) mailServers() resource[projections.MailServer] {
	return resource[projections.MailServer]{
		path: "/mail/servers", name: "mail-server", tag: mailTag, module: "mail", kind: mailserver.Kind,
		read: byID(s.ReadModels.MailServer), asOf: byIDAsOf(s.ReadModels.MailServerAsOf),
		revision: func(m projections.MailServer) eventstore.Revision { return m.Revision },
	}
}

func (s *server) addMailServers() {
	servers := s.mailServers()
	registerCreate[newMailServer](s, servers, operation{summary: "Create a mail server"}, s.Commands.CreateMailServer)
	register(s, operation{
		method: http.MethodGet, path: servers.path, id: "list-mail-servers", tag: mailTag,
		required: needs("mail", domain.View), summary: "List mail servers",
	}, func(ctx context.Context, in *NamedList) (*list[projections.MailServer], error) {
		return listOf(s.ReadModels.MailServers(ctx,
			projections.MailServerFilter{Query: in.Query, Retired: in.Retired.pointer()}, in.request()))
	})
	registerGet(s, servers, "One mail server, now or as it was")
	registerChange[mailServerChanges](s, servers, operation{summary: "Change a mail server"},
		s.Commands.ChangeMailServer)
	registerActForReason(s, servers, "retire", operation{
		summary:     "Retire a mail server",
		description: "Refused with 409 `in_use` while mail accounts that aren't retired use it. Its history stays.",
	}, s.retireMailServer)
	registerHistory(s, servers)
}

// retireMailServer looks for mail accounts of the server first. That is against mistakes: of one that is added at the
// same moment, the mail is put off with a reason that names the server.
func (s *server) retireMailServer(ctx context.Context, caller commands.Caller, id uuid.UUID,
	reason string) (commands.Result, error) {
	inUse := false
	accounts, err := s.ReadModels.MailAccounts(ctx, projections.MailAccountFilter{ServerID: id, Retired: &inUse},
		projections.PageRequest{Limit: 10})
	if err != nil {
		return commands.Result{}, err
	}
	if len(accounts.Items) > 0 {
		addresses := make([]string, len(accounts.Items))
		for i, account := range accounts.Items {
			addresses[i] = account.Address
		}
		return commands.Result{}, domain.Refusef(domain.CodeInUse,
			"the mail server is used by %s: move them to another server or retire them first",
			strings.Join(addresses, ", "))
	}
	return s.Commands.RetireMailServer(ctx, caller, id, reason)
}
