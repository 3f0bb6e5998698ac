package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/projections"
)

type newDirectory struct {
	Name           string           `json:"name" maxLength:"200" example:"Nova Active Directory" doc:"Unique, case-sensitive"`
	CompanyID      string           `json:"company_id,omitempty" format:"uuid" nullable:"true" doc:"null: serves the people of all companies"`
	URLs           []string         `json:"urls" maxItems:"10" example:"[\"ldaps://dc1.nova.example\"]" doc:"Servers of the same directory, tried in this order; ldap:// only with start_tls"`
	StartTLS       Optional[bool]   `json:"start_tls,omitzero" doc:"Default false; needed with ldap://"`
	CAPEM          Optional[string] `json:"ca_pem,omitzero" maxLength:"100000" doc:"Certificate authorities (PEM) that must have issued the servers' certificates; null: those that the system trusts"`
	BaseDN         string           `json:"base_dn" maxLength:"1000" example:"DC=nova,DC=example" doc:"Where the search for people starts"`
	BindDN         Optional[string] `json:"bind_dn,omitzero" maxLength:"1000" doc:"Account used for searching; Active Directory also accepts name@domain. null: anonymous"`
	BindPassword   Optional[string] `json:"bind_password,omitzero" maxLength:"1024" writeOnly:"true" doc:"Can't be read back"`
	UserFilter     Optional[string] `json:"user_filter,omitzero" maxLength:"2000" nullable:"false" doc:"LDAP filter for who may sign in, without attributes that hold secrets; default (objectClass=user)"`
	AttrEmail      Optional[string] `json:"attr_email,omitzero" maxLength:"100" nullable:"false" doc:"Default mail"`
	AttrFirstName  Optional[string] `json:"attr_first_name,omitzero" maxLength:"100" doc:"Default givenName; null: not read"`
	AttrLastName   Optional[string] `json:"attr_last_name,omitzero" maxLength:"100" doc:"Default sn; null: not read"`
	AttrPhone      Optional[string] `json:"attr_phone,omitzero" maxLength:"100" doc:"Default telephoneNumber; null: not read"`
	AttrDepartment Optional[string] `json:"attr_department,omitzero" maxLength:"100" doc:"Default department; null: not read"`
	AttrPosition   Optional[string] `json:"attr_position,omitzero" maxLength:"100" doc:"Default title; null: not read"`
	SyncGroups     Optional[bool]   `json:"sync_groups,omitzero" doc:"Each sign-in adds people to the groups with exactly the same names as their directory groups; it removes nobody. Default false"`
	NestedGroups   Optional[bool]   `json:"nested_groups,omitzero" doc:"Also count groups that contain a group of the person. Default false"`
	TimeoutSeconds Optional[int]    `json:"timeout_s,omitzero" nullable:"false" doc:"Seconds that each server may take, 1 to 60. Default 5"`
	CheckMinutes   Optional[int]    `json:"check_minutes,omitzero" nullable:"false" doc:"Minutes between comparisons of all accounts with the directory, at least 5; 0: never. Default 60"`
	CheckLimit     Optional[int]    `json:"check_limit_percent,omitzero" nullable:"false" doc:"Percentage of the accounts that one comparison may close or open without confirmation. Default 20"`
	Enabled        Optional[bool]   `json:"enabled,omitzero" doc:"Default true"`
}

func (b *newDirectory) command(problems *domain.Invalid) commands.ConnectDirectory {
	changes := directoryChanges{
		StartTLS: b.StartTLS, CAPEM: b.CAPEM, BindDN: b.BindDN, BindPassword: b.BindPassword, UserFilter: b.UserFilter,
		AttrEmail: b.AttrEmail, AttrFirstName: b.AttrFirstName, AttrLastName: b.AttrLastName, AttrPhone: b.AttrPhone,
		AttrDepartment: b.AttrDepartment, AttrPosition: b.AttrPosition, SyncGroups: b.SyncGroups,
		NestedGroups:   b.NestedGroups,
		TimeoutSeconds: b.TimeoutSeconds, CheckMinutes: b.CheckMinutes, CheckLimit: b.CheckLimit, Enabled: b.Enabled,
	}
	patch := changes.read(problems)
	command := commands.ConnectDirectory{Settings: patch.ApplyTo(directory.Defaults)}
	command.Name, command.URLs, command.BaseDN = b.Name, b.URLs, b.BaseDN
	command.CompanyID = readID("company_id", b.CompanyID, problems)
	if patch.BindPassword != nil {
		command.BindPassword = *patch.BindPassword
	}
	merge(problems, command.Normalized().Validate(command.BindPassword != ""))
	return command
}

