package main

import (
	"context"

	"github.com/secboard/secboard/instance"
	"github.com/secboard/secboard/projections/engine"
)

// rebuildProcessCmd is what a rebuild runs in when another process has asked for it: instance.RebuildProcess starts it.
type rebuildProcessCmd struct {
	Mode  string   `enum:"rebuild,verify" required:"" help:"rebuild or verify."`
	Names []string `arg:"" optional:"" name:"name" help:"Projections; none: all."`
	storeSettings
}

// Run carries the command out.
func (c *rebuildProcessCmd) Run(ctx context.Context, p *program) error {
	return p.withReadModels(ctx, &c.storeSettings, "projections rebuild", func(st *instance.Stores) error {
		return st.ReportRebuild(ctx, engine.RebuildRequest{Names: c.Names, Mode: c.Mode}, p.stdout)
	})
}
