package sambatest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// domainRevision is part of the cache's name: raise it when makeDomain makes domains in another way.
const domainRevision = 2

// administratorPassword is no secret: the domain exists on a loopback address while a test runs.
const administratorPassword = "Test-Administrator-1"

// cachedDomain is a domain without people, kept between test runs because copying it takes a fraction of the time of
// provisioning. The first process makes it, others wait.
func cachedDomain(ctx context.Context) (_ string, err error) {
	samba, err := program("samba")
	if err != nil {
		return "", err
	}
	version, err := exec.CommandContext(ctx, samba, "--version").Output() // Version 4.17.12-Debian
	if err != nil {
		return "", fmt.Errorf("samba --version: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir() // no home directory
	}
	cache = filepath.Join(cache, "secboard", "sambatest")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	words := strings.Fields(string(version))
	if len(words) == 0 {
		return "", errors.New("samba --version says nothing")
	}
	ready := filepath.Join(cache, fmt.Sprintf("domain-%s-%d", filepath.Base(words[len(words)-1]), domainRevision))
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
	return ready, makeDomain(ctx, ready)
}

func makeDomain(ctx context.Context, ready string) error {
	tool, err := program("samba-tool")
	if err != nil {
		return err
	}
	unfinished := ready + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	if err := command(ctx, tool, "domain", "provision", "--targetdir="+unfinished, "--realm="+realm, "--domain="+workgroup,
		"--server-role=dc", "--dns-backend=NONE", "--host-name=dc1", "--host-ip=127.0.0.1", "--adminpass="+administratorPassword); err != nil {
		return fmt.Errorf("%w (it needs all of %s)", err, installLine)
	}
	if err := command(ctx, tool, "domain", "passwordsettings", "set", "--configfile="+filepath.Join(unfinished, "etc", "smb.conf"),
		"--complexity=off", "--min-pwd-length=0", "--min-pwd-age=0", "--history-length=0",
		"--account-lockout-threshold="+strconv.Itoa(LockoutThreshold)); err != nil {
		return err
	}
	database := filepath.Join(unfinished, "private", "sam.ldb")
	if err := command(ctx, tool, "user", "setexpiry", "Administrator", "--noexpiry", "--URL="+database); err != nil {
		return err
	}
	return os.Rename(unfinished, ready)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
