package commands_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
)

const byDirectory = "in by " + signin.ByDirectory

// signInCase is a story of signing in through directories: given, when, then.
type signInCase struct {
	given    func(*testing.T, *directoryStory)
	email    string // Olena's unless it says otherwise
	password string // likewise
	want     error
	recorded []string // of all sign-ins, those of given too
	then     func(*testing.T, *directoryStory)
}

func (c signInCase) run(t *testing.T) {
	t.Parallel()
	s := newDirectoryStory(t)
	c.given(t, s)
	email, password := c.email, c.password
	if email == "" {
		email = olenasEmail
	}
	if password == "" {
		password = olenasPassword
	}
	outcome, err := s.SignIn(t.Context(), email, password)
	if !errors.Is(err, c.want) || err == nil && outcome.Session == uuid.Nil {
		t.Errorf("signed in %+v, %v; want %v", outcome, err, c.want)
	}
	if diff := cmp.Diff(c.recorded, s.recorded(t)); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
	if c.then != nil {
		c.then(t, s)
	}
}

// approved connects a directory that a superuser approved.
func approved(t *testing.T, s *directoryStory) { s.connect(t, "hq", admin(), nil) }

// known is approved, and Olena has signed in once.
func known(t *testing.T, s *directoryStory) {
	t.Helper()
	approved(t, s)
	s.signIn(t)
}

func (s *directoryStory) signIn(t *testing.T) uuid.UUID {
	t.Helper()
	outcome, err := s.SignIn(t.Context(), olenasEmail, olenasPassword)
	if err != nil {
		t.Fatal(err)
	}
	return outcome.UserID
}

// and is one given after the other.
func and(steps ...func(*testing.T, *directoryStory)) func(*testing.T, *directoryStory) {
	return func(t *testing.T, s *directoryStory) {
		t.Helper()
		for _, step := range steps {
			step(t, s)
		}
	}
}

// entry changes Olena's entry.
func entry(change func(*fakePerson)) func(*testing.T, *directoryStory) {
	return func(_ *testing.T, s *directoryStory) { change(s.servers["hq"].people[olenasEmail]) }
}

// hasAccount registers an account without a password.
func hasAccount(email string) func(*testing.T, *directoryStory) {
	return func(t *testing.T, s *directoryStory) { must(t)(s.RegisterUser(t.Context(), admin(), register(email))) }
}

// down ends a server.
func down(name string) func(*testing.T, *directoryStory) {
	return func(_ *testing.T, s *directoryStory) { s.servers[name].down = errDown }
}

func accounts(want int) func(*testing.T, *directoryStory) {
	return func(t *testing.T, s *directoryStory) {
		if all := registrations(t, s.log); len(all) != want {
			t.Errorf("accounts %v, want %d", all, want)
		}
	}
}

func asked(name string, want int) func(*testing.T, *directoryStory) {
	return func(t *testing.T, s *directoryStory) {
		if got := s.servers[name].asked; got != want {
			t.Errorf("%s was asked %d times, want %d", name, got, want)
		}
	}
}

func closed(want bool) func(*testing.T, *directoryStory) {
	return func(t *testing.T, s *directoryStory) {
		if _, account := s.account(t, olenasEmail); account.Directory.Disabled != want {
			t.Errorf("closed by the directory: %v, want %v", account.Directory.Disabled, want)
		}
	}
}

