package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
)

// lower is how much nicer than this process one is that works behind it: it gets a ninth of what this one gets while
// both want the processor, and all that nobody else wants. Less would let it hold its locks for too long.
const lower = 10

// startBehind starts a process that ends with this one and comes after it when both want the processor. The calling
// goroutine has to wait for its end, and keeps its thread.
func startBehind(command *exec.Cmd) error {
	runtime.LockOSThread() // indefinitely: the process is killed when its thread ends, and that thread stays slow
	own, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		return err
	}
	own = 20 - own // the system call's form
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, min(own+lower, 19)); err != nil {
		return fmt.Errorf("lower the priority: %w", err)
	}
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return err
	}
	// Outside of containers and services, Linux gives each session a group, and niceness counts only within it.
	group := "/proc/" + strconv.Itoa(command.Process.Pid) + "/autogroup"
	err = os.WriteFile(group, strconv.AppendInt(nil, lower, 10), 0o600)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // not every kernel has it
		slog.Warn("the process of a rebuild keeps the normal scheduling priority of its session", "error", err)
	}
	return nil
}
