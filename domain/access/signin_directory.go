package access

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
)

// checkDirectory says what directories have to do with it: asked are asked at a sign-in, unapproved would be if a
// superuser approved them.
func (f *SignInFacts) checkDirectory(asked, unapproved []directory.Connection) Finding {
	found := Finding{Code: "directory_account", Cause: f.directory.cause()}
	link := f.Account.Directory
	switch {
	case f.HasPassword:
		found.OK, found.Detail, found.Cause = true, "the account has a local password, so no directory is asked", nil
	case link.Disabled:
		found.Detail = user.DirectoryDisabled{Reason: link.Reason}.Summary()
		found.Fix = "enable the entry in the directory; the next sign-in, or POST /directories/" + link.ID.String() +
			"/check, then opens the account"
	case len(asked) == 0 && len(unapproved) > 0:
		d := unapproved[0]
		found.Detail = "no superuser has approved the directory " + d.State.Settings.Name +
			", so superusers and members of groups can't sign in through it"
		found.Fix = "PATCH /directories/" + d.ID.String() + ` {"vouch": true} by a superuser`
	case len(asked) == 0 && f.Account.Source == user.SourceDirectory:
		found.Detail = "the account's password is kept in a directory, but no directory that serves the account is " +
			"in use"
		found.Fix = f.switchOn()
	case len(asked) == 0:
		found.OK, found.Detail = true, "the account comes from no directory"
	default:
		if detail, fix := f.refusal(f.lastFailure()); detail != "" {
			found.Detail = "at the last attempt (" + f.lastAttempt.At.UTC().Format(time.RFC3339) + ") " + detail
			found.Fix, found.Cause = fix, f.lastAttempt.unattributed()
			return found
		}
		found.OK, found.Detail = true, f.decidedBy(asked, unapproved)
	}
	return found
}

// decidedBy says which directories decide at a sign-in.
func (f *SignInFacts) decidedBy(asked, unapproved []directory.Connection) string {
	link := f.Account.Directory
	detail := "there is no local password, so the directory decides at each sign-in: " + namesIn(asked, ", then ")
	if len(unapproved) > 0 {
		detail += "; not asked, because no superuser has approved it: " + namesIn(unapproved, ", ")
	}
	if link.Linked() && asked[0].ID == link.ID {
		detail = "the account is " + link.DN + " in the directory, which decides at each sign-in"
	}
	if link.Missed != "" {
		detail += "; " + user.GroupsMissed{Groups: strings.Split(link.Missed, "\n")}.Summary()
	}
	return detail
}

func namesIn(connections []directory.Connection, separator string) string {
	names := make([]string, len(connections))
	for i, c := range connections {
		names[i] = c.State.Settings.Name
	}
	return strings.Join(names, separator)
}

// switchOn is what makes a directory answer for the account again.
func (f *SignInFacts) switchOn() string {
	id := f.Account.Directory.ID
	retired := func(c directory.Connection) bool { return c.ID == id && c.CompanyRetired }
	switch {
	case slices.ContainsFunc(f.Directories, retired):
		return f.call("POST", "/unlink-directory") + ` {"reason": …}: the company of that directory is retired`
	case id != uuid.Nil:
		return "PATCH /directories/" + id.String() + ` {"enabled": true}`
	}
	return "POST /directories, or switch one on"
}

// refusal says what a directory's reason means and how to fix it; "" for other reasons.
func (f *SignInFacts) refusal(reason string) (detail, fix string) {
	const there = "change that in the directory"
	switch reason {
	case string(user.ErrOtherEntry.Code):
		return "the directory had another entry with this e-mail address than the one that the account is bound to",
			f.call("POST", "/unlink-directory") + ` {"reason": …}, if it is the same person`
	case string(user.ErrEntryTaken.Code):
		return "another account is bound to the directory's entry with this e-mail address",
			`POST /users/{id}/unlink-directory {"reason": …} for the other account, if the entry belongs to this person`
	case string(user.ErrNotApproved.Code):
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
		return "the directory had no entry with this e-mail address that matches its user_filter",
			"look for it with POST /directories/{id}/test"
	case directory.Ambiguous:
		return "the directory had several entries with this e-mail address", "leave the address in only one of them"
	case directory.NoEmail:
		return "the directory showed no usable e-mail address in the entry",
			"let the account of bind_dn read attr_email"
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
		return "the directory lets the account sign in only from certain workstations",
			"allow the directory's servers there"
	}
	return "the directory refused it" + domain.Because(code), there
}