func TestSignInThroughADirectory(t *testing.T) {
	t.Parallel()
	refused := commands.ErrCredentials
	for name, c := range map[string]signInCase{
		"unknown address": {
			given: approved, email: "nobody@acme.example", want: refused, recorded: []string{signin.WrongPassword},
			then: and(accounts(0), func(t *testing.T, s *directoryStory) {
				if s.paused <= 0 {
					t.Error("the refusal took no longer than its check")
				}
			}),
		},
		"first sign-in creates the account": {
			given: approved, recorded: []string{byDirectory},
			then: func(t *testing.T, s *directoryStory) {
				_, account := s.account(t, olenasEmail)
				want := user.DirectoryLink{ID: s.ids["hq"], GUID: "guid of Olena", DN: "CN=Olena"}
				if diff := cmp.Diff(want, account.Directory); diff != "" {
					t.Errorf("link (-want +got):\n%s", diff)
				}
				if account.Source != user.SourceDirectory || account.Details.FirstName != "Olena" ||
					len(account.Groups) != 0 {
					t.Errorf("account %+v", account)
				}
				if s.servers["hq"].bindPassword != "bind" {
					t.Errorf("asked with the bind password %q", s.servers["hq"].bindPassword)
				}
			},
		},
		"an account without a password is bound": {
			given: and(approved, hasAccount(olenasEmail)), recorded: []string{byDirectory}, then: accounts(1),
		},
		"wrong password": {
			given: approved, password: "wrong", want: refused, recorded: []string{signin.WrongPassword},
			then: and(asked("hq", 1), accounts(0)),
		},
		"NUL in the password": {
			given: approved, password: olenasPassword + "\x00", want: refused, recorded: []string{signin.WrongPassword},
			then: accounts(0),
		},
		"disabled entry closes the account": {
			given: and(known, entry(func(p *fakePerson) { p.Disabled = true })), want: refused,
			recorded: []string{byDirectory, signin.DirectoryDisabled}, then: closed(true),
		},
		"disabled entry without an account": {
			given: and(approved, entry(func(p *fakePerson) { p.Disabled = true })), want: refused,
			recorded: []string{signin.DirectoryDisabled}, then: accounts(0),
		},
		"enabled again opens the account": {
			given: and(known, entry(func(p *fakePerson) { p.Disabled = true }), func(t *testing.T, s *directoryStory) {
				_, _ = s.SignIn(t.Context(), olenasEmail, olenasPassword) // refused, and closes
			}, entry(func(p *fakePerson) { p.Disabled = false })),
			recorded: []string{byDirectory, signin.DirectoryDisabled, byDirectory}, then: closed(false),
		},
		"locked entry closes nothing": {
			given: and(known, entry(func(p *fakePerson) { p.Locked = true })), want: refused,
			recorded: []string{byDirectory, "directory_locked"}, then: closed(false),
		},
		"moved to another entry": {
			given: and(known, entry(func(p *fakePerson) { p.GUID = "guid of another Olena" })), want: refused,
			recorded: []string{byDirectory, string(user.ErrOtherEntry.Code)},
		},
		"entry of another account": {
			given: and(known, hasAccount("boris@acme.example"), func(_ *testing.T, s *directoryStory) {
				hers := olena() // she has written his address into her own entry
				hers.Email = "boris@acme.example"
				s.servers["hq"].people["boris@acme.example"] = hers
			}), email: "boris@acme.example", want: refused,
			recorded: []string{byDirectory, string(user.ErrEntryTaken.Code)},
		},
		"another address of the same entry": {
			given: and(known, func(_ *testing.T, s *directoryStory) {
				renamed := olena()
				renamed.Email = "olena.new@acme.example"
				s.servers["hq"].people = map[string]*fakePerson{renamed.Email: renamed}
			}), email: "olena.new@acme.example", recorded: []string{byDirectory, byDirectory},
			then: and(accounts(1), func(t *testing.T, s *directoryStory) {
				if id, _ := s.account(t, "olena.new@acme.example"); id == uuid.Nil {
					t.Error("the account kept its address")
				}
			}),
		},
		"entry whose address no account can have": {
			given: and(approved, entry(func(p *fakePerson) { p.Email = "no address" })), want: refused,
			recorded: []string{"directory_no_email"}, then: accounts(0),
		},
		"directory down": {
			given: and(known, down("hq")), want: commands.ErrDirectory, recorded: []string{byDirectory},
		},
		"directory down concerns no local password": {
			given: and(approved, func(t *testing.T, s *directoryStory) {
				must(t)(s.CreateSuperuser(t.Context(), commands.Operator(), "root@acme.example", olenasPassword))
			}, down("hq")), email: "root@acme.example", recorded: []string{"in by " + signin.ByPassword},
			then: asked("hq", 0),
		},
		"the second directory knows": {
			given: and(approved, func(t *testing.T, s *directoryStory) {
				s.connect(t, "branch", admin(), nil)
				s.servers["hq"].people = nil
			}), recorded: []string{byDirectory}, then: and(asked("hq", 1), asked("branch", 1)),
		},
		"the first directory is down and the second approved": {
			given: and(approved, func(t *testing.T, s *directoryStory) {
				s.connect(t, "branch", admin(), nil)
			}, down("hq")),
			recorded: []string{byDirectory}, then: asked("branch", 1),
		},
		"the first directory is down and the second not approved": {
			given: and(approved, func(t *testing.T, s *directoryStory) {
				s.connect(t, "branch", clerk(t, s), nil)
			}, down("hq")),
			want: commands.ErrDirectory, then: asked("branch", 0),
		},
		"bound accounts are asked about at home only": {
			given: and(known, func(t *testing.T, s *directoryStory) {
				s.connect(t, "branch", admin(), nil)
			}, down("hq")),
			want: commands.ErrDirectory, recorded: []string{byDirectory}, then: asked("branch", 0),
		},
		"unapproved directory": {
			given:    func(t *testing.T, s *directoryStory) { s.connect(t, "hq", clerk(t, s), nil) },
			recorded: []string{byDirectory},
		},
		"unapproved directory and somebody with rights": {
			given: func(t *testing.T, s *directoryStory) {
				s.connect(t, "hq", clerk(t, s), nil)
				command := register(olenasEmail)
				command.GroupIDs = []uuid.UUID{
					must(t)(s.CreateGroup(t.Context(), admin(), group.Details{Name: "Readers"})),
				}
				must(t)(s.RegisterUser(t.Context(), admin(), command))
			}, want: refused, recorded: []string{string(user.ErrNotApproved.Code)}, then: asked("hq", 0),
		},
		"rights given while a directory without approval answers": {
			given: and(approved, func(t *testing.T, s *directoryStory) {
				s.servers["hq"].before = func() {
					command := register(olenasEmail)
					command.Superuser = true
					must(t)(s.RegisterUser(t.Context(), admin(), command))
				}
				patch := commands.ChangeDirectory{Patch: directory.Patch{UserFilter: new("(objectClass=person)")}}
				must(t)(s.ChangeDirectory(t.Context(), clerk(t, s), s.ids["hq"], patch))
			}), want: refused, recorded: []string{string(user.ErrNotApproved.Code)},
		},
		"somebody else was faster": {
			given: and(approved, func(t *testing.T, s *directoryStory) {
				s.servers["hq"].before = func() { must(t)(s.RegisterUser(t.Context(), admin(), register(olenasEmail))) }
			}), recorded: []string{byDirectory}, then: accounts(1),
		},
		"a password of its own, set meanwhile": {
			given: and(approved, hasAccount(olenasEmail), func(t *testing.T, s *directoryStory) {
				s.servers["hq"].before = func() {
					must(t)(s.CreateSuperuser(t.Context(), commands.Operator(), olenasEmail, password))
				}
			}), want: refused, recorded: []string{string(user.ErrOwnLogin.Code)},
		},
		"deactivated account": {
			given: and(known, func(t *testing.T, s *directoryStory) {
				id, _ := s.account(t, olenasEmail)
				must(t)(s.DeactivateUser(t.Context(), admin(), id, ""))
			}, entry(func(p *fakePerson) { p.FirstName = "Another" })), want: refused,
			recorded: []string{byDirectory, signin.Inactive},
			then: func(t *testing.T, s *directoryStory) {
				if _, account := s.account(t, olenasEmail); account.Details.FirstName != "Olena" {
					t.Errorf("a closed account was brought up to date: %+v", account.Details)
				}
			},
		},
		"bound to a connection that is switched off": {
			given: and(known, func(t *testing.T, s *directoryStory) {
				must(t)(s.ChangeDirectory(t.Context(), admin(), s.ids["hq"],
					commands.ChangeDirectory{Patch: directory.Patch{Enabled: new(false)}}))
				s.enabled = nil
			}), want: refused, recorded: []string{byDirectory, signin.NoDirectory},
		},
		"bound, and no longer there": {
			given: and(known, func(_ *testing.T, s *directoryStory) { s.servers["hq"].people = nil }), want: refused,
			recorded: []string{byDirectory, "directory_unknown"},
		},
		"account without a password that no directory knows": {
			given: and(approved, hasAccount("boris@acme.example")), email: "boris@acme.example", want: refused,
			recorded: []string{signin.NoPassword},
		},
		"locked out before the directory is asked": {
			given: and(known, func(t *testing.T, s *directoryStory) {
				for range 5 {
					_, _ = s.SignIn(t.Context(), olenasEmail, "wrong") // refused
				}
			}), want: refused, then: asked("hq", 6),
			recorded: []string{
				byDirectory, signin.WrongPassword, signin.WrongPassword, signin.WrongPassword, signin.WrongPassword,
				signin.WrongPassword, "LOCKED",
			},
		},
		"the index fails": {
			given: and(approved, func(_ *testing.T, s *directoryStory) { s.indexErr = errDown }), want: errDown,
		},
	} {
		t.Run(name, c.run)
	}
}

