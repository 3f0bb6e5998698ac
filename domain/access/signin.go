package access

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
)

// Verdicts of a SignIn.
const (
	VerdictAllowed   = "allowed"          // the password is enough
	VerdictTwoFactor = "two_factor"       // after the password a code is asked for
	VerdictSetup     = "two_factor_setup" // the session may only set up two-factor
	VerdictRefused   = "refused"          // whatever the password
)

// Event is an event with what is known of its cause.
type Event struct {
	Cause
	Event domain.Event
}

// SignInFacts are what decides whether somebody can sign in at a time. Note tells them, event by event, what made the
// account as it is.
type SignInFacts struct {
	ID          uuid.UUID
	Now         time.Time
	Account     user.State
	Reason      string // why it is inactive
	HasPassword bool   // a local one
	HasRights   bool   // it may do something, here or in the host platform
	BackupCodes int    // that are left
	Directories []directory.Connection

	// the last event that made each of these as it is; nil for none
	email, active, start, end, directory, password, twoFactor *Event
	lockouts                                                  []Event // that are not over
	lastAttempt                                               *Event
	signIns                                                   signin.State
}

// Finding is one thing that decides on a sign-in.
type Finding struct {
	Code   string
	OK     bool
	Detail string
	Fix    string // the call that sets it right, below the base path of the API; empty where there is none
	Cause  *Cause // the event that made it so; nil where nothing did. A lockout names no actor: nobody was signed in
}

// SignIn is the answer: whether somebody could sign in, and everything that decides on it in the order in which it
// counts.
type SignIn struct {
	Verdict     string
	Findings    []Finding
	LastAttempt *Event // nil for none
}

// Note takes an event of the account, or of signing in to it. They come in the order of the log.
func (f *SignInFacts) Note(e *Event) {
	f.signIns.Evolve(e.Event)
	switch event := e.Event.(type) {
	case user.Registered:
		f.email = e
		if !event.StartDate.IsZero() {
			f.start = e
		}
		if !event.EndDate.IsZero() {
			f.end = e
		}
	case user.EmailChanged:
		f.email = e
	case user.AccessPeriodChanged:
		if event.StartDate != (domain.Changed[domain.Date]{}) {
			f.start = e
		}
		if event.EndDate != (domain.Changed[domain.Date]{}) {
			f.end = e
		}
	case user.Activated, user.Deactivated:
		f.active = e
	case user.DirectoryLinked, user.DirectoryUnlinked, user.DirectoryDisabled, user.DirectoryEnabled:
		f.directory = e
	case user.PasswordSet:
		f.password = e
	case user.TwoFactorEnrolled, user.TwoFactorDisabled, user.TwoFactorReset, user.TwoFactorRequired,
		user.TwoFactorRequirementLifted:
		f.twoFactor = e
	case signin.Succeeded, signin.Challenged, signin.Failed:
		f.lastAttempt = e
	case signin.LockoutBegan:
		if f.Now.Before(event.Until) {
			f.lockouts = append(f.lockouts, *e)
		}
	case signin.Unlocked, signin.PasswordReset:
		f.lockouts = slices.DeleteFunc(f.lockouts, func(e Event) bool { return !codesRefused(e) })
	}
}

// SignIn judges the facts.
func (f *SignInFacts) SignIn() SignIn {
	asked, unapproved := directory.Asked(f.Directories, f.Account.Person())
	answer := SignIn{Verdict: VerdictAllowed, LastAttempt: f.lastAttempt, Findings: []Finding{
		f.checkEmail(), f.checkActive(), f.checkStart(), f.checkEnd(), f.checkDirectory(asked, unapproved),
		f.checkPassword(len(asked)+len(unapproved) > 0), f.checkLockout(), f.checkTwoFactor(),
	}}
	switch factor := f.Account.TwoFactor; {
	case slices.ContainsFunc(answer.Findings, func(found Finding) bool { return !found.OK }):
		answer.Verdict = VerdictRefused
	case factor.Challenges():
		answer.Verdict = VerdictTwoFactor
	case f.Account.TwoFactorRequired && !factor.Enrolled:
		answer.Verdict = VerdictSetup
	}
	return answer
}

