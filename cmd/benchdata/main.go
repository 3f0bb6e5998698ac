// Command benchdata fills a new data directory with the log of a large installation, for measurements: make bench-data.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/secboard/secboard/demo/bulk"
	"github.com/secboard/secboard/domain"
	"github.com/secboard/secboard/eventstore/node"
	"github.com/secboard/secboard/secrets"
)

func main() {
	data := flag.String("data", "bench-data", "data directory to make")
	events := flag.Int("events", 1_000_000, "how many events")
	accounts := flag.Int("accounts", 100_000, "how many accounts")
	seed := flag.Uint64("seed", 1, "seed of the random data; the names of the claims' streams also depend on the "+
		"keyset, which is always new")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := fill(ctx, *data, bulk.Options{Events: *events, Accounts: *accounts, Seed: *seed})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchdata:", err)
		os.Exit(1)
	}
}

func fill(ctx context.Context, data string, options bulk.Options) (err error) {
	log := filepath.Join(data, "eventstore", "log")
	if _, err := os.Stat(log); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists already: remove it, or choose another directory with -data", data)
	}
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711 // as serve makes it: the user of Postgres has to get through
	}
	if err := os.MkdirAll(data, mode); err != nil {
		return err
	}
	keys, err := secrets.LoadOrCreateKeyset(filepath.Join(data, "keyset.json"))
	if err != nil {
		return err
	}
	options.Keyset, options.ClaimName = keys.Fingerprint(), keys.Name
	hasher, err := secrets.NewHasher(0)
	if err != nil {
		return err
	}
	hash, err := hasher.Hash(ctx, bulk.Password)
	if err != nil {
		return err
	}
	options.SealPassword = func(stream string) (domain.Sealed, error) { return keys.Seal([]byte(hash), stream) }
	store, err := node.Open(node.Options{Dir: log, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	started := time.Now()
	err = store.AppendInOrder(ctx, bulk.Appends(options))
	if err := errors.Join(err, store.Close()); err != nil {
		return err
	}
	spent := time.Since(started)
	fmt.Printf("%s holds %s events of %s accounts, written in %s (%s/s).\nSECBOARD_DATA=%s secboard serve\n", data,
		humanize.Comma(int64(options.Events)), humanize.Comma(int64(options.Accounts)), spent.Round(time.Second),
		humanize.Comma(int64(float64(options.Events)/spent.Seconds())), data)
	return nil
}
