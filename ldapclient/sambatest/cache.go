package sambatest

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/secboard/secboard/testcache"
)

// domainRevision is part of the cache's name: raise it when makeDomain makes domains in another way.
const domainRevision = 2

// administratorPassword is no secret: the domain exists on a loopback address while a test runs.
const administratorPassword = "Test-Administrator-1"

// cachedDomain is a domain without people.
func cachedDomain(ctx context.Context) (string, error) {
	samba, err := program("samba")
	if err != nil {
		return "", err
	}
	version, err := exec.CommandContext(ctx, samba, "--version").Output() // Version 4.17.12-Debian
	if err != nil {
		return "", fmt.Errorf("samba --version: %w", err)
	}
	words := strings.Fields(string(version))
	if len(words) == 0 {
		return "", errors.New("samba --version says nothing")
	}
	name := fmt.Sprintf("domain-%s-%d", filepath.Base(words[len(words)-1]), domainRevision)
	return testcache.Dir("sambatest", name, func(unfinished string) error { return makeDomain(ctx, unfinished) })
}

func makeDomain(ctx context.Context, unfinished string) error {
	tool, err := program("samba-tool")
	if err != nil {
		return err
	}
	if err := command(ctx, tool, "domain", "provision", "--targetdir="+unfinished, "--realm="+realm,
		"--domain="+workgroup,
		"--server-role=dc", "--dns-backend=NONE", "--host-name=dc1", "--host-ip=127.0.0.1",
		"--adminpass="+administratorPassword); err != nil {
		return fmt.Errorf("%w (it needs all of %s)", err, installLine)
	}
	if err := command(ctx, tool, "domain", "passwordsettings", "set",
		"--configfile="+filepath.Join(unfinished, "etc", "smb.conf"),
		"--complexity=off", "--min-pwd-length=0", "--min-pwd-age=0", "--history-length=0",
		"--account-lockout-threshold="+strconv.Itoa(LockoutThreshold)); err != nil {
		return err
	}
	database := filepath.Join(unfinished, "private", "sam.ldb")
	return command(ctx, tool, "user", "setexpiry", "Administrator", "--noexpiry", "--URL="+database)
}
