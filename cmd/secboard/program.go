package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/instance"
)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// program is what a command gets from the process that it runs in.
type program struct {
	env            map[string]string
	stdin          io.Reader
	stdout, stderr io.Writer
	// executable is the file of this program, for what has to run in a process of its own; "" when it is not known,
	// then that runs in this one.
	executable string
	// patience is how long a start waits for an external store, or for another process that holds the data directory.
	patience time.Duration
	// storeTime bounds one call to the event store; 0: esdb.DefaultTimeout.
	storeTime time.Duration
}

// commandLine is every command with its flags.
type commandLine struct {
	Config string `help:"Read settings from this YAML file, such as \"listen: 0.0.0.0:8080\". Flags and SECBOARD_* variables override it." placeholder:"FILE"`

	Serve       serveCmd       `cmd:"" help:"Run everything: the HTTP API, the read models, and embedded stores where no others are configured."`
	Superuser   superuserCmd   `cmd:"" help:"Manage superusers from the command line."`
	Migrate     migrateCmd     `cmd:"" help:"Bring the Postgres schema up to date, or show where it is."`
	Projections projectionsCmd `cmd:"" help:"Inspect and rebuild the read models."`
	Audit       auditCmd       `cmd:"" help:"See who could do what, and everything that happened. Reading the audit is itself recorded."`
	Events      eventsCmd      `cmd:"" help:"Back up the event log, and restore it."`
	Eventstore  eventstoreCmd  `cmd:"" help:"Run the embedded event store alone."`
	Doctor      doctorCmd      `cmd:"" help:"Check configuration and stores, and say what to do."`
	Version     versionCmd     `cmd:"" help:"Show the version."`
}

// errHelpShown ends the parsing after --help.
var errHelpShown = errors.New("help was shown")

// run is the whole program. It returns the exit status: 0 done, 1 failed, 2 wrong usage.
func run(ctx context.Context, args, env []string, executable string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{env: valuesOf(env), executable: executable, stdin: stdin, stdout: stdout, stderr: stderr,
		patience: 15 * time.Second}
	return p.run(ctx, args)
}

// valuesOf gives the variables of an environment by name.
func valuesOf(environment []string) map[string]string {
	values := map[string]string{}
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		values[name] = value
	}
	return values
}

func (p *program) run(ctx context.Context, args []string) int {
	err := p.execute(ctx, args)
	var usage *usageError
	var setting *instance.SettingError
	var parse *kong.ParseError
	switch {
	case err == nil, errors.Is(err, errHelpShown):
		return exitDone
	case errors.Is(err, errProblemsFound), errors.Is(err, instance.ErrReported): // said already, line by line
		return exitFailed
	}
	message := explain(err)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		message = "interrupted"
	}
	p.complain("secboard: " + message)
	if errors.As(err, &parse) {
		command := "secboard"
		if parse.Context != nil && parse.Context.Command() != "" {
			command += " " + parse.Context.Command()
		}
		p.complain("Run \"" + command + " --help\" for its arguments and flags.")
	}
	if errors.As(err, &parse) || errors.As(err, &usage) || errors.As(err, &setting) {
		return exitUsage
	}
	return exitFailed
}

// complain writes to standard error.
func (p *program) complain(line string) {
	_, _ = fmt.Fprintln(p.stderr, line) //nolint:errcheck // if standard error is gone there is nobody left to tell
}

func (p *program) execute(ctx context.Context, args []string) error {
	line := &commandLine{}
	parser, err := kong.New(line,
		kong.Name("secboard"),
		kong.Description("Accounts, companies, roles and groups of a security-governance platform, with their whole "+
			"history."),
		kong.Writers(p.stdout, p.stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 120}),
		kong.ValueFormatter(describeSetting),
		kong.Help(func(options kong.HelpOptions, c *kong.Context) error {
			return errors.Join(kong.DefaultHelpPrinter(options, c), errHelpShown)
		}),
		kong.ExplicitGroups([]kong.Group{{Key: settingsGroup, Title: "Settings:"}}),
		kong.WithBeforeResolve(p.resolveSettings),
		kong.Bind(p),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		return err
	}
	c, err := parser.Parse(args)
	if err != nil {
		return err
	}
	return c.Run()
}

// usageError is a mistake in what was asked for, as opposed to one in doing it.
type usageError struct{ error }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

func (e *usageError) Unwrap() error { return e.error }

// explain turns an error into what a person should read.
func explain(err error) string {
	if refused, ok := errors.AsType[*domain.Error](err); ok {
		return strings.Replace(err.Error(), refused.Error(), refused.Detail, 1) // what it is about stays in front
	}
	return err.Error()
}

// logger writes to standard error what is at least as important as level.
func (p *program) logger(format string, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == formatJSON {
		return slog.New(slog.NewJSONHandler(p.stderr, options))
	}
	return slog.New(slog.NewTextHandler(p.stderr, options))
}
