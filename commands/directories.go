package commands

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/probe"
	"github.com/secboard/secboard/domain/user"
)

// Directory asks directory servers. Each call ends with its context, and gives each of the connection's servers at most
// its time-out.
type Directory interface {
	// SignIn finds the one entry of an e-mail address and signs in as it. A *directory.Refused says no, with the entry
	// where one was found; any other error that the directory can't tell now.
	SignIn(ctx context.Context, server directory.Server, email, password string) (directory.Entry, error)
	// Test does the same step by step, as far as e-mail and password are given. The entry is nil where none was found.
	Test(ctx context.Context, server directory.Server,
		email, password string) ([]directory.Step, *directory.Entry, error)
	// Entries gives all entries that the user filter lets through. After an error it ends.
	Entries(ctx context.Context, server directory.Server) iter.Seq2[directory.Entry, error]
}

// DirectoryIndex finds what has to do with directories otherwise than by its id. It comes from the read models and may
// be some moments behind, so what it finds is read from the log before anything is decided.
type DirectoryIndex interface {
	// EnabledDirectories gives the connections that are switched on, the oldest first.
	EnabledDirectories(ctx context.Context) ([]uuid.UUID, error)
	// GroupsLike gives the groups that have one of the names in any case, also retired ones.
	GroupsLike(ctx context.Context, names []string) ([]uuid.UUID, error)
	// AccountsOfEntry gives the accounts that are bound to an entry.
	AccountsOfEntry(ctx context.Context, guid string) ([]uuid.UUID, error)
	// AccountsOfDirectory gives, in order, at most limit accounts after one that are bound to entries of a connection.
	AccountsOfDirectory(ctx context.Context, id, after uuid.UUID, limit int) ([]uuid.UUID, error)
}

// ConnectDirectory asks for a connection to a directory. Its id is the caller's CommandID.
type ConnectDirectory struct {
	directory.Settings
	BindPassword string // "" for none
}

// ConnectDirectory starts a connection.
func (h *Handler) ConnectDirectory(ctx context.Context, caller Caller, command ConnectDirectory) (Result, error) {
	caller = caller.needing(needs("directory", domain.Add))
	stream := domain.StreamName(directory.Kind, caller.CommandID)
	sealed, err := h.sealBindPassword(stream, command.BindPassword)
	if err != nil {
		return Result{}, err
	}
	return createBy(ctx, h, caller, stream, func(s directory.State, who *authority) ([]domain.Event, error) {
		problems := problemsOf(command.Normalized().Validate(command.BindPassword != ""))
		if err := who.checkCompany(ctx, command.CompanyID, problems); err != nil {
			return nil, err
		}
		if err := problems.Err(); err != nil {
			return nil, err
		}
		return directory.Connect(s, directory.By{Superuser: who.Superuser}, command.Settings, sealed)
	})
}

// ChangeDirectory asks for changes to a connection; nil leaves a field as it is.
type ChangeDirectory struct {
	directory.Patch         // without BindPassword
	BindPassword    *string // "" removes it
}

// ChangeDirectory changes a connection.
func (h *Handler) ChangeDirectory(ctx context.Context, caller Caller, id uuid.UUID,
	command ChangeDirectory) (Result, error) {
	caller = caller.needing(needs("directory", domain.Edit))
	stream, patch := domain.StreamName(directory.Kind, id), command.Patch
	if command.BindPassword != nil {
		sealed, err := h.sealBindPassword(stream, *command.BindPassword)
		if err != nil {
			return Result{}, err
		}
		patch.BindPassword = &sealed
	}
	return changeBy(ctx, h, caller, stream, func(s directory.State, who *authority) ([]domain.Event, error) {
		if s.Exists && patch.CompanyID != nil && *patch.CompanyID != s.Settings.CompanyID {
			problems := &domain.Invalid{}
			if err := who.checkCompany(ctx, *patch.CompanyID, problems); err != nil {
				return nil, err
			}
			if err := problems.Err(); err != nil {
				return nil, err
			}
		}
		return directory.Change(s, directory.By{Superuser: who.Superuser}, patch)
	})
}

