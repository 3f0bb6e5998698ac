package access_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/access"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
)

var (
	anna  = uuid.MustParse("018f0000-0000-7000-8000-00000000a22a")
	found = uuid.MustParse("018f0000-0000-7000-8000-0000000000d1")
)

// facts folds events of an account, and of signing in to it, a day apart, the last of them a day before noon.
func facts(events ...domain.Event) *access.SignInFacts {
	f := &access.SignInFacts{ID: anna, Now: noon}
	events = append(
		[]domain.Event{user.Registered{Email: "anna@example.com", CompanyID: acme, Source: user.SourceLocal}},
		events...)
	for i, event := range events {
		f.Account.Evolve(event)
		switch e := event.(type) {
		case user.PasswordSet:
			f.HasPassword = true
		case user.Deactivated:
			f.Reason = e.Reason
		}
		f.Note(&access.Event{Cause: happened(i - len(events)), Event: event})
	}
	return f
}

// served are the facts with a connection to a directory that may be changed before.
func served(f *access.SignInFacts, change func(*directory.Connection)) *access.SignInFacts {
	c := directory.Connection{ID: found, State: directory.State{Exists: true, Vouched: true}}
	c.State.Settings.Name, c.State.Settings.Enabled = "Acme AD", true
	if change != nil {
		change(&c)
	}
	f.Directories = append(f.Directories, c)
	return f
}

// tooManyCodes is what the newest event carries when codes are refused until a minute after noon.
var tooManyCodes = signin.Memory{Codes: slices.Repeat([]time.Time{noon.Add(time.Minute - signin.CodesWithin)},
	signin.MostCodes)}

func withRights(f *access.SignInFacts) *access.SignInFacts {
	f.HasRights = true
	return f
}

func TestWhySomebodyCantSignIn(t *testing.T) {
	t.Parallel()
	password := user.PasswordSet{Hash: domain.Sealed("sealed")}
	doubtful := user.PasswordSet{Hash: domain.Sealed("sealed"), Doubtful: true}
	linked := user.DirectoryLinked{DirectoryID: found, GUID: "g", DN: "CN=Anna"}
	unapproved := func(c *directory.Connection) { c.State.Vouched = false }
	off := func(c *directory.Connection) { c.State.Settings.Enabled = false }
	path := "/users/" + anna.String()
	for name, test := range map[string]struct {
		given   *access.SignInFacts
		verdict string
		reason  string
		// the finding that is looked at, and how to fix it
		code, fix string
	}{
		"nothing is wrong": {facts(password), access.VerdictAllowed,
			"the account can sign in with its password; if it fails, the address or the password was wrong, or the " +
				"reason is in last_attempt", "active", ""},
		"deactivated": {facts(password, user.Deactivated{Reason: "left"}), access.VerdictRefused,
			"the account was deactivated: left", "active", "POST " + path + "/activate"},
		"before the first day": {facts(password,
			user.AccessPeriodChanged{StartDate: domain.Changed[domain.Date]{To: day(1)}}), access.VerdictRefused,
			"access starts on 2026-06-16 (UTC)", "start_date", "PATCH " + path + ` {"start_date": null}`},
		"after the last day": {facts(password,
			user.AccessPeriodChanged{EndDate: domain.Changed[domain.Date]{To: day(-1)}}), access.VerdictRefused,
			"access ended after 2026-06-14 (UTC)", "end_date", "PATCH " + path + ` {"end_date": null}`},
		"no password yet": {facts(), access.VerdictRefused, "no password has been set yet", "has_password_or_directory",
			`POST /password-resets {"email": "anna@example.com"} sends the person a link to set one`},
		"a password of somebody else, without rights": {facts(doubtful), access.VerdictAllowed,
			"", "has_password_or_directory", ""},
		"a password of somebody else, with rights": {withRights(facts(doubtful)), access.VerdictRefused,
			"the password may have been set by somebody else, because somebody who is no superuser changed the " +
				"e-mail address or the way of mails; for an account that has rights a new one has to be set by a link",
			"has_password_or_directory",
			`POST /password-resets {"email": "anna@example.com"} sends the person a link to set one`},
		"a password of the person, with rights": {withRights(facts(password)), access.VerdictAllowed,
			"", "has_password_or_directory", ""},
		"a network is locked out": {facts(password,
			signin.LockoutBegan{Until: noon.Add(time.Minute), Network: "192.0.2.9"}), access.VerdictAllowed,
			"", "locked_out", "POST " + path + "/unlock"},
		"the lockout is over": {facts(password, signin.LockoutBegan{Until: noon, Network: "192.0.2.9"}),
			access.VerdictAllowed, "", "locked_out", ""},
		"unlocked": {facts(password, signin.LockoutBegan{Until: noon.Add(time.Minute), Network: "192.0.2.9"},
			signin.Unlocked{}), access.VerdictAllowed, "", "locked_out", ""},
		"the password was reset": {facts(password,
			signin.LockoutBegan{Until: noon.Add(time.Minute), Network: "192.0.2.9"}, signin.PasswordReset{}),
			access.VerdictAllowed, "", "locked_out", ""},
		"too many wrong codes": {facts(password, user.TwoFactorEnrolled{},
			signin.LockoutBegan{Until: noon.Add(time.Minute), Codes: true, Memory: tooManyCodes},
			signin.Unlocked{Memory: tooManyCodes}), access.VerdictRefused,
			"no code is accepted until 2026-06-15T12:01:00Z, after 10 wrong ones within an hour", "two_factor",
			"wait, nobody can end this early; if it was somebody else, the password is known to them: POST " +
				"/password-resets sends a link to change it"},
		"two-factor": {facts(password, user.TwoFactorEnrolled{}), access.VerdictTwoFactor, "", "two_factor", ""},
		"two-factor, and the code was wrong": {facts(password, user.TwoFactorEnrolled{},
			signin.Failed{Reason: signin.WrongCode}), access.VerdictTwoFactor, "", "two_factor",
			"POST " + path + "/two-factor/reset if the device is lost; otherwise its clock may be wrong"},
		"two-factor has to be set up": {
			facts(password, user.TwoFactorRequired{}), access.VerdictSetup, "", "two_factor", "",
		},
		"closed by the directory": {served(facts(linked, user.DirectoryDisabled{}), nil), access.VerdictRefused,
			"closed by the directory: its entry is disabled", "directory_account",
			"enable the entry in the directory; the next sign-in, or POST /directories/" + found.String() +
				"/check, then opens the account"},
		"the directory decides": {served(facts(linked), nil), access.VerdictAllowed, "", "directory_account", ""},
		"the directory is switched off": {served(facts(linked), off), access.VerdictRefused,
			"the account's password is kept in a directory, but no directory that serves the account is in use",
			"directory_account",
			"PATCH /directories/" + found.String() + ` {"enabled": true}`},
		"the directory's company is retired": {served(facts(linked), func(c *directory.Connection) {
			c.CompanyRetired = true
		}), access.VerdictRefused,
			"the account's password is kept in a directory, but no directory that serves the account is in use",
			"directory_account",
			"POST " + path + `/unlink-directory {"reason": …}: the company of that directory is retired`},
		"somebody with rights, of a directory that nobody approved": {served(facts(linked, user.SuperuserGranted{}),
			unapproved), access.VerdictRefused,
			"no superuser has approved the directory Acme AD, so superusers and members of groups can't " +
				"sign in through it",
			"directory_account",
			"PATCH /directories/" + found.String() + ` {"vouch": true} by a superuser`},
		"the directory refused": {served(
			facts(linked, signin.Failed{Reason: signin.Directory + directory.PasswordExpired}), nil),
			access.VerdictRefused,
			"at the last attempt (2026-06-14T12:00:00Z) the password had expired in the directory", "directory_account",
			"the person has to change it there"},
		"the directory refused for another reason": {served(
			facts(linked, signin.Failed{Reason: signin.Directory + "new_code"}), nil), access.VerdictRefused,
			"at the last attempt (2026-06-14T12:00:00Z) the directory refused it: new_code", "directory_account",
			"change that in the directory"},
		"a local password, whatever the directory": {
			served(facts(password), nil), access.VerdictAllowed, "", "directory_account", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := test.given.SignIn()
			if got.Verdict != test.verdict {
				t.Errorf("verdict %s, want %s: %+v", got.Verdict, test.verdict, got.Findings)
			}
			if test.reason != "" && got.Reason() != test.reason {
				t.Errorf("reason %q, want %q", got.Reason(), test.reason)
			}
			for _, f := range got.Findings {
				if f.Code == test.code && f.Fix != test.fix {
					t.Errorf("fix %q, want %q", f.Fix, test.fix)
				}
				if !f.OK && f.Fix == "" {
					t.Errorf("%s: nothing says how to fix %q", f.Code, f.Detail)
				}
			}
		})
	}
}

