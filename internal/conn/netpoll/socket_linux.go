//go:build linux && !fallback

package netpoll

import (
	"context"
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
type Listener struct {
	addr net.Addr
	file *os.File // the listening socket; unlike net.Listener's, its raw form can wait
	raw  syscall.RawConn

	closed atomic.Bool

	mu    sync.Mutex
	spare int // an open descriptor to give up when there is no other; -1: none
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
	defer l.Close() // the file below is a descriptor of its own
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		return nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	spare, err := openSpare()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("opening a spare descriptor: %w", err)
	}
	return &Listener{addr: l.Addr(), file: file, raw: raw, spare: spare}, nil
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

// Accept implements the contract.
func (l *Listener) Accept(into []Accepted) (n int, err error) {
	e := l.raw.Read(func(fd uintptr) bool {
		for n < len(into) {
			a, errno := accept(int(fd))
			switch errno {
			case 0:
				into[n] = a
				n++
			case unix.EAGAIN:
				return n > 0
			case unix.EINTR, unix.ECONNABORTED:
			default:
				// What was taken goes first; the trouble will still be there.
				if n == 0 {
					err = errno
				}
				return true
			}
		}
		return true
	})
	if e != nil {
		if l.closed.Load() { // what os returns for it cannot be compared with
			e = net.ErrClosed
		}
		return 0, e
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
	err := l.raw.Control(func(fd uintptr) {
		a, e := accept(int(fd))
		if refused = e == 0; refused {
			Answer(&Net{}, a.Socket, response)
		}
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
	err := l.file.Close() // first: from here on Refuse opens no spare
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
