package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/secboard/secboard/instance"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/projections/engine"
)

type projectionsCmd struct {
	Status  projectionsStatusCmd  `cmd:"" help:"Show position, lag, state and error of each projection."`
	Rebuild projectionsRebuildCmd `cmd:"" help:"Rebuild read models from the event log, without downtime."`
	Verify  projectionsVerifyCmd  `cmd:"" help:"Compare read models with the event log."`

	RebuildProcess rebuildProcessCmd `cmd:"" hidden:"" help:"What serve, rebuild and verify start for a rebuild."`
}

type projectionsStatusCmd struct {
	JSON bool `name:"json" help:"Print JSON, as GET /api/v1/projections does."`
	storeSettings
}

// Help is the end of the command's --help.
func (projectionsStatusCmd) Help() string {
	return `Projections work while secboard serve runs: without it they stay behind what other commands write.

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

// table prints rows in columns, with nothing in them that does something to a terminal.
func (p *program) table(rows [][]string) error {
	w := tabwriter.NewWriter(p.stdout, 0, 0, 3, ' ', 0)
	for _, row := range rows {
		row = slices.Clone(row)
		for i, cell := range row {
			row[i] = printable(cell)
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(strings.Join(row, "\t"), "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}
