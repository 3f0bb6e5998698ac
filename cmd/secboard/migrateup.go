package main

import (
	"context"

	"github.com/secboard/secboard/instance"
	"github.com/secboard/secboard/migrations"
)

type migrateUpCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
	storeSettings
}

// Help is the end of the command's --help.
func (migrateUpCmd) Help() string {
	return `Several processes may do it at once: one migrates, and the others wait.

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
