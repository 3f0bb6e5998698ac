package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

const downloadVersion = embeddedpostgres.V18

// downloadDir is where download puts Postgres: a folder of this user's cache.
func downloadDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "secboard", "postgresql-"+string(downloadVersion)), nil
}

// download fetches Postgres binaries into downloadDir. The library has no call for that alone, so it starts an empty
// server once, on a loopback port under a random password, and stops it: proof that the binaries run here.
func download(ctx context.Context) error {
	dir, err := downloadDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	// Beside the final place, so that a download cut short never looks like a whole one.
	temp, err := os.MkdirTemp(filepath.Dir(dir), "download-")
	if err != nil {
		return err
	}
	server := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(downloadVersion).
		Port(port).
		Password(rand.Text()).
		CachePath(filepath.Join(temp, "archive")).
		BinariesPath(filepath.Join(temp, "binaries")).
		RuntimePath(filepath.Join(temp, "runtime")).
		Logger(io.Discard))

	done := make(chan error, 1)
	go func() { // the library knows no contexts
		err := server.Start()
		if err == nil {
			err = server.Stop()
		}
		if err == nil {
			err = os.Rename(filepath.Join(temp, "binaries"), dir)
		}
		if errors.Is(err, fs.ErrExist) {
			err = nil // another process was faster
		}
		done <- errors.Join(err, os.RemoveAll(temp))
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("download PostgreSQL %s: %w", downloadVersion, err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func freePort() (uint32, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("listener has address %s, not a TCP address", l.Addr())
	}
	return uint32(addr.Port), l.Close()
}
