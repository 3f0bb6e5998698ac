package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/secboard/secboard/postgres"
)

// clusterRevision is part of the cache's name: raise it when StartLocal makes new clusters in another way.
const clusterRevision = 1

// cachedCluster is a directory that StartLocal has used once, kept between test runs because copying it takes a
// fraction of the time of making one. The first process makes it, others wait.
func cachedCluster(ctx context.Context) (_ string, err error) {
	version, _, err := postgres.Installed(ctx)
	if errors.Is(err, postgres.ErrNotInstalled) {
		version = "download" // StartLocal may get one
	} else if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir() // no home directory
	}
	cache = filepath.Join(cache, "secboard", "pgtest")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	ready := filepath.Join(cache, fmt.Sprintf("postgresql-%s-%d-%d", version, os.Geteuid(), clusterRevision))
	if exists(ready) {
		return ready, nil
	}

	lock, err := os.OpenFile(ready+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if exists(ready) {
		return ready, nil
	}
	return ready, makeCluster(ctx, ready)
}

func makeCluster(ctx context.Context, ready string) (err error) {
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
	unfinished := ready + ".new"
	if err := errors.Join(os.RemoveAll(unfinished), os.Mkdir(unfinished, 0o700)); err != nil {
		return err
	}
	if err := copyInto(ctx, unfinished, dir); err != nil {
		return err
	}
	return os.Rename(unfinished, ready)
}

// copyInto copies what is in the directory from, with owners and modes.
func copyInto(ctx context.Context, dir, from string) error {
	if out, err := exec.CommandContext(ctx, "cp", "-a", from+"/.", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s to %s: %w: %s", from, dir, err, out)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
