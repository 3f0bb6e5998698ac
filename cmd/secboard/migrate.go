package main

import (
	"context"
	"time"

	"github.com/secboard/secboard/instance"
	"github.com/secboard/secboard/migrations"
)

type migrateCmd struct {
	Up     migrateUpCmd     `cmd:"" help:"Bring the Postgres schema up to date. serve does it too."`
	Status migrateStatusCmd `cmd:"" help:"List the migrations and which of them the database has."`
}

type migrateUpCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
	storeSettings
}

// Help is the end of the command's --help.
func (migrateUpCmd) Help() string {
	return `Several processes may do it at once: one migrates, the others wait.

Examples:

    secboard migrate up
    SECBOARD_DATABASE_URL=postgres://secboard:password@db:5432/secboard secboard migrate up`
}

// Run carries the command out.
func (c *migrateUpCmd) Run(ctx context.Context, p *program) error {
	return p.with(ctx, &c.storeSettings, instance.Parts{Database: true}, "migrate up", func(st *instance.Stores) error {
		before, err := migrations.Status(ctx, st.Pool)
		if err != nil {
			return err
		}
		if err := migrations.Up(ctx, st.Pool); err != nil {
			return err
		}
		applied := 0
		for _, m := range before {
			if m.AppliedAt.IsZero() {
				applied++
			}
		}
		if c.JSON {
			return p.printJSON(map[string]int{"applied": applied})
		}
		if applied == 0 {
			return p.printf("The database is up to date.\n")
		}
		return p.printf("The database is up to date: %d migrations applied.\n", applied)
	})
}

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
