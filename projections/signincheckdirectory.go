package projections

import (
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
)

// directoriesAt gives the connections as they stood at a time, the oldest first.
func (r *ReadModels) directoriesAt(ctx context.Context, at time.Time) ([]directory.Connection, error) {
	ids, err := r.ids(ctx, "SELECT id FROM directories ORDER BY created_at, id")
	if err != nil {
		return nil, err
	}
	then, err := directoryRows.AsOf(ctx, r.pool, ids, at)
	if err != nil {
		return nil, err
	}
	var connections []directory.Connection
	var companies []uuid.UUID
	for _, id := range ids {
		if d := then[id]; d != nil {
			connections = append(connections, directory.Connection{ID: id, State: d.state})
			companies = append(companies, d.state.Settings.CompanyID)
		}
	}
	owners, err := companyRows.AsOf(ctx, r.pool, companies, at)
	if err != nil {
		return nil, err
	}
	for i, id := range companies {
		if owner := owners[id]; owner != nil {
			connections[i].CompanyRetired = owner.state.Retired
		}
	}
	return connections, nil
}

// switchOn is what makes a directory answer for the account again.
func (f *signInFacts) switchOn() string {
	id := f.account.state.Directory.ID
	if slices.ContainsFunc(f.connections, func(c directory.Connection) bool { return c.ID == id && c.CompanyRetired }) {
		return f.call("POST", "/unlink-directory") + ` {"reason": …}: the company of that directory is retired`
	}
	if id != uuid.Nil {
		return "PATCH /directories/" + id.String() + ` {"enabled": true}`
	}
	return "POST /directories, or switch one on"
}

func (f *signInFacts) checkDirectory() SignInCause {
	const code = "directory_account"
	account := f.account.state
	link := account.Directory
	if f.account.hasPassword {
		var nothing *cause
		return nothing.say(code, true, "the local password counts, no directory is asked", "")
	}
	if link.Disabled {
		return f.directory.say(code, false, user.DirectoryDisabled{Reason: link.Reason}.Summary(),
			"enable the entry in the directory; the next sign-in, or POST /directories/"+link.ID.String()+"/check, then opens the account")
	}
	switch {
	case len(f.asked) == 0 && len(f.unvouched) > 0:
		d := f.unvouched[0]
		return f.directory.say(code, false, "no superuser has approved the directory "+d.State.Settings.Name+", so it signs nobody in who is superuser or in a group",
			"PATCH /directories/"+d.ID.String()+` {"vouch": true} by a superuser`)
	case len(f.asked) == 0 && account.Source == user.SourceDirectory:
		return f.directory.say(code, false, "a directory keeps the password of this account, but none that serves it is in use", f.switchOn())
	case len(f.asked) == 0:
		return f.directory.say(code, true, "the account comes from no directory", "")
	}
	if failed, ok := f.lastFailure(); ok {
		if detail, fix := f.refusal(failed.Reason); detail != "" {
			return f.lastAttempt.lockedOut(code, false, "at the last attempt ("+f.lastAttempt.at.Format(time.RFC3339)+") "+detail, fix)
		}
	}
	detail := "there is no local password, so the directory decides at each sign-in: " + namesIn(f.asked, ", then ")
	if len(f.unvouched) > 0 {
		detail += "; not asked, since no superuser has approved it: " + namesIn(f.unvouched, ", ")
	}
	if link.Linked() && f.asked[0].ID == link.ID {
		detail = fmt.Sprintf("the account is %s in the directory, which decides at each sign-in", link.DN)
	}
	if link.Missed != "" {
		detail += "; " + user.GroupsMissed{Groups: strings.Split(link.Missed, "\n")}.Summary()
	}
	return f.directory.say(code, true, detail, "")
}

func namesIn(connections []directory.Connection, separator string) string {
	names := make([]string, len(connections))
	for i, c := range connections {
		names[i] = c.State.Settings.Name
	}
	return strings.Join(names, separator)
}

// refusal says what a directory's reason means and what mends it; "" for other reasons.
func (f *signInFacts) refusal(reason string) (detail, fix string) {
	const there = "change that in the directory"
	switch reason {
	case user.ErrOtherEntry.Code:
		return "the directory had another entry with this e-mail address than the one that the account is bound to",
			f.call("POST", "/unlink-directory") + ` {"reason": …}, if it is the same person`
	case user.ErrEntryTaken.Code:
		return "another account is bound to the directory's entry with this e-mail address",
			`POST /users/{id}/unlink-directory {"reason": …} for that account, if this one is to be the person's`
	case user.ErrNotApproved.Code:
		return user.ErrNotApproved.Detail, `PATCH /directories/{id} {"vouch": true} by a superuser`
	case signin.NoDirectory:
		return "the directory that the account comes from was switched off, or its company was retired", f.switchOn()
	}
	code, fromDirectory := strings.CutPrefix(reason, signin.Directory)
	if !fromDirectory {
		return "", ""
	}
	switch code {
	case directory.Unknown:
		return "the directory had no entry with this e-mail address that its user_filter lets through", "look for it with POST /directories/{id}/test"
	case directory.Ambiguous:
		return "the directory had several entries with this e-mail address", "leave the address in one of them"
	case directory.NoEmail:
		return "the directory showed no usable e-mail address in the entry", "let the account of bind_dn read attr_email"
	case directory.Disabled:
		return "the entry was disabled in the directory", "enable it there"
	case directory.AccountExpired:
		return "the account had expired in the directory", there
	case directory.PasswordExpired:
		return "the password had expired in the directory", "the person has to change it there"
	case directory.MustChange:
		return "the password had to be changed in the directory first", "the person has to change it there"
	case directory.Locked:
		return "the directory had locked the account after too many wrong passwords", "unlock it there, or wait"
	case directory.Hours:
		return "the directory does not let the account sign in at that hour", there
	case directory.Workstation:
		return "the directory lets the account sign in at certain workstations only", "allow the directory's servers there"
	}
	return "the directory refused it" + domain.Because(code), there
}
