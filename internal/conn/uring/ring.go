//go:build linux && !fallback

package uring

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrUnsupported is returned by New when the kernel has io_uring but lacks
// something the ring relies on (Linux 6.1 has all of it).
var ErrUnsupported = errors.New("io_uring lacks a needed feature")

// sendFlags make a send complete within the system call that submits it.
//
// MSG_DONTWAIT: a full socket fails with EAGAIN; the kernel neither waits for
// room nor hands the request to a worker, so no buffer is read after Flush.
//
// MSG_WAITALL: a short send counts as a failure. Without it the kernel takes
// a short send for a success, and sqeSkipSuccess would hide it.
const sendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL | unix.MSG_WAITALL

// maxLen bounds one send: the kernel cuts longer ones (MAX_RW_COUNT, just
// below 2 GiB) before it decides what counts as short.
const maxLen = 1 << 30

// maxSubmit is how many sends go into one system call. The call is made
// without telling the scheduler, which is cheaper than to lose the processor
// and win it back; so it must be over soon, as the start of a garbage
// collection waits for it: about 0.5 ms for 128 small frames.
const maxSubmit = 128

// Fail is told about a send that did not go out whole. data is what was given
// to Queue, sent how many of its bytes the socket took, err why not the rest:
// EAGAIN if the socket is full (sent may then be above 0, and EPOLLOUT will
// follow), or the connection's error, with sent 0. It must not call the Ring.
type Fail func(data uint64, sent int, err unix.Errno)

// Ring collects sends and submits them together. It is for one goroutine at a
// time, which need not be locked to a thread.
type Ring struct {
	// Set once by New.
	fail   Fail
	fd     int    // -1 once closed
	rings  []byte // mapping of both rings
	slots  []byte // mapping of sqes
	sqes   []sqe
	cqes   []cqe
	sqHead *uint32 // moved by the kernel
	sqTail *uint32 // moved by us
	cqHead *uint32 // moved by us
	cqTail *uint32 // moved by the kernel

	// The owner's. Outside Flush, head is the kernel's sqHead: everything
	// before it is done, [head, tail) is queued and unknown to the kernel.
	head, tail uint32
	hold       []*byte // buffers of [head, tail), which the kernel sees as numbers
}

// New returns a ring with room for entries sends, rounded up to a power of two
// (at most 32,768); 128 and up cost the least a send. fail is called from
// Queue and Flush.
//
// It tries the ring on a socket pair before it returns it, so a ring that is
// returned works. An error means that this kernel or container has no
// io_uring for us (ENOSYS, EPERM, ErrUnsupported …): send in a loop instead.
func New(entries int, fail Fail) (*Ring, error) {
	r, err := open(entries, fail, setupSubmitAll|setupCoopTaskrun)
	if err != nil {
		return nil, err
	}
	if err := r.probe(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// open sets up and maps a ring, untried.
func open(entries int, fail Fail, flags uint32) (*Ring, error) {
	if entries <= 0 || entries > math.MaxInt32 {
		return nil, fmt.Errorf("opening io_uring with %d entries: %w", entries, unix.EINVAL)
	}
	p := params{flags: flags}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("opening io_uring with %d entries: %w", entries, errno)
	}
	r := &Ring{fail: fail, fd: int(fd)}
	if err := r.mmap(&p); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// mmap maps the rings and writes what never changes in them.
func (r *Ring) mmap(p *params) error {
	const need = featSingleMmap | featNoDrop | featCQESkip
	if p.features&need != need {
		return fmt.Errorf("io_uring features %#x: %w", p.features, ErrUnsupported)
	}
	var err error
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	size := max(p.sq.array+p.sqEntries*4, p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(cqe{})))
	if r.rings, err = unix.Mmap(r.fd, offRings, int(size), prot, flags); err != nil {
		return fmt.Errorf("mapping io_uring's rings: %w", err)
	}
	size = p.sqEntries * uint32(unsafe.Sizeof(sqe{}))
	if r.slots, err = unix.Mmap(r.fd, offSQEs, int(size), prot, flags); err != nil {
		return fmt.Errorf("mapping io_uring's entries: %w", err)
	}
	word := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.rings[off])) }
	r.sqHead, r.sqTail = word(p.sq.head), word(p.sq.tail)
	r.cqHead, r.cqTail = word(p.cq.head), word(p.cq.tail)
	r.cqes = unsafe.Slice((*cqe)(unsafe.Pointer(&r.rings[p.cq.cqes])), p.cqEntries)
	r.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&r.slots[0])), p.sqEntries)
	r.hold = make([]*byte, p.sqEntries)

	order := unsafe.Slice(word(p.sq.array), p.sqEntries)
	for i := range r.sqes {
		order[i] = uint32(i)
		r.sqes[i] = sqe{opcode: opSend, flags: sqeSkipSuccess, msgFlags: sendFlags}
	}
	return nil
}

