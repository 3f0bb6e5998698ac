package main

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/domain/audit"
	"github.com/secboard/secboard/projections"
)

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
