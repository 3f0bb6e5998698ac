package instance

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

// RebuildProcess starts a process for each rebuild: secboard itself, with a hidden command that calls ReportRebuild,
// behind this process. Within serve a rebuild would take memory that serve does not give back, 0.9 GiB at a million
// events, and its queries would wait ten times as long as usual.
type RebuildProcess struct {
	Executable string // the file of this program
	Settings   Settings
	Env        map[string]string // of this process; its settings are not handed on
	Stderr     io.Writer         // where the process says what went wrong
}

// abortTime is how long the process may take to end, with stores that only it runs.
const abortTime = 30 * time.Second

// step is a line of JSON on the standard output of the process.
type step struct {
	Rebuild *engine.Rebuild `json:"rebuild,omitempty"` // how it stands; the last one is its end
	Running bool            `json:"running,omitempty"` // another one is, so this one does not begin
}

// ErrReported says that the process of a rebuild has said on standard error what went wrong.
var ErrReported = errors.New("the process of the rebuild has reported what went wrong")

// ReportRebuild is the work of the process: it carries a rebuild out on the stores and writes each step to out. Error:
// ErrReported where the last step says what went wrong.
func (st *Stores) ReportRebuild(ctx context.Context, request engine.RebuildRequest, out io.Writer) error {
	steps := json.NewEncoder(out)
	var last engine.Rebuild
	reportErr := error(nil)
	_, err := engine.RunRebuild(ctx, projections.Set(), st.Pool, st.Log, request, func(r engine.Rebuild) {
		last = r
		if reportErr == nil { // the rebuild continues all the same: its end is in the database too
			reportErr = steps.Encode(step{Rebuild: &r})
		}
	})
	switch {
	case errors.Is(err, engine.ErrRebuildRunning):
		return steps.Encode(step{Running: true})
	case reportErr != nil:
		return errors.Join(err, fmt.Errorf("report the progress of the rebuild: %w", reportErr))
	case err != nil && last.Error != nil:
		return ErrReported
	}
	return err
}

// CarryOut carries a rebuild out in a process of its own and calls report for each step. Error: ErrReported where the
// process has said on standard error what went wrong.
func (p RebuildProcess) CarryOut(ctx context.Context, request engine.RebuildRequest,
	report func(engine.Rebuild)) error {
	if err := projections.Set().Check(request.Names); err != nil {
		return err
	}
	args := append([]string{"projections", "rebuild-process", "--mode", request.Mode, "--"}, request.Names...)
	//nolint:gosec // the program is this one, and what it gets are names
	command := exec.CommandContext(ctx, p.Executable, args...)
	command.Env, command.Stderr = p.environment(), p.Stderr
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
		return fmt.Errorf("%w after the rebuild was done: %w", ErrReported, err)
	case last.State == engine.RebuildDone:
		return nil
	case last.ID == uuid.Nil && err != nil:
		return fmt.Errorf("%w before the rebuild began: %w", ErrReported, err)
	}
	return fmt.Errorf("the process of the rebuild ended before it was done: %w", cmp.Or(err, io.ErrUnexpectedEOF))
}

// environment is that of a process that works on the same stores. It gets no other settings, secrets among them.
func (p RebuildProcess) environment() []string {
	settings := map[string]string{
		settingData: p.Settings.Data, settingEventstore: p.Settings.EventstoreURL,
		settingDatabase: p.Settings.DatabaseURL,
		settingKeyset:   p.Settings.Keyset, settingLogFormat: p.Settings.LogFormat,
	}
	for name, value := range p.Env {
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
