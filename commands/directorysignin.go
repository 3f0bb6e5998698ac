package commands

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/signin"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/eventstore"
)

// A refused sign-in takes a multiple of refusalTime, so that nobody learns from its time what an address has: an
// account, a password, events to read. Where there are directories it is a longer one, since asking one takes longer
// than checking a local password.
const (
	refusalTime          = 250 * time.Millisecond
	directoryRefusalTime = 500 * time.Millisecond
)

// delayRefusal makes a refusal that began at a time take a multiple of what all take.
func (h *Handler) delayRefusal(ctx context.Context, began time.Time) {
	grid := refusalTime
	if h.Directory != nil {
		if enabled, err := h.DirectoryIndex.EnabledDirectories(ctx); err == nil && len(enabled) > 0 {
			grid = directoryRefusalTime
		}
	}
	h.Pause(ctx, grid-time.Since(began)%grid) // whoever went away need not wait
}

// askForNobody asks the directories for an address that nobody has, as for any that has no account, so that an outage
// is answered alike whatever an address has. The password is made up, too: no directory counts a guess.
func (h *Handler) askForNobody(ctx context.Context) error {
	if h.Directory == nil {
		return nil
	}
	_, err := h.askDirectories(ctx, attempt{email: rand.Text() + "@nobody.invalid"}, rand.Text())
	return err
}

// directoryAnswer is the entry that a directory has of somebody, and the connection through which it was found.
type directoryAnswer struct {
	connection connection
	entry      directory.Entry
}

// askAbout asks the directories about a password, unless too many are asked about at the same time: ErrCredentials.
func (h *Handler) askAbout(ctx context.Context, a attempt, password string) (passwordCheck, error) {
	done, may, err := h.mayAsk(ctx, a)
	if err == nil && !may {
		err = ErrCredentials
	}
	if err != nil {
		done()
		return passwordCheck{}, err
	}
	checked, err := h.askDirectories(ctx, a, password)
	if err != nil {
		done()
		return passwordCheck{}, err
	}
	checked.recorded = done
	return checked, nil
}

// askDirectories asks the directories that answer for an account, or for somebody not known yet. The first one that
// knows the e-mail address decides. After an outage only those are asked that a superuser approved: else whoever may
// connect a directory could wait for one and collect the passwords of its people.
func (h *Handler) askDirectories(ctx context.Context, a attempt, password string) (passwordCheck, error) {
	if password == "" {
		return passwordCheck{refusal: signin.WrongPassword}, nil // a directory would take it for an anonymous sign-in
	}
	connections, othersUnapproved, err := h.connectionsFor(ctx, a.account)
	if err != nil {
		return passwordCheck{}, err
	}
	var outage error
	for _, c := range connections {
		if outage != nil && !c.State.Vouched {
			break
		}
		entry, err := h.Directory.SignIn(ctx, c.server, a.email, password)
		refused, isRefused := errors.AsType[*directory.Refused](err)
		switch {
		case err == nil:
			return passwordCheck{accepted: true, directory: &directoryAnswer{c, entry}}, nil
		case !isRefused:
			outage = errors.Join(outage, fmt.Errorf("%s: %w", c.server.Name, err))
		case refused.Reason == directory.WrongPassword:
			return passwordCheck{refusal: signin.WrongPassword}, nil
		case refused.Reason != directory.Unknown:
			return passwordCheck{refusal: signin.Directory + refused.Reason, directory: &directoryAnswer{c, entry}}, nil
		}
	}
	if outage != nil {
		return passwordCheck{}, fmt.Errorf("%w: %w", ErrDirectory, outage)
	}
	return passwordCheck{
		refusal: unknownReason(a.account, len(connections) > 0, othersUnapproved), unknown: !a.account.Exists,
	}, nil
}

// unknownReason is why nobody can sign in to an account that none of the directories that were asked knows.
func unknownReason(account user.State, asked, othersUnapproved bool) string {
	switch {
	case othersUnapproved:
		return string(user.ErrNotApproved.Code)
	case account.Directory.Linked() && !asked:
		return signin.NoDirectory
	case account.Directory.Linked():
		return signin.Directory + directory.Unknown
	case account.Exists:
		return signin.NoPassword
	}
	return signin.WrongPassword
}

// takeOverAnswer brings the account up to date with what its directory answered, and gives the attempt with it: a first
// sign-in makes the account. A reason refuses the sign-in although the directory accepted the password.
func (h *Handler) takeOverAnswer(ctx context.Context, caller Caller, a attempt,
	checked passwordCheck) (attempt, string, error) {
	answer := *checked.directory
	if !checked.accepted {
		if checked.refusal == signin.DirectoryDisabled && a.account.Exists {
			as := byDirectory(caller, answer.connection.ID)
			return a, checked.refusal, h.syncClosing(ctx, as, a.id, answer.connection.State.Vouched, answer.entry.GUID,
				user.ClosedDisabled)
		}
		return a, checked.refusal, nil
	}
	for range attempts {
		next, err := h.syncAccount(ctx, caller, a, answer)
		refused, isRefused := errors.AsType[*domain.Error](err)
		_, isInvalid := errors.AsType[*domain.Invalid](err)
		switch {
		case err == nil:
			return next, "", nil
		case errors.Is(err, user.ErrOtherEntry), errors.Is(err, user.ErrEntryTaken), errors.Is(err, user.ErrOwnLogin),
			errors.Is(err, user.ErrNotApproved):
			return a, string(refused.Code), nil
		case isInvalid: // only the address can be wrong: all else is made to fit
			return a, signin.Directory + directory.NoEmail, nil
		case !isRefused || refused.Code != domain.CodeEmailTaken:
			return a, "", err
		}
		// somebody was faster, most likely the same person
		if a, err = h.findAttempt(ctx, caller, a.email); err != nil {
			return a, "", err
		}
	}
	return a, "", ErrBusy
}

