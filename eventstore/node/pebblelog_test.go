package node

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnErrorThatRepeatsDoesNotFillTheLog(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logger := pebbleLogger{&Node{logger: slog.New(slog.NewTextHandler(&log, nil))}, newPaced()}
	for range 500 {
		logger.Errorf("background error: %s", "no space left on device")
	}
	logger.Errorf("another error: %s", "of another kind")
	require.Equal(t, 1, strings.Count(log.String(), "no space left on device"))
	require.Contains(t, log.String(), "of another kind")

	left, due := logger.errors.due("background error: %s", time.Now().Add(errorPace))
	require.True(t, due)
	require.Equal(t, 499, left)
}
