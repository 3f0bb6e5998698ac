package commands_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/group"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
)

// gains are the events by which an account comes to do more, each done to Anna, who is in a group that allows nothing.
var gains = map[string]func(*testing.T, story, uuid.UUID) error{
	"made superuser": func(t *testing.T, s story, _ uuid.UUID) error {
		return changeAnna(t, s, user.Patch{Superuser: new(true)})
	},
	"joins a group": func(t *testing.T, s story, _ uuid.UUID) error {
		joined := must(t)(s.CreateGroup(t.Context(), admin(), group.Details{Name: "Editors", Permissions: editUsers}))
		_, err := s.ChangeUser(t.Context(), admin(), s.anna, commands.ChangeUser{GroupIDs: &[]uuid.UUID{joined}})
		return err
	},
	"the group allows more": widen,
}

func changeAnna(t *testing.T, s story, patch user.Patch) error {
	t.Helper()
	_, err := s.ChangeUser(t.Context(), admin(), s.anna, commands.ChangeUser{Patch: patch})
	return err
}

func widen(t *testing.T, s story, id uuid.UUID) error {
	t.Helper()
	allowed := domain.Permissions{"users": {Edit: true}}
	_, err := s.ChangeGroup(t.Context(), admin(), id, group.Patch{Permissions: &allowed})
	return err
}

// others change the account, and void nothing.
var others = map[string]func(*testing.T, story, uuid.UUID) error{
	"another name": func(t *testing.T, s story, _ uuid.UUID) error {
		return changeAnna(t, s, user.Patch{FirstName: new("Hanna")})
	},
	"the group gets another name": func(t *testing.T, s story, id uuid.UUID) error {
		_, err := s.ChangeGroup(t.Context(), admin(), id, group.Patch{Name: new("Other")})
		return err
	},
}

// inGroup is a story in which Anna is in a group that allows nothing.
func inGroup(t *testing.T) (story, uuid.UUID) {
	t.Helper()
	s := newStory(t)
	joined := must(t)(s.CreateGroup(t.Context(), admin(), group.Details{Name: "None"}))
	must(t)(s.ChangeUser(t.Context(), admin(), s.anna, commands.ChangeUser{GroupIDs: &[]uuid.UUID{joined}}))
	return s, joined
}

// opened are the credentials that Anna may have, each opened now, and tried later.
var opened = map[string]func(*testing.T, story) (try func() error){
	"a reset link": func(t *testing.T, s story) func() error {
		token := s.resetToken(t)
		return func() error {
			_, err := s.UseResetLink(t.Context(), admin(), token, newPassword)
			return err
		}
	},
	"a challenge, with a code": func(t *testing.T, s story) func() error {
		secret, _ := s.enroll(t)
		challenge := s.challenge(t)
		return func() error {
			_, err := s.SignInWithCode(t.Context(), admin(), challenge, code(t, secret, s.clock.Now()))
			return err
		}
	},
	"a challenge, with a backup code": func(t *testing.T, s story) func() error {
		_, codes := s.enroll(t)
		challenge := s.challenge(t)
		return func() error {
			_, err := s.SignInWithBackupCode(t.Context(), admin(), challenge, codes[0])
			return err
		}
	},
}

// What was opened while an account could do less does not work once it can do more.
func TestCredentialsAreNeverOlderThanRights(t *testing.T) {
	t.Parallel()
	for name, open := range opened {
		for how, gain := range gains {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				s, joined := inGroup(t)
				try := open(t, s)
				if err := gain(t, s, joined); err != nil {
					t.Fatal(err)
				}
				if err := try(); !errors.Is(err, user.ErrLink) && !errors.Is(err, commands.ErrCredentials) {
					t.Errorf("it works on: %v", err)
				}
				_, _ = s.ResetTwoFactor(t.Context(), admin(), s.anna, "lost") // opened anew with another device, if any
				if err := open(t, s)(); err != nil {
					t.Errorf("opened anew: %v", err)
				}
			})
		}
		for how, other := range others {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				s, joined := inGroup(t)
				try := open(t, s)
				if err := other(t, s, joined); err != nil {
					t.Fatal(err)
				}
				if err := try(); err != nil {
					t.Errorf("it is void: %v", err)
				}
			})
		}
	}
}

// A sign-in that was under way while a group came to allow more is one from before: the session says so.
func TestASessionKnowsTheGroupsAtItsSignIn(t *testing.T) {
	t.Parallel()
	s, joined := inGroup(t)
	outcome, err := s.SignIn(t.Context(), admin(), annasEmail, password)
	if err != nil {
		t.Fatal(err)
	}
	if err := widen(t, s, joined); err != nil {
		t.Fatal(err)
	}
	later, err := s.SignIn(t.Context(), admin(), annasEmail, password)
	if err != nil {
		t.Fatal(err)
	}
	if outcome.Groups[joined] != 0 || later.Groups[joined] != 1 {
		t.Errorf("%v, then %v", outcome.Groups, later.Groups)
	}
}

