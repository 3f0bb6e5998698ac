package commands_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/user"
)

// people signs as many people in through a directory, who are person0@acme.example and so on.
func people(n int) func(*testing.T, *directoryStory) {
	return func(t *testing.T, s *directoryStory) {
		t.Helper()
		server := s.connect(t, "hq", admin(), nil)
		server.people = map[string]*fakePerson{}
		for i := range n {
			p := olena()
			p.Email, p.GUID = fmt.Sprintf("person%d@acme.example", i), fmt.Sprintf("guid %d", i)
			server.people[p.Email] = p
			if _, err := s.SignIn(t.Context(), p.Email, olenasPassword); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func disabled(from, to int, yes bool) func(*testing.T, *directoryStory) {
	return func(_ *testing.T, s *directoryStory) {
		for i := from; i < to; i++ {
			s.servers["hq"].people[fmt.Sprintf("person%d@acme.example", i)].Disabled = yes
		}
	}
}

func vanished(_ *testing.T, s *directoryStory) { s.servers["hq"].people = nil }

// checked runs a check beforehand.
func checked(mode commands.CheckMode) func(*testing.T, *directoryStory) {
	return func(t *testing.T, s *directoryStory) {
		t.Helper()
		if _, err := s.CheckDirectory(t.Context(), admin(), s.ids["hq"], mode); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCheckingADirectory(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		given   func(*testing.T, *directoryStory)
		mode    commands.CheckMode
		found   directory.Findings
		stopped bool
		applied bool
		closed  int // accounts afterwards
	}{
		"nothing to do": {
			people(3), commands.CheckUnconfirmed, directory.Findings{Accounts: 3, Entries: 3}, false, true, 0,
		},
		"a disabled entry": {
			and(people(3), disabled(0, 1, true)), commands.CheckUnconfirmed,
			directory.Findings{Accounts: 3, Entries: 3, Close: 1}, false, true, 1,
		},
		"only shown": {
			and(people(3), disabled(0, 1, true)), commands.CheckShow,
			directory.Findings{Accounts: 3, Entries: 3, Close: 1}, false, false, 0,
		},
		"enabled again": {
			and(people(3), disabled(0, 1, true), checked(commands.CheckUnconfirmed), disabled(0, 1, false)),
			commands.CheckUnconfirmed,
			directory.Findings{Accounts: 3, Entries: 3, Open: 1}, false, true, 0,
		},
		"a vanished entry": {
			and(people(3), func(_ *testing.T, s *directoryStory) {
				delete(s.servers["hq"].people, "person2@acme.example")
			}), commands.CheckUnconfirmed,
			directory.Findings{Accounts: 3, Entries: 2, Close: 1}, false, true, 1,
		},
		"more than its share": {
			and(people(4), disabled(0, 3, true)), commands.CheckUnconfirmed,
			directory.Findings{Accounts: 4, Entries: 4, Close: 3}, true, false, 0,
		},
		"more than its share, confirmed": {
			and(people(4), disabled(0, 3, true), checked(commands.CheckUnconfirmed)), commands.CheckConfirm,
			directory.Findings{Accounts: 4, Entries: 4, Close: 3}, false, true, 3,
		},
		"nobody seen": {
			and(people(1), vanished), commands.CheckUnconfirmed, directory.Findings{Accounts: 1, Close: 1}, true, false,
			0,
		},
		"an unlinked account": {
			and(people(2), func(t *testing.T, s *directoryStory) {
				id, _ := s.account(t, "person0@acme.example")
				must(t)(s.UnlinkDirectory(t.Context(), admin(), id, "left"))
			}, disabled(0, 1, true)), commands.CheckUnconfirmed, directory.Findings{Accounts: 1, Entries: 2}, false,
			true, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newDirectoryStory(t)
			test.given(t, s)
			check, err := s.CheckDirectory(t.Context(), admin(), s.ids["hq"], test.mode)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.found, check.Findings); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if check.Stopped != "" != test.stopped || check.Applied != test.applied {
				t.Errorf("stopped %q, applied %v", check.Stopped, check.Applied)
			}
			closed := 0
			for i := range 4 {
				if _, account := s.account(t, fmt.Sprintf("person%d@acme.example", i)); account.Directory.Disabled {
					closed++
				}
			}
			if closed != test.closed {
				t.Errorf("%d accounts are closed, want %d", closed, test.closed)
			}
		})
	}
}

func TestACheckTellsWhomItCloses(t *testing.T) {
	t.Parallel()
	s := newDirectoryStory(t)
	and(people(1), vanished)(t, s)
	check, err := s.CheckDirectory(t.Context(), admin(), s.ids["hq"], commands.CheckShow)
	id, _ := s.account(t, "person0@acme.example")
	want := []commands.DirectoryChange{{UserID: id, Email: "person0@acme.example", Reason: user.ClosedVanished}}
	if diff := cmp.Diff(want, check.Changes, cmpopts.IgnoreUnexported(commands.DirectoryChange{})); err != nil ||
		diff != "" {
		t.Errorf("%v, changes (-want +got):\n%s", err, diff)
	}
}

func TestACheckThatCannotAskChangesNothing(t *testing.T) {
	t.Parallel()
	s := newDirectoryStory(t)
	and(people(1), down("hq"))(t, s)
	if check, err := s.CheckDirectory(t.Context(), admin(), s.ids["hq"], commands.CheckConfirm); !errors.Is(err,
		commands.ErrDirectory) || check.Applied {
		t.Errorf("checked %+v, %v", check, err)
	}
	if _, err := s.CheckDirectory(t.Context(), admin(), uuid.New(), commands.CheckShow); !refused(err,
		domain.CodeNotFound) {
		t.Errorf("no such directory: %v", err)
	}
	s.servers["hq"].down, s.indexErr = nil, errDown
	if _, err := s.CheckDirectory(t.Context(), admin(), s.ids["hq"], commands.CheckShow); !errors.Is(err, errDown) {
		t.Errorf("without the index: %v", err)
	}
}

func TestOnlyDirectoriesThatAreToBeCheckedAreScheduled(t *testing.T) {
	t.Parallel()
	s := newDirectoryStory(t)
	s.connect(t, "hq", admin(), nil)
	s.connect(t, "unchecked", admin(), func(c *commands.ConnectDirectory) { c.CheckMinutes = 0 })
	s.connect(t, "off", admin(), func(c *commands.ConnectDirectory) { c.Enabled = false })
	got, err := s.DirectorySchedules(t.Context())
	want := []commands.DirectorySchedule{{ID: s.ids["hq"], Name: "hq", Every: time.Hour}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, schedules (-want +got):\n%s", err, diff)
	}
}
