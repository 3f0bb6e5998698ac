//go:build !linux

package instance

import "os/exec"

// startBehind starts a process. That it ends with this one and comes after it is seen to on Linux only.
func startBehind(command *exec.Cmd) error { return command.Start() }
