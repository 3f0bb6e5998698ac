package main

import (
	"context"

	"github.com/google/uuid"

	"github.com/secboard/secboard/instance"
	"github.com/secboard/secboard/projections/engine"
)

type projectionsRebuildCmd struct {
	Names    []string `arg:"" optional:"" name:"name" help:"Projections, as \"secboard projections status\" lists them."`
	All      bool     `help:"All of them."`
	Abort    bool     `help:"Stop the rebuild that is under way, in whichever process, and remove what it or a crashed one left behind."`
	Rollback bool     `help:"Restore what the last rebuild replaced, brought up to date."`
	JSON     bool     `name:"json" help:"Print JSON, as GET /api/v1/projections/rebuilds/{id} does."`
	storeSettings
}

// Help is the end of the command's --help.
func (projectionsRebuildCmd) Help() string {
	return `New read models are built from the whole event log beside the live ones, which keep answering, and then
replace them in one step. No mail is sent again. A rebuild that is interrupted changes nothing. It works whether or
not secboard serve runs.

The former read models are kept, and take up space, until the next rebuild.

Examples:

    secboard projections rebuild --all
    secboard projections rebuild users groups
    secboard projections rebuild --rollback`
}

// Run carries the command out.
func (c *projectionsRebuildCmd) Run(ctx context.Context, p *program) error {
	chosen := len(c.Names) > 0
	count := 0
	for _, given := range []bool{chosen, c.All, c.Abort, c.Rollback} {
		if given {
			count++
		}
	}
	if count != 1 {
		return usagef("give either names of projections, or --all, or --abort, or --rollback")
	}
	switch {
	case c.Abort:
		return c.abort(ctx, p)
	case c.Rollback:
		return p.rebuild(ctx, &c.storeSettings, "projections rebuild", engine.RebuildRequest{Mode: engine.ModeRollback},
			c.JSON)
	}
	return p.rebuild(ctx, &c.storeSettings, "projections rebuild",
		engine.RebuildRequest{Names: c.Names, Mode: engine.ModeRebuild}, c.JSON)
}

func (c *projectionsRebuildCmd) abort(ctx context.Context, p *program) error {
	return p.withReadModels(ctx, &c.storeSettings, "projections rebuild", func(st *instance.Stores) error {
		ended, err := engine.AbortRebuild(ctx, st.Pool)
		if err != nil {
			return err
		}
		if c.JSON {
			return p.printJSON(map[string]any{"aborted": ended != uuid.Nil})
		}
		if ended == uuid.Nil {
			return p.printf("No rebuild is under way. Anything that an interrupted one left behind is removed.\n")
		}
		return p.printf("The rebuild %s has ended and changed nothing.\n", ended)
	})
}