func TestAFindingNamesTheEventThatMadeItSo(t *testing.T) {
	t.Parallel()
	got := facts(
		user.PasswordSet{Hash: domain.Sealed("sealed")}, user.Deactivated{Reason: "left"},
		signin.Failed{Reason: signin.WrongPassword},
		signin.LockoutBegan{Until: noon.Add(time.Hour), Network: "192.0.2.9"}).SignIn()
	causes := map[string]*access.Cause{}
	for _, f := range got.Findings {
		causes[f.Code] = f.Cause
	}
	registered, set, deactivated, failed, locked := happened(-5), happened(-4), happened(-3), happened(-2), happened(-1)
	locked.By = access.Actor{} // whoever guessed wrong was not signed in
	want := map[string]*access.Cause{
		"email_known": &registered, "active": &deactivated, "start_date": nil, "end_date": nil,
		"directory_account":         nil,
		"has_password_or_directory": &set, "locked_out": &locked, "two_factor": nil,
	}
	if diff := cmp.Diff(want, causes); diff != "" {
		t.Errorf("causes (-want +got):\n%s", diff)
	}
	if got.LastAttempt == nil || got.LastAttempt.Cause != failed {
		t.Errorf("last attempt %+v", got.LastAttempt)
	}
}

// An account that may not be used can't sign in either, and the other way round: with a password nothing else refuses.
func TestSignInRefusesWhomAccessRefuses(t *testing.T) {
	t.Parallel()
	for _, active := range []bool{true, false} {
		for _, closed := range []bool{true, false} {
			for first := -1; first <= 1; first++ {
				for last := first; last <= 1; last++ {
					f := facts(user.DirectoryLinked{DirectoryID: found, GUID: "g", DN: "CN=Anna"})
					f.Account.Active, f.Account.Directory.Disabled = active, closed
					f.Account.Details.StartDate, f.Account.Details.EndDate = day(first), day(last)
					served(f, nil)
					state, _ := access.StandingOf(f.Account, "").State(noon)
					if verdict := f.SignIn().Verdict; (verdict == access.VerdictRefused) != (state != access.Active) {
						t.Errorf("active %t, closed %t, from %s to %s: %s, but signing in is %s", active, closed,
							day(first), day(last), state, verdict)
					}
				}
			}
		}
	}
}
