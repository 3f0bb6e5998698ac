package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/google/uuid"

	"github.com/secboard/secboard/instance"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/projections/engine"
)

// rebuild carries a rebuild out and says how it went.
func (p *program) rebuild(ctx context.Context, s *storeSettings, command string, request engine.RebuildRequest,
	asJSON bool) error {
	carryOut := p.rebuildHere(s, command)
	if p.executable != "" && request.Mode != engine.ModeRollback {
		carryOut = p.rebuildProcess(s).CarryOut
	}
	var r engine.Rebuild
	shown := p.progress()
	err := carryOut(ctx, request, func(now engine.Rebuild) {
		r = now
		if r.Ended() {
			return
		}
		done, total, rate, eta := r.Done, r.Total, r.EventsPerS, time.Duration(-1)
		if r.State != engine.RebuildReading {
			done, total, rate = 0, 0, 0
		}
		if r.ETA != nil {
			eta = time.Duration(*r.ETA) * time.Second
		}
		shown.show(strings.ReplaceAll(r.State, "_", " "), done, total, rate, eta)
	})
	shown.end()
	switch {
	case errors.Is(err, engine.ErrUnknownProjection):
		return &usageError{err}
	case errors.Is(err, engine.ErrRebuildRunning):
		return fmt.Errorf("%w: wait until it ends, or stop it with `secboard projections rebuild --abort`", err)
	case err != nil && r.ID == uuid.Nil:
		return err
	case asJSON:
		if err := p.printJSON(r); err != nil {
			return err
		}
	case err == nil:
		if err := p.printRebuild(r); err != nil {
			return err
		}
	}
	if err == nil && r.VerifyOnly && (len(r.Differences) > 0 || len(r.NotCompared) > 0) {
		return errProblemsFound
	}
	return err
}

// rebuildHere gives what carries out rebuilds on the stores in this process.
func (p *program) rebuildHere(s *storeSettings, command string) func(context.Context, engine.RebuildRequest,
	func(engine.Rebuild)) error {
	return func(ctx context.Context, request engine.RebuildRequest, report func(engine.Rebuild)) error {
		return p.withReadModels(ctx, s, command, func(st *instance.Stores) error {
			_, err := engine.RunRebuild(ctx, projections.Set(), st.Pool, st.Log, request, report)
			return err
		})
	}
}

func (p *program) printRebuild(r engine.Rebuild) error {
	if len(r.Differences) > 0 {
		rows := [][]string{{"TABLE", "KEY", "COLUMN", "LIVE", "REBUILT"}}
		for _, d := range r.Differences {
			rows = append(rows,
				[]string{
					d.Table, d.Key, textOr(d.Column, "(row)"), textOr(d.Live, "(none)"), textOr(d.Rebuilt, "(none)"),
				})
		}
		if err := p.table(rows); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.NotCompared)) {
		if err := p.printf("%s could not be compared: %s\n", name, r.NotCompared[name]); err != nil {
			return err
		}
	}
	names, took := strings.Join(r.Names, ", "), r.EndedAt.Sub(r.StartedAt).Round(100*time.Millisecond)
	switch {
	case r.Mode == engine.ModeRollback:
		return p.printf("The former read models are in place again, up to date: %s.\n", names)
	case r.VerifyOnly && len(r.Differences) > 0:
		return p.printf("The read models do not match the %s events of the log: rebuild them with `secboard "+
			"projections rebuild`.\n", humanize.Comma(r.Done))
	case r.VerifyOnly && len(r.NotCompared) > 0:
		return nil
	case r.VerifyOnly:
		return p.printf("The read models match the %s events of the log: %s. Verified in %s.\n", humanize.Comma(r.Done),
			names, took)
	}
	return p.printf("Rebuilt from %s events in %s: %s. The former ones are kept: `secboard projections rebuild "+
		"--rollback` puts them back.\n", humanize.Comma(r.Done), took, names)
}

func textOr(text *string, otherwise string) string {
	if text == nil {
		return otherwise
	}
	return *text
}
