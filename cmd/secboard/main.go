// Command secboard keeps the accounts of a security-governance platform on an event log and serves them over HTTP.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	executable, err := os.Executable()
	if err != nil {
		slog.Warn("rebuilds will run within this process: the path of this program is unknown", "error", err)
	}
	os.Exit(run(ctx, os.Args[1:], os.Environ(), executable, os.Stdin, os.Stdout, os.Stderr))
}
