package instance

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// settingsOfOthers are files that are known to name settings where they should not. It only gets shorter.
var settingsOfOthers = []string{"httpapi/csrf.go", "httpapi/middleware.go", "httpapi/proxies.go"}

// TestOnlyCommandsAndInstanceNameSettings: packages below say what is wrong; these two say which setting corrects it.
func TestOnlyCommandsAndInstanceNameSettings(t *testing.T) {
	t.Parallel()
	files := 0
	err := fs.WalkDir(os.DirFS(".."), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if path == "cmd" || path == "instance" || path != "." && strings.HasPrefix(entry.Name(), ".") {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files++
		content, err := os.ReadFile(filepath.Join("..", path))
		if err != nil {
			return err
		}
		named, known := strings.Contains(string(content), "SECBOARD_"), slices.Contains(settingsOfOthers, path)
		switch {
		case named && !known:
			t.Errorf("%s names a setting: say what is wrong there, and in instance or cmd which setting corrects it",
				path)
		case known && !named:
			t.Errorf("%s names no setting any more: remove it from settingsOfOthers", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Errorf("only %d files were looked at", files)
	}
}