// Queue adds a send of b to fd, submitting what is queued first if the ring is
// full. Until Flush returns, b must not change, fd must stay open, and no
// second send may be queued for the same fd: were the first one short, the
// second could still find room and leave a hole in the stream.
func (r *Ring) Queue(fd int, b []byte, data uint64) {
	if len(b) == 0 {
		return
	}
	if len(b) > maxLen {
		r.sendNow(fd, b, data)
		return
	}
	n := r.tail - r.head
	if int(n) == len(r.sqes) {
		r.Flush()
		n = 0
	}
	s := &r.sqes[r.tail&uint32(len(r.sqes)-1)]
	s.fd = int32(fd)
	s.addr = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
	s.len = uint32(len(b))
	s.userData = data
	r.hold[n] = unsafe.SliceData(b)
	r.tail++
}

// Flush submits what is queued and reports the sends that failed. When it
// returns every send is over: the kernel reads no buffer and holds no file of
// this ring, so buffers may be reused and sockets closed.
func (r *Ring) Flush() {
	if r.head == r.tail {
		return
	}
	first := r.head
	atomic.StoreUint32(r.sqTail, r.tail)
	for r.head != r.tail {
		n := min(r.tail-r.head, maxSubmit)
		unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(n), 0, 0, 0, 0)
		r.reap()
		head := atomic.LoadUint32(r.sqHead)
		if head == r.head {
			r.sendRest(first)
			break
		}
		r.head = head
	}
	clear(r.hold[:r.tail-first])
	r.tail = r.head
}

// reap reports the failures that the kernel has left in the completion ring.
// It cannot overflow: it has two entries for each of the submission ring's.
func (r *Ring) reap() {
	head, tail := *r.cqHead, atomic.LoadUint32(r.cqTail)
	for ; head != tail; head++ {
		c := r.cqes[head&uint32(len(r.cqes)-1)]
		if c.res >= 0 {
			r.fail(c.userData, int(c.res), unix.EAGAIN)
		} else {
			r.fail(c.userData, 0, unix.Errno(-c.res))
		}
	}
	atomic.StoreUint32(r.cqHead, head)
}

// sendRest sends one by one what the kernel refuses to take (it is out of
// memory for requests, or has been told to forbid the call by now), and takes
// it back from the ring. Its order is free: each fd occurs once.
func (r *Ring) sendRest(first uint32) {
	atomic.StoreUint32(r.sqTail, r.head)
	for i := r.head; i != r.tail; i++ {
		s := &r.sqes[i&uint32(len(r.sqes)-1)]
		r.sendNow(int(s.fd), unsafe.Slice(r.hold[i-first], s.len), s.userData)
	}
}

// sendNow sends b without the ring.
func (r *Ring) sendNow(fd int, b []byte, data uint64) {
	n, err := unix.SendmsgN(fd, b, nil, nil, sendFlags)
	if err == nil && n < len(b) {
		err = unix.EAGAIN
	}
	if err != nil {
		r.fail(data, n, err.(unix.Errno))
	}
}

// Close frees the ring; what is queued is dropped. A second Close does
// nothing.
func (r *Ring) Close() error {
	if r.fd < 0 {
		return nil
	}
	var errs [3]error
	if r.rings != nil {
		errs[0] = unix.Munmap(r.rings)
	}
	if r.slots != nil {
		errs[1] = unix.Munmap(r.slots)
	}
	errs[2] = unix.Close(r.fd)
	*r = Ring{fd: -1}
	return errors.Join(errs[:]...)
}