func (h *Handler) sealBindPassword(stream, password string) (domain.Sealed, error) {
	if password == "" {
		return nil, nil
	}
	return h.Keys.Seal([]byte(password), stream)
}

// connection is a connection that is ready to be used.
type connection struct {
	directory.Connection
	server directory.Server
}

// connection reads a connection from the log; one that does not exist has an empty state.
func (h *Handler) connection(ctx context.Context, id uuid.UUID) (connection, error) {
	stream := domain.StreamName(directory.Kind, id)
	found, err := load[directory.State](ctx, h.Log, stream)
	if err != nil || !found.State.Exists {
		return connection{}, err
	}
	c := connection{directory.Connection{ID: id, State: found.State}, directory.Server{Settings: found.State.Settings}}
	if found.State.BindPassword.Set() {
		password, err := h.Keys.Open(found.State.BindPassword, stream)
		if err != nil {
			return connection{}, err
		}
		c.server.BindPassword = string(password)
	}
	if companyID := c.server.CompanyID; companyID != uuid.Nil {
		owner, err := load[company.State](ctx, h.Log, domain.StreamName(company.Kind, companyID))
		if err != nil {
			return connection{}, err
		}
		c.CompanyRetired = owner.State.Retired
	}
	return c, nil
}

// connectionsFor gives the connections that are asked about an account, in their order, and whether there are others
// that are not because no superuser approved them (directory.Asked).
func (h *Handler) connectionsFor(ctx context.Context,
	account user.State) (asked []connection, othersUnapproved bool, err error) {
	ids, err := h.DirectoryIndex.EnabledDirectories(ctx)
	if err != nil {
		return nil, false, err
	}
	if linked := account.Directory.ID; linked != uuid.Nil && !slices.Contains(ids, linked) {
		ids = append(ids, linked) // the index may be behind
	}
	ready := map[uuid.UUID]connection{}
	var known []directory.Connection
	for _, id := range ids {
		c, err := h.connection(ctx, id)
		if err != nil {
			return nil, false, err
		}
		ready[id], known = c, append(known, c.Connection)
	}
	chosen, others := directory.Asked(known, account.Person())
	for _, c := range chosen {
		asked = append(asked, ready[c.ID])
	}
	return asked, len(others) > 0, nil
}

// GroupMatch is what a directory group means here: the group that it gives, or why it gives none although
// one has nearly the same name.
type GroupMatch struct {
	Name  string // of the directory group
	Group *user.Group
	Gives bool
	Why   string // it gives none
}

// matchGroups looks for groups that have exactly the names of directory groups and that an account of a company may
// join. A directory group whose name no group here has, or nearly has, is left out.
func (h *Handler) matchGroups(ctx context.Context, names []string, companyID uuid.UUID) ([]GroupMatch, error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	ids, err := h.DirectoryIndex.GroupsLike(ctx, names)
	if err != nil {
		return nil, err
	}
	like := map[string][]user.Group{} // by name in lower case
	for _, id := range ids {
		found, exists, err := h.group(ctx, id)
		if err != nil {
			return nil, err
		}
		if key := strings.ToLower(found.Name); exists {
			like[key] = append(like[key], found)
		}
	}
	var matches []GroupMatch
	for _, name := range names {
		var given, missed []GroupMatch
		for _, group := range like[strings.ToLower(name)] {
			match := GroupMatch{Name: name, Group: &group}
			switch {
			case group.Retired:
				match.Why = fmt.Sprintf("the group %q is retired", group.Name)
			case group.CompanyID != uuid.Nil && group.CompanyID != companyID:
				match.Why = fmt.Sprintf("the group %q belongs to another company than the account", group.Name)
			case group.Name != name:
				match.Why = fmt.Sprintf("the group %q is spelled differently: upper and lower case must "+
					"match", group.Name)
			default:
				match.Gives = true
				given = append(given, match)
				continue
			}
			missed = append(missed, match)
		}
		if len(given) == 0 {
			given = missed
		}
		matches = append(matches, given...)
	}
	return matches, nil
}

