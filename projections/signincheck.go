package projections

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// Verdicts of a SignInCheck.
const (
	VerdictAllowed   = "allowed"          // the password is enough
	VerdictTwoFactor = "two_factor"       // after the password a code is asked for
	VerdictSetup     = "two_factor_setup" // the session may only set up two-factor
	VerdictRefused   = "refused"          // whatever the password
)

// SignInCheck says whether somebody would get in, and if not why.
type SignInCheck struct {
	At          time.Time      `json:"at"`
	Verdict     string         `json:"verdict"`
	Reason      string         `json:"reason"`
	Checks      []SignInCause  `json:"checks"`
	LastAttempt *SignInAttempt `json:"last_attempt"`
}

// SignInCause is one thing that decides on a sign-in. Event, time and actor are those that made it so; nil where nothing
// did.
type SignInCause struct {
	Code    string     `json:"code"`
	OK      bool       `json:"ok"`
	Detail  string     `json:"detail"`
	Fix     *string    `json:"fix"`
	EventID *uuid.UUID `json:"event_id"`
	At      *time.Time `json:"at"`
	Actor   *Actor     `json:"actor"`
}

// SignInAttempt is the last time that somebody tried, with the true outcome.
type SignInAttempt struct {
	EventID uuid.UUID `json:"event_id"`
	At      time.Time `json:"at"`
	IP      *string   `json:"ip"`
	Summary string    `json:"summary"`
}

// cause is an event that made something so.
type cause struct {
	id    uuid.UUID
	at    time.Time
	actor Actor
	ip    *string
	event domain.Event
}

// signInFacts is what the history of an account says about signing in at a time.
type signInFacts struct {
	account *userRow
	now     time.Time
	// the last event that made each of these as it is; nil for none
	email, active, start, end, directory, password, twoFactor *cause
	lockouts                                                  []cause // that are not over
	lastAttempt                                               *cause
	connections                                               []directory.Connection
	asked, unvouched                                          []directory.Connection // of them, see directory.Asked
}

// SignInCheck answers for an account: now, or with asOf as it was then. ErrNotFound where the account did not exist.
func (r *ReadModels) SignInCheck(ctx context.Context, id uuid.UUID, now time.Time, asOf *time.Time) (SignInCheck, error) {
	last := endOfTime
	if asOf != nil {
		now, last = *asOf, *asOf
	}
	facts, err := r.signInFacts(ctx, id, now, last)
	if err != nil {
		return SignInCheck{}, err
	}
	if facts.connections, err = r.directoriesAt(ctx, last); err != nil {
		return SignInCheck{}, err
	}
	facts.asked, facts.unvouched = directory.Asked(facts.connections, facts.account.state.Person())
	check := facts.check()
	var actors []*Actor
	for _, c := range check.Checks {
		if c.Actor != nil {
			actors = append(actors, c.Actor)
		}
	}
	if err := r.nameActors(ctx, actors); err != nil {
		return SignInCheck{}, err
	}
	for i := range check.Checks {
		if c := &check.Checks[i]; !c.OK && c.Actor != nil && c.Actor.Name != nil {
			c.Detail += fmt.Sprintf(" (by %s, %s)", *c.Actor.Name, c.At.Format(time.RFC3339))
		}
	}
	check.conclude()
	return check, nil
}

