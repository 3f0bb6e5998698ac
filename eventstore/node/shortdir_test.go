package node

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// shortDir is a folder with a path short enough for a Unix socket, unlike t.TempDir's.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "node")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}
