//go:build linux && !fallback

package uring

import (
	"errors"
	"math"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestNewRefusesSizes(t *testing.T) {
	for _, n := range []int{-1, 0, 32769, math.MaxInt} {
		if r, err := New(n, nil); !errors.Is(err, unix.EINVAL) || r != nil {
			t.Errorf("New(%d) = %v, %v", n, r, err)
		}
	}
	if n := ringsOpen(); n != 0 {
		t.Errorf("%d descriptors and mappings left", n)
	}
}

// New says so and leaves nothing if a container's filter forbids io_uring.
func TestForbidden(t *testing.T) {
	for _, c := range []struct {
		name string
		call uint32
		want error
	}{
		{"setup", unix.SYS_IO_URING_SETUP, unix.EPERM},
		{"enter", unix.SYS_IO_URING_ENTER, ErrUnsupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := make(chan error)
			go func() {
				runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
				if err := forbid(c.call); err != nil {
					res <- err
					return
				}
				_, err := New(8, nil)
				res <- err
			}()
			if err := <-res; !errors.Is(err, c.want) {
				t.Fatalf("New: %v, want %v", err, c.want)
			}
			if n := ringsOpen(); n != 0 {
				t.Errorf("%d descriptors and mappings left", n)
			}
		})
	}
}

// forbid makes a system call fail with EPERM for the calling thread, for good.
func forbid(call uint32) error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: call},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
}

// A kernel that takes a short send for a success must not get past New: such
// a one is had by leaving out the flag that makes it a failure.
func TestProbeFindsHiddenShortSends(t *testing.T) {
	r, err := open(8, nil, setupSubmitAll|setupCoopTaskrun)
	must(t, err)
	defer r.Close()
	for i := range r.sqes {
		r.sqes[i].msgFlags &^= unix.MSG_WAITALL
	}
	if err := r.probe(); !errors.Is(err, ErrUnsupported) {
		t.Fatalf("probe: %v", err)
	}
}

// When the kernel stops taking requests, the sends go out all the same, and
// through the ring again once it takes them.
func TestKernelRefuses(t *testing.T) {
	ps := pairs(t, 5, 0)
	must(t, unix.Shutdown(ps[3].fd, unix.SHUT_WR))
	r, log := newRing(t, 8)
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	ring := r.fd
	for round, fd := range []int{ring, int(null.Fd()), int(null.Fd()), ring, int(null.Fd()), ring} {
		r.fd = fd // not a ring: refused as a whole
		*log = nil
		before := r.head
		for i, p := range ps {
			r.Queue(p.fd, []byte{byte('a' + round)}, uint64(i))
		}
		r.Flush()
		r.fd = ring
		if took := r.head != before; took != (fd == ring) {
			t.Errorf("round %d: kernel took requests: %v", round, took)
		}
		if len(*log) != 1 || (*log)[0] != (outcome{3, 0, unix.EPIPE}) {
			t.Errorf("round %d: reported %v", round, *log)
		}
		for i, p := range ps {
			if i != 3 {
				must(t, compare(p.conn, []byte{byte('a' + round)}))
			}
		}
	}
}

// A kernel that stops in the middle of a batch is called again for the rest.
func TestKernelStopsInMiddle(t *testing.T) {
	ps := pairs(t, 8, 0)
	var log []outcome
	r, err := open(8, func(data uint64, sent int, err unix.Errno) {
		log = append(log, outcome{data, sent, err})
	}, setupCoopTaskrun) // without setupSubmitAll a malformed request stops it
	must(t, err)
	defer r.Close()
	r.sqes[2].ioprio, r.sqes[5].ioprio = 0xffff, 0xffff
	for i, p := range ps {
		r.Queue(p.fd, []byte{byte(i)}, uint64(i))
	}
	r.Flush()
	if len(log) != 2 || log[0] != (outcome{2, 0, unix.EINVAL}) || log[1] != (outcome{5, 0, unix.EINVAL}) {
		t.Fatalf("reported %v", log)
	}
	for i, p := range ps {
		if i != 2 && i != 5 {
			must(t, compare(p.conn, []byte{byte(i)}))
		}
	}
}

func TestClose(t *testing.T) {
	r, err := New(64, nil)
	must(t, err)
	if n := ringsOpen(); n != 3 {
		t.Errorf("%d descriptors and mappings, want 3", n)
	}
	must(t, r.Close())
	must(t, r.Close())
	if n := ringsOpen(); n != 0 {
		t.Errorf("%d descriptors and mappings left", n)
	}
}
