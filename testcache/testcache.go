// Package testcache keeps what test servers start from between test runs, because copying it takes a fraction of the
// time of making it: the cluster of a Postgres, the domain of a Samba. It is for tests.
package testcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Dir gives the directory of that name in the cache of a helper. Where it is missing, fill makes it, in a place that
// becomes the directory only when fill has succeeded; the first process does, and others wait. The name has to hold
// everything that the content depends on.
func Dir(helper, name string, fill func(dir string) error) (_ string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir() // no home directory
	}
	cache = filepath.Join(cache, "secboard", helper)
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	ready := filepath.Join(cache, name)
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
	unfinished := ready + ".new"
	if err := errors.Join(os.RemoveAll(unfinished), os.Mkdir(unfinished, 0o700)); err != nil {
		return "", err
	}
	if err := fill(unfinished); err != nil {
		return "", err
	}
	return ready, os.Rename(unfinished, ready)
}

// CopyInto copies what is in the directory from, with owners, modes and extended attributes.
func CopyInto(ctx context.Context, dir, from string) error {
	if out, err := exec.CommandContext(ctx, "cp", "-a", from+"/.", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s to %s: %w: %s", from, dir, err, out)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