const otherwise = "; if it fails, the address or the password was wrong, or the reason is in last_attempt"

// Reason is the verdict in a sentence: the first finding that refuses, or what is left when none does.
func (s SignIn) Reason() string {
	for _, found := range s.Findings {
		if !found.OK {
			return found.Detail
		}
	}
	return map[string]string{
		VerdictAllowed:   "the account can sign in with its password",
		VerdictTwoFactor: "the account can sign in with its password and then a code",
		VerdictSetup:     "the account can sign in with its password and then has to set up two-factor",
	}[s.Verdict] + otherwise
}

// cause is that of an event; nil for none.
func (e *Event) cause() *Cause {
	if e == nil {
		return nil
	}
	return e.orNil()
}

// unattributed is the cause without who caused it.
func (e *Event) unattributed() *Cause {
	cause := e.cause()
	if cause != nil {
		cause.By = Actor{}
	}
	return cause
}

// call is one on the account.
func (f *SignInFacts) call(method, what string) string {
	return method + " /users/" + f.ID.String() + what
}

func (f *SignInFacts) checkEmail() Finding {
	found := Finding{
		Code: "email_known", OK: true, Detail: "the account signs in as " + f.Account.Details.Email,
		Cause: f.email.cause(),
	}
	if f.email != nil {
		if e, changed := f.email.Event.(user.EmailChanged); changed {
			found.Detail += ", no longer as " + e.Email.From
		}
	}
	return found
}

func (f *SignInFacts) checkActive() Finding {
	found := Finding{Code: "active", OK: true, Detail: "the account is active", Cause: f.active.cause()}
	if !f.Account.Active {
		found.OK, found.Detail = false, "the account was deactivated"+domain.Because(f.Reason)
		found.Fix = f.call("POST", "/activate")
	}
	return found
}

func (f *SignInFacts) checkStart() Finding {
	found := Finding{Code: "start_date", OK: true, Cause: f.start.cause()}
	switch start := f.Account.Details.StartDate; {
	case start.IsZero():
		found.Detail = "there is no first day of access"
	case domain.DateOf(f.Now).Before(start):
		found.OK, found.Detail = false, "access starts on "+start.String()+" (UTC)"
		found.Fix = f.call("PATCH", ` {"start_date": null}`)
	default:
		found.Detail = "access started on " + start.String()
	}
	return found
}

func (f *SignInFacts) checkEnd() Finding {
	found := Finding{Code: "end_date", OK: true, Cause: f.end.cause()}
	switch end := f.Account.Details.EndDate; {
	case end.IsZero():
		found.Detail = "there is no last day of access"
	case end.Before(domain.DateOf(f.Now)):
		found.OK, found.Detail = false, "access ended after "+end.String()+" (UTC)"
		found.Fix = f.call("PATCH", ` {"end_date": null}`)
	default:
		found.Detail = "the last day of access is " + end.String() + " (UTC)"
	}
	return found
}

func (f *SignInFacts) checkPassword(byDirectory bool) Finding {
	found := Finding{Code: "has_password_or_directory"}
	switch {
	case f.HasPassword && f.HasRights && f.Account.PasswordDoubtful:
		found.Detail = "the password may have been set by somebody else, because somebody who is no superuser " +
			"changed the e-mail address or the way of mails; for an account that has rights a new one has to be " +
			"set by a link"
		found.Cause, found.Fix = f.email.cause(), f.sendsLink()
	case f.HasPassword:
		found.OK, found.Detail, found.Cause = true, "the account has a password", f.password.cause()
	case byDirectory:
		found.OK, found.Detail = true, "the account's password is in the directory"
	case f.Account.Source == user.SourceDirectory:
		found.Detail = "there is no local password, and no directory that serves the account is in use"
		found.Fix = f.switchOn()
	default:
		found.Detail = "no password has been set yet"
		found.Fix = f.sendsLink()
	}
	return found
}

