package commands_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pquerna/otp/totp"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/company"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/nodetest"
)

const (
	password    = "a long enough password"
	newPassword = "quite another password"
)

// clock is a time that the test moves.
type clock struct{ now atomic.Int64 }

func (c *clock) Now() time.Time           { return time.Unix(c.now.Load(), 0).UTC() }
func (c *clock) advance(by time.Duration) { c.now.Add(int64(by / time.Second)) }
func from(ip string) (c commands.Caller)  { c = admin(); c.IP = ip; return c }
func code(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	code, err := totp.GenerateCode(secret, at)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// story is a handler with a movable clock and one account with a password.
type story struct {
	*commands.Handler
	*clock
	log  eventstore.Log
	anna uuid.UUID
}

const annasEmail = "anna@acme.example"

func newStory(t *testing.T) story {
	t.Helper()
	client := nodetest.Connect(t)
	s := story{Handler: newHandler(t, client), clock: &clock{}, log: client}
	s.now.Store(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC).Unix())
	s.Handler.Now = s.clock.Now
	s.anna = must(t)(s.RegisterUser(t.Context(), admin(), register(annasEmail)))
	s.setPassword(t, password)
	return s
}

// setPassword goes the way of a person: a reset link.
func (s story) setPassword(t *testing.T, password string) {
	t.Helper()
	if _, err := s.UseResetLink(t.Context(), admin(), s.resetToken(t), password); err != nil {
		t.Fatal(err)
	}
}

