package main

import (
	"context"

	"github.com/secboard/secboard/projections/engine"
)

type projectionsVerifyCmd struct {
	Names []string `arg:"" optional:"" name:"name" help:"Projections, as \"secboard projections status\" lists them."`
	All   bool     `help:"All of them."`
	JSON  bool     `name:"json" help:"Print JSON, as GET /api/v1/projections/rebuilds/{id} does."`
	storeSettings
}

// Help is the end of the command's --help.
func (projectionsVerifyCmd) Help() string {
	return `Read models are built from the event log beside the live ones, compared with them row by row at the same
positions of the log, and discarded. The exit status is 1 if anything differs.

Examples:

    secboard projections verify --all
    secboard projections verify users --json | jq '.differences[]'`
}

// Run carries the command out.
func (c *projectionsVerifyCmd) Run(ctx context.Context, p *program) error {
	if c.All == (len(c.Names) > 0) {
		return usagef("give either names of projections, or --all")
	}
	return p.rebuild(ctx, &c.storeSettings, "projections verify",
		engine.RebuildRequest{Names: c.Names, Mode: engine.ModeVerify}, c.JSON)
}
