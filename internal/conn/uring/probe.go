//go:build linux && !fallback

package uring

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// probe tries on a socket pair what no feature flag tells: that a short send
// comes back with its count (Linux 5.19 loses the count and says EAGAIN, as if
// nothing had gone out; 6.1 keeps it), that a full or closed socket comes back
// with its error, and a whole send not at all.
func (r *Ring) probe() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("probing io_uring: %w", err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if err := r.probePair(pair[0], pair[1]); err != nil {
		return fmt.Errorf("probing io_uring: %w", err)
	}
	if r.head == 0 { // everything went through sendRest
		return fmt.Errorf("probing io_uring: kernel takes no requests: %w", ErrUnsupported)
	}
	return nil
}

func (r *Ring) probePair(fd, peer int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1); err != nil {
		return err
	}
	big := make([]byte, 64<<10) // the least send buffer is below 8 KiB
	short, ok := r.try(fd, big)
	if !ok || short.err != unix.EAGAIN || short.sent == 0 || short.sent >= len(big) {
		return fmt.Errorf("short send reported as %+v: %w", short, ErrUnsupported)
	}
	if full, ok := r.try(fd, big); !ok || full.err != unix.EAGAIN || full.sent != 0 {
		return fmt.Errorf("full socket reported as %+v: %w", full, ErrUnsupported)
	}
	n, err := drain(peer, big)
	if err != nil || n != short.sent {
		return fmt.Errorf("short send of %d arrived as %d: %w", short.sent, n, errors.Join(ErrUnsupported, err))
	}
	if whole, ok := r.try(fd, big[:1]); ok {
		return fmt.Errorf("whole send reported as %+v: %w", whole, ErrUnsupported)
	}
	if err := unix.Shutdown(peer, unix.SHUT_RDWR); err != nil {
		return err
	}
	if closed, ok := r.try(fd, big[:1]); !ok || closed.sent != 0 || closed.err == unix.EAGAIN {
		return fmt.Errorf("closed socket reported as %+v: %w", closed, ErrUnsupported)
	}
	return nil
}

// outcome is what Fail is told.
type outcome struct {
	data uint64
	sent int
	err  unix.Errno
}

// try sends b alone and returns what is reported of it, if anything.
func (r *Ring) try(fd int, b []byte) (o outcome, reported bool) {
	fail := r.fail
	defer func() { r.fail = fail }()
	r.fail = func(data uint64, sent int, err unix.Errno) { o, reported = outcome{data, sent, err}, true }
	r.Queue(fd, b, 0)
	r.Flush()
	return o, reported
}

// drain reads what the socket holds and counts it.
func drain(fd int, buf []byte) (n int, err error) {
	for {
		m, err := unix.Read(fd, buf)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN, err == nil && m == 0:
			return n, nil
		case err != nil:
			return n, err
		default:
			n += m
		}
	}
}
