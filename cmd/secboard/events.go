package main

import (
	"fmt"

	"github.com/secboard/secboard/domain/installation"
	"github.com/secboard/secboard/eventstore"
	"github.com/secboard/secboard/eventstore/backup"
)

type eventsCmd struct {
	Backup  eventsBackupCmd  `cmd:"" help:"Write the whole event log into a file."`
	Restore eventsRestoreCmd `cmd:"" help:"Restore a backup into an empty event store."`
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
