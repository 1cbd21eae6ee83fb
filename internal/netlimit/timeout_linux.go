package netlimit

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// control makes the kernel end the connections that the socket accepts when their
// peer acknowledges nothing of what it was sent for unackedTimeout. So an answer
// that the kernel has taken whole, and that nobody reads, is given up too.
func control(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unackedTimeout/time.Millisecond))
	})
	if err != nil {
		return err
	}
	return failed
}
