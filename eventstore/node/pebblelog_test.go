package node

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestAnErrorThatRepeatsDoesNotFillTheLog(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logger := pebbleLogger{&Node{logger: slog.New(slog.NewTextHandler(&log, nil))}, newPaced()}
	for range 500 {
		logger.Errorf("background error: %s", "no space left on device")
	}
	logger.Errorf("another error: %s", "of another kind")
	if got := strings.Count(log.String(), "no space left on device"); got != 1 {
		t.Fatalf(`strings.Count(log.String(), "no space left on device") = %v, want 1`, got)
	}
	if got := log.String(); !strings.Contains(got, "of another kind") {
		t.Fatalf(`%q lacks "of another kind"`, got)
	}

	left, due := logger.errors.due("background error: %s", time.Now().Add(errorPace))
	if !due {
		t.Fatal("not due")
	}
	if left != 499 {
		t.Fatalf("left = %v, want 499", left)
	}
}
