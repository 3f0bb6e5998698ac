package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/audit"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/instance"
	"github.com/secboard/secboard/projections"
)

type auditCmd struct {
	Account auditAccountCmd `cmd:"" help:"Show an account as it is or was, what it may do and why, and its history."`
	Events  auditEventsCmd  `cmd:"" help:"Show the event log in readable form."`
	Access  auditAccessCmd  `cmd:"" help:"List who may do what, or could at a time, and by which grant."`
	Export  auditExportCmd  `cmd:"" help:"Copy the log to a file or to standard output."`
	Replay  auditReplayCmd  `cmd:"" help:"Walk through the log from its beginning, without Postgres, and show what each event changed."`
}

// readTime reads a time, or a day in UTC, of which it gives the first instant or, with end, the last one. Without a
// text it is the zero time.
func readTime(flag, text string, end bool) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		day, err := domain.ParseDate(text)
		if err != nil {
			return time.Time{},
				usagef("%s is %q: it must be a time such as 2026-11-23T10:00:00Z, or a day such as 2026-11-23 (UTC)",
					flag, text)
		}
		if at = day.Time(); end {
			at = at.Add(24*time.Hour - time.Microsecond)
		}
	}
	if at.IsZero() {
		at = at.Add(time.Microsecond) // else it would count as not given
	}
	return at.UTC(), nil
}

func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// audited opens the stores, writes down that the operator reads the audit, and brings the read models up to that. They
// are kept up to date by `serve`; while none runs, this process does it.
func (p *program) audited(ctx context.Context, s *storeSettings, command string,
	work func(*projections.ReadModels, func(domain.Event) error) error) error {
	return p.withReadModels(ctx, s, command, func(st *instance.Stores) (err error) {
		h, err := st.Handler(ctx)
		if err != nil {
			return err
		}
		readModels, runner := auditing(st)
		running, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- runner.Run(running) }()
		defer func() {
			stop()
			if failed := <-ended; failed != nil && !errors.Is(failed, context.Canceled) {
				err = errors.Join(err, failed)
			}
		}()
		if err := st.CatchUp(ctx, runner, func(text string) { p.complain("secboard: " + text) }); err != nil {
			return err
		}
		return work(readModels, func(reading domain.Event) error {
			_, err := h.RecordReading(ctx, commands.Operator(), reading)
			return err
		})
	})
}

// accountID finds an account by its id or its e-mail address of today.
func accountID(ctx context.Context, models *projections.ReadModels, text string) (uuid.UUID, error) {
	if id, err := uuid.Parse(text); err == nil {
		return id, nil
	}
	page := projections.PageRequest{Limit: projections.MaxLimit}
	for {
		found, err := models.Users(ctx, projections.UserFilter{Query: text}, page, time.Now())
		if err != nil {
			return uuid.Nil, err
		}
		for _, account := range found.Items {
			if user.NormalizeEmail(account.Email) == user.NormalizeEmail(text) {
				return account.ID, nil
			}
		}
		if found.NextCursor == nil {
			return uuid.Nil,
				fmt.Errorf("no account has the e-mail address %s: `secboard audit replay --account` knows former "+
					"addresses too", text)
		}
		page.Cursor = *found.NextCursor
	}
}

type auditAccountCmd struct {
	Account string `arg:"" placeholder:"EMAIL|ID" help:"E-mail address or id."`
	AsOf    string `placeholder:"T" help:"Show it as it was at this time, or at the end of this day (UTC)."`
	History bool   `help:"Show each change with old and new value too, sign-ins included."`
	JSON    bool   `name:"json" help:"Print JSON."`
	storeSettings
}

// Help is the end of the command's --help.
func (auditAccountCmd) Help() string {
	return `The query itself is recorded, as done by the operator.

Examples:

    secboard audit account anna@example.com
    secboard audit account anna@example.com --as-of 2026-03-31 --history`
}

// Run carries the command out.
func (c *auditAccountCmd) Run(ctx context.Context, p *program) error {
	at, err := readTime("--as-of", c.AsOf, true)
	if err != nil {
		return err
	}
	return p.audited(ctx, &c.storeSettings, "audit account",
		func(models *projections.ReadModels, record func(domain.Event) error) error {
			id, err := accountID(ctx, models, c.Account)
			if err != nil {
				return err
			}
			if err := record(audit.AccountRead{AccountID: id, AsOf: at, History: c.History}); err != nil {
				return err
			}
			now := time.Now()
			var account projections.User
			if at.IsZero() {
				account, err = models.User(ctx, id, now)
			} else {
				account, err = models.UserAsOf(ctx, id, at)
			}
			if errors.Is(err, projections.ErrNotFound) {
				return fmt.Errorf("there is no account %s, or there was none at that time", c.Account)
			}
			if err != nil {
				return err
			}
			access, err := models.AccountAccess(ctx, id, projections.AccessFilter{}, now, given(at))
			if err != nil {
				return err
			}
			var history []projections.HistoryEntry
			if c.History {
				if history, err = wholeHistory(ctx, models, id, at); err != nil {
					return err
				}
			}
			if c.JSON {
				answer := map[string]any{"account": account, "access": access}
				if c.History {
					answer["history"] = history
				}
				return p.printJSON(answer)
			}
			if err := p.showAccount(account, access.Items); err != nil || !c.History {
				return err
			}
			if err := p.printf("\nHistory\n"); err != nil {
				return err
			}
			for i := range history {
				if err := p.showEntry(&history[i], ""); err != nil {
					return err
				}
			}
			return nil
		})
}

// wholeHistory is that of an account up to a time, oldest first.
func wholeHistory(ctx context.Context, models *projections.ReadModels, id uuid.UUID,
	at time.Time) (history []projections.HistoryEntry, err error) {
	filter := projections.HistoryFilter{Kind: user.Kind, ID: id.String(), IncludeSignIns: true}
	if !at.IsZero() {
		filter.To = &at
	}
	page := projections.PageRequest{Limit: projections.MaxLimit, Sort: "position"}
	for {
		list, err := models.History(ctx, filter, page)
		if err != nil {
			return nil, err
		}
		history = append(history, list.Items...)
		if list.NextCursor == nil {
			return history, nil
		}
		page.Cursor = *list.NextCursor
	}
}

// showAccount prints an account and what it may do.
func (p *program) showAccount(u projections.User, items []projections.AccessItem) error {
	rows := [][]string{{"id", u.ID.String()}, {"email", u.Email}}
	add := func(name string, value *string) {
		if value != nil {
			rows = append(rows, []string{name, *value})
		}
	}
	add("first_name", u.FirstName)
	add("last_name", u.LastName)
	add("phone", u.Phone)
	if u.Company != nil {
		rows = append(rows, []string{"company", u.Company.Name})
	}
	add("department", u.Department)
	add("position", u.Position)
	if u.StartDate != nil {
		rows = append(rows, []string{"start_date", u.StartDate.String()})
	}
	if u.EndDate != nil {
		rows = append(rows, []string{"end_date", u.EndDate.String()})
	}
	rows = append(rows, []string{"state", u.State})
	add("state_reason", u.StateReason)
	rows = append(rows, []string{"superuser", yesNo(u.Superuser)}, []string{"two_factor", twoFactorText(u.TwoFactor)},
		[]string{"roles", refNames(u.Roles)}, []string{"groups", refNames(u.Groups)})
	if u.LastSignInAt != nil {
		rows = append(rows, []string{"last_sign_in_at", u.LastSignInAt.Format(time.RFC3339)})
	}
	rows = append(rows, []string{"created_at", u.CreatedAt.Format(time.RFC3339)},
		[]string{"changed_at", u.UpdatedAt.Format(time.RFC3339)})
	if err := p.table(rows); err != nil {
		return err
	}
	if len(items) == 0 {
		return p.printf("\nNo permissions.\n")
	}
	if err := p.printf("\n"); err != nil {
		return err
	}
	access := [][]string{{"MODULE", "ACTION", "VIA", "GIVEN", "BY"}}
	for _, item := range items {
		access = append(access, append([]string{item.Module, string(item.Action)}, viaCells(item.Via)...))
	}
	return p.table(access)
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func twoFactorText(f projections.TwoFactor) string {
	switch {
	case f.Enrolled:
		return fmt.Sprintf("enrolled, %d backup codes left", f.BackupCodesLeft)
	case f.Required:
		return "required, not set up"
	}
	return "not used"
}

func refNames(refs []projections.Ref) string {
	names := make([]string, len(refs))
	for i, ref := range refs {
		names[i] = ref.Name
	}
	return strings.Join(names, ", ")
}

// viaCells are the grants of an action: by what, when the first of them was given and by whom.
func viaCells(via []projections.Grant) []string {
	var names []string
	for _, grant := range via {
		name := "superuser"
		if grant.Name != nil {
			name = *grant.Name
		}
		names = append(names, name)
	}
	first := slices.MinFunc(via, func(a, b projections.Grant) int { return a.GivenAt.Compare(b.GivenAt) })
	return []string{strings.Join(names, ", "), first.GivenAt.Format(time.RFC3339), actorText(first.GivenBy)}
}

func actorText(a projections.Actor) string {
	switch {
	case a.Name != nil:
		return printable(*a.Name)
	case a.ID != nil:
		return a.Kind + " " + *a.ID
	}
	return a.Kind
}

// printable keeps what people typed in from moving the cursor of a terminal, and from turning the text around it.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Bidi_Control) {
			return ' '
		}
		return r
	}, text)
}

type auditAccessCmd struct {
	AsOf    string `placeholder:"T" help:"As it was at this time, or at the end of this day (UTC)."`
	Module  string `placeholder:"M" help:"Only this module."`
	Action  string `placeholder:"A" help:"Only this action: view, add, edit, delete, export or show_link."`
	Company string `placeholder:"ID" help:"Only accounts that were in this company."`
	JSON    bool   `name:"json" help:"Print JSON."`
	storeSettings
}

// Help is the end of the command's --help.
func (auditAccessCmd) Help() string {
	return `GIVEN is when the first of the grants began: somebody joined the group, or the group got the permission,
whichever was later. The query itself is recorded, as done by the operator.

Examples:

    secboard audit access --module risks --action delete
    secboard audit access --as-of 2026-03-31 --json | jq -r '.items[].email' | sort -u`
}

// Run carries the command out.
func (c *auditAccessCmd) Run(ctx context.Context, p *program) error {
	at, err := readTime("--as-of", c.AsOf, true)
	if err != nil {
		return err
	}
	if c.Action != "" && !slices.Contains(domain.AllActions, domain.Action(c.Action)) {
		return usagef("--action is %q: it must be view, add, edit, delete, export or show_link", c.Action)
	}
	filter := projections.AccessFilter{Module: c.Module, Action: domain.Action(c.Action)}
	reading := audit.AccessRead{AsOf: at, Module: c.Module, Action: domain.Action(c.Action)}
	if c.Company != "" {
		if reading.CompanyID, err = uuid.Parse(c.Company); err != nil {
			return usagef("--company is %q: it must be the id of a company", c.Company)
		}
		filter.CompanyID = &reading.CompanyID
	}
	return p.audited(ctx, &c.storeSettings, "audit access",
		func(models *projections.ReadModels, record func(domain.Event) error) error {
			if err := record(reading); err != nil {
				return err
			}
			holders := []projections.AccessHolder{}
			now, page := time.Now(), projections.PageRequest{Limit: projections.MaxLimit}
			for {
				list, err := models.WhoMay(ctx, filter, page, now, given(at))
				if err != nil {
					return err
				}
				holders = append(holders, list.Items...)
				if list.NextCursor == nil {
					break
				}
				page.Cursor = *list.NextCursor
			}
			if c.JSON {
				return p.printJSON(map[string]any{"items": holders})
			}
			rows := [][]string{{"EMAIL", "NAME", "MODULE", "ACTION", "VIA", "GIVEN", "BY"}}
			for _, h := range holders {
				rows = append(rows, append([]string{h.Email, h.Name, h.Module, string(h.Action)}, viaCells(h.Via)...))
			}
			return p.table(rows)
		})
}
