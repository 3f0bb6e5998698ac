//go:build linux

package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// clockVariable names the file that a program of buildWithClock reads its error from.
const clockVariable = "FAULTS_CLOCK"

// clockBuilt is the program with a clock that can be set wrong, made once.
var clockBuilt = sync.OnceValues(buildWithClock)

func isClockBuild(binary string) bool {
	return strings.HasSuffix(filepath.Dir(binary), clockSuffix)
}

const clockSuffix = "-clock"

// buildWithClock makes the same program with a standard library whose time.Now is wrong by as many seconds as a file
// says. A Go program asks the kernel for the time and not the C library, so libfaketime has no effect on it; and
// setting the machine's clock would hit everything else on it. The compiler takes the two files in place of the real
// ones, so there is nothing of this in the program that people run.
func buildWithClock() (_ string, err error) {
	overlay, err := os.MkdirTemp("", "secboard-faults-clock-")
	if err != nil {
		return "", err
	}
	binaries = append(binaries, overlay)
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	const asks = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(source), asks) != 1 {
		return "", fmt.Errorf("%s asks for the time in another way than expected: adapt buildWithClock", original)
	}
	changed := strings.Replace(string(source), asks,
		"// Wrong is by how many seconds the clock is.\nvar Wrong int64\n\n"+asks+"\tsec += Wrong\n", 1)
	_, file, _, _ := runtime.Caller(0)
	added := filepath.Join(filepath.Dir(filepath.Dir(file)), "cmd", "secboard", "wrongclock.go")
	replaced := map[string]string{}
	for path, content := range map[string]string{original: changed, added: wrongClock} {
		copied := filepath.Join(overlay, filepath.Base(path))
		if err := os.WriteFile(copied, []byte(content), 0o600); err != nil {
			return "", err
		}
		replaced[path] = copied
	}
	list, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	path := filepath.Join(overlay, "overlay.json")
	if err := os.WriteFile(path, list, 0o600); err != nil {
		return "", err
	}
	binary, err := build("-overlay", path)
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(binary) + clockSuffix
	binaries = append(binaries, dir)
	return filepath.Join(dir, "secboard"), os.Rename(filepath.Dir(binary), dir)
}

// wrongClock is the file that a build with a wrong clock adds to the program.
const wrongClock = `package main

import (
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

func init() {
	go func() {
		for ; ; time.Sleep(50 * time.Millisecond) {
			text, err := os.ReadFile(os.Getenv("` + clockVariable + `"))
			if err != nil {
				continue
			}
			if wrong, err := strconv.ParseInt(string(text), 10, 64); err == nil {
				atomic.StoreInt64(&time.Wrong, wrong)
			}
		}
	}()
}
`