func (f *SignInFacts) sendsLink() string {
	return fmt.Sprintf(`POST /password-resets {"email": %q} sends the person a link to set one`,
		f.Account.Details.Email)
}

// codesRefused says whether a lockout is one of codes, from wherever they come.
func codesRefused(e Event) bool {
	lockout, ok := e.Event.(signin.LockoutBegan)
	return ok && lockout.Codes
}

// checkLockout reports the networks that are locked out. That refuses nobody who is elsewhere.
func (f *SignInFacts) checkLockout() Finding {
	var places []string
	var newest *Event
	more := 0
	for i, e := range slices.Backward(f.lockouts) {
		lockout, ok := e.Event.(signin.LockoutBegan)
		switch {
		case !ok || lockout.Codes:
			continue
		case len(places) == mostPlaces:
			more++
			continue
		}
		places = append(places, lockout.Network+" until "+lockout.Until.UTC().Format(time.RFC3339))
		newest = cmp.Or(newest, &f.lockouts[i])
	}
	if newest == nil {
		return Finding{Code: "locked_out", OK: true, Detail: "no network is locked out"}
	}
	if more > 0 {
		places = append(places, fmt.Sprintf("and %d more networks", more))
	}
	return Finding{
		Code: "locked_out", OK: true,
		Detail: "only attempts from " + strings.Join(places, ", ") + " are refused, after too many wrong passwords",
		Fix:    f.call("POST", "/unlock"), Cause: newest.unattributed(),
	}
}

// mostPlaces is how many networks are named that are locked out.
const mostPlaces = 5

// checkCodes reports that codes are not accepted from anywhere.
func (f *SignInFacts) checkCodes(found Finding) Finding {
	if !f.signIns.CodesRefused(f.Now) {
		return found
	}
	found.OK, found.Cause = false, nil
	if i := slices.IndexFunc(f.lockouts, codesRefused); i >= 0 {
		found.Cause = f.lockouts[i].unattributed()
	}
	found.Detail = fmt.Sprintf("no code is accepted until %s, after %d wrong ones within an hour",
		f.signIns.CodesFrom(f.Now).UTC().Format(time.RFC3339), signin.MostCodes)
	found.Fix = "wait, nobody can end this early; if it was somebody else, the password is known to them: POST " +
		"/password-resets sends a link to change it"
	return found
}

func (f *SignInFacts) checkTwoFactor() Finding {
	found := Finding{Code: "two_factor", OK: true, Cause: f.twoFactor.cause()}
	switch factor := f.Account.TwoFactor; {
	case factor.Challenges():
		found.Detail = fmt.Sprintf(
			"after the password, a code from the device or one of the %d remaining backup codes is "+
				"required", f.BackupCodes)
		switch f.lastFailure() {
		case signin.WrongCode, signin.CodeUsed, signin.WrongBackupCode:
			found.Fix = f.call("POST", "/two-factor/reset") + " if the device is lost; otherwise its clock may be wrong"
		}
		found = f.checkCodes(found)
	case factor.Enrolled:
		found.Detail = "an administrator suspended two-factor: no code is required until a new device is confirmed"
	case f.Account.TwoFactorRequired:
		found.Detail = "two-factor is required but not set up: the next session can only be used to set it up"
	default:
		found.Detail = "two-factor is not used"
	}
	return found
}

// lastFailure is the reason why the last attempt failed; empty where it didn't.
func (f *SignInFacts) lastFailure() string {
	if f.lastAttempt == nil {
		return ""
	}
	failed, _ := f.lastAttempt.Event.(signin.Failed)
	return failed.Reason
}
