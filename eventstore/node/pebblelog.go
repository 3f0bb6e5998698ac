package node

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
)

// pebbleLogger hands the storage engine's log on. Pebble calls Fatalf when a commit, the log or
// the manifest couldn't be written, and expects it not to return.
type pebbleLogger struct{ node *Node }

func (l pebbleLogger) Infof(format string, args ...any) {
	if l.node.logger.Enabled(context.Background(), slog.LevelDebug) {
		l.node.logger.Debug("storage engine", "message", fmt.Sprintf(format, args...))
	}
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.node.logger.Error("storage engine", "message", fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.node.fail(fmt.Errorf(format, args...))
	runtime.Goexit()
}
