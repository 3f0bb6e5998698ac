package projections

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/postgres/pgtest"
)

// askedQuery is a query of ReadModels, by the name of its method and what is special, and the indexes that it needs.
type askedQuery struct {
	method, special string
	indexes         string
	ask             func(*ReadModels) error
}

func TestEveryQueryUsesItsIndexes(t *testing.T) {
	t.Parallel()
	asked := &tracer{}
	pool, err := postgres.Open(t.Context(), pgtest.NewDatabaseURL(t), func(c *pgxpool.Config) {
		c.ConnConfig.Tracer = asked
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	queries := everyQuery(t.Context(), someAccount(t, pool))
	methods := map[string]bool{}
	models := NewReadModels(pool)
	for _, q := range queries {
		t.Run(strings.TrimSpace(q.method+" "+q.special), func(t *testing.T) {
			methods[q.method] = true
			asked.taken()
			if err := q.ask(models); err != nil && !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
			var plans []string
			for _, statement := range asked.taken() {
				plans = append(plans, explain(t, pool, statement))
			}
			plan := strings.Join(plans, "\n")
			for _, index := range strings.Fields(q.indexes) {
				if !strings.Contains(plan, index) {
					t.Errorf("it does not use %s:\n%s", index, plan)
				}
			}
			if strings.Contains(plan, "Seq Scan") {
				t.Errorf("it reads a whole table:\n%s", plan)
			}
		})
	}
	for method := range reflect.TypeFor[*ReadModels]().Methods() {
		if !methods[method.Name] {
			t.Errorf("add %s to the queries here", method.Name)
		}
	}
}

// world is what the queries are asked about.
type world struct {
	account, company, group uuid.UUID
	log                     []eventstore.Envelope
}

// someAccount writes a superuser of a company, who is in a group and did everything.
func someAccount(t testing.TB, pool *pgxpool.Pool) world {
	t.Helper()
	makeCheckpoints(t, pool)
	w := world{account: uuid.New(), company: uuid.New(), group: uuid.New()}
	write := func(kind string, id uuid.UUID, events ...domain.Event) {
		stream := domain.StreamName(kind, id)
		proposed, err := eventstore.Encode(stream, eventstore.NoStream, events, eventstore.Metadata{
			At: time.Date(2026, 5, 1, 0, 0, len(w.log), 0, time.UTC), CommandID: uuid.New(),
			Actor: eventstore.Actor{Kind: eventstore.ActorUser, ID: w.account.String()},
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range proposed {
			w.log = append(w.log, eventstore.Decode(eventstore.Recorded{
				ID: p.ID, Stream: stream, Revision: eventstore.Revision(i),
				Position: eventstore.Position(len(w.log) + 1),
				Type:     p.Type, Data: p.Data, Metadata: p.Metadata,
			}))
		}
	}
	write(company.Kind, w.company, company.Created{Name: "Acme"})
	write(group.Kind, w.group, group.Created{Name: "Risk", Permissions: domain.Permissions{"users": {View: true}}})
	write(user.Kind, w.account, user.Registered{Email: "a@example.com", CompanyID: w.company, Source: user.SourceLocal},
		user.SuperuserGranted{}, user.GroupJoined{GroupID: w.group, GroupName: "Risk"})
	play(t, pool, 0, w.log, 1000)
	return w
}

// everyQuery are the queries of ReadModels, with each filter and each order.
func everyQuery(ctx context.Context, w world) []askedQuery {
	id, yes, no, day := w.account, true, false, domain.DateOf(time.Date(2026, 12, 23, 0, 0, 0, 0, time.UTC))
	begin, at := w.log[0].Meta.At, time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	users := func(special, indexes string, filter UserFilter, sort string) askedQuery {
		return askedQuery{"Users", special, indexes, func(r *ReadModels) error {
			_, err := r.Users(ctx, filter, PageRequest{Sort: sort}, at)
			return err
		}}
	}
	companies := func(special, index string, filter CompanyFilter, sort string) askedQuery {
		return askedQuery{"Companies", special, index, func(r *ReadModels) error {
			_, err := r.Companies(ctx, filter, PageRequest{Sort: sort})
			return err
		}}
	}
	roles := func(special, index string, filter RoleFilter, sort string) askedQuery {
		return askedQuery{"Roles", special, index, func(r *ReadModels) error {
			_, err := r.Roles(ctx, filter, PageRequest{Sort: sort})
			return err
		}}
	}
	groups := func(special, index string, filter GroupFilter, sort string) askedQuery {
		return askedQuery{"Groups", special, index, func(r *ReadModels) error {
			_, err := r.Groups(ctx, filter, PageRequest{Sort: sort})
			return err
		}}
	}
	directories := func(special, index string, filter DirectoryFilter, sort string) askedQuery {
		return askedQuery{"Directories", special, index, func(r *ReadModels) error {
			_, err := r.Directories(ctx, filter, PageRequest{Sort: sort})
			return err
		}}
	}
	servers := func(special, index string, filter MailServerFilter, sort string) askedQuery {
		return askedQuery{"MailServers", special, index, func(r *ReadModels) error {
			_, err := r.MailServers(ctx, filter, PageRequest{Sort: sort})
			return err
		}}
	}
	mailAccounts := func(special, index string, filter MailAccountFilter, sort string) askedQuery {
		return askedQuery{"MailAccounts", special, index, func(r *ReadModels) error {
			_, err := r.MailAccounts(ctx, filter, PageRequest{Sort: sort})
			return err
		}}
	}
	mails := func(special, index string, filter MailMessageFilter) askedQuery {
		return askedQuery{"MailMessages", special, index, func(r *ReadModels) error {
			_, err := r.MailMessages(ctx, filter, PageRequest{})
			return err
		}}
	}
	history := func(special, index string, filter HistoryFilter) askedQuery {
		filter.Kind, filter.ID = user.Kind, id.String()
		return askedQuery{"History", special, index, func(r *ReadModels) error {
			_, err := r.History(ctx, filter, PageRequest{})
			return err
		}}
	}
	events := func(special, indexes string, filter AuditFilter) askedQuery {
		return askedQuery{"AuditEvents", special, indexes, func(r *ReadModels) error {
			_, _, err := r.AuditEvents(ctx, filter, AuditPage{})
			return err
		}}
	}
	members := func(special, indexes string, at *time.Time, sort string) askedQuery {
		return askedQuery{"GroupMembers", special, indexes, func(r *ReadModels) error {
			_, err := r.GroupMembers(ctx, w.group, at, PageRequest{Sort: sort})
			return err
		}}
	}
	accessOf := func(special string, filter AccessFilter, asOf *time.Time) askedQuery {
		return askedQuery{"AccountAccess", special, "account_versions_pkey memberships_pkey",
			func(r *ReadModels) error {
				_, err := r.AccountAccess(ctx, id, filter, at, asOf)
				return err
			}}
	}
	whoMay := func(special, indexes string, filter AccessFilter, asOf *time.Time) askedQuery {
		return askedQuery{"WhoMay", special, indexes, func(r *ReadModels) error {
			_, err := r.WhoMay(ctx, filter, PageRequest{}, at, asOf)
			return err
		}}
	}
	view := AccessFilter{Module: "users", Action: domain.View}
	viewIn := AccessFilter{Module: "users", Action: domain.View, CompanyID: &w.company}
	return []askedQuery{
		{"Access", "", "users_pkey memberships_ groups_", func(r *ReadModels) error {
			return failure(r.Access(ctx, id, at))
		}},
		accessOf("of everything", AccessFilter{}, nil), accessOf("of one thing", view, nil),
		accessOf("at a time", view, &at),
		whoMay("anything", "group_versions_permissions account_versions_superuser memberships_", AccessFilter{}, nil),
		whoMay("one thing", "group_versions_permissions account_versions_superuser memberships_", view, nil),
		whoMay("one thing in a company", "group_versions_permissions account_versions_ memberships_", viewIn, nil),
		whoMay("at a time", "group_versions_permissions history_subject", view, &at),

		{"User", "", "users_pkey user_roles_ memberships_", func(r *ReadModels) error {
			return failure(r.User(ctx, id, at))
		}},
		{"UserAsOf", "", "history_subject", func(r *ReadModels) error { return failure(r.UserAsOf(ctx, id, at)) }},
		users("", "users_name", UserFilter{}, ""),
		users("by e-mail", "users_email", UserFilter{}, "-email"),
		users("by age", "users_created", UserFilter{}, "created_at"),
		users("with a part", "users_search", UserFilter{Query: "anna"}, ""),
		users("of a company", "users_company", UserFilter{CompanyID: &id}, ""),
		users("with a role", "user_roles_open", UserFilter{RoleID: &id}, ""),
		users("in a group", "memberships_open", UserFilter{GroupID: &id}, ""),
		users("from a directory", "users_source", UserFilter{Source: user.SourceDirectory}, ""),
		users("superusers", "users_superuser", UserFilter{Superuser: &yes}, ""),
		users("others", "users_name", UserFilter{Superuser: &no}, ""),
		users("with a device", "users_two_factor", UserFilter{TwoFactor: &yes}, ""),
		users("without one", "users_two_factor", UserFilter{TwoFactor: &no}, ""),
		users("that have to set it up", "users_two_factor", UserFilter{TwoFactor: &no, RequireTwoFactor: &yes}, ""),
		users("without a password", "users_name", UserFilter{HasPassword: &no}, ""),
		users("who never came", "users_name sign_ins_pkey", UserFilter{NeverSignedIn: true}, ""),
		users("that end soon", "users_name", UserFilter{EndsBefore: &day}, ""),
		{"UserSummary", "", "", func(r *ReadModels) error { return failure(r.UserSummary(ctx, nil, at)) }},
		{"UserSummary", "of a company", "", func(r *ReadModels) error {
			return failure(r.UserSummary(ctx, &id, at))
		}},
		users("active", "users_name", UserFilter{State: access.Active}, ""),
		users("inactive", "users_inactive", UserFilter{State: access.Inactive}, ""),
		users("closed by a directory", "users_directory_disabled", UserFilter{State: access.DirectoryDisabled}, ""),
		users("not yet", "users_start", UserFilter{State: access.NotStarted}, ""),
		users("no more", "users_end", UserFilter{State: access.Expired}, ""),
		{"Photo", "", "user_photos_pkey", func(r *ReadModels) error {
			_, _, err := r.Photo(ctx, id)
			return err
		}},
		{"SignInCheck", "", "history_subject", func(r *ReadModels) error {
			return failure(r.SignInCheck(ctx, id, at, nil))
		}},
		{"AccountsOfEntry", "", "users_directory_entry", func(r *ReadModels) error {
			return failure(r.AccountsOfEntry(ctx, "x"))
		}},
		{"AccountsOfDirectory", "", "users_directory", func(r *ReadModels) error {
			return failure(r.AccountsOfDirectory(ctx, id, id, 9))
		}},

		{"Company", "", "companies_pkey", func(r *ReadModels) error { return failure(r.Company(ctx, id)) }},
		{"CompanyAsOf", "", "history_subject", func(r *ReadModels) error {
			return failure(r.CompanyAsOf(ctx, id, at))
		}},
		companies("", "companies_name", CompanyFilter{Query: "acme"}, ""),
		companies("in use", "companies_in_use", CompanyFilter{Retired: &no}, ""),
		companies("by age", "companies_created", CompanyFilter{}, "-created_at"),
		{"Role", "", "roles_pkey", func(r *ReadModels) error { return failure(r.Role(ctx, id)) }},
		{"RoleAsOf", "", "history_subject", func(r *ReadModels) error { return failure(r.RoleAsOf(ctx, id, at)) }},
		{"RolesOf", "", "user_roles_ roles_pkey", func(r *ReadModels) error { return failure(r.RolesOf(ctx, id)) }},
		roles("", "roles_name", RoleFilter{Query: "own", Retired: &no}, ""),
		roles("by age", "roles_created", RoleFilter{}, "created_at"),
		{"Group", "", "groups_pkey memberships_open", func(r *ReadModels) error { return failure(r.Group(ctx, id)) }},
		{"GroupAsOf", "", "history_subject memberships_", func(r *ReadModels) error {
			return failure(r.GroupAsOf(ctx, w.group, at))
		}},
		{"GroupsLike", "", "groups_search", func(r *ReadModels) error {
			return failure(r.GroupsLike(ctx, []string{"risk"}))
		}},
		groups("", "groups_name memberships_open", GroupFilter{Query: "risk"}, ""),
		groups("in use", "groups_in_use", GroupFilter{Retired: &no}, ""),
		groups("by age", "groups_created", GroupFilter{}, "created_at"),
		groups("of a company", "groups_company", GroupFilter{CompanyID: &id}, ""),
		members("", "groups_pkey memberships_open", nil, ""),
		members("by age", "memberships_open", nil, "-joined_at"),
		members("at a time", "groups_pkey memberships_", &at, ""),
		{"Module", "", "modules_pkey", func(r *ReadModels) error { return failure(r.Module(ctx, "risks")) }},
		{"ModuleAsOf", "", "history_subject", func(r *ReadModels) error {
			return failure(r.ModuleAsOf(ctx, "risks", at))
		}},
		{"Modules", "", "modules_pkey", func(r *ReadModels) error { return failure(r.Modules(ctx)) }},
		{"Directory", "", "directories_pkey directory_checks_pkey", func(r *ReadModels) error {
			return failure(r.Directory(ctx, id))
		}},
		{"DirectoryAsOf", "", "history_subject", func(r *ReadModels) error {
			return failure(r.DirectoryAsOf(ctx, id, at))
		}},
		directories("", "directories_name", DirectoryFilter{Query: "x", CompanyID: &id, Enabled: &yes}, ""),
		directories("by age", "directories_created", DirectoryFilter{}, "created_at"),
		{"EnabledDirectories", "", "directories_created", func(r *ReadModels) error {
			return failure(r.EnabledDirectories(ctx))
		}},

		history("", "history_subject", HistoryFilter{}),
		history("with sign-ins", "history_subject", HistoryFilter{IncludeSignIns: true, From: &at, To: &at}),
		history("of a type", "history_", HistoryFilter{Type: "user."}),
		history("by somebody", "history_", HistoryFilter{ActorID: id.String()}),
		events("", "history_pkey users_pkey companies_pkey", AuditFilter{}),
		events("of a time", "history_hours_pkey history_pkey", AuditFilter{From: &begin, To: &at}),
		events("by somebody", "history_actor", AuditFilter{ActorID: id.String()}),
		events("about something", "history_subject", AuditFilter{SubjectID: id.String()}),
		events("of a type", "history_type", AuditFilter{Type: "user."}),
		events("of a company", "history_company history_former_company", AuditFilter{CompanyID: &id}),
		events("from an address", "history_ip", AuditFilter{IP: "192.0.2.1"}),
		events("of a request", "history_correlation history_causation", AuditFilter{CorrelationID: &id}),
		{"Extent", "", "history_hours_pkey", func(r *ReadModels) error {
			_, _, _, err := r.Extent(ctx, &at, nil)
			return err
		}},

		{"Superusers", "", "users_superuser", func(r *ReadModels) error { return failure(r.Superusers(ctx, 9)) }},
		{"Approval", "", "approvals_pkey users_pkey", func(r *ReadModels) error {
			return failure(r.Approval(ctx, id, at))
		}},
		{"Approvals", "", "approvals_open", func(r *ReadModels) error {
			return failure(r.Approvals(ctx, ApprovalFilter{All: true, State: "proposed"}, PageRequest{}, at))
		}},
		{"Approvals", "one may see", "approvals_created", func(r *ReadModels) error {
			return failure(r.Approvals(ctx, ApprovalFilter{By: id, Operations: map[string][]uuid.UUID{"x": {id}}},
				PageRequest{}, at))
		}},
		{"ExpiredApprovals", "", "approvals_open", func(r *ReadModels) error {
			return failure(r.ExpiredApprovals(ctx, at))
		}},

		{"MailServer", "", "mail_servers_pkey", func(r *ReadModels) error { return failure(r.MailServer(ctx, id)) }},
		{"MailServerAsOf", "", "history_subject", func(r *ReadModels) error {
			return failure(r.MailServerAsOf(ctx, id, at))
		}},
		servers("", "mail_servers_name", MailServerFilter{Query: "x", Retired: &no}, ""),
		servers("by age", "mail_servers_created", MailServerFilter{}, "created_at"),
		{"MailAccount", "", "mail_accounts_pkey", func(r *ReadModels) error { return failure(r.MailAccount(ctx, id)) }},
		{"MailAccountAsOf", "", "history_subject", func(r *ReadModels) error {
			return failure(r.MailAccountAsOf(ctx, id, at))
		}},
		mailAccounts("", "mail_accounts_name", MailAccountFilter{Query: "x"}, ""),
		mailAccounts("in use", "mail_accounts_in_use", MailAccountFilter{Retired: &no}, ""),
		mailAccounts("by age", "mail_accounts_created", MailAccountFilter{}, "created_at"),
		mailAccounts("of a server", "mail_accounts_server", MailAccountFilter{ServerID: id}, ""),
		{"MailAccountUses", "", "companies_mail_account history_subject", func(r *ReadModels) error {
			return failure(r.MailAccountUses(ctx, id))
		}},
		{"MailMessage", "", "mail_messages_pkey", func(r *ReadModels) error { return failure(r.MailMessage(ctx, id)) }},
		{"MailMessageAsOf", "", "history_subject", func(r *ReadModels) error {
			return failure(r.MailMessageAsOf(ctx, id, at))
		}},
		mails("", "mail_messages_created", MailMessageFilter{}),
		mails("with a part", "mail_messages_search", MailMessageFilter{Query: "anna"}),
		mails("in a state", "mail_messages_state", MailMessageFilter{State: "failed"}),
		mails("of a feature", "mail_messages_feature", MailMessageFilter{Feature: "contact"}),
		mails("to somebody", "mail_messages_user", MailMessageFilter{UserID: id}),
		mails("to a company", "mail_messages_company", MailMessageFilter{CompanyID: id}),
		{"DueMail", "", "mail_messages_due", func(r *ReadModels) error {
			return failure(r.DueMail(ctx, at, nil, []mailmessage.Route{{Feature: "contact"}}, 9))
		}},
		{"MailFeatures", "", "history_subject", func(r *ReadModels) error { return failure(r.MailFeatures(ctx)) }},
		{"MailFeature", "", "history_subject", func(r *ReadModels) error {
			return failure(r.MailFeature(ctx, "contact"))
		}},
		{"ContactSettings", "", "history_subject", func(r *ReadModels) error {
			return failure(r.ContactSettings(ctx))
		}},
		{"ContactSettingsAsOf", "", "history_subject", func(r *ReadModels) error {
			return failure(r.ContactSettingsAsOf(ctx, at))
		}},
		{"Site", "", "history_subject", func(r *ReadModels) error { return failure(r.Site(ctx)) }},
		{"SiteAsOf", "", "history_subject", func(r *ReadModels) error { return failure(r.SiteAsOf(ctx, at)) }},
		{"Security", "", "history_subject", func(r *ReadModels) error { return failure(r.Security(ctx)) }},
		{"SecuritySettings", "", "history_subject", func(r *ReadModels) error {
			return failure(r.SecuritySettings(ctx))
		}},
		{"SecuritySettingsAsOf", "", "history_subject", func(r *ReadModels) error {
			return failure(r.SecuritySettingsAsOf(ctx, at))
		}},
		{"Setup", "", "users_superuser companies_in_use groups_in_use mail_accounts_in_use history_subject",
			func(r *ReadModels) error {
				return failure(r.Setup(ctx, Deployment{}))
			}},
	}
}

// failure is the error of a query whose answer nobody needs.
func failure(_ any, err error) error { return err }

// explain gives the plan for a statement in which sequential scans cost much, as they do in large tables.
func explain(t testing.TB, pool *pgxpool.Pool, asked pgx.TraceQueryStartData) string {
	t.Helper()
	var plan []string
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "SET LOCAL enable_seqscan = off"); err != nil {
			return err
		}
		rows, err := tx.Query(t.Context(), "EXPLAIN "+asked.SQL, asked.Args...)
		if err != nil {
			return err
		}
		plan, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(plan, "\n")
}
