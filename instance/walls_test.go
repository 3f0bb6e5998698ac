package instance

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
		if strings.Contains(string(content), "SECBOARD_") {
			t.Errorf("%s names a setting: say what is wrong there, and in instance or cmd which setting corrects it",
				path)
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
