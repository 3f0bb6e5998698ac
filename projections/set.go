package projections

import (
	"github.com/secboard/secboard/domain/approval"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/mailaccount"
	"github.com/secboard/secboard/domain/mailmessage"
	"github.com/secboard/secboard/domain/mailserver"
	"github.com/secboard/secboard/domain/module"
	"github.com/secboard/secboard/domain/role"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/migrations"
	"github.com/secboard/secboard/projections/engine"
)

// Set gives the read models for the engine: which there are, in the order in which their status is shown, and the
// migrations that make their tables.
func Set() engine.Set {
	tables := func(tables ...engine.Table) []engine.Table { return tables }
	return engine.Set{Migrate: migrations.ReadModels, Projections: []engine.Projection{
		{Name: "users", Kind: user.Kind, Tables: tables(
			bareUserRows.Table(writeUsers), roleMemberships.Table(), groupMemberships.Table(), photos)},
		{Name: "sign_ins", Kind: signin.Kind, Tables: tables(lastSignIns)},
		{Name: "companies", Kind: company.Kind, Tables: tables(companyRows.Table(writeCompanies))},
		{Name: "roles", Kind: role.Kind, Tables: tables(roleRows.Table(writeRoles))},
		{Name: "groups", Kind: group.Kind, Tables: tables(groupRows.Table(writeGroups))},
		{Name: "directories", Kind: directory.Kind, Tables: tables(directoryRows.Table(writeDirectories))},
		{Name: "approvals", Kind: approval.Kind, Tables: tables(approvalRows.Table(writeApprovals))},
		{Name: "modules", Kind: module.Kind, Tables: tables(moduleRows.Table(writeModules))},
		{Name: "mail_servers", Kind: mailserver.Kind, Tables: tables(mailServerRows.Table(writeMailServers))},
		{Name: "mail_accounts", Kind: mailaccount.Kind, Tables: tables(mailAccountRows.Table(writeMailAccounts))},
		{Name: "mail_messages", Kind: mailmessage.Kind, Tables: tables(mailMessageRows.Table(writeMailMessages))},
		{Name: "account_versions", Kind: user.Kind,
			Tables: tables(accountVersions.Table("account_versions", "user_id"))},
		{Name: "group_versions", Kind: group.Kind, Tables: tables(groupVersions.Table("group_versions", "group_id"))},
		{Name: "history", Tables: tables(history, historyHours)},
	}}
}
