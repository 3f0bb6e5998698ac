package testcache_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/secboard/secboard/testcache"
)

// TestADirectoryIsMadeOnce is not parallel: the cache's place is a variable of the process.
func TestADirectoryIsMadeOnce(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	broken := errors.New("no more paper")
	if _, err := testcache.Dir("helper", "v1", func(string) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	var made atomic.Int64
	var several sync.WaitGroup
	for range 8 {
		several.Go(func() {
			dir, err := testcache.Dir("helper", "v1", func(dir string) error {
				made.Add(1)
				return os.WriteFile(filepath.Join(dir, "content"), []byte("whole"), 0o600)
			})
			if err != nil {
				t.Error(err)
				return
			}
			copied := t.TempDir()
			if err := testcache.CopyInto(t.Context(), copied, dir); err != nil {
				t.Error(err)
			}
			if content, err := os.ReadFile(filepath.Join(copied, "content")); err != nil || string(content) != "whole" {
				t.Errorf("the copy has %q: %v", content, err)
			}
		})
	}
	several.Wait()
	if made.Load() != 1 {
		t.Errorf("it was made %d times", made.Load())
	}
}
