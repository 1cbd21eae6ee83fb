//go:build linux && !fallback

package netpoll

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Net is the system's sockets. The calls never wait, so they are made without
// telling the scheduler (RawSyscall), which saves a tenth of a send's cost.
type Net struct{}

// NewNet returns the sockets of the system.
func NewNet() *Net { return &Net{} }

// Recv implements the contract.
func (*Net) Recv(socket int, p []byte) (int, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(socket),
		uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

func send(socket int, p []byte) (int, syscall.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(socket),
		uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

// maxVector is how many buffers go into one call.
const maxVector = 16

// Sendv implements the contract.
func (*Net) Sendv(socket int, buffers [][]byte) (int, error) {
	var vec [maxVector]unix.Iovec
	n := min(len(buffers), maxVector)
	for i, b := range buffers[:n] {
		vec[i].Base = unsafe.SliceData(b)
		vec[i].SetLen(len(b))
	}
	msg := unix.Msghdr{Iov: &vec[0]}
	msg.SetIovlen(n)
	sent, _, e := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(socket),
		uintptr(unsafe.Pointer(&msg)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	if e != 0 {
		return 0, e
	}
	return int(sent), nil
}

// Unacked implements the contract.
func (*Net) Unacked(socket int) int {
	n, err := unix.IoctlGetInt(socket, unix.TIOCOUTQ)
	if err != nil {
		return 0 // the connection has broken
	}
	return n
}

// Peer implements the contract.
func (*Net) Peer(socket int) netip.AddrPort {
	name, err := unix.Getpeername(socket)
	if err != nil {
		return netip.AddrPort{}
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// CloseWrite implements the contract.
func (*Net) CloseWrite(socket int) error { return unix.Shutdown(socket, unix.SHUT_WR) }

// Close implements the contract.
func (*Net) Close(socket int) error { return unix.Close(socket) }

// Shutdown implements the contract: the kernel sends on without us.
func (*Net) Shutdown() {}

// Listener accepts connections.
//
// The listening socket lies in an epoll of its own, which hangs under Go's
// poller as a [Poller] does, and is armed for one event only when nobody has
// come. While connections come faster than Accept is called, none of them
// wakes up a thread: under Go's poller itself, each would.
type Listener struct {
	addr   net.Addr
	socket *os.File        // listening
	listen syscall.RawConn // of socket
	epoll  nested

	closed atomic.Bool

	// Accept's own.
	gather bool // connections come one after the other

	mu    sync.Mutex // guards spare
	spare int        // an open descriptor to give up when there is no other; -1: none
}

// Listen implements the contract. The options are set on the listening socket;
// Linux hands all of them down to what it accepts.
func (*Net) Listen(address string, o Options) (*Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = o.set(int(fd)) }); e != nil {
			return e
		}
		return err
	}}
	lc.SetMultipathTCP(false) // its sockets are heavier and take other options
	l, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	defer l.Close() // what follows has a descriptor of its own
	ln := &Listener{addr: l.Addr(), spare: -1}
	if err := ln.open(l.(*net.TCPListener)); err != nil {
		ln.Close()
		return nil, fmt.Errorf("preparing to listen: %w", err)
	}
	return ln, nil
}

func (l *Listener) open(from *net.TCPListener) error {
	raw, err := from.SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	var dup error
	if err := raw.Control(func(s uintptr) { fd, dup = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return err
	}
	if dup != nil {
		return dup
	}
	// A file made of a blocking descriptor does not go under Go's poller.
	if err := unix.SetNonblock(fd, false); err != nil {
		unix.Close(fd)
		return err
	}
	l.socket = os.NewFile(uintptr(fd), "listener")
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	if l.listen, err = l.socket.SyscallConn(); err != nil {
		return err
	}
	if l.epoll, err = newNested(); err != nil {
		return err
	}
	if err := l.arm(unix.EPOLL_CTL_ADD); err != nil {
		return err
	}
	l.spare, err = openSpare()
	return err
}

// arm asks for one event when a connection is there to be accepted.
func (l *Listener) arm(op int) error {
	return l.use(func(fd int) error {
		ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT}
		var err error
		if e := l.epoll.raw.Control(func(ep uintptr) { err = unix.EpollCtl(int(ep), op, fd, &ev) }); e != nil {
			return net.ErrClosed
		}
		return err
	})
}

// use calls f with the listening socket, which is not closed meanwhile.
func (l *Listener) use(f func(fd int) error) (err error) {
	if l.listen.Control(func(fd uintptr) { err = f(int(fd)) }) != nil {
		return net.ErrClosed
	}
	return err
}

func openSpare() (int, error) {
	return unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

func (o Options) set(fd int) error {
	seconds := func(d time.Duration) int {
		if d == 0 {
			return 0
		}
		return max(1, int(d/time.Second))
	}
	for _, v := range []struct{ level, name, value int }{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_SNDBUF, o.SendBuffer},
		{unix.SOL_SOCKET, unix.SO_RCVBUF, o.RecvBuffer},
		{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, o.NotSentLowat},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, min(1, int(o.KeepAlive))},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds(o.KeepAlive)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(o.KeepAlive / 3)},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(o.UserTimeout.Milliseconds())},
		{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, seconds(o.DeferAccept)},
	} {
		if v.value == 0 {
			continue
		}
		if err := unix.SetsockoptInt(fd, v.level, v.name, v.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

// Addr implements the contract.
func (l *Listener) Addr() net.Addr { return l.addr }

// acceptEvery is how often connections are accepted while they come, so that a
// loop is woken up for several of them. One that comes after a pause is accepted at
// once. A longer time costs clients that connect one after the other: with 5 ms,
// 4,500 of them came in within 32 s, with 2 ms within 15.
const acceptEvery = 2 * time.Millisecond

// Accept implements the contract.
func (l *Listener) Accept(into []Accepted) (int, error) {
	if l.gather {
		time.Sleep(acceptEvery)
	}
	for {
		n, err := l.acceptNow(into)
		if err != unix.EAGAIN {
			l.gather = n > 0 && n < len(into)
			return n, err
		}
		if err := l.arm(unix.EPOLL_CTL_MOD); err != nil {
			return 0, l.reason(err)
		}
		var event [1]unix.EpollEvent
		err = l.epoll.raw.Read(func(ep uintptr) bool {
			n, e := unix.EpollWait(int(ep), event[:], 0)
			return n > 0 || e != nil && e != unix.EINTR
		})
		if err != nil {
			return 0, l.reason(err)
		}
	}
}

// reason returns why a wait ended: after Close, os returns an error that cannot
// be compared with.
func (l *Listener) reason(err error) error {
	if l.closed.Load() {
		return net.ErrClosed
	}
	return err
}

// acceptNow is Accept without waiting; it returns EAGAIN if nobody has come.
func (l *Listener) acceptNow(into []Accepted) (n int, err error) {
	err = l.use(func(fd int) error {
		for n < len(into) {
			a, errno := accept(fd)
			switch errno {
			case 0:
				into[n] = a
				n++
			case unix.EINTR, unix.ECONNABORTED:
			default:
				return errno
			}
		}
		return nil
	})
	if n > 0 {
		err = nil // the next call meets it again
	}
	return n, err
}

func accept(fd int) (Accepted, syscall.Errno) {
	var sa unix.RawSockaddrAny
	size := uint32(unsafe.Sizeof(sa))
	s, _, e := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&sa)),
		uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if e != 0 {
		return Accepted{}, e
	}
	a := Accepted{Socket: int(s)}
	switch sa.Addr.Family {
	case unix.AF_INET:
		in4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&sa))
		a.IP[10], a.IP[11] = 0xff, 0xff
		copy(a.IP[12:], in4.Addr[:])
	case unix.AF_INET6:
		a.IP = (*unix.RawSockaddrInet6)(unsafe.Pointer(&sa)).Addr
	}
	return a, 0
}

// Refuse implements the contract. Somebody else may snatch the descriptor
// between our close and our accept: then it did not work this time.
func (l *Listener) Refuse(response []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeSpareLocked()
	refused := false
	err := l.use(func(fd int) error {
		a, e := accept(fd)
		if refused = e == 0; refused {
			Answer(&Net{}, a.Socket, response)
		}
		return nil
	})
	if err != nil {
		return false // closed
	}
	if s, e := openSpare(); e == nil {
		l.spare = s
	}
	return refused
}

// Close implements the contract.
func (l *Listener) Close() error {
	l.closed.Store(true)
	var err error
	for _, f := range []*os.File{l.socket, l.epoll.file} { // first: from here on Refuse opens no spare
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeSpareLocked()
	return err
}

func (l *Listener) closeSpareLocked() {
	if l.spare >= 0 {
		unix.Close(l.spare)
		l.spare = -1
	}
}
