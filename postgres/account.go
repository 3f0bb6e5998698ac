package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// account is the operating-system user that Postgres runs as.
type account struct {
	name string
	uid  int
	gid  int
	// other is set where that is not the user of this process.
	other *syscall.Credential
}

// serverAccount is the user of this process, or, because Postgres refuses to run as root, the user postgres, else
// nobody.
func serverAccount() (account, error) {
	uid := os.Geteuid()
	if uid != 0 {
		return account{name: strconv.Itoa(uid), uid: uid, gid: os.Getegid()}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if errors.As(err, new(user.UnknownUserError)) {
			continue
		}
		if err != nil {
			return account{}, fmt.Errorf("look up the user %s: %w", name, err)
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 31)
		if err != nil {
			return account{}, fmt.Errorf("user %s has the id %q, not a number", name, u.Uid)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 31)
		if err != nil {
			return account{}, fmt.Errorf("user %s has the group %q, not a number", name, u.Gid)
		}
		return account{
			name: name, uid: int(uid), gid: int(gid),
			other: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
		}, nil
	}
	return account{}, errors.New("PostgreSQL refuses to run as root and there is no user postgres or nobody here: " +
		"create one (`useradd --system postgres`), or start as another user")
}

// keepMemory has glibc keep what Postgres frees for its next use. By default it gives the end of the heap back to the
// kernel again and again: 6,000 page faults a second while rows are copied, which slows down whoever shares the
// machine.
var keepMemory = []string{
	"MALLOC_TRIM_THRESHOLD_=268435456", "MALLOC_TOP_PAD_=4194304", "MALLOC_MMAP_THRESHOLD_=268435456",
}

// command is a program run as the account in dir. It gets none of our environment, which may hold secrets and PG*
// settings, and is in a process group of its own: Ctrl-C is for us, and we end Postgres when we are done with it.
func (a account) command(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // the programs are Postgres' own
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LC_MESSAGES=C"}, keepMemory...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: a.other}
	return cmd
}

// canEnter tells whether the account can use dir, whatever modes and access lists there are on the path.
func (a account) canEnter(ctx context.Context, dir string) bool {
	return a.other == nil || a.command(ctx, dir, "/bin/sh", "-c", ":").Run() == nil
}

// ownDir makes dir for the account alone, or checks that it is: a directory that somebody else could have put there
// or could enter is refused.
func (a account) ownDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err == nil {
		return os.Lchown(dir, a.uid, a.gid)
	} else if !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("cannot tell the owner of %s", dir)
	}
	if a.other != nil && stat.Uid == 0 && info.IsDir() {
		// An earlier start was cut short between making it and handing it over.
		return errors.Join(os.Chmod(dir, 0o700), os.Lchown(dir, a.uid, a.gid))
	}
	if !info.IsDir() || int(stat.Uid) != a.uid || info.Mode().Perm() != 0o700 {
		return fmt.Errorf("%s must be a directory with mode 0700 that belongs to the user %s, "+
			"but it is %s of user %d: move it away", dir, a.name, info.Mode(), stat.Uid)
	}
	return nil
}