func (s story) resetToken(t *testing.T) string {
	t.Helper()
	caller := admin()
	if err := s.RequestPasswordReset(t.Context(), caller, annasEmail, "en"); err != nil {
		t.Fatal(err)
	}
	token, err := s.ResetToken(s.anna, caller.CommandID)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (s story) enroll(t *testing.T) (secret string, codes []string) {
	t.Helper()
	device, _, err := s.PrepareTwoFactor(t.Context(), admin(), s.anna)
	if err != nil {
		t.Fatal(err)
	}
	codes, _, err = s.ConfirmTwoFactor(t.Context(), admin(), s.anna, code(t, device.Secret, s.clock.Now()))
	if err != nil || len(codes) != 10 {
		t.Fatalf("%v, %v", codes, err)
	}
	s.advance(time.Minute)
	return device.Secret, codes
}

func (s story) challenge(t *testing.T) string {
	t.Helper()
	outcome, err := s.SignIn(t.Context(), admin(), annasEmail, password)
	if err != nil || outcome.Next != commands.NextTwoFactor {
		t.Fatalf("%+v, %v", outcome, err)
	}
	return outcome.Challenge
}

func (s story) reasons(t *testing.T, id uuid.UUID) (reasons []string) {
	t.Helper()
	events, err := s.log.ReadStream(t.Context(), domain.StreamName(signin.Kind, id))
	if err != nil {
		t.Fatal(err)
	}
	for _, recorded := range events {
		switch e := eventstore.Decode(recorded).Event.(type) {
		case signin.Failed:
			reasons = append(reasons, e.Reason)
		case signin.LockoutBegan:
			reasons = append(reasons, "LOCKED")
		case signin.Succeeded:
			reasons = append(reasons, "in by "+e.Method)
		case signin.Unlocked:
			reasons = append(reasons, "UNLOCKED")
		}
	}
	return reasons
}

func TestEveryRefusalIsTheSameOutsideAndTrueInside(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	ctx := t.Context()
	borys := must(t)(s.RegisterUser(ctx, admin(), register("borys@acme.example")))
	refuse := func(email, password string) {
		t.Helper()
		if outcome, err := s.SignIn(ctx, admin(), email, password); !errors.Is(err, commands.ErrCredentials) ||
			!reflect.DeepEqual(outcome, commands.SignedIn{}) {
			t.Errorf("%s: %+v, %v", email, outcome, err)
		}
	}
	refuse(annasEmail, "wrong")
	refuse("borys@acme.example", password)
	refuse("nobody@acme.example", password)
	must(t)(s.DeactivateUser(ctx, admin(), s.anna, ""))
	refuse(annasEmail, password)
	must(t)(s.ActivateUser(ctx, admin(), s.anna))
	yesterday, tomorrow := domain.DateOf(s.clock.Now().Add(-24*time.Hour)),
		domain.DateOf(s.clock.Now().Add(24*time.Hour))
	must(t)(s.ChangeUser(ctx, admin(), s.anna, commands.ChangeUser{Patch: user.Patch{EndDate: &yesterday}}))
	refuse(annasEmail, password)
	none := domain.Date{}
	must(t)(s.ChangeUser(ctx, admin(), s.anna,
		commands.ChangeUser{Patch: user.Patch{StartDate: &tomorrow, EndDate: &none}}))
	refuse(annasEmail, password)
	must(t)(s.ChangeUser(ctx, admin(), s.anna, commands.ChangeUser{Patch: user.Patch{StartDate: &none}}))
	if outcome, err := s.SignIn(ctx, admin(), annasEmail, password); err != nil || outcome.UserID != s.anna {
		t.Errorf("%+v, %v", outcome, err)
	}
	want := []string{signin.WrongPassword, signin.Inactive, signin.Expired, signin.NotStarted, "in by password"}
	if got := s.reasons(t, s.anna); !slices.Equal(got, want) {
		t.Errorf("recorded %v, want %v", got, want)
	}
	if got := s.reasons(t, borys); !slices.Equal(got, []string{signin.NoPassword}) {
		t.Errorf("recorded %v", got)
	}
}

func TestLockoutClosesAndOpensByItself(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	ctx := t.Context()
	for range 7 {
		if _, err := s.SignIn(ctx, admin(), annasEmail, "wrong"); !errors.Is(err, commands.ErrCredentials) {
			t.Fatal(err)
		}
	}
	if _, err := s.SignIn(ctx, admin(), annasEmail, password); !errors.Is(err, commands.ErrCredentials) {
		t.Errorf("with the right password while locked out: %v", err)
	}
	s.advance(15*time.Minute + time.Second)
	if _, err := s.SignIn(ctx, admin(), annasEmail, password); err != nil {
		t.Errorf("after the lockout: %v", err)
	}
	for range 5 {
		_, _ = s.SignIn(ctx, admin(), annasEmail, "wrong") // refused, as above
	}
	if _, err := s.Unlock(ctx, admin(), s.anna); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SignIn(ctx, admin(), annasEmail, password); err != nil {
		t.Errorf("after unlocking: %v", err)
	}
	wrong := []string{signin.WrongPassword, signin.WrongPassword, signin.WrongPassword, signin.WrongPassword,
		signin.WrongPassword, "LOCKED"}
	if got, want := s.reasons(t, s.anna),
		slices.Concat(wrong, []string{"in by password"}, wrong, []string{"UNLOCKED", "in by password"}); !slices.Equal(
		got, want) {
		t.Errorf("recorded %v, want %v", got, want)
	}
}

// Whoever guesses locks out the own network, be it at a superuser's password or anybody's.
func TestNobodyLocksOutWhoIsElsewhere(t *testing.T) {
	t.Parallel()
	for name, superuser := range map[string]bool{"a superuser": true, "anybody": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			ctx := t.Context()
			must(t)(s.ChangeUser(ctx, admin(), s.anna, commands.ChangeUser{Patch: user.Patch{Superuser: &superuser}}))
			for range 31 {
				_, _ = s.SignIn(ctx, from("198.51.100.1"), annasEmail, "wrong") // refused
			}
			if _, err := s.SignIn(ctx, from("198.51.100.1"), annasEmail, password); !errors.Is(err,
				commands.ErrCredentials) {
				t.Errorf("from the address that guesses: %v", err)
			}
			if _, err := s.SignIn(ctx, from("203.0.113.1"), annasEmail, password); err != nil {
				t.Errorf("from another address: %v", err)
			}
			for i := range 100 {
				_, _ = s.SignIn(ctx, from(fmt.Sprintf("192.0.2.%d", i)), annasEmail, "wrong") // refused
			}
			if _, err := s.SignIn(ctx, from("203.0.113.2"), annasEmail, password); err != nil {
				t.Errorf("from a new address, while many guess: %v", err)
			}
			if _, err := s.SignIn(ctx, from("198.51.100.1"), annasEmail, password); !errors.Is(err,
				commands.ErrCredentials) {
				t.Errorf("from the address that guesses, after many others did: %v", err)
			}
		})
	}
}

// atOnce does something twenty times at once and counts how often it succeeds.
func atOnce(t *testing.T, do func(context.Context) error, refusal error) int32 {
	t.Helper()
	var succeeded atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			switch err := do(t.Context()); {
			case err == nil:
				succeeded.Add(1)
			case !errors.Is(err, refusal):
				t.Error(err)
			}
		})
	}
	all.Wait()
	return succeeded.Load()
}

