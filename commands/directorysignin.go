package commands

import (
	"context"
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

// refusalTime is how long a refused sign-in takes at least where there are directories: asking one takes longer than
// checking a local password, and nobody should learn from that which of the two an address has, or whether it has any.
const refusalTime = 500 * time.Millisecond

// sameTime makes a refusal that began at a time take refusalTime.
func (h *Handler) sameTime(ctx context.Context, began time.Time) {
	if h.Directory == nil {
		return
	}
	if enabled, err := h.DirectoryIndex.EnabledDirectories(ctx); err != nil || len(enabled) == 0 {
		return
	}
	h.Pause(ctx, refusalTime-time.Since(began)) // whoever went away need not wait
}

// answerOf is what a directory said about somebody.
type answerOf struct {
	connection connection
	entry      directory.Entry
}

// askDirectories asks the directories that answer for an account, or for somebody not known yet. The first one that knows the
// e-mail address decides. After an outage only those are asked that a superuser vouches for: else whoever may connect a
// directory need only wait for one to collect the passwords of its people.
func (h *Handler) askDirectories(ctx context.Context, caller Caller, d door, password string) (proof, error) {
	if password == "" {
		return proof{reason: signin.WrongPassword}, nil // a directory would take it for an anonymous sign-in
	}
	if locked, err := h.lockedOut(ctx, caller, d); err != nil || locked {
		return proof{reason: signin.WrongPassword}, err // so that guessing here does not lock the directory's account out
	}
	connections, unvouched, err := h.connectionsFor(ctx, d.account)
	if err != nil {
		return proof{}, err
	}
	var outage error
	for _, c := range connections {
		if outage != nil && !c.State.Vouched {
			break
		}
		entry, err := h.Directory.SignIn(ctx, c.server, d.email, password)
		refused, isRefused := errors.AsType[*directory.Refused](err)
		switch {
		case err == nil:
			return proof{fits: true, answer: &answerOf{c, entry}}, nil
		case !isRefused:
			outage = errors.Join(outage, fmt.Errorf("%s: %w", c.server.Name, err))
		case refused.Reason == directory.WrongPassword:
			return proof{reason: signin.WrongPassword}, nil
		case refused.Reason != directory.Unknown:
			return proof{reason: signin.Directory + refused.Reason, answer: &answerOf{c, entry}}, nil
		}
	}
	switch {
	case outage != nil:
		return proof{}, fmt.Errorf("%w: %w", ErrDirectory, outage)
	case unvouched: // and no other knows the account
		return proof{reason: user.ErrUnvouched.Code}, nil
	case d.account.Directory.Linked() && len(connections) == 0:
		return proof{reason: signin.NoDirectory}, nil
	case d.account.Directory.Linked():
		return proof{reason: signin.Directory + directory.Unknown}, nil
	case d.account.Exists:
		return proof{reason: signin.NoPassword}, nil
	}
	return proof{reason: signin.WrongPassword}, nil
}

// follow brings the account into line with what its directory answered, and gives the door to it. A reason refuses the
// sign-in all the same.
func (h *Handler) follow(ctx context.Context, caller Caller, d door, p proof) (door, string, error) {
	if !p.fits {
		if p.reason == signin.DirectoryDisabled && d.account.Exists {
			return d, p.reason, h.mirror(ctx, byDirectory(caller, p.answer.connection.ID), d.id, p.answer.entry.GUID, user.ClosedDisabled)
		}
		return d, p.reason, nil
	}
	for range attempts {
		next, err := h.followOnce(ctx, caller, d, *p.answer)
		var refused *domain.Error
		var invalid *domain.Invalid
		switch {
		case err == nil:
			return next, "", nil
		case errors.Is(err, user.ErrOtherEntry), errors.Is(err, user.ErrEntryTaken), errors.Is(err, user.ErrOwnLogin), errors.Is(err, user.ErrUnvouched):
			errors.As(err, &refused)
			return d, refused.Code, nil
		case errors.As(err, &invalid): // all else is made to fit
			return d, signin.Directory + directory.NoEmail, nil
		case !errors.As(err, &refused) || refused.Code != domain.CodeEmailTaken:
			return d, "", err
		}
		if d, err = h.doorOf(ctx, caller, d.email); err != nil { // somebody was faster, most likely the same person
			return d, "", err
		}
	}
	return d, "", ErrBusy
}

func (h *Handler) followOnce(ctx context.Context, caller Caller, d door, answer answerOf) (door, error) {
	entry, c := answer.entry, answer.connection
	bound, err := h.boundTo(ctx, caller, entry.GUID)
	if err != nil {
		return d, err
	}
	if !d.account.Exists { // the entry may have another e-mail address than before
		if i := slices.IndexFunc(bound, func(of door) bool { return of.account.Directory.ID == c.ID }); i >= 0 {
			bound[i].email = d.email
			d = bound[i]
		}
	}
	// An entry is one person, with one account. Many people may write their own mail attribute, and would get with it any
	// account that is not bound yet. Two that were bound at the same moment, before the index knew, are both refused.
	if slices.ContainsFunc(bound, func(of door) bool {
		return of.id != d.id && (of.account.Directory.ID == c.ID || d.account.Directory.ID != c.ID)
	}) {
		return d, user.ErrEntryTaken
	}
	as := byDirectory(caller, c.ID)
	if !d.account.Exists {
		found, err := h.foundBy(ctx, c, entry, c.server.CompanyID)
		if err != nil {
			return d, err
		}
		if _, err := create(ctx, h, as, domain.StreamName(user.Kind, as.CommandID), func(s user.State) ([]domain.Event, error) {
			return user.RegisterFound(s, found)
		}); err != nil {
			return d, err
		}
		return h.doorAgain(ctx, caller, d, as.CommandID)
	}
	if reason := d.account.CanSignIn(d.attempt.Now); reason != "" && reason != signin.DirectoryDisabled {
		return d, nil // enter refuses it; nothing about a closed account changes
	}
	found, err := h.foundBy(ctx, c, entry, d.account.Details.CompanyID)
	if err != nil {
		return d, err
	}
	if _, err := change(ctx, h, as, domain.StreamName(user.Kind, d.id), func(s user.State) ([]domain.Event, error) {
		return user.FollowFound(s, found)
	}); err != nil {
		return d, err
	}
	return h.doorAgain(ctx, caller, d, d.id)
}

func (h *Handler) doorAgain(ctx context.Context, caller Caller, d door, id uuid.UUID) (door, error) {
	next, err := h.doorOfAccount(ctx, caller, id)
	next.email = d.email
	return next, err
}

// boundTo finds the accounts that are bound to an entry, through whichever connection.
func (h *Handler) boundTo(ctx context.Context, caller Caller, guid string) (bound []door, err error) {
	ids, err := h.DirectoryIndex.AccountsOfEntry(ctx, guid)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		d, err := h.doorOfAccount(ctx, caller, id)
		if err != nil {
			return nil, err
		}
		if link := d.account.Directory; link.Linked() && link.GUID == guid {
			bound = append(bound, d)
		}
	}
	return bound, nil
}

// mirror closes an account that its directory closed, which ends its sessions, or opens it again (reason "").
func (h *Handler) mirror(ctx context.Context, caller Caller, id uuid.UUID, guid, reason string) error {
	directoryID, err := uuid.Parse(caller.Actor.ID)
	if err != nil {
		return err
	}
	_, err = change(ctx, h, caller, domain.StreamName(user.Kind, id), func(s user.State) ([]domain.Event, error) {
		return user.MirrorClosing(s, directoryID, guid, reason)
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
	cause.Session, cause.Superuser, cause.Permissions, cause.IfMatch = "", false, nil, nil
	return cause
}

// UnlinkDirectory forgets the entry that an account is bound to.
func (h *Handler) UnlinkDirectory(ctx context.Context, caller Caller, id uuid.UUID, reason string) (Result, error) {
	return change(ctx, h, caller, domain.StreamName(user.Kind, id), func(s user.State) ([]domain.Event, error) {
		return user.UnlinkDirectory(s, by(caller, id), reason)
	})
}
