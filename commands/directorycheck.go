package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/directory"
	"github.com/secboard/secboard/domain/probe"
	"github.com/secboard/secboard/domain/user"
)

// CheckMode says what a check of a directory may do.
type CheckMode int

// Modes of a check.
const (
	CheckShow        CheckMode = iota // nothing
	CheckUnconfirmed                  // changes, unless they are too many
	CheckConfirm                      // all changes: somebody has looked
)

// CheckTimeout is how long a check may take.
const CheckTimeout = 5 * time.Minute

// checkPage is how many accounts a check reads at a time.
const checkPage = 500

// DirectoryCheck is what a check found, and whether it changed it.
type DirectoryCheck struct {
	Findings directory.Findings
	Changes  []DirectoryChange
	Stopped  string // why nothing was changed; "" when nothing prevents it
	Applied  bool
}

// DirectoryChange is an account that the directory has closed (Reason is a user.Closed constant) or opened again ("").
type DirectoryChange struct {
	UserID uuid.UUID
	Email  string
	Reason string
	guid   string
}

// DirectorySchedule is how often a connection's accounts are compared with it.
type DirectorySchedule struct {
	ID    uuid.UUID
	Name  string
	Every time.Duration
}

// DirectorySchedules gives the connections that are checked in the background.
func (h *Handler) DirectorySchedules(ctx context.Context) ([]DirectorySchedule, error) {
	connections, _, err := h.connectionsFor(ctx, user.State{})
	var schedules []DirectorySchedule
	for _, c := range connections {
		if c.server.CheckMinutes > 0 {
			schedules = append(schedules,
				DirectorySchedule{c.ID, c.server.Name, time.Duration(c.server.CheckMinutes) * time.Minute})
		}
	}
	return schedules, err
}

// CheckDirectory compares all accounts that are bound to entries of a connection with these entries. Nothing changes
// unless the directory gave all its entries.
func (h *Handler) CheckDirectory(ctx context.Context, caller Caller, id uuid.UUID,
	mode CheckMode) (DirectoryCheck, error) {
	c, err := h.connection(ctx, id)
	if err != nil {
		return DirectoryCheck{}, err
	}
	if !c.State.Exists {
		return DirectoryCheck{}, domain.Refusef(domain.CodeNotFound, "there is no such directory")
	}
	if caller.isPerson() {
		action := domain.Edit
		if mode == CheckShow {
			action = domain.View
		}
		tried := probe.DirectoryChecked{URLs: c.server.URLs}
		if err := h.recordDirectoryProbe(ctx, caller, c, action, tried); err != nil {
			return DirectoryCheck{}, err
		}
	}
	check, err := h.compare(ctx, c)
	if err != nil || mode == CheckShow {
		return check, err
	}
	caller = caller.needing(needs("directory", domain.Edit))
	if _, err := change(ctx, h, caller, domain.StreamName(directory.Kind, id),
		func(s directory.State) ([]domain.Event, error) {
			check.Stopped = s.TooMany(check.Findings)
			return directory.EndCheck(s, check.Findings, mode == CheckConfirm)
		}); err != nil {
		return check, err
	}
	if check.Stopped != "" && mode != CheckConfirm {
		return check, nil
	}
	var failed error
	for _, change := range check.Changes {
		failed = errors.Join(failed,
			h.syncClosing(ctx, byDirectory(caller, id), change.UserID, c.State.Vouched, change.guid, change.Reason))
	}
	check.Applied, check.Stopped = failed == nil, ""
	return check, failed
}

// compare finds the accounts whose entries are closed or opened otherwise than they are.
func (h *Handler) compare(ctx context.Context, c connection) (DirectoryCheck, error) {
	disabled := map[string]bool{} // by GUID
	for entry, err := range h.Directory.Entries(ctx, c.server) {
		if err != nil {
			return DirectoryCheck{}, fmt.Errorf("%w: %s: %w", ErrDirectory, c.server.Name, err)
		}
		disabled[entry.GUID] = entry.Disabled
	}
	check := DirectoryCheck{Findings: directory.Findings{Entries: len(disabled)}}
	for after := uuid.Nil; ; {
		ids, err := h.DirectoryIndex.AccountsOfDirectory(ctx, c.ID, after, checkPage)
		if err != nil {
			return DirectoryCheck{}, err
		}
		for _, id := range ids {
			found, err := load[user.State](ctx, h.Log, domain.StreamName(user.Kind, id))
			if err != nil {
				return DirectoryCheck{}, err
			}
			if c.State.Vouched || !found.State.MayDoSomething() { // as user.SyncClosing
				check.note(c.ID, id, found.State, disabled)
			}
		}
		if len(ids) < checkPage {
			check.Stopped = c.State.TooMany(check.Findings)
			return check, nil
		}
		after = ids[len(ids)-1]
	}
}

func (c *DirectoryCheck) note(directoryID, id uuid.UUID, account user.State, disabled map[string]bool) {
	link := account.Directory
	if link.ID != directoryID {
		return
	}
	c.Findings.Accounts++
	change := DirectoryChange{UserID: id, Email: account.Details.Email, guid: link.GUID}
	isDisabled, exists := disabled[link.GUID]
	switch {
	case !exists:
		change.Reason = user.ClosedVanished
	case isDisabled:
		change.Reason = user.ClosedDisabled
	}
	switch closed := change.Reason != ""; {
	case closed == link.Disabled:
		return
	case closed:
		c.Findings.Close++
	default:
		c.Findings.Open++
	}
	c.Changes = append(c.Changes, change)
}
