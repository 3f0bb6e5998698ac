package user_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/scenario"
	"github.com/secboard/secboard/domain/user"
)

var (
	connection = uuid.UUID{7}
	entry      = directory.Entry{DN: "CN=Olena", GUID: "guid", Email: "olena@example.com", FirstName: "Olena"}
	found      = user.DirectoryEntry{DirectoryID: connection, Vouched: true, Entry: entry}
	unlinked   = user.Registered{Email: "olena@example.com", Source: user.SourceLocal}
	linked     = user.DirectoryLinked{DirectoryID: connection, GUID: "guid", DN: "CN=Olena"}
	named      = user.NameChanged{FirstName: domain.Changed[string]{To: "Olena"}}
)

func follow(found user.DirectoryEntry) func(user.State) ([]domain.Event, error) {
	return func(s user.State) ([]domain.Event, error) { return user.SyncFromDirectory(s, found) }
}

func TestTheFirstDirectorySignInRegisters(t *testing.T) {
	t.Parallel()
	company := uuid.UUID{1}
	with := found
	with.CompanyID, with.Synced = company, true
	with.Entry.Phone, with.Entry.Position = strings.Repeat("5", 60), "  Head\nof\x00risk "
	with.Groups = []user.Group{{ID: uuid.UUID{2}, Name: "Risk", CompanyID: company}, {
		ID: uuid.UUID{2}, Name: "Risk", CompanyID: company,
	}, {ID: uuid.UUID{3}, CompanyID: uuid.UUID{9}}, {ID: uuid.UUID{4}, Retired: true}}
	with.Missed = []string{"nearly"}
	register := func(s user.State) ([]domain.Event, error) { return user.RegisterFromDirectory(s, with) }
	scenario.Given[user.State]().When(register).Then(t,
		user.Registered{
			Email: "olena@example.com", FirstName: "Olena", CompanyID: company, Phone: strings.Repeat("5", 50),
			Position: "Head of risk", Source: user.SourceDirectory,
		},
		linked,
		user.GroupSynced{GroupID: uuid.UUID{2}, GroupName: "Risk", DirectoryID: connection},
		user.GroupsMissed{Groups: []string{"nearly"}},
	)
	with.Entry.Email = "no address"
	scenario.Given[user.State]().When(register).ThenInvalid(t, "email")
}

func TestALaterSignInFollowsTheEntry(t *testing.T) {
	t.Parallel()
	scenario.Given[user.State](unlinked).When(follow(found)).Then(t, linked, named)
	scenario.Given[user.State](unlinked, linked, named).When(follow(found)).Then(t)
	scenario.Given[user.State](unlinked, linked, named, user.DirectoryDisabled{Reason: user.ClosedVanished}).When(
		follow(found)).Then(t, user.DirectoryEnabled{})
	moved := found
	moved.Entry.DN, moved.Entry.Email, moved.Entry.FirstName = "CN=Olena,OU=New", "new@example.com", ""
	scenario.Given[user.State](unlinked, linked, named).When(follow(moved)).Then(t,
		user.DirectoryEntryMoved{DN: domain.Changed[string]{From: "CN=Olena", To: "CN=Olena,OU=New"}},
		user.EmailChanged{Email: domain.Changed[string]{From: "olena@example.com", To: "new@example.com"}},
	)
}

func TestADirectoryDecidesOnlyAboutItsOwn(t *testing.T) {
	t.Parallel()
	scenario.Given[user.State](unlinked, user.PasswordSet{Hash: domain.Sealed("hash")}).When(follow(found)).ThenRefused(
		t, user.ErrOwnLogin.Code)
	other, unvouched, elsewhere := found, found, found
	other.Entry.GUID = "another"
	scenario.Given[user.State](unlinked, linked).When(follow(other)).ThenRefused(t, user.ErrOtherEntry.Code)
	scenario.Given[user.State](unlinked, linked, user.DirectoryUnlinked{DirectoryID: connection, GUID: "guid"}).When(
		follow(other)).
		Then(t, user.DirectoryLinked{DirectoryID: connection, GUID: "another", DN: "CN=Olena"}, named)
	unvouched.Vouched, unvouched.Synced, unvouched.Groups = false, true, []user.Group{{ID: uuid.UUID{2}, Name: "Risk"}}
	scenario.Given[user.State](unlinked, user.SuperuserGranted{}).When(follow(unvouched)).ThenRefused(t,
		user.ErrNotApproved.Code)
	scenario.Given[user.State](unlinked, user.GroupJoined{GroupID: uuid.UUID{2}}).When(follow(unvouched)).ThenRefused(t,
		user.ErrNotApproved.Code)
	scenario.Given[user.State](unlinked).When(follow(unvouched)).Then(t, linked, named)
	elsewhere.DirectoryID = uuid.UUID{8}
	scenario.Given[user.State](unlinked, linked, named).When(follow(elsewhere)).Then(t,
		user.DirectoryLinked{DirectoryID: uuid.UUID{8}, GUID: "guid", DN: "CN=Olena"})
	elsewhere.Vouched = false
	scenario.Given[user.State](unlinked, linked, named).When(follow(elsewhere)).ThenRefused(t, user.ErrOtherEntry.Code)
}

func TestMirroringConcernsTheVeryEntry(t *testing.T) {
	t.Parallel()
	mirror := func(id uuid.UUID, guid, reason string) func(user.State) ([]domain.Event, error) {
		return func(s user.State) ([]domain.Event, error) { return user.SyncClosing(s, id, true, guid, reason) }
	}
	disabled := user.DirectoryDisabled{Reason: user.ClosedDisabled}
	scenario.Given[user.State](unlinked, linked).When(mirror(connection, "guid", user.ClosedDisabled)).Then(t, disabled)
	scenario.Given[user.State](unlinked, linked, disabled).When(mirror(connection, "guid", user.ClosedVanished)).Then(t)
	scenario.Given[user.State](unlinked, linked, disabled).When(mirror(connection, "guid", "")).Then(t,
		user.DirectoryEnabled{})
	scenario.Given[user.State](unlinked, linked).When(mirror(connection, "another", user.ClosedDisabled)).Then(t)
	scenario.Given[user.State](unlinked, linked).When(mirror(uuid.UUID{8}, "guid", user.ClosedDisabled)).Then(t)
	scenario.Given[user.State](unlinked, linked, user.PasswordSet{Hash: domain.Sealed("hash")}).When(
		mirror(connection, "guid", user.ClosedDisabled)).Then(t)
}