type directoryChanges struct {
	Name           Optional[string]   `json:"name,omitzero" maxLength:"200" nullable:"false"`
	CompanyID      Optional[string]   `json:"company_id,omitzero" format:"uuid"`
	URLs           Optional[[]string] `json:"urls,omitzero" maxItems:"10" nullable:"false"`
	StartTLS       Optional[bool]     `json:"start_tls,omitzero"`
	CAPEM          Optional[string]   `json:"ca_pem,omitzero" maxLength:"100000"`
	BaseDN         Optional[string]   `json:"base_dn,omitzero" maxLength:"1000" nullable:"false"`
	BindDN         Optional[string]   `json:"bind_dn,omitzero" maxLength:"1000"`
	BindPassword   Optional[string]   `json:"bind_password,omitzero" maxLength:"1024" writeOnly:"true" doc:"null removes it. Anybody but a superuser must send it again to change urls, start_tls or ca_pem"`
	UserFilter     Optional[string]   `json:"user_filter,omitzero" maxLength:"2000" nullable:"false"`
	AttrEmail      Optional[string]   `json:"attr_email,omitzero" maxLength:"100" nullable:"false"`
	AttrFirstName  Optional[string]   `json:"attr_first_name,omitzero" maxLength:"100"`
	AttrLastName   Optional[string]   `json:"attr_last_name,omitzero" maxLength:"100"`
	AttrPhone      Optional[string]   `json:"attr_phone,omitzero" maxLength:"100"`
	AttrDepartment Optional[string]   `json:"attr_department,omitzero" maxLength:"100"`
	AttrPosition   Optional[string]   `json:"attr_position,omitzero" maxLength:"100"`
	SyncGroups     Optional[bool]     `json:"sync_groups,omitzero"`
	NestedGroups   Optional[bool]     `json:"nested_groups,omitzero"`
	TimeoutSeconds Optional[int]      `json:"timeout_s,omitzero" nullable:"false"`
	CheckMinutes   Optional[int]      `json:"check_minutes,omitzero" nullable:"false"`
	CheckLimit     Optional[int]      `json:"check_limit_percent,omitzero" nullable:"false"`
	Enabled        Optional[bool]     `json:"enabled,omitzero" doc:"false: nobody can sign in through it. A connection can't be deleted"`
	Vouch          Optional[bool]     `json:"vouch,omitzero" doc:"true: a superuser approves the connection as it is after this change. A superuser also approves it with an empty body, or by changing which entries it finds"`
}

func (b *directoryChanges) command(problems *domain.Invalid) commands.ChangeDirectory {
	command := b.read(problems)
	merge(problems, command.Validate())
	return command
}

