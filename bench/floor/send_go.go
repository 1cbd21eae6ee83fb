//go:build !cgo

package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const sendLoop = "Go"

// sendAll sends frame to every descriptor and returns how often that failed.
// The scheduler is not told of the calls, none of which blocks.
func sendAll(fds []int32, frame []byte) (failed int) {
	for _, fd := range fds {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&frame[0])), uintptr(len(frame)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		if errno != 0 || int(n) < len(frame) {
			failed++
		}
	}
	return failed
}