// signInFacts folds the account's events, and the newest of its sign-ins: as many as count for a sign-in.
func (r *ReadModels) signInFacts(ctx context.Context, id uuid.UUID, now, last time.Time) (*signInFacts, error) {
	const columns = `position, event_id, kind, type, revision, at, actor_kind, actor_id, ip, data`
	rows, err := r.pool.Query(ctx, `SELECT `+columns+` FROM history WHERE kind = $1 AND subject_id = $3 AND at <= $4
		UNION ALL (SELECT `+columns+` FROM history WHERE kind = $2 AND subject_id = $3 AND at <= $4 ORDER BY position DESC LIMIT $5)
		ORDER BY position`, user.Kind, signin.Kind, id.String(), last, signin.Window)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	facts := &signInFacts{account: newUserRow(id), now: now}
	for rows.Next() {
		var c cause
		var kind string
		var e eventstore.Envelope
		if err := rows.Scan(&e.Position, &c.id, &kind, &e.Type, &e.Revision, &c.at, &c.actor.Kind, &c.actor.ID, &c.ip, &e.Data); err != nil {
			return nil, err
		}
		if e.Event, err = eventstore.DecodeData(e.Type, e.Data); err != nil {
			return nil, err
		}
		c.at = c.at.UTC()
		c.event, e.Meta.At = e.Event, c.at
		if kind == signin.Kind {
			facts.atDoor(&c)
			continue
		}
		if err := facts.account.Apply(&e); err != nil {
			return nil, fmt.Errorf("the history of account %s: %w", id, err)
		}
		facts.note(&c)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if !facts.account.Exists() {
		return nil, ErrNotFound
	}
	return facts, nil
}

// note keeps what an event of the account decided.
func (f *signInFacts) note(c *cause) {
	switch e := c.event.(type) {
	case user.Registered:
		f.email = c
		if !e.StartDate.IsZero() {
			f.start = c
		}
		if !e.EndDate.IsZero() {
			f.end = c
		}
	case user.EmailChanged:
		f.email = c
	case user.AccessPeriodChanged:
		if e.StartDate != (domain.Changed[domain.Date]{}) {
			f.start = c
		}
		if e.EndDate != (domain.Changed[domain.Date]{}) {
			f.end = c
		}
	case user.Activated, user.Deactivated:
		f.active = c
	case user.DirectoryLinked, user.DirectoryUnlinked, user.DirectoryDisabled, user.DirectoryEnabled:
		f.directory = c
	case user.PasswordSet:
		f.password = c
	case user.TwoFactorEnrolled, user.TwoFactorDisabled, user.TwoFactorReset, user.TwoFactorRequired, user.TwoFactorRequirementLifted:
		f.twoFactor = c
	}
}

// atDoor keeps what an event of signing in decided.
func (f *signInFacts) atDoor(c *cause) {
	switch e := c.event.(type) {
	case signin.Succeeded, signin.Challenged, signin.Failed:
		f.lastAttempt = c
	case signin.LockoutBegan:
		if f.now.Before(e.Until) {
			f.lockouts = append(f.lockouts, *c)
		}
	case signin.Unlocked:
		f.lockouts = nil
	}
}

// check makes the checks in the order in which they count.
func (f *signInFacts) check() SignInCheck {
	check := SignInCheck{At: f.now.UTC(), Checks: []SignInCause{
		f.checkEmail(), f.checkActive(), f.checkStart(), f.checkEnd(), f.checkDirectory(), f.checkPassword(),
		f.checkLockout(), f.checkTwoFactor(),
	}}
	check.Verdict = VerdictAllowed
	switch factor := f.account.state.TwoFactor; {
	case slices.ContainsFunc(check.Checks, func(c SignInCause) bool { return !c.OK }):
		check.Verdict = VerdictRefused
	case factor.Challenges():
		check.Verdict = VerdictTwoFactor
	case f.account.state.TwoFactorRequired && !factor.Enrolled:
		check.Verdict = VerdictSetup
	}
	if a := f.lastAttempt; a != nil {
		check.LastAttempt = &SignInAttempt{EventID: a.id, At: a.at, IP: a.ip, Summary: a.event.Summary()}
	}
	return check
}

const otherwise = "; if that fails, the address or the password was wrong, or what last_attempt says"

// conclude gives the reason: the first check that refuses, or what is left when none does.
func (c *SignInCheck) conclude() {
	for _, check := range c.Checks {
		if !check.OK {
			c.Reason = check.Detail
			return
		}
	}
	c.Reason = map[string]string{
		VerdictAllowed:   "the account can sign in with its password",
		VerdictTwoFactor: "the account can sign in with its password and then a code",
		VerdictSetup:     "the account can sign in with its password and then has to set up two-factor",
	}[c.Verdict] + otherwise
}

func (c *cause) say(code string, ok bool, detail, fix string) SignInCause {
	said := SignInCause{Code: code, OK: ok, Detail: detail, Fix: optional(fix)}
	if c != nil {
		actor := c.actor
		said.EventID, said.At, said.Actor = &c.id, &c.at, &actor
	}
	return said
}

// call is what mends something, below the base path of the API.
func (f *signInFacts) call(method, what string) string {
	return method + " /users/" + f.account.id.String() + what
}

func (f *signInFacts) checkEmail() SignInCause {
	detail := "the account signs in as " + f.account.state.Details.Email
	if e, changed := f.email.event.(user.EmailChanged); changed {
		detail += ", no longer as " + e.Email.From
	}
	return f.email.say("email_known", true, detail, "")
}

func (f *signInFacts) checkActive() SignInCause {
	if f.account.state.Active {
		return f.active.say("active", true, "the account is active", "")
	}
	return f.active.say("active", false, "the account was deactivated"+domain.Because(f.account.reason), f.call("POST", "/activate"))
}

func (f *signInFacts) checkStart() SignInCause {
	start := f.account.state.Details.StartDate
	switch {
	case start.IsZero():
		return f.start.say("start_date", true, "there is no first day of access", "")
	case domain.DateOf(f.now).Before(start):
		return f.start.say("start_date", false, "access starts on "+start.String()+" (UTC)", f.call("PATCH", ` {"start_date": null}`))
	}
	return f.start.say("start_date", true, "access started on "+start.String(), "")
}

func (f *signInFacts) checkEnd() SignInCause {
	end := f.account.state.Details.EndDate
	switch {
	case end.IsZero():
		return f.end.say("end_date", true, "there is no last day of access", "")
	case end.Before(domain.DateOf(f.now)):
		return f.end.say("end_date", false, "access ended after "+end.String()+" (UTC)", f.call("PATCH", ` {"end_date": null}`))
	}
	return f.end.say("end_date", true, "the last day of access is "+end.String()+" (UTC)", "")
}

func (f *signInFacts) checkPassword() SignInCause {
	const code = "has_password_or_directory"
	var nothing *cause
	switch {
	case f.account.hasPassword:
		return f.password.say(code, true, "the account has a password", "")
	case len(f.asked)+len(f.unvouched) > 0:
		return nothing.say(code, true, "the password is that of the directory", "")
	case f.account.state.Source == user.SourceDirectory:
		return nothing.say(code, false, "there is no local password, and no directory that serves the account is in use", f.switchOn())
	}
	return nothing.say(code, false, "no password was ever set",
		fmt.Sprintf(`POST /password-resets {"email": %q} sends the person a link to set one`, f.account.state.Details.Email))
}

// checkLockout reports the lockout of the account, else those of single addresses, which leave the others open.
func (f *signInFacts) checkLockout() SignInCause {
	const code = "locked_out"
	var places []string
	var newest *cause
	for i, c := range slices.Backward(f.lockouts) {
		lockout, ok := c.event.(signin.LockoutBegan)
		if !ok {
			continue
		}
		until := "until " + lockout.Until.UTC().Format(time.RFC3339)
		if lockout.IP == "" {
			return f.lockouts[i].lockedOut(code, false, "the account is locked out "+until+", after too many wrong passwords or codes", f.call("POST", "/unlock"))
		}
		places = append(places, lockout.IP+" "+until)
		newest = cmp.Or(newest, &f.lockouts[i])
	}
	if newest != nil {
		return newest.lockedOut(code, true, "only attempts from "+strings.Join(places, ", ")+" are refused, after too many wrong passwords or codes", f.call("POST", "/unlock"))
	}
	return newest.say(code, true, "the account is not locked out", "")
}

// lockedOut names no actor: whoever guessed wrong was not signed in.
func (c *cause) lockedOut(code string, ok bool, detail, fix string) SignInCause {
	said := c.say(code, ok, detail, fix)
	said.Actor = nil
	return said
}

func (f *signInFacts) checkTwoFactor() SignInCause {
	const code = "two_factor"
	factor := f.account.state.TwoFactor
	switch {
	case factor.Challenges():
		fix := ""
		if failed, ok := f.lastFailure(); ok && slices.Contains([]string{signin.WrongCode, signin.CodeUsed, signin.WrongBackupCode}, failed.Reason) {
			fix = f.call("POST", "/two-factor/reset") + ", if the device is lost; else the clock of the device may be wrong"
		}
		return f.twoFactor.say(code, true, fmt.Sprintf("after the password a code of the device is asked for, or one of the %d backup codes left", f.account.codesLeft), fix)
	case factor.Enrolled:
		return f.twoFactor.say(code, true, "an administrator lifted two-factor: no code is asked for until a new device is confirmed", "")
	case f.account.state.TwoFactorRequired:
		return f.twoFactor.say(code, true, "two-factor is required and not set up: the next session may only set it up", "")
	}
	return f.twoFactor.say(code, true, "two-factor is not used", "")
}

func (f *signInFacts) lastFailure() (signin.Failed, bool) {
	if f.lastAttempt == nil {
		return signin.Failed{}, false
	}
	failed, ok := f.lastAttempt.event.(signin.Failed)
	return failed, ok
}
