package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/secboard/secboard/instance"
	"github.com/secboard/secboard/projections"
	"github.com/secboard/secboard/targets"
)

type doctorCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
	httpSettings
	targetSettings
	storeSettings
}

// Help is the end of the command's --help.
func (doctorCmd) Help() string {
	return `It asks a running secboard serve, or starts the embedded stores for the duration of the check. The exit
status is 1 if there is a problem.

Examples:

    secboard doctor
    secboard doctor --json | jq '.checks[] | select(.ok | not)'`
}

// errProblemsFound makes the exit status 1 where the problems themselves were printed already.
var errProblemsFound = errors.New("problems were found")

// finding is what one check found. Fix says what to do where it is not OK.
type finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

// doctor collects findings.
type doctor struct {
	*doctorCmd
	p        *program
	st       *instance.Stores
	findings []finding
	setup    []projections.SetupItem
	keys     string // fingerprint of the keyset, if it is that of the log
	targets  targets.Policy
}

func (d *doctor) ok(check, format string, args ...any) {
	d.findings = append(d.findings, finding{Check: check, OK: true, Detail: fmt.Sprintf(format, args...)})
}

func (d *doctor) problem(check, detail, fix string) {
	d.findings = append(d.findings, finding{Check: check, Detail: detail, Fix: fix})
}

// Run carries the command out.
func (c *doctorCmd) Run(ctx context.Context, p *program, app *kong.Kong) error {
	d := &doctor{doctorCmd: c, p: p}
	if d.configuration(app.Model) {
		d.directory()
		d.disk()
		if err := d.stores(ctx); err != nil {
			return err
		}
		d.port(ctx)
	}
	return d.report()
}

func (d *doctor) report() error {
	var failed error
	for _, f := range d.findings {
		if !f.OK {
			failed = errProblemsFound
		}
	}
	if d.JSON {
		return errors.Join(d.p.printJSON(map[string]any{"ok": failed == nil, "checks": d.findings, "setup": d.setup}),
			failed)
	}
	for _, f := range d.findings {
		mark, fix := "ok     ", ""
		if !f.OK {
			mark, fix = "PROBLEM", "\n                          -> "+printable(f.Fix)
		}
		if err := d.p.printf("%s  %-15s  %s%s\n", mark, f.Check, printable(f.Detail), fix); err != nil {
			return err
		}
	}
	for i, item := range d.setup {
		if i == 0 {
			if err := d.p.printf("\nSet-up of the installation, as GET /api/v1/setup shows it:\n"); err != nil {
				return err
			}
		}
		mark := "open    "
		switch {
		case item.Done:
			mark = "done    "
		case item.Optional:
			mark = "optional"
		}
		if err := d.p.printf("%s %-22s %s\n", mark, item.Code, printable(item.Detail)); err != nil {
			return err
		}
	}
	return failed
}

func (d *doctor) configuration(app *kong.Application) bool {
	_, err := d.parse()
	var targetsErr error
	d.targets, targetsErr = d.policy()
	_, bootstrapErr := d.p.bootstrap()
	if err := errors.Join(d.check(), err, targetsErr, bootstrapErr); err != nil {
		d.problem("configuration", strings.ReplaceAll(err.Error(), "\n", "; "),
			"correct the settings; `secboard serve --help` lists all of them")
		return false
	}
	if unknown := d.p.unknownVariables(app); len(unknown) > 0 {
		d.ok("configuration", "valid; %s are not settings and have no effect", strings.Join(unknown, ", "))
		return true
	}
	d.ok("configuration", "valid")
	return true
}

// exists says whether there is something at a path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
