package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/projections/engine"
)

// rebuildProcessCmd is the process that does a rebuild for another one, behind it. Within serve a rebuild would take memory that
// serve does not give back, 0.9 GiB at a million events, and its queries would wait ten times as long as usual.
type rebuildProcessCmd struct {
	Mode  string   `enum:"rebuild,verify" required:"" help:"rebuild or verify."`
	Names []string `arg:"" optional:"" name:"name" help:"Projections; none: all."`
	storeSettings
}

// abortTime is how long the process may take to end, with stores that only it runs.
const abortTime = 30 * time.Second

// step is a line of JSON on the standard output of the process.
type step struct {
	Rebuild *engine.Rebuild `json:"rebuild,omitempty"` // how it stands; the last one is its end
	Running bool            `json:"running,omitempty"` // another one is, so this one does not begin
}

// Run carries the command out.
func (c *rebuildProcessCmd) Run(ctx context.Context, p *program) error {
	return p.withReadModels(ctx, &c.storeSettings, "projections rebuild", func(st *stores) error {
		say := json.NewEncoder(p.stdout)
		var told engine.Rebuild
		unheard := error(nil)
		request := engine.RebuildRequest{Names: c.Names, Mode: c.Mode}
		_, err := engine.RunRebuild(ctx, projections.Set(), st.pool, st.log, request, func(r engine.Rebuild) {
			told = r
			if unheard == nil { // it goes on all the same: its end is in the database too
				unheard = say.Encode(step{Rebuild: &r})
			}
		})
		switch {
		case errors.Is(err, engine.ErrRebuildRunning):
			return say.Encode(step{Running: true})
		case unheard != nil:
			return errors.Join(err, fmt.Errorf("tell how the rebuild goes: %w", unheard))
		case err != nil && told.Error != nil:
			return errProblemsFound // the last step says which
		}
		return err
	})
}

// rebuildApart gives what carries out rebuilds on the stores in processes of their own.
func (p *program) rebuildApart(s *storeSettings) func(context.Context, engine.RebuildRequest, func(engine.Rebuild)) error {
	return func(ctx context.Context, request engine.RebuildRequest, report func(engine.Rebuild)) error {
		if err := projections.Set().Check(request.Names); err != nil {
			return err
		}
		args := append([]string{"projections", "rebuild-process", "--mode", request.Mode, "--"}, request.Names...)
		command := exec.CommandContext(ctx, p.executable, args...) //nolint:gosec // the program is this one, and what it gets are names
		command.Env, command.Stderr = p.envOf(s), p.stderr
		command.Cancel, command.WaitDelay = func() error { return command.Process.Signal(syscall.SIGTERM) }, abortTime
		output, err := command.StdoutPipe()
		if err == nil {
			err = startBehind(command)
		}
		if err != nil {
			return fmt.Errorf("start the process of a rebuild: %w", err)
		}
		var last engine.Rebuild
		running := false
		for steps := json.NewDecoder(output); ; {
			var now step
			if steps.Decode(&now) != nil { // it has ended, and its status says how
				break
			}
			running = running || now.Running
			if now.Rebuild != nil {
				last = *now.Rebuild
				report(last)
			}
		}
		err = command.Wait()
		switch {
		case running:
			return engine.ErrRebuildRunning
		case ctx.Err() != nil && last.State != engine.RebuildDone:
			return ctx.Err()
		case last.Ended() && last.Error != nil:
			return errors.New(*last.Error)
		case last.State == engine.RebuildDone && err != nil && ctx.Err() == nil:
			return fmt.Errorf("%w: the rebuild is done, and its process has said what went wrong after it: %w", errProblemsFound, err)
		case last.State == engine.RebuildDone:
			return nil
		case last.ID == uuid.Nil && err != nil:
			return fmt.Errorf("%w: the process of the rebuild has said why it did not begin: %w", errProblemsFound, err)
		}
		return fmt.Errorf("the process of the rebuild has ended in the middle of it: %w", cmp.Or(err, io.ErrUnexpectedEOF))
	}
}

// envOf is the environment of a process that works on the same stores. It gets no other settings, secrets among them.
func (p *program) envOf(s *storeSettings) []string {
	settings := map[string]string{
		"SECBOARD_DATA": s.Data, "SECBOARD_EVENTSTORE_URL": s.EventstoreURL, "SECBOARD_DATABASE_URL": s.DatabaseURL,
		"SECBOARD_KEYSET": s.Keyset, "SECBOARD_LOG_FORMAT": s.LogFormat,
	}
	for name, value := range p.env {
		if !strings.HasPrefix(name, "SECBOARD_") {
			settings[name] = value
		}
	}
	var env []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		env = append(env, name+"="+settings[name])
	}
	return env
}
