//go:build !linux

package postgres

import "syscall"

// dieWithParent does nothing: only Linux ends a child with its parent. A server that outlived a killed secboard is
// stopped by the next StartLocal on its directory.
func dieWithParent(*syscall.SysProcAttr) {}
