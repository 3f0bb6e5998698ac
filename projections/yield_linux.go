package projections

import "syscall"

// yield lets whoever waits for this processor have it. A thread that wakes to answer a query was seen to wait for up to 4 ms,
// a tick of Linux's clock, behind one of a rebuild that computes without a pause, whatever their priorities
// (docs/performance.md). The Go scheduler does not see the call, so it puts no other thread of the rebuild in this one's place.
func yield() {
	_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) // cannot fail
}
