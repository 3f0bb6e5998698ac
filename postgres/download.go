package postgres

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// downloadVersion is the one whose checksums are pinned below.
const downloadVersion embeddedpostgres.PostgresVersion = "16.15.0"

// pinned are the SHA-256 checksums of the archives of downloadVersion (embedded-postgres-binaries-….txz), by system and
// architecture as their names have them. Who serves the archives serves checksums beside them, too: only one that came
// with this program tells that nothing was exchanged. An archive without one is not run.
var pinned = map[string]string{
	"linux-amd64":    "bda67fe32e23b049c25db4b98132d154a4fa824c44e1bd8fd01b0236f4676c24",
	"linux-arm64v8":  "e66afbea65a143aa6cda8d5a56c2aea9985d1d9649dfb29ba487363844fd1f81",
	"darwin-arm64v8": "07f29aed5baae53962b0ab80c901763b490b5692cf6a730cb3ece6bf455567af",
}

// mostDownloaded bounds an archive, in bytes. One has about 15 MB.
const mostDownloaded = 100 << 20

// platform is how the archives name this system and architecture.
func platform() string {
	arch := runtime.GOARCH
	if arch == "arm64" {
		arch = "arm64v8"
	}
	if _, err := os.Stat("/etc/alpine-release"); err == nil {
		arch += "-alpine"
	}
	return runtime.GOOS + "-" + arch
}

// archive is one with Postgres' programs.
type archive struct {
	from     string // the repository
	platform string
	checksum string // SHA-256 that it must have; empty: none is pinned
}

func (a archive) name() string {
	return "embedded-postgres-binaries-" + a.platform + "-" + string(downloadVersion)
}

// fetch downloads the archive into a folder, under the name by which the library finds it. Nothing is written that does
// not have the pinned checksum.
func (a archive) fetch(ctx context.Context, dir string) error {
	if a.checksum == "" {
		return fmt.Errorf("no checksum is pinned for PostgreSQL on %s: install PostgreSQL with this system's package "+
			"manager", a.platform)
	}
	url := fmt.Sprintf("%s/io/zonky/test/postgres/embedded-postgres-binaries-%s/%s/%s.jar", a.from, a.platform,
		downloadVersion, a.name())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // nothing was written
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	jar, err := io.ReadAll(io.LimitReader(response.Body, mostDownloaded))
	if err != nil {
		return err
	}
	content, err := archiveIn(jar)
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(content)); got != a.checksum {
		return fmt.Errorf("the archive of %s has the SHA-256 checksum %s, expected %s: it is not the one that this "+
			"program was released with, and is not used; install PostgreSQL with this system's package manager", url,
			got, a.checksum)
	}
	return os.WriteFile(filepath.Join(dir, a.name()+".txz"), content, 0o600)
}

// archiveIn is the only .txz in a jar.
func archiveIn(jar []byte) ([]byte, error) {
	files, err := zip.NewReader(bytes.NewReader(jar), int64(len(jar)))
	if err != nil {
		return nil, err
	}
	for _, file := range files.File {
		if !strings.HasSuffix(file.Name, ".txz") {
			continue
		}
		opened, err := file.Open()
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(io.LimitReader(opened, mostDownloaded))
		return content, errors.Join(err, opened.Close())
	}
	return nil, errors.New("it holds no .txz archive")
}

// downloadDir is where download puts Postgres: a folder of this user's cache.
func downloadDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "secboard", "postgresql-"+string(downloadVersion)), nil
}

const (
	repository = "https://repo1.maven.org/maven2"
	nowhere    = "https://nowhere.invalid"
)

// download fetches Postgres binaries into downloadDir. The library has no call to unpack them alone, so it starts an
// empty server once, on a loopback port under a random password, and stops it: proof that the binaries run here.
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
	cache := filepath.Join(temp, "archive")
	wanted := archive{from: repository, platform: platform(), checksum: pinned[platform()]}
	if err := errors.Join(os.Mkdir(cache, 0o700), wanted.fetch(ctx, cache)); err != nil {
		return errors.Join(fmt.Errorf("download PostgreSQL %s: %w", downloadVersion, err), os.RemoveAll(temp))
	}
	server := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(downloadVersion).
		Port(port).
		Password(rand.Text()).
		CachePath(cache).
		BinaryRepositoryURL(nowhere). // it finds what was fetched and checked, and must not fetch anything itself
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