func (b *directoryChanges) read(problems *domain.Invalid) commands.ChangeDirectory {
	vouch := readFlag("vouch", b.Vouch, problems)
	if vouch != nil && !*vouch {
		problems.Add("vouch", domain.CodeNotTrue,
			"can only be true: the approval ends when somebody who isn't a superuser changes which entries the "+
				"connection finds")
	}
	return commands.ChangeDirectory{
		BindPassword: b.BindPassword.patch("bind_password", problems),
		Patch: directory.Patch{
			Name:      b.Name.patch("name", problems),
			CompanyID: converted("company_id", b.CompanyID.patch("company_id", problems), problems, readID),
			URLs:      b.URLs.patch("urls", problems), StartTLS: readFlag("start_tls", b.StartTLS, problems),
			CAPEM:  b.CAPEM.patch("ca_pem", problems),
			BaseDN: b.BaseDN.patch("base_dn", problems), BindDN: b.BindDN.patch("bind_dn", problems),
			UserFilter:     b.UserFilter.patch("user_filter", problems),
			TimeoutSeconds: b.TimeoutSeconds.patch("timeout_s", problems),
			Attributes: directory.AttributesPatch{
				Email:      b.AttrEmail.patch("attr_email", problems),
				FirstName:  b.AttrFirstName.patch("attr_first_name", problems),
				LastName:   b.AttrLastName.patch("attr_last_name", problems),
				Phone:      b.AttrPhone.patch("attr_phone", problems),
				Department: b.AttrDepartment.patch("attr_department", problems),
				Position:   b.AttrPosition.patch("attr_position", problems),
			},
			SyncGroups:   readFlag("sync_groups", b.SyncGroups, problems),
			NestedGroups: readFlag("nested_groups", b.NestedGroups, problems),
			CheckMinutes: b.CheckMinutes.patch("check_minutes", problems),
			CheckLimit:   b.CheckLimit.patch("check_limit_percent", problems),
			Enabled:      readFlag("enabled", b.Enabled, problems), Vouch: vouch != nil && *vouch,
		},
	}
}

type listDirectoriesRequest struct {
	QueryHeaders
	PageParams
	Query     string              `query:"query" maxLength:"200" doc:"Part of the name"`
	CompanyID uuid.UUID           `query:"company_id" format:"uuid"`
	Enabled   OptionalParam[bool] `query:"enabled"`
}

type directoryProbe struct {
	Email    string `json:"email,omitempty" maxLength:"254" doc:"E-mail address of a person to look up"`
	Password string `json:"password,omitempty" maxLength:"1024" writeOnly:"true" doc:"Password of that person, to try signing in. A wrong one counts as a failed attempt in the directory"`
}

type testDirectoryRequest struct {
	ByID
	Body *directoryProbe
}

