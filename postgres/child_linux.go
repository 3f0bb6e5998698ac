package postgres

import "syscall"

// dieWithParent has the kernel stop the child at once (SIGQUIT is Postgres' immediate shutdown) when the thread that
// started it ends, and with it when this process is killed.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }
