package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/audit"
	"github.com/secboard/secboard/domain/user"
	"github.com/secboard/secboard/projections"
)

type auditAccountCmd struct {
	Account string `arg:"" placeholder:"EMAIL|ID" help:"E-mail address or id."`
	AsOf    string `placeholder:"T" help:"Show it as it was at this time, or at the end of this day (UTC)."`
	History bool   `help:"Also show each change with its old and new value, sign-ins included."`
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
