//go:build !linux

package redistest

import "syscall"

// withParent would make a process end with the one that starts it; here a test
// process that is killed leaves its servers behind.
func withParent() *syscall.SysProcAttr { return nil }