// syncAccount makes the account of an entry, or brings it up to date.
func (h *Handler) syncAccount(ctx context.Context, caller Caller, a attempt, answer directoryAnswer) (attempt, error) {
	a, err := h.ownerOfEntry(ctx, caller, a, answer)
	if err != nil {
		return a, err
	}
	if !a.account.Exists {
		return h.registerFromDirectory(ctx, caller, a, answer)
	}
	if reason := a.account.CanSignIn(a.Now); reason != "" && reason != signin.DirectoryDisabled {
		return a, nil // afterFirstFactor refuses it; nothing about a closed account changes
	}
	found, err := h.entryFor(ctx, answer.connection, answer.entry, a.account.Details.CompanyID)
	if err != nil {
		return a, err
	}
	as := byDirectory(caller, answer.connection.ID)
	if _, err := change(ctx, h, as, domain.StreamName(user.Kind, a.id), func(s user.State) ([]domain.Event, error) {
		return user.SyncFromDirectory(s, found)
	}); err != nil {
		return a, err
	}
	return h.reload(ctx, caller, a, a.id)
}

// registerFromDirectory makes the account of somebody who signs in for the first time.
func (h *Handler) registerFromDirectory(ctx context.Context, caller Caller, a attempt,
	answer directoryAnswer) (attempt, error) {
	found, err := h.entryFor(ctx, answer.connection, answer.entry, answer.connection.server.CompanyID)
	if err != nil {
		return a, err
	}
	as := byDirectory(caller, answer.connection.ID)
	if _, err := createWith(ctx, h, as, user.Kind, user.RegisterFromDirectory, found); err != nil {
		return a, err
	}
	return h.reload(ctx, caller, a, as.CommandID)
}

// ownerOfEntry gives the attempt with the account that an entry is bound to, which may have another e-mail address than
// the entry now. An entry is one person, with one account: many people may write their own mail attribute, and would
// get with it any account that is not bound yet. Two that were bound at the same time, before the index knew, are both
// refused.
func (h *Handler) ownerOfEntry(ctx context.Context, caller Caller, a attempt, answer directoryAnswer) (attempt, error) {
	id := answer.connection.ID
	bound, err := h.boundTo(ctx, caller, answer.entry.GUID)
	if err != nil {
		return a, err
	}
	if !a.account.Exists {
		if i := slices.IndexFunc(bound, func(of attempt) bool { return of.account.Directory.ID == id }); i >= 0 {
			bound[i].email = a.email
			a = bound[i]
		}
	}
	if slices.ContainsFunc(bound, func(of attempt) bool {
		return of.id != a.id && (of.account.Directory.ID == id || a.account.Directory.ID != id)
	}) {
		return a, user.ErrEntryTaken
	}
	return a, nil
}

// boundTo finds the accounts that are bound to an entry, through whichever connection.
func (h *Handler) boundTo(ctx context.Context, caller Caller, guid string) (bound []attempt, err error) {
	ids, err := h.DirectoryIndex.AccountsOfEntry(ctx, guid)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		a, err := h.attemptFor(ctx, caller, id)
		if err != nil {
			return nil, err
		}
		if link := a.account.Directory; link.Linked() && link.GUID == guid {
			bound = append(bound, a)
		}
	}
	return bound, nil
}

// syncClosing closes an account because its directory did, which ends its sessions, or opens it again (reason "").
func (h *Handler) syncClosing(ctx context.Context, caller Caller, id uuid.UUID, approved bool,
	guid, reason string) error {
	directoryID, err := uuid.Parse(caller.Actor.ID)
	if err != nil {
		return err
	}
	_, err = change(ctx, h, caller, domain.StreamName(user.Kind, id), func(s user.State) ([]domain.Event, error) {
		return user.SyncClosing(s, directoryID, approved, guid, reason)
	})
	return err
}

// byDirectory is a directory as the one who changes something, on somebody's sign-in or in a check.
func byDirectory(cause Caller, id uuid.UUID) Caller {
	cause.Actor = eventstore.Actor{Kind: eventstore.ActorDirectory, ID: id.String()}
	if cause.CorrelationID == uuid.Nil {
		cause.CorrelationID = cause.CommandID
	}
	cause.CausationID, cause.CommandID = cause.CommandID, uuid.Must(uuid.NewV7())
	cause.Session, cause.IfMatch, cause.right = "", nil, proven
	return cause
}

// UnlinkDirectory forgets the entry that an account is bound to.
func (h *Handler) UnlinkDirectory(ctx context.Context, caller Caller, id uuid.UUID, reason string) (Result, error) {
	return h.changeAccount(ctx, caller, id, func(s user.State, by user.By) ([]domain.Event, error) {
		return user.UnlinkDirectory(s, by, reason)
	})
}