func TestAnEmptyPasswordIsNeverSentToADirectory(t *testing.T) {
	t.Parallel()
	s := newDirectoryStory(t)
	known(t, s)
	if _, err := s.SignIn(t.Context(), olenasEmail, ""); !errors.Is(err, commands.ErrCredentials) {
		t.Errorf("signed in without a password: %v", err)
	}
	asked("hq", 1)(t, s)
}

// An account has more to read than an address without one, and a wrong password more to check than none.
func TestRefusalsTakeAMultipleOfOneTime(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		given func(*testing.T, *directoryStory)
		most  time.Duration
	}{
		"without directories": {func(*testing.T, *directoryStory) {}, 250 * time.Millisecond},
		"with directories":    {approved, 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newDirectoryStory(t)
			test.given(t, s)
			began := time.Now()
			_, err := s.SignIn(t.Context(), olenasEmail, "wrong")
			took := time.Since(began) + s.paused
			if !errors.Is(err, commands.ErrCredentials) || s.paused <= 0 || s.paused > test.most || took < test.most {
				t.Errorf("waited %v, %v", s.paused, err)
			}
		})
	}
}

// While a directory is down, a refusal tells nothing of what an address has.
func TestAnOutageOfADirectoryIsAnsweredAlike(t *testing.T) {
	t.Parallel()
	s := newDirectoryStory(t)
	known(t, s)
	if _, err := s.CreateSuperuser(t.Context(), commands.Operator(), "root@acme.example", olenasPassword); err != nil {
		t.Fatal(err)
	}
	must(t)(s.RegisterUser(t.Context(), admin(), register("borys@acme.example")))
	for _, isDown := range []bool{true, false, true} {
		want := commands.ErrDirectory
		s.servers["hq"].down = errDown
		if !isDown {
			s.servers["hq"].down, want = nil, commands.ErrCredentials
		}
		for _, email := range []string{
			olenasEmail, "root@acme.example", "borys@acme.example", "nobody@acme.example",
		} {
			for range 7 { // locked out meanwhile
				if _, err := s.SignIn(t.Context(), email, "wrong"); !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", email, err, want)
				}
			}
		}
	}
}

