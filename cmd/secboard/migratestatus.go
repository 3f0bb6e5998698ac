package main

import (
	"context"
	"time"

	"github.com/secboard/secboard/instance"
	"github.com/secboard/secboard/migrations"
)

type migrateStatusCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
	storeSettings
}

// Help is the end of the command's --help.
func (migrateStatusCmd) Help() string {
	return `Examples:

    secboard migrate status
    secboard migrate status --json`
}

// Run carries the command out.
func (c *migrateStatusCmd) Run(ctx context.Context, p *program) error {
	return p.with(ctx, &c.storeSettings, instance.Parts{Database: true}, "migrate status",
		func(st *instance.Stores) error {
			list, err := migrations.Status(ctx, st.Pool)
			if err != nil {
				return err
			}
			if c.JSON {
				type item struct {
					Schema    string     `json:"schema"`
					Version   int64      `json:"version"`
					Name      string     `json:"name"`
					AppliedAt *time.Time `json:"applied_at"`
				}
				items := make([]item, len(list))
				for i, m := range list {
					items[i] = item{m.Schema, m.Version, m.Name, nil}
					if !m.AppliedAt.IsZero() {
						items[i].AppliedAt = &m.AppliedAt
					}
				}
				return p.printJSON(items)
			}
			rows := [][]string{{"SCHEMA", "MIGRATION", "APPLIED"}}
			for _, m := range list {
				applied := "pending"
				if !m.AppliedAt.IsZero() {
					applied = m.AppliedAt.UTC().Format(time.RFC3339)
				}
				rows = append(rows, []string{m.Schema, m.Name, applied})
			}
			return p.table(rows)
		})
}
