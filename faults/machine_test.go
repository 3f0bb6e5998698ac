//go:build linux

package faults

import (
	"runtime"
	"syscall"
	"time"
)

// sample is how much processor time slowness takes, enough for the scheduler to have given others theirs several times.
const sample = 50 * time.Millisecond

// slowness says how many times as long as its processor time something takes at this moment: 1 on an idle machine, 10
// on one with ten times as much to do as it has cores for. A promise of seconds is one about a machine that can keep
// it.
func slowness() float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	started, used := time.Now(), threadTime()
	for threadTime()-used < sample {
		continue
	}
	return max(1, float64(time.Since(started))/float64(threadTime()-used))
}

// threadTime is the processor time that this thread has had.
func threadTime() time.Duration {
	const thisThread = 1 // RUSAGE_THREAD
	var usage syscall.Rusage
	if err := syscall.Getrusage(thisThread, &usage); err != nil {
		panic(err) // only for arguments that are wrong
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// within says whether something took no longer than was promised, times slack, and times the slowness of the machine.
func within(took, promised time.Duration) bool {
	return took <= slack*promised || float64(took) <= slack*float64(promised)*slowness()
}