// What was opened before access ended does not come back to life with it.
func TestWhatWasOpenedEndsWithTheAccess(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ end, begin user.Patch }{
		"the last day": {
			user.Patch{EndDate: new(date(t, "2026-05-01"))}, user.Patch{EndDate: new(domain.Date{})},
		},
		"the first day": {
			user.Patch{StartDate: new(date(t, "2026-06-01"))}, user.Patch{StartDate: new(date(t, "2026-05-01"))},
		},
		"active": {user.Patch{Active: new(false)}, user.Patch{Active: new(true)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			token := s.resetToken(t)
			before, err := s.Account(t.Context(), s.anna)
			if err != nil {
				t.Fatal(err)
			}
			if err := changeAnna(t, s, c.end); err != nil {
				t.Fatal(err)
			}
			if err := changeAnna(t, s, c.begin); err != nil {
				t.Fatal(err)
			}
			if _, err := s.UseResetLink(t.Context(), admin(), token, newPassword); !errors.Is(err, user.ErrLink) {
				t.Errorf("the link: %v", err)
			}
			if now, err := s.Account(t.Context(), s.anna); err != nil || now.Mark == before.Mark {
				t.Errorf("nothing else ended: %v", err)
			}
		})
	}
}

func date(t *testing.T, text string) domain.Date {
	t.Helper()
	parsed, err := domain.ParseDate(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// Whoever may change addresses, and no more, takes an account over while it can do nothing, and waits.
func TestAPasswordThatWasTakenOverOpensNoRights(t *testing.T) {
	t.Parallel()
	for how, gain := range gains {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s, joined := inGroup(t)
			editors := must(t)(s.CreateGroup(t.Context(), admin(), group.Details{Name: "Attackers",
				Permissions: editUsers}))
			editor := register("editor@acme.example")
			editor.GroupIDs = []uuid.UUID{editors}
			attacker := superuser(must(t)(s.RegisterUser(t.Context(), admin(), editor)))
			address := func(to string) {
				t.Helper()
				attacker := attacker
				attacker.CommandID = uuid.New()
				must(t)(s.ChangeUser(t.Context(), attacker, s.anna, commands.ChangeUser{Patch: user.Patch{Email: &to}}))
			}
			signIn := func(password string) error {
				_, err := s.SignIn(t.Context(), admin(), annasEmail, password)
				return err
			}
			address("attacker@evil.example")
			caller := admin()
			if err := s.RequestPasswordReset(t.Context(), caller, "attacker@evil.example", "en"); err != nil {
				t.Fatal(err)
			}
			token, err := s.ResetToken(s.anna, caller.CommandID)
			if err != nil {
				t.Fatal(err)
			}
			must(t)(s.UseResetLink(t.Context(), admin(), token, newPassword))
			address(annasEmail)
			if err := signIn(newPassword); err != nil {
				t.Fatalf("while there is nothing to gain: %v", err)
			}
			if err := gain(t, s, joined); err != nil {
				t.Fatal(err)
			}
			if err := signIn(newPassword); !errors.Is(err, commands.ErrCredentials) {
				t.Errorf("the password that was taken over: %v", err)
			}
			reasons := s.reasons(t, s.anna)
			if got := reasons[len(reasons)-1]; got != signin.PasswordDoubtful {
				t.Errorf("the reason is %s", got)
			}
			const third = "the third pass phrase of anna"
			s.setPassword(t, third)
			if err := signIn(third); err != nil {
				t.Errorf("the person, by a link: %v", err)
			}
		})
	}
}

// New backup codes take the password or a code; wrong ones count, and a code works once.
func TestNewBackupCodesAreConfirmed(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	secret, _ := s.enroll(t)
	replace := func(given commands.Confirmation) error {
		_, _, err := s.ReplaceBackupCodes(t.Context(), s.owner(), s.anna, given)
		return err
	}
	now := code(t, secret, s.clock.Now())
	for _, step := range []struct {
		name  string
		given commands.Confirmation
		code  domain.Code
	}{
		{"nothing", commands.Confirmation{}, domain.CodeWrongCode},
		{"a wrong password", commands.Confirmation{Password: "wrong"}, domain.CodeWrongPassword},
		{"the password", commands.Confirmation{Password: password}, ""},
		{"a wrong code", commands.Confirmation{Code: "000000"}, domain.CodeWrongCode},
		{"a code", commands.Confirmation{Code: now}, ""},
		{"the same code", commands.Confirmation{Code: now}, domain.CodeWrongCode},
	} {
		err := replace(step.given)
		if invalid, ok := errors.AsType[*domain.Invalid](err); step.code == "" && err != nil ||
			step.code != "" && (!ok || invalid.Fields[0].Code != step.code) {
			t.Errorf("%s: %v", step.name, err)
		}
	}
	for range signin.MostCodes {
		_ = replace(commands.Confirmation{Code: "000000"}) // refused
	}
	s.advance(time.Minute)
	err := replace(commands.Confirmation{Code: code(t, secret, s.clock.Now())})
	if invalid, ok := errors.AsType[*domain.Invalid](err); !ok || invalid.Fields[0].Code != domain.CodeLockedOut {
		t.Errorf("after too many wrong ones: %v", err)
	}
}
