package redistest

import "syscall"

// withParent makes a process end with the one that starts it.
func withParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
