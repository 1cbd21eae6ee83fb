// Package netpoll gives a loop what it needs of sockets: non-blocking calls by
// number, and one place to wait for all of them.
//
// On Linux a socket is its file descriptor and a [Poller] is an epoll. On other
// systems, and with the build tag "fallback", the same contract stands on
// net.Conn: a socket is a small number, and two goroutines a connection move
// bytes between it and bounded buffers. Users of this package cannot tell which
// they have, and are tested on both.
//
// # The contract
//
// A socket has one owner at a time, and only the owner may name it: after
// [Net.Close] the number may belong to another connection at once. Numbers are the lowest free,
// so that tables indexed by them stay dense.
//
// Readiness is edge-triggered: after Add, and after every EAGAIN, a change is
// reported once. After Readable the owner reads until EAGAIN, or until a read
// shorter than the buffer while Hup was not reported. After EAGAIN in sending it
// waits for Writable; at other times Writable may come and means nothing. An event carries the tag given to Add; it may be stale when the
// socket was closed or removed while the event was on its way, so the tag
// holds a generation.
package netpoll

import (
	"net"
	"net/netip"
	"syscall"
	"time"
)

// EAGAIN is what Recv and Send return when they would have to wait.
const EAGAIN = syscall.EAGAIN

// Ready says what a socket is ready for.
type Ready uint8

const (
	// Readable: there are bytes, or the end, or an error to be read.
	Readable Ready = 1 << iota
	// Writable: there is room to send.
	Writable
	// Hup: the peer will send no more, or the connection broke. Bytes that it
	// sent before can still be read.
	Hup
)

// Event is a change of one socket.
type Event struct {
	Tag   uint64
	Ready Ready
}

// Accepted is a connection that has just come in.
type Accepted struct {
	Socket int
	// IP is the peer's address; an IPv4 address is mapped into IPv6.
	IP [16]byte
}

// Send is one entry of a batch: Data is to go out on Socket.
type Send struct {
	Socket int32
	// Sent and Err are the answer: all of Data (Err is 0), less (EAGAIN: the
	// rest must wait for Writable), or none and why.
	Sent int32
	Err  syscall.Errno
	Data []byte
}

// Options of the sockets that a listener accepts; zero leaves the system's
// choice. Systems ignore what they do not know.
type Options struct {
	// SendBuffer and RecvBuffer bound what the kernel holds for one socket,
	// in bytes. A stuck client costs the kernel this much and no more.
	SendBuffer, RecvBuffer int
	// NotSentLowat is how many unsent bytes a socket may hold and still be
	// reported Writable.
	NotSentLowat int
	// KeepAlive is how long a silent connection is left unprobed.
	KeepAlive time.Duration
	// UserTimeout is how long sent data may stay unacknowledged by the peer's
	// system before the connection breaks.
	UserTimeout time.Duration
	// DeferAccept is how long the system may keep a connection that has sent
	// nothing yet from being accepted.
	DeferAccept time.Duration
}

// The contract; both implementations are held to it by the compiler.
type (
	sockets interface {
		// Listen binds address, "host:port"; port 0 takes a free one.
		Listen(address string, o Options) (*Listener, error)
		// NewPoller returns a poller of sockets of this Net.
		NewPoller() (*Poller, error)
		// NewFlusher returns a flusher for one goroutine. If the system has a
		// way to send to many sockets in one call, that is what it uses, unless
		// plain is set; the error says why not, and the flusher works all the
		// same.
		NewFlusher(plain bool) (Flusher, error)
		// Recv reads what is there into p: n > 0; or n 0 and no error at the
		// end of the stream; or EAGAIN; or why the connection broke.
		Recv(socket int, p []byte) (n int, err error)
		// Sendv sends the buffers in order and returns how many bytes were
		// taken; EAGAIN only when none were. It keeps none of them.
		Sendv(socket int, buffers [][]byte) (n int, err error)
		// Unacked returns how many bytes of what was sent the peer's system has
		// not acknowledged; 0 where that cannot be known.
		Unacked(socket int) int
		// Peer returns the other end's address; the zero one if the
		// connection has broken.
		Peer(socket int) netip.AddrPort
		// CloseWrite sends the end of the stream after what was sent.
		CloseWrite(socket int) error
		// Close ends the connection. Data that was sent still goes out, unless
		// there is input that was not read, which may reset the connection.
		// The number is free at once.
		Close(socket int) error
		// Shutdown waits for what Close left to the background.
		Shutdown()
	}

	listener interface {
		Addr() net.Addr
		// Accept waits for connections and fills into with as many as have
		// come; those that come right after others may have to wait for a few
		// milliseconds, so that several are taken together. Out of descriptors it returns EMFILE or ENFILE, and Refuse
		// may be tried; after Close, net.ErrClosed; other errors pass.
		Accept(into []Accepted) (n int, err error)
		// Refuse takes one waiting connection with a descriptor kept for
		// this, sends it response and ends it. It reports whether it did.
		Refuse(response []byte) bool
		// Close unbinds the address and ends a waiting Accept.
		Close() error
	}

	poller interface {
		// Add begins to report socket's events with tag. A socket that is
		// ready already is reported.
		Add(socket int, tag uint64) error
		// Remove ends that; closing a socket does too.
		Remove(socket int) error
		// Wait fills events with what has changed, after at most timeout (it
		// may be early, with none); 0 does not wait. One goroutine only.
		Wait(events []Event, timeout time.Duration) (n int, err error)
		// Wake makes the present or the next Wait return. Any goroutine.
		Wake()
		// Close releases the poller, on which no goroutine may be waiting.
		Close() error
	}
)

var (
	_ sockets  = (*Net)(nil)
	_ listener = (*Listener)(nil)
	_ poller   = (*Poller)(nil)
)

// Flusher sends batches. No socket may be in a batch twice: the second entry
// could overtake what is left of the first.
type Flusher interface {
	// Flush sends every entry as far as it goes without waiting, and fills in
	// Sent and Err.
	Flush(batch []Send)
	// Name is a word for metrics.
	Name() string
	// Close releases what the flusher holds.
	Close() error
}