func TestGroupsOfADirectory(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		by     func(*testing.T, *directoryStory) commands.Caller
		sync   bool
		groups map[string]bool
		missed string
	}{
		"approved": {root, true, map[string]bool{"Risk": true}, "\"Old\": the group \"Old\" is " +
			"retired\n\"audit\": the group \"Audit\" is spelled differently: upper and lower case must match"},
		"unapproved": {clerk, true, nil, ""},
		"off":        {root, false, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newDirectoryStory(t)
			for _, name := range []string{"Risk", "Audit", "Old"} {
				s.groups = append(s.groups, must(t)(s.CreateGroup(t.Context(), admin(), group.Details{Name: name})))
			}
			must(t)(s.RetireGroup(t.Context(), admin(), s.groups[2], ""))
			s.connect(t, "hq", test.by(t, s), func(c *commands.ConnectDirectory) { c.SyncGroups = test.sync })
			s.servers["hq"].people[olenasEmail].Groups = []string{"Risk", "audit", "Old", "Printers"}
			s.signIn(t)
			_, account := s.account(t, olenasEmail)
			var groups map[string]bool
			for _, name := range account.Groups {
				if groups == nil {
					groups = map[string]bool{}
				}
				groups[name] = true
			}
			if diff := cmp.Diff(test.groups, groups); diff != "" {
				t.Errorf("groups (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.missed, account.Directory.Missed); diff != "" {
				t.Errorf("missed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnlinkingMakesRoomForAnotherEntry(t *testing.T) {
	t.Parallel()
	s := newDirectoryStory(t)
	known(t, s)
	id, _ := s.account(t, olenasEmail)
	s.servers["hq"].people[olenasEmail].GUID = "guid of another Olena"
	if _, err := s.UnlinkDirectory(t.Context(), admin(), id, ""); err == nil {
		t.Error("unlinked without a reason")
	}
	must(t)(s.UnlinkDirectory(t.Context(), admin(), id, "the entry was created again"))
	if again := s.signIn(t); again != id {
		t.Errorf("signed in to %s, want %s", again, id)
	}
}

func TestADirectorysPasswordConfirmsToo(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		password string
		change   func(*fakePerson)
		code     string
	}{
		"right":         {olenasPassword, nil, ""},
		"wrong":         {"wrong", nil, "wrong_password"},
		"another entry": {olenasPassword, func(p *fakePerson) { p.GUID = "guid of another Olena" }, "wrong_password"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newDirectoryStory(t)
			approved(t, s)
			id := s.signIn(t)
			device, _, err := s.PrepareTwoFactor(t.Context(), admin(), id)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.ConfirmTwoFactor(t.Context(), admin(), id,
				code(t, device.Secret, s.clock.Now())); err != nil {
				t.Fatal(err)
			}
			if test.change != nil {
				test.change(s.servers["hq"].people[olenasEmail])
			}
			_, err = s.DisableTwoFactor(t.Context(), admin(), id, test.password)
			var codes []string
			if invalid, ok := errors.AsType[*domain.Invalid](err); ok {
				codes = append(codes, string(invalid.Fields[0].Code))
			}
			if test.code == "" && err != nil || test.code != "" && !cmp.Equal(codes, []string{test.code}) {
				t.Errorf("answered %v, want %q", err, test.code)
			}
		})
	}
}

func TestAFirstSignInAsksForTheSecondFactorThatIsRequired(t *testing.T) {
	t.Parallel()
	s := newDirectoryStory(t)
	known(t, s)
	id, _ := s.account(t, olenasEmail)
	must(t)(s.ChangeUser(t.Context(), admin(), id, commands.ChangeUser{Patch: user.Patch{RequireTwoFactor: new(true)}}))
	s.advance(time.Minute)
	outcome, err := s.SignIn(t.Context(), olenasEmail, olenasPassword)
	if err != nil || outcome.Next != commands.NextTwoFactorSetup {
		t.Errorf("signed in %+v, %v", outcome, err)
	}
}