// entryFor is an entry with the groups that it gives to an account of a company.
func (h *Handler) entryFor(ctx context.Context, c connection, entry directory.Entry,
	companyID uuid.UUID) (user.DirectoryEntry, error) {
	found := user.DirectoryEntry{
		DirectoryID: c.ID, CompanyID: c.server.CompanyID, Vouched: c.State.Vouched, Entry: entry,
		Synced: c.server.SyncGroups,
	}
	if !found.Synced {
		return found, nil
	}
	matches, err := h.matchGroups(ctx, entry.Groups, companyID)
	for _, match := range matches {
		if match.Gives {
			found.Groups = append(found.Groups, *match.Group)
		} else {
			found.Missed = append(found.Missed, fmt.Sprintf("%q: %s", match.Name, match.Why))
		}
	}
	return found, err
}

// DirectoryTest is what a try of a connection showed. Entry is nil where none was found.
type DirectoryTest struct {
	Steps   []directory.Step
	Entry   *directory.Entry
	Account *uuid.UUID // that has the e-mail address, or is bound to the entry; nil: the first sign-in would make one
	Groups  []GroupMatch
	Refusal string // why the entry could not sign in whatever the password; "" when it could
}

// TestDirectory tries a connection for an administrator, and records that it was tried. It changes nothing else, and
// works for one that is switched off too.
func (h *Handler) TestDirectory(ctx context.Context, caller Caller, id uuid.UUID,
	email, password string) (DirectoryTest, error) {
	c, err := h.connection(ctx, id)
	if err != nil {
		return DirectoryTest{}, err
	}
	if !c.State.Exists {
		return DirectoryTest{}, domain.Refusef(domain.CodeNotFound, "there is no such directory")
	}
	tried := probe.DirectoryTested{URLs: c.server.URLs, Email: email, Password: password != ""}
	if err := h.recordDirectoryProbe(ctx, caller, c, domain.Edit, tried); err != nil {
		return DirectoryTest{}, err
	}
	return h.tryDirectory(ctx, c, email, password)
}

// TryDirectory is TestDirectory without a person and without leaving a trace, for who operates the machine.
func (h *Handler) TryDirectory(ctx context.Context, id uuid.UUID) (DirectoryTest, error) {
	c, err := h.connection(ctx, id)
	if err != nil {
		return DirectoryTest{}, err
	}
	return h.tryDirectory(ctx, c, "", "")
}

// recordDirectoryProbe records what a person is about to have a directory asked.
func (h *Handler) recordDirectoryProbe(ctx context.Context, caller Caller, c connection, action domain.Action,
	event domain.Event) error {
	caller = caller.needing(needs("directory", action).of(c.server.CompanyID))
	return h.recordProbe(ctx, caller, domain.StreamName(probe.DirectoryKind, c.ID), event)
}

func (h *Handler) tryDirectory(ctx context.Context, c connection, email, password string) (DirectoryTest, error) {
	var err error
	var test DirectoryTest
	test.Steps, test.Entry, err = h.Directory.Test(ctx, c.server, email, password)
	if err != nil || test.Entry == nil {
		return test, err
	}
	test.Refusal = test.Entry.Refusal()
	companyID := c.server.CompanyID
	account, exists, err := h.accountOf(ctx, email)
	if err != nil {
		return DirectoryTest{}, err
	}
	if exists {
		test.Account = &account
		found, err := h.Account(ctx, account)
		if err != nil {
			return DirectoryTest{}, err
		}
		companyID = found.Details.CompanyID
	}
	matches, err := h.matchGroups(ctx, test.Entry.Groups, companyID)
	for _, name := range test.Entry.Groups {
		of := slices.DeleteFunc(slices.Clone(matches), func(m GroupMatch) bool { return m.Name != name })
		if len(of) == 0 {
			of = []GroupMatch{{Name: name}}
		}
		for _, match := range of {
			switch {
			case match.Gives && !c.server.SyncGroups:
				match.Gives, match.Why = false, "sync_groups is off"
			case match.Gives && !c.State.Vouched:
				match.Gives, match.Why = false,
					`no superuser has approved the connection: a superuser has to PATCH it with {"vouch": true}`
			}
			test.Groups = append(test.Groups, match)
		}
	}
	return test, err
}
