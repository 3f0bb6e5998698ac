package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/secboard/secboard/commands"
	"github.com/secboard/secboard/domain/audit"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/export"
	"github.com/secboard/secboard/instance"
)

type auditExportCmd struct {
	Format string `default:"ndjson" enum:"ndjson,csv" placeholder:"ndjson|csv" help:"Format of the copy, default ${default}."`
	From   string `placeholder:"T" help:"Earliest time, or first day (UTC)."`
	To     string `placeholder:"T" help:"Latest time, or last day (UTC)."`
	Output string `short:"o" placeholder:"FILE" help:"Write to this file, which must not exist yet. Default: standard output."`
	After  uint64 `placeholder:"POSITION" help:"Continue after the event at this position."`
	Resume bool   `help:"Resume FILE, whose export was interrupted: its last line, which may be incomplete, is written again."`
	storeSettings
}

// Help is the end of the command's --help.
func (auditExportCmd) Help() string {
	return `The copy comes from the log itself, without gaps and without secrets; Postgres is not needed. In a CSV a
cell that a spreadsheet would take for a formula begins with an apostrophe. The export itself is recorded, as done by
the operator.

Examples:

    secboard audit export -o events.ndjson
    secboard audit export -o events.ndjson --resume
    secboard audit export --format csv --from 2026-01-01 --to 2026-12-31 -o 2026.csv`
}

// Run carries the command out.
func (c *auditExportCmd) Run(ctx context.Context, p *program) error {
	from, err := readTime("--from", c.From, false)
	if err != nil {
		return err
	}
	to, err := readTime("--to", c.To, true)
	if err != nil {
		return err
	}
	if c.Resume && (c.Output == "" || c.After > 0) {
		return usagef("--resume continues the file of --output and finds its end by itself: give --output, and no " +
			"--after")
	}
	copied := export.Copy{
		Format: c.Format, From: from, To: to, After: eventstore.Position(c.After), Header: c.After == 0,
	}
	return p.with(ctx, &c.storeSettings, instance.Parts{
		Log: true,
	}, "audit export", func(st *instance.Stores) (err error) {
		h, err := st.Handler(ctx)
		if err != nil {
			return err
		}
		out, err := c.open(&copied, p.stdout)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, out.Close()) }()
		recorded, err := h.RecordReading(ctx, commands.OperatorNamed(operatorName()),
			audit.Exported{Format: c.Format, From: from, To: to, After: uint64(copied.After)})
		if err != nil {
			return err
		}
		copied.Before = recorded.Position
		buffered := bufio.NewWriterSize(out, 1<<16)
		events, err := copied.Write(ctx, st.Log, buffered)
		err = errors.Join(err, buffered.Flush())
		if err == nil {
			p.complain(fmt.Sprintf("%d events exported.", events))
		} else if c.Output != "" {
			err = fmt.Errorf("the export is incomplete, --resume continues it: %w", err)
		}
		return err
	})
}

// open opens what the export is written to; a file to be resumed is cut after its last complete line.
func (c *auditExportCmd) open(copied *export.Copy, stdout io.Writer) (io.WriteCloser, error) {
	if c.Output == "" {
		return nopCloser{stdout}, nil
	}
	if !c.Resume {
		file, err := os.OpenFile(c.Output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return nil,
				fmt.Errorf("--output: %s exists already: choose another name, or continue it with --resume", c.Output)
		}
		if err != nil {
			return nil, fmt.Errorf("--output: %w", err)
		}
		return file, nil
	}
	file, err := os.OpenFile(c.Output, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("--output: %w", err)
	}
	if err := resumeAt(file, copied); err != nil {
		return nil, errors.Join(fmt.Errorf("--resume: %s can't be resumed: %w", c.Output, err), file.Close())
	}
	return file, nil
}

// maxCut is more than the last line of an export can have, in bytes: what an append to the log can hold, and escapes.
const maxCut = 16 << 20

// resumeAt finds where the complete lines of a file end, and has the export and the file continue there.
func resumeAt(file *os.File, copied *export.Copy) error {
	last, size, err := export.Last(bufio.NewReaderSize(file, 1<<16), copied.Format)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size()-size > maxCut {
		return fmt.Errorf("from byte %d on it is not an export in this format", size)
	}
	copied.After, copied.Header = last, size == 0
	if err := file.Truncate(size); err != nil {
		return err
	}
	_, err = file.Seek(size, io.SeekStart)
	return err
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
