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

	"github.com/secboard/secboard/domain/installation"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/backup"
	"github.com/secboard/secboard/instance"
)

type eventsCmd struct {
	Backup  eventsBackupCmd  `cmd:"" help:"Write the whole event log into a file."`
	Restore eventsRestoreCmd `cmd:"" help:"Read a file that was backed up into an empty event store."`
}

type eventsBackupCmd struct {
	Output string `short:"o" required:"" placeholder:"FILE" help:"File to write. One that exists is left alone, and the command fails."`
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
		return p.printf("%s events are in %s.\n%s", humanize.Comma(summary.Events), c.Output, aboutKeyset(summary))
	})
}

// writeFile makes a file that is either whole or not there.
func writeFile(path string, write func(io.Writer) error) (err error) {
	if exists(path) {
		return fmt.Errorf("%s exists already: name another file, or move that one away", path)
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

// keysetOf is the fingerprint of the keyset that the log belongs to; "" where it names none.
func keysetOf(summary backup.Summary) string {
	if summary.First == nil {
		return ""
	}
	first, ok := eventstore.Decode(*summary.First).Event.(installation.Initialized)
	if !ok {
		return ""
	}
	return first.Keyset
}

func aboutKeyset(summary backup.Summary) string {
	fingerprint := keysetOf(summary)
	if fingerprint == "" {
		return ""
	}
	return fmt.Sprintf("They belong to the keyset %s: keep its file too, in another place (SECBOARD_KEYSET, by "+
		"default keyset.json in the\ndata directory). Without it nobody can sign in, and no sealed secret can be "+
		"read.\n", fingerprint)
}

type eventsRestoreCmd struct {
	File string `arg:"" placeholder:"FILE" help:"File that secboard events backup has written."`
	JSON bool   `name:"json" help:"Print JSON."`
	storeSettings
}

// Help is the end of the command's --help.
func (eventsRestoreCmd) Help() string {
	return `The event store must be empty, or hold nothing but the beginning of this backup: an interrupted restore
resumes where it stopped. The file is checked first, and one that was cut or altered is refused before anything is
written. At the end the store is read back and compared with the file.

Start with an empty database too: positions in the log differ between stores, and a database remembers those of the
former store. The read models are built by secboard serve.

Examples:

    secboard events restore events.zst --data ./restored
    SECBOARD_EVENTSTORE_URL=esdb://... secboard events restore events.zst`
}

// Run carries the command out.
func (c *eventsRestoreCmd) Run(ctx context.Context, p *program) (err error) {
	file, err := os.Open(c.File) // before a store is made for it
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return p.with(ctx, &c.storeSettings, instance.Parts{Log: true}, "events restore", func(st *instance.Stores) error {
		shown := p.progress()
		appendAll := backup.InTurn(st.Log)
		if st.Node != nil {
			appendAll = st.Node.AppendInOrder
		}
		summary, had, err := backup.Restore(ctx, file, st.Log, appendAll, shown.counting)
		shown.end()
		if err != nil {
			return err
		}
		if c.JSON {
			return p.printJSON(map[string]any{"events": summary.Events, "restored": summary.Events - had,
				"keyset": keysetOf(summary)})
		}
		switch had {
		case 0:
		case summary.Events:
			return p.printf("The event store holds the %s events of %s already, and nothing else.\n",
				humanize.Comma(had), c.File)
		default:
			if err := p.printf("An interrupted restore had left %s events; it was resumed after them.\n",
				humanize.Comma(had)); err != nil {
				return err
			}
		}
		return p.printf("%s events are restored, read back and compared with %s.\n%s", humanize.Comma(summary.Events),
			c.File, aboutKeyset(summary))
	})
}