func TestACodeABackupCodeAndALinkWorkOnce(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.Lockout = func() signin.Policy { return signin.Policy{Attempts: 1000, Within: time.Hour, For: time.Hour} }
	secret, codes := s.enroll(t)
	challenge, now := s.challenge(t), code(t, secret, s.clock.Now())
	if n := atOnce(t, func(ctx context.Context) error {
		_, err := s.SignInWithCode(ctx, admin(), challenge, now)
		return err
	}, commands.ErrCredentials); n != 1 {
		t.Errorf("the same code signed in %d times", n)
	}
	challenge = s.challenge(t)
	if n := atOnce(t, func(ctx context.Context) error {
		_, err := s.SignInWithBackupCode(ctx, admin(), challenge, codes[3])
		return err
	}, commands.ErrCredentials); n != 1 {
		t.Errorf("the same backup code signed in %d times", n)
	}
	token := s.resetToken(t)
	if n := atOnce(t, func(ctx context.Context) error {
		_, err := s.UseResetLink(ctx, admin(), token, newPassword)
		return err
	}, user.ErrLink); n != 1 {
		t.Errorf("the same reset link set a password %d times", n)
	}
}

func TestAChallengeEndsWithTheSessions(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	secret, codes := s.enroll(t)
	before := s.challenge(t)
	if _, err := s.EndSessions(t.Context(), admin(), s.anna); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SignInWithBackupCode(t.Context(), admin(), before, codes[0]); !errors.Is(err,
		commands.ErrCredentials) {
		t.Errorf("a challenge from before the sessions ended: %v", err)
	}
	if _, err := s.SignInWithCode(t.Context(), admin(), s.challenge(t), code(t, secret, s.clock.Now())); err != nil {
		t.Error(err)
	}
}

func TestTheCodeThatConfirmedADeviceDoesNotSignInToo(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	device, _, err := s.PrepareTwoFactor(t.Context(), admin(), s.anna)
	if err != nil {
		t.Fatal(err)
	}
	now := code(t, device.Secret, s.clock.Now())
	if _, _, err := s.ConfirmTwoFactor(t.Context(), admin(), s.anna, now); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SignInWithCode(t.Context(), admin(), s.challenge(t), now); !errors.Is(err, commands.ErrCredentials) {
		t.Errorf("signed in: %v", err)
	}
}

func TestCodesOfTheStepsBeforeAndAfterWork(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	secret, _ := s.enroll(t)
	for _, test := range []struct {
		shift time.Duration
		works bool
	}{{-61 * time.Second, false}, {-30 * time.Second, true}, {0, true}, {30 * time.Second, true}, {
		61 * time.Second, false,
	}} {
		t.Run("a code of "+test.shift.String(), func(t *testing.T) {
			given := code(t, secret, s.clock.Now().Add(test.shift))
			_, err := s.SignInWithCode(t.Context(), admin(), s.challenge(t), given)
			if (err == nil) != test.works || err != nil && !errors.Is(err, commands.ErrCredentials) {
				t.Errorf("works: %t, want %t: %v", err == nil, test.works, err)
			}
			s.advance(5 * time.Minute)
		})
	}
}

func TestAnAdministratorLiftsRequiresAndResetsTwoFactor(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	ctx := t.Context()
	require := func(yes bool) {
		t.Helper()
		must(t)(s.ChangeUser(ctx, admin(), s.anna, commands.ChangeUser{Patch: user.Patch{RequireTwoFactor: &yes}}))
	}
	next := func(want string) {
		t.Helper()
		if outcome, err := s.SignIn(ctx, admin(), annasEmail, password); err != nil || outcome.Next != want {
			t.Errorf("next %q, %v; want %q", outcome.Next, err, want)
		}
	}
	require(true)
	next(commands.NextTwoFactorSetup)
	formerSecret, _ := s.enroll(t)
	next(commands.NextTwoFactor)
	if _, err := s.DisableTwoFactor(ctx, admin(), s.anna, password); !refused(err, "two_factor_required") {
		t.Errorf("switched off what is required: %v", err)
	}
	require(false)
	next(commands.NextSession)
	s.enroll(t)
	next(commands.NextTwoFactor)
	if _, err := s.SignInWithCode(ctx, admin(), s.challenge(t), code(t, formerSecret, s.clock.Now())); !errors.Is(err,
		commands.ErrCredentials) {
		t.Errorf("the former device still works: %v", err)
	}
	require(true)
	if _, err := s.ResetTwoFactor(ctx, admin(), s.anna, ""); err == nil {
		t.Error("a reset without a reason")
	}
	must(t)(s.ResetTwoFactor(ctx, admin(), s.anna, "lost phone"))
	next(commands.NextTwoFactorSetup)
	require(false)
	next(commands.NextSession)
	s.enroll(t)
	if _, err := s.DisableTwoFactor(ctx, admin(), s.anna, "wrong"); err == nil {
		t.Error("switched off with a wrong password")
	}
	must(t)(s.DisableTwoFactor(ctx, admin(), s.anna, password))
	next(commands.NextSession)
}

