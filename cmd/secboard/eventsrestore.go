package main

import (
	"context"
	"errors"
	"os"

	"github.com/dustin/go-humanize"

	"github.com/secboard/secboard/eventstore/backup"
	"github.com/secboard/secboard/instance"
)

type eventsRestoreCmd struct {
	File string `arg:"" placeholder:"FILE" help:"File written by secboard events backup."`
	JSON bool   `name:"json" help:"Print JSON."`
	storeSettings
}

// Help is the end of the command's --help.
func (eventsRestoreCmd) Help() string {
	return `The event store must be empty, or hold nothing but the beginning of this backup: an interrupted restore
resumes where it stopped. The file is checked first, and one that was truncated or altered is refused before anything is
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
