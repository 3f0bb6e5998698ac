package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/secboard/secboard/eventstore/backup"
	"github.com/secboard/secboard/instance"
)

type eventsBackupCmd struct {
	Output string `short:"o" required:"" placeholder:"FILE" help:"File to write, which must not exist yet."`
	JSON   bool   `name:"json" help:"Print JSON."`
	storeSettings
}

// Help is the end of the command's --help.
func (eventsBackupCmd) Help() string {
	return `The file holds every event as it was recorded, in order, compressed and with a checksum. It works while
secboard serve runs, from the embedded event store and from any EventStoreDB. Passwords and other secrets in it are
sealed: to read them the keyset file is needed, which is not in the backup. The file holds personal data, so only its
owner may read it.

Examples:

    secboard events backup -o events.zst
    SECBOARD_EVENTSTORE_URL=esdb://... secboard events backup -o events.zst`
}

// Run carries the command out.
func (c *eventsBackupCmd) Run(ctx context.Context, p *program) error {
	return p.with(ctx, &c.storeSettings, instance.Parts{Log: true}, "events backup", func(st *instance.Stores) error {
		shown := p.progress()
		started := time.Now()
		var summary backup.Summary
		err := writeFile(c.Output, func(w io.Writer) (err error) {
			summary, err = backup.Write(ctx, w, st.Log, started, shown.counting("writing", 0))
			return err
		})
		shown.end()
		if err != nil {
			return err
		}
		if c.JSON {
			return p.printJSON(map[string]any{"file": c.Output, "events": summary.Events, "keyset": keysetOf(summary)})
		}
		return p.printf("%s events were written to %s.\n%s", humanize.Comma(summary.Events), c.Output,
			aboutKeyset(summary))
	})
}

// writeFile makes a file that is either complete or not there.
func writeFile(path string, write func(io.Writer) error) (err error) {
	if exists(path) {
		return fmt.Errorf("%s exists already: choose another name, or move that file away", path)
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(file.Name())))
		}
	}()
	buffered := bufio.NewWriterSize(file, 1<<20)
	if err := errors.Join(write(buffered), buffered.Flush(), file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