func TestLinksExpireAndOthersAreVoidAfterOneWasUsed(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	ctx := t.Context()
	first, second := s.resetToken(t), s.resetToken(t)
	if usable, err := s.ResetLinkUsable(ctx, second); err != nil || !usable {
		t.Errorf("a fresh link: %v, %v", usable, err)
	}
	if _, err := s.UseResetLink(ctx, admin(), first, newPassword); err != nil {
		t.Fatal(err)
	}
	if _, err := s.UseResetLink(ctx, admin(), second, newPassword); !errors.Is(err, user.ErrLink) {
		t.Errorf("the second link after the first: %v", err)
	}
	late := s.resetToken(t)
	s.advance(time.Hour + time.Second)
	if _, err := s.UseResetLink(ctx, admin(), late, newPassword); !errors.Is(err, user.ErrLink) {
		t.Errorf("after an hour: %v", err)
	}
	foreign, err := s.FirstLoginToken(s.anna, uuid.New())
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"nothing": "", "a letter": "x", "of another kind": foreign, "changed": late[:len(late)-1] + "A",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := s.UseResetLink(ctx, admin(), token, newPassword); !errors.Is(err, user.ErrLink) {
				t.Errorf("%q: %v", token, err)
			}
		})
	}
	// A weak password does not use the link up.
	token := s.resetToken(t)
	if _, err := s.UseResetLink(ctx, admin(), token, "short"); err == nil {
		t.Error("a weak password was set")
	}
	if _, err := s.UseResetLink(ctx, admin(), token, newPassword); err != nil {
		t.Error(err)
	}
}

func TestFirstLogin(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	ctx := t.Context()
	acme := must(t)(s.CreateCompany(ctx, admin(), company.Details{Name: "Acme"}))
	must(t)(s.SetCabinetPassword(ctx, admin(), acme, "the cabinet of Acme"))
	borys := must(t)(s.RegisterUser(ctx, admin(),
		commands.RegisterUser{Details: user.Details{Email: "borys@acme.example", CompanyID: acme}}))
	request := func(cabinet string) string {
		t.Helper()
		caller := admin()
		if err := s.RequestFirstLogin(ctx, caller, "borys@acme.example", cabinet, "uk"); err != nil {
			t.Fatal(err)
		}
		token, err := s.FirstLoginToken(borys, caller.CommandID)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	if usable, err := s.FirstLoginUsable(ctx, request("wrong")); err != nil || usable {
		t.Errorf("with a wrong cabinet password: %v, %v", usable, err)
	}
	token := request("the cabinet of Acme")
	outcome, err := s.UseFirstLogin(ctx, admin(), token)
	if err != nil || outcome.UserID != borys || outcome.Session == uuid.Nil {
		t.Fatalf("%+v, %v", outcome, err)
	}
	if _, err := s.UseFirstLogin(ctx, admin(), token); !errors.Is(err, user.ErrLink) {
		t.Errorf("the same link again: %v", err)
	}
	if _, err := s.ChangeOwnPassword(ctx, admin(), borys, "", newPassword); err != nil {
		t.Errorf("the first password: %v", err)
	}
	if _, err := s.ChangeOwnPassword(ctx, admin(), borys, "", password); err == nil {
		t.Error("a second password without the first")
	}
	if usable, err := s.FirstLoginUsable(ctx, request("the cabinet of Acme")); err != nil || usable {
		t.Errorf("a first login for an account with a password: %v, %v", usable, err)
	}
	if err := s.RequestFirstLogin(ctx, admin(), "nobody@acme.example", "x", "en"); err != nil {
		t.Errorf("for nobody: %v", err)
	}
}