type directoryStep struct {
	Step   string `json:"step" enum:"resolve,connect,tls,bind,search,user_bind"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	MS     int64  `json:"ms" doc:"How long it took, in milliseconds"`
	Fix    string `json:"fix,omitempty" doc:"What to do if the step failed"`
}

type directoryFlags struct {
	Disabled        bool `json:"disabled"`
	Locked          bool `json:"locked"`
	AccountExpired  bool `json:"account_expired"`
	PasswordExpired bool `json:"password_expired"`
	MustChange      bool `json:"must_change_password"`
}

type directoryGroup struct {
	Name  string           `json:"name" doc:"Name of the directory group"`
	Gives bool             `json:"gives" doc:"Whether a sign-in adds the person to group"`
	Group *projections.Ref `json:"group" doc:"The group here with the same, or nearly the same, name; null for none"`
	Why   string           `json:"why,omitempty" doc:"Why the person doesn't join although there is a group"`
}

type foundEntry struct {
	DN         string           `json:"dn"`
	GUID       string           `json:"guid"`
	Email      string           `json:"email"`
	FirstName  string           `json:"first_name"`
	LastName   string           `json:"last_name"`
	Phone      string           `json:"phone"`
	Department string           `json:"department"`
	Position   string           `json:"position"`
	Flags      directoryFlags   `json:"flags"`
	Refusal    string           `json:"refusal,omitempty" doc:"Why this entry can't sign in now, even with the right password"`
	UserID     *uuid.UUID       `json:"user_id" doc:"The account with this e-mail address; null: the first sign-in creates one"`
	Groups     []directoryGroup `json:"groups"`
}

type directoryTest struct {
	OK    bool            `json:"ok" doc:"Whether every step that was tried succeeded"`
	Steps []directoryStep `json:"steps"`
	Found *foundEntry     `json:"found" doc:"null unless exactly one entry was found"`
}

type directoryTestAnswer struct{ Body directoryTest }

type directoryChange struct {
	UserID uuid.UUID `json:"user_id"`
	Email  string    `json:"email"`
	Change string    `json:"change" enum:"close,open"`
	Reason string    `json:"reason,omitempty" enum:"disabled,vanished" doc:"Why it is closed"`
}

type directoryCheck struct {
	Entries  int               `json:"entries" doc:"Entries in the directory"`
	Accounts int               `json:"accounts" doc:"Accounts that come from the directory"`
	Changes  []directoryChange `json:"changes"`
	Applied  bool              `json:"applied"`
	Stopped  string            `json:"stopped,omitempty" doc:"Why the changes need confirmation"`
}

type directoryCheckAnswer struct{ Body directoryCheck }

type checkMode struct {
	Confirm bool `json:"confirm,omitempty" doc:"Change the accounts even if they exceed check_limit_percent"`
}

type runCheckRequest struct {
	ByID
	Body *checkMode
}

type showCheckRequest struct {
	QueryHeaders
	ByID
}

func (s *server) directories() resource[projections.Directory] {
	return resource[projections.Directory]{
		path: "/directories", name: "directory", tag: "Directories", module: "directory", kind: directory.Kind,
		read: byID(s.ReadModels.Directory), asOf: byIDAsOf(s.ReadModels.DirectoryAsOf),
		revision: func(d projections.Directory) eventstore.Revision { return d.Revision },
		belongs:  func(d projections.Directory) uuid.UUID { return idOf(d.CompanyID) },
	}
}

// directoryTestTimeout is long, since asking a directory takes as long as its servers take.
const directoryTestTimeout = time.Minute

func (s *server) addDirectories() {
	directories := s.directories()
	edit := directories.needs(domain.Edit)
	registerCreate[newDirectory](s, directories, operation{
		summary: "Connect a directory (Active Directory or other LDAP)",
		description: "People whose accounts have no password here sign in with their directory password; the first " +
			"sign-in creates the account. The connection gives groups, and signs in superusers and members of " +
			"groups, only while a superuser approves it: by setting it up, by changing which entries it finds, or " +
			"with `vouch`.",
		example: map[string]any{
			"name": "Nova Active Directory", "urls": []string{"ldaps://dc1.nova.example", "ldaps://dc2.nova.example"},
			"base_dn": "DC=nova,DC=example",
			"bind_dn": "CN=secboard,OU=Services,DC=nova,DC=example", "bind_password": "correct horse battery staple",
			"sync_groups": true,
		},
	}, s.Commands.ConnectDirectory)
	register(s, operation{
		method: http.MethodGet, path: "/directories", id: "list-directories", tag: directories.tag,
		required: directories.needs(domain.View), summary: "List directories",
	}, func(ctx context.Context, in *listDirectoriesRequest) (*list[projections.Directory], error) {
		return listOf(s.ReadModels.Directories(ctx, projections.DirectoryFilter{
			Query: in.Query, CompanyID: infoOf(ctx).reach.within(in.CompanyID), Enabled: in.Enabled.pointer(),
		}, in.request()))
	})
	registerGet(s, directories, "One directory, now or as it was")
	registerChange[directoryChanges](s, directories, operation{
		summary: "Change a directory, or switch it off", example: map[string]any{"sync_groups": true, "enabled": true},
	}, s.Commands.ChangeDirectory)
	registerHistory(s, directories)
	register(s, operation{
		method: http.MethodPost, path: "/directories/{id}/test", id: "test-directory", tag: directories.tag,
		required: edit, timeout: directoryTestTimeout,
		errors: []int{http.StatusTooManyRequests}, summary: "Test a directory step by step",
		description: "Connects to each server. With an e-mail address it also shows the person's entry in the " +
			"directory and which groups a sign-in would give. Changes nothing in SecBoard; the directory's history " +
			"shows who tested it. Tests and checks together are limited to 30 an hour for each person.",
		example: map[string]any{"email": "olena.kovalenko@example.com"},
	}, s.testDirectory)
	register(s, operation{
		method: http.MethodGet, path: "/directories/{id}/check", id: "show-directory-check", tag: directories.tag,
		required: directories.needs(domain.View).and("users", domain.View), timeout: commands.CheckTimeout,
		errors:  []int{http.StatusTooManyRequests},
		summary: "Preview a comparison of all accounts with the directory",
	}, func(ctx context.Context, in *showCheckRequest) (*directoryCheckAnswer, error) {
		return s.checkDirectory(ctx, in.ID, commands.CheckShow)
	})
	register(s, operation{
		method: http.MethodPost, path: "/directories/{id}/check", id: "run-directory-check", tag: directories.tag,
		required: edit.and("users", domain.Edit), timeout: commands.CheckTimeout,
		errors:  []int{http.StatusTooManyRequests},
		summary: "Compare all accounts with the directory now",
		description: "Accounts whose entries are disabled or gone are closed, and those whose entries are back are " +
			"opened again. If that would change too many accounts at once, it waits for `confirm`.",
		example: map[string]any{"confirm": true},
	}, func(ctx context.Context, in *runCheckRequest) (*directoryCheckAnswer, error) {
		mode := commands.CheckUnconfirmed
		if in.Body != nil && in.Body.Confirm {
			mode = commands.CheckConfirm
		}
		return s.checkDirectory(ctx, in.ID, mode)
	})
	registerActForReason(s, s.users(), "unlink-directory", operation{
		id: "unlink-user-directory", summary: "Unlink an account from its directory entry",
		description: "For a person whose directory entry was replaced: the next sign-in links the account to the " +
			"entry that then has its e-mail address. A reason is required.",
		example: map[string]any{"reason": "the entry was created again"},
	}, s.Commands.UnlinkDirectory)
}

func (s *server) testDirectory(ctx context.Context, in *testDirectoryRequest) (*directoryTestAnswer, error) {
	var probe directoryProbe
	if in.Body != nil {
		probe = *in.Body
	}
	if probe.Password != "" { // or this would be a way to guess passwords
		if err := s.limitSignIns(ctx, probe.Email); err != nil {
			return nil, err
		}
	}
	if _, err := s.directories().get(ctx, in.ID.String(), Moment{}); err != nil {
		return nil, err
	}
	if err := s.limitTests(ctx); err != nil {
		return nil, err
	}
	test, err := s.Commands.TestDirectory(ctx, s.caller(ctx), in.ID, probe.Email, probe.Password)
	if err != nil {
		return nil, err
	}
	body := directoryTest{OK: true, Steps: make([]directoryStep, len(test.Steps))}
	for i, step := range test.Steps {
		body.OK = body.OK && step.OK
		body.Steps[i] = directoryStep{step.Step, step.OK, step.Detail, step.Took.Milliseconds(), step.Fix}
	}
	if e := test.Entry; e != nil {
		body.Found = &foundEntry{
			DN: e.DN, GUID: e.GUID, Email: e.Email, FirstName: e.FirstName, LastName: e.LastName, Phone: e.Phone,
			Department: e.Department, Position: e.Position,
			Flags:   directoryFlags{e.Disabled, e.Locked, e.Expired, e.PasswordExpired, e.MustChange},
			Refusal: test.Refusal, UserID: test.Account, Groups: []directoryGroup{},
		}
		for _, match := range test.Groups {
			shown := directoryGroup{Name: match.Name, Gives: match.Gives, Why: match.Why}
			if match.Group != nil {
				shown.Group = &projections.Ref{ID: match.Group.ID, Name: match.Group.Name}
			}
			body.Found.Groups = append(body.Found.Groups, shown)
		}
	}
	return &directoryTestAnswer{Body: body}, nil
}

func (s *server) checkDirectory(ctx context.Context, id uuid.UUID,
	mode commands.CheckMode) (*directoryCheckAnswer, error) {
	if _, err := s.directories().get(ctx, id.String(), Moment{}); err != nil {
		return nil, err
	}
	if err := s.limitTests(ctx); err != nil {
		return nil, err
	}
	check, err := s.Commands.CheckDirectory(ctx, s.caller(ctx), id, mode)
	if err != nil {
		return nil, err
	}
	body := directoryCheck{
		Entries: check.Findings.Entries, Accounts: check.Findings.Accounts, Applied: check.Applied,
		Stopped: check.Stopped,
		Changes: make([]directoryChange, len(check.Changes)),
	}
	for i, change := range check.Changes {
		body.Changes[i] = directoryChange{
			UserID: change.UserID, Email: change.Email, Change: "close", Reason: change.Reason,
		}
		if change.Reason == "" {
			body.Changes[i].Change = "open"
		}
	}
	return &directoryCheckAnswer{Body: body}, nil
}
