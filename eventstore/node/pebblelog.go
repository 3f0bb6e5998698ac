package node

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"
)

// pebbleLogger hands the storage engine's log on. Pebble calls Fatalf when a commit, the log or
// the manifest couldn't be written, and expects it not to return.
type pebbleLogger struct {
	node   *Node
	errors *paced
}

func (l pebbleLogger) Infof(format string, args ...any) {
	if l.node.logger.Enabled(context.Background(), slog.LevelDebug) {
		l.node.logger.Debug("storage engine", "message", fmt.Sprintf(format, args...))
	}
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	if left, due := l.errors.due(format, time.Now()); due {
		l.node.logger.Error("storage engine", "message", fmt.Sprintf(format, args...), "left_out", left)
	}
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.node.fail(fmt.Errorf(format, args...))
	runtime.Goexit()
}

// errorPace is how often an error of one kind is logged. With a full disk the engine tries to write its tables 700
// times a second, and the log of that could fill another disk.
const errorPace = 10 * time.Second

// paced counts what is not logged.
type paced struct {
	mu       sync.Mutex
	loggedAt map[string]time.Time
	left     map[string]int
}

func newPaced() *paced { return &paced{loggedAt: map[string]time.Time{}, left: map[string]int{}} }

// due says whether something of a kind is to be logged now, and how many of that kind were not since the last time.
func (p *paced) due(kind string, now time.Time) (left int, due bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last, before := p.loggedAt[kind]; before && now.Sub(last) < errorPace {
		p.left[kind]++
		return 0, false
	}
	left = p.left[kind]
	p.loggedAt[kind], p.left[kind] = now, 0
	return left, true
}
