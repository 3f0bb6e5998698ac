package main

import (
	"context"
	"strconv"
	"time"

	"github.com/secboard/secboard/instance"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/projections/engine"
)

type projectionsStatusCmd struct {
	JSON bool `name:"json" help:"Print JSON, as GET /api/v1/projections does."`
	storeSettings
}

// Help is the end of the command's --help.
func (projectionsStatusCmd) Help() string {
	return `Projections only run while secboard serve runs. Without it they fall behind what other commands write.

Examples:

    secboard projections status
    secboard projections status --json | jq '.items[] | select(.state != "live")'`
}

// Run carries the command out.
func (c *projectionsStatusCmd) Run(ctx context.Context, p *program) error {
	return p.withReadModels(ctx, &c.storeSettings, "projections status", func(st *instance.Stores) error {
		statuses, err := engine.StatusOf(ctx, projections.Set(), st.Pool, st.Log)
		if err != nil {
			return err
		}
		if c.JSON {
			return p.printJSON(map[string]any{"items": statuses})
		}
		rows := [][]string{{"NAME", "POSITION", "LAG", "STATE", "ERROR"}}
		for _, s := range statuses {
			lag := strconv.FormatInt(s.LagEvents, 10) + " events"
			if s.LagMS > 0 {
				lag += ", " + (time.Duration(s.LagMS) * time.Millisecond).Round(time.Millisecond).String()
			}
			problem := ""
			if s.Error != nil {
				problem = *s.Error
			}
			rows = append(rows, []string{s.Name, strconv.FormatUint(uint64(s.Position), 10), lag, s.State, problem})
		}
		return p.table(rows)
	})
}
