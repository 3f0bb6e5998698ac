//go:build linux

package faults

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/secboard/secboard/pause"
)

// restartPause is how long a part that ended is away before it is started again, as an init system would.
const restartPause = 200 * time.Millisecond

// part is one process of the system, kept running but while a fault wants it down.
type part struct {
	name    string
	log     string // file of what it writes, over all its runs
	command func() *exec.Cmd
	ready   func(context.Context) error // asks the part itself, around every proxy

	mu      sync.Mutex
	process *os.Process
	down    bool // it is to stay away
	frozen  bool
	faulty  bool // what it needs is broken, so that it may end by itself
	wasUp   bool // it was ready in this run
	killed  bool // by us, in this run
	ended   []string
	kills   int
	wake    chan struct{}
}

// keep starts the part and keeps it running until the test ends.
func (p *part) keep(t testing.TB) {
	t.Helper()
	p.wake = make(chan struct{}, 1)
	stopped, ctx := make(chan struct{}), t.Context() // which ends before the cleanups run
	go func() {
		defer close(stopped)
		// The kernel kills the child with the thread that made it, so that must live as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for ctx.Err() == nil {
			p.runOnce(t)
			select {
			case <-time.After(restartPause):
			case <-p.wake:
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() {
		p.kill(true)
		<-stopped
	})
}

func (p *part) runOnce(t testing.TB) {
	p.mu.Lock()
	if p.down {
		p.mu.Unlock()
		return
	}
	output, err := os.OpenFile(p.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		p.mu.Unlock()
		t.Error(err)
		return
	}
	command := p.command()
	command.Stdout, command.Stderr = output, output
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Pdeathsig, command.SysProcAttr.Setpgid = syscall.SIGKILL, true
	if err := command.Start(); err != nil {
		p.mu.Unlock()
		t.Errorf("start %s: %v", p.name, err)
		return
	}
	p.process, p.wasUp, p.killed = command.Process, false, false
	p.mu.Unlock()
	err = command.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.process = nil
	if !p.killed && !p.faulty && p.wasUp && t.Context().Err() == nil {
		p.ended = append(p.ended,
			fmt.Sprintf("%s ended by itself at %s: %v\n%s", p.name, time.Now().Format(time.TimeOnly), err,
				p.lastWords()))
	}
	if err := output.Close(); err != nil {
		t.Error(err)
	}
}

// kill ends the part and its children at once; with stay it is not started again before start.
func (p *part) kill(stay bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = stay
	if p.process == nil {
		return
	}
	p.killed, p.frozen = true, false
	p.kills++
	p.signal(syscall.SIGKILL)
}

// start lets a part that was to stay away run again.
func (p *part) start() {
	p.mu.Lock()
	p.down = false
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// freeze stops the part and its children in the middle of whatever they do, and thaw lets them go on.
func (p *part) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = true
	p.signal(syscall.SIGSTOP)
}

func (p *part) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen {
		p.frozen = false
		p.signal(syscall.SIGCONT)
	}
}

// signal sends to the process and its children. The caller holds p.mu. A process that is gone needs no signal.
func (p *part) signal(s syscall.Signal) {
	if p.process == nil {
		return
	}
	children := childrenOf(p.process.Pid)
	for _, pid := range append([]int{p.process.Pid}, children...) {
		_ = syscall.Kill(pid, s) // it may have ended just now
	}
}

// childrenOf lists a process' children, as those of Postgres, which leave the group of processes.
func childrenOf(pid int) []int {
	var children []int
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		content, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range strings.Fields(string(content)) {
			if child, err := strconv.Atoi(field); err == nil {
				children = append(children, child)
			}
		}
	}
	return children
}

// mayEnd says whether the part may end by itself from now on, because what it needs is broken.
func (p *part) mayEnd(may bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faulty = may
}

// awaitReady returns when the part answers.
func (p *part) awaitReady(ctx context.Context) error {
	var last error
	for {
		asking, cancel := context.WithTimeout(ctx, 5*time.Second)
		last = p.ready(asking)
		cancel()
		if last == nil {
			p.mu.Lock()
			p.wasUp = true
			p.mu.Unlock()
			return nil
		}
		if !pause.For(ctx, 20*time.Millisecond) {
			return fmt.Errorf("%s does not answer: %w\n%s", p.name, last, p.lastWords())
		}
	}
}

// lastWords is the end of what the part wrote.
func (p *part) lastWords() string {
	content, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(content), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-12):], []byte("\n")))
}
