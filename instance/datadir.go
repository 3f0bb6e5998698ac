package instance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/secboard/secboard/pause"
)

// DataDir is the directory of the embedded stores, as an absolute path:
//
//	lock          held by the one process that runs the stores; says which
//	eventstore/   the log of the embedded node, its socket, and its credentials for TCP
//	postgres/     the local Postgres
//	keyset.json   the keys, unless SECBOARD_KEYSET names another file
type DataDir struct {
	Path  string
	given string // as the person wrote it
}

// makeDataDir makes the directory where it is missing, for its owner only.
func makeDataDir(path string) (DataDir, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return DataDir{}, aboutSetting(settingData, err)
	}
	mode := fs.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o711 // Postgres refuses to run as root, and its user has to get through to its own directory
	}
	err = os.MkdirAll(absolute, mode)
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrExist) {
		return DataDir{},
			&SettingError{settingData, fmt.Errorf("%s is a file or is below one: name a directory", path)}
	}
	if err != nil {
		return DataDir{}, fmt.Errorf("%s: the data directory %s can't be created: %w", settingData, path, err)
	}
	return DataDir{Path: absolute, given: path}, nil
}

func (d DataDir) lockFile() string { return filepath.Join(d.Path, "lock") }

// Eventstore is the directory of the embedded event store.
func (d DataDir) Eventstore() string { return filepath.Join(d.Path, "eventstore") }
func (d DataDir) log() string        { return filepath.Join(d.Eventstore(), "log") }

// maxSocketPath is what every system takes for the path of a Unix socket, in bytes, less some for the name under which
// it is made.
const maxSocketPath = 90

// socket is where the embedded node listens: in the data directory, or, where that path is too long for a socket or
// has characters that mean something in a URL, in a directory of its own below /tmp that other processes find too.
func (d DataDir) socket() string {
	path := filepath.Join(d.Eventstore(), "eventstore.sock")
	if len(path) <= maxSocketPath && !strings.ContainsAny(path, " %?#\\") {
		return path
	}
	sum := sha256.Sum256([]byte(d.Path))
	return filepath.Join("/tmp", fmt.Sprintf("secboard-%d-%s", os.Geteuid(), hex.EncodeToString(sum[:8])),
		"eventstore.sock")
}

// makePrivate makes a directory that only its owner can enter, or checks that it is one: in /tmp somebody else could
// have put it there. foreign is what to do about one that belongs to another user.
func makePrivate(path, foreign string) error {
	if err := os.Mkdir(path, 0o700); err == nil || !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() {
		return fmt.Errorf("%s must be a directory, but it is not: move it away", path)
	}
	if int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to the user %s: %s", path, userName(stat.Uid), foreign)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return os.Chmod(path, 0o700)
	}
	return nil
}

// notOurLog is what to do about a log that another user has written.
const notOurLog = "run secboard as that user, or give the data directory to this one (chown -R)"

// userName is what a person knows a user by.
func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if known, err := user.LookupId(id); err == nil {
		return known.Username
	}
	return id
}

// Holder is the process that holds a data directory, as it says in the lock file.
type Holder struct {
	PID     int    `json:"pid"`
	Command string `json:"command"`
	Address string `json:"address,omitempty"` // of the HTTP API; empty while it does not serve yet
}

// inUseError says that another process holds the data directory.
type inUseError struct {
	dir    DataDir
	holder Holder
}

func (e *inUseError) Error() string {
	return fmt.Sprintf("the data directory %s is in use by secboard %s (pid %d): stop it first, or give this one "+
		"another %s",
		e.dir.given, e.holder.Command, e.holder.PID, settingData)
}

// dirLock is a data directory held by this process. The kernel gives it free when the process ends, however it ends.
type dirLock struct{ file *os.File }

// lock takes the directory, or says who has it: *inUseError.
func (d DataDir) lock(command string) (*dirLock, error) {
	file, err := os.OpenFile(d.lockFile(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: the data directory %s can't be written to: %w", settingData, d.given, err)
	}
	lock := &dirLock{file}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = &inUseError{d, d.Holder()}
	}
	if err == nil {
		err = lock.say(Holder{PID: os.Getpid(), Command: command})
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return lock, nil
}

// Holder reads who has the lock. It is zero in the moment between taking the lock and saying so.
func (d DataDir) Holder() Holder {
	var h Holder
	if content, err := os.ReadFile(d.lockFile()); err != nil || json.Unmarshal(content, &h) != nil {
		return Holder{}
	}
	return h
}

// say writes who holds the directory.
func (l *dirLock) say(h Holder) error {
	content, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err = l.file.WriteAt(append(content, '\n'), 0)
	return err
}

func (l *dirLock) release() error { return l.file.Close() }

// lockOrAttach takes the directory, waiting while another short command has it; while `serve` has it the lock is nil
// and its stores can be attached to.
func (d DataDir) lockOrAttach(ctx context.Context, command string, patience time.Duration) (*dirLock, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		lock, err := d.lock(command)
		var inUse *inUseError
		if !errors.As(err, &inUse) {
			return lock, err
		}
		if inUse.holder.Address != "" {
			return nil, nil
		}
		if !pause.For(ctx, 50*time.Millisecond) {
			return nil, err
		}
	}
}
