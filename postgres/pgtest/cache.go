package pgtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/secboard/secboard/postgres"
	"github.com/secboard/secboard/testcache"
)

// clusterRevision is part of the cache's name: raise it when StartLocal makes new clusters in another way.
const clusterRevision = 1

// cachedCluster is a directory that StartLocal has used once.
func cachedCluster(ctx context.Context) (string, error) {
	version, _, err := postgres.Installed(ctx)
	if errors.Is(err, postgres.ErrNotInstalled) {
		version = "download" // StartLocal may get one
	} else if err != nil {
		return "", err
	}
	name := fmt.Sprintf("postgresql-%s-%d-%d", version, os.Geteuid(), clusterRevision)
	return testcache.Dir("pgtest", name, func(unfinished string) error { return makeCluster(ctx, unfinished) })
}

func makeCluster(ctx context.Context, unfinished string) (err error) {
	dir, err := makeTempDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	local, err := postgres.StartLocal(ctx, dir, slog.New(slog.DiscardHandler), settings...)
	if err != nil {
		return err
	}
	if err := local.Stop(ctx); err != nil {
		return err
	}
	return testcache.CopyInto(ctx, unfinished, dir)
}
