//go:build !linux || fallback

package netpoll

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	inBuffer  = 4 << 10  // bytes read ahead
	outBuffer = 64 << 10 // bytes taken from Send and not yet written
	// farewell is how long what was sent before Close may take to go out, and
	// hush how long what the peer still sends is read: closing a connection
	// with unread input would reset it.
	farewell = 5 * time.Second
	hush     = 100 * time.Millisecond
)

// Net is net.Conn made non-blocking: a socket is a number for a connection
// with two goroutines.
type Net struct {
	helpers sync.WaitGroup

	mu      sync.Mutex
	sockets []*socket // by number; nil is free
}

// NewNet returns an empty Net.
func NewNet() *Net { return &Net{} }

// socket is one connection. Its reader fills in and its writer empties out.
type socket struct {
	conn net.Conn

	mu      sync.Mutex
	changed sync.Cond // in was emptied, out was filled, or a flag was set
	in      []byte
	ended   error // why nothing more will come in; io.EOF is the peer's end
	out     []byte
	broken  error // why nothing can be sent
	refused bool  // a Send met EAGAIN: tell when there is room
	closing bool  // CloseWrite or Close: the writer ends when out is empty
	closed  bool  // Close: the reader ends
	poller  *Poller
	tag     uint64
	news    Ready // not yet taken by the poller
}

func (n *Net) add(c net.Conn) int {
	s := &socket{conn: c}
	s.changed.L = &s.mu
	n.helpers.Go(s.read)
	n.helpers.Go(s.write)
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, taken := range n.sockets {
		if taken == nil {
			n.sockets[i] = s
			return i
		}
	}
	n.sockets = append(n.sockets, s)
	return len(n.sockets) - 1
}

func (n *Net) get(number int) (*socket, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if number < 0 || number >= len(n.sockets) || n.sockets[number] == nil {
		return nil, syscall.EBADF
	}
	return n.sockets[number], nil
}

// tellLocked reports r to the poller.
func (s *socket) tellLocked(r Ready) {
	if s.poller == nil {
		return
	}
	first := s.news == 0
	s.news |= r
	if first {
		s.poller.add(s)
	}
}

// read is the goroutine that reads ahead, one buffer at a time. After Close it
// throws away what comes, to the end or the deadline.
func (s *socket) read() {
	buf := make([]byte, inBuffer)
	for {
		n, err := s.conn.Read(buf)
		s.mu.Lock()
		s.in = append(s.in, buf[:n]...)
		ready := Readable
		if err != nil {
			s.ended = err
			s.changed.Broadcast()
			ready |= Hup
		}
		s.tellLocked(ready)
		for len(s.in) > 0 && !s.closed && err == nil {
			s.changed.Wait()
		}
		if s.closed {
			s.in = s.in[:0]
		}
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// write is the goroutine that empties out; it closes the connection at last.
func (s *socket) write() {
	var buf []byte
	for {
		s.mu.Lock()
		for len(s.out) == 0 && !s.closing {
			s.changed.Wait()
		}
		buf, s.out = s.out, buf[:0]
		if len(buf) == 0 {
			break
		}
		s.mu.Unlock()
		_, err := s.conn.Write(buf)
		s.mu.Lock()
		if err != nil && s.broken == nil {
			s.broken = err
			s.tellLocked(Readable | Hup)
		}
		if s.refused {
			s.refused = false
			s.tellLocked(Writable)
		}
		s.mu.Unlock()
	}
	if c, ok := s.conn.(*net.TCPConn); ok {
		c.CloseWrite()
	}
	for !s.closed || s.ended == nil {
		s.changed.Wait()
	}
	s.mu.Unlock()
	s.conn.Close()
}

// Recv implements the contract.
func (n *Net) Recv(number int, p []byte) (int, error) {
	s, err := n.get(number)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.in) > 0 {
		k := copy(p, s.in)
		s.in = append(s.in[:0], s.in[k:]...)
		s.changed.Broadcast()
		if k == len(p) && len(s.in) > 0 {
			return k, nil
		}
		if len(s.in) == 0 && s.ended != nil {
			s.tellLocked(Readable | Hup)
		}
		return k, nil
	}
	switch {
	case errors.Is(s.ended, io.EOF):
		return 0, nil
	case s.ended != nil:
		return 0, syscall.ECONNRESET
	}
	return 0, EAGAIN
}

// Sendv implements the contract.
func (n *Net) Sendv(number int, buffers [][]byte) (int, error) {
	s, err := n.get(number)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	reset := s.ended != nil && !errors.Is(s.ended, io.EOF)
	if s.broken != nil || s.closing || reset {
		return 0, syscall.EPIPE
	}
	sent := 0
	for _, b := range buffers {
		k := min(len(b), outBuffer-len(s.out))
		s.out = append(s.out, b[:k]...)
		sent += k
		if k < len(b) {
			s.refused = true
			break
		}
	}
	s.changed.Broadcast()
	if sent == 0 && s.refused {
		return 0, EAGAIN
	}
	return sent, nil
}

// Unacked implements the contract.
func (*Net) Unacked(int) int { return 0 }

// Peer implements the contract.
func (n *Net) Peer(number int) netip.AddrPort {
	s, err := n.get(number)
	if err != nil {
		return netip.AddrPort{}
	}
	a, ok := s.conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := a.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// CloseWrite implements the contract.
func (n *Net) CloseWrite(number int) error {
	s, err := n.get(number)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	s.changed.Broadcast()
	return nil
}

// Close implements the contract.
func (n *Net) Close(number int) error {
	s, err := n.get(number)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.sockets[number] = nil
	n.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing, s.closed = true, true
	s.poller = nil
	s.changed.Broadcast()
	now := time.Now()
	s.conn.SetReadDeadline(now.Add(hush))
	return s.conn.SetWriteDeadline(now.Add(farewell))
}

// Shutdown implements the contract.
func (n *Net) Shutdown() { n.helpers.Wait() }

// NewFlusher implements the contract.
func (n *Net) NewFlusher(bool) (Flusher, error) { return copyFlusher{n}, nil }

// copyFlusher hands each entry to the socket's writer.
type copyFlusher struct{ net *Net }

func (copyFlusher) Name() string { return "goroutines" }

func (copyFlusher) Close() error { return nil }

func (f copyFlusher) Flush(batch []Send) {
	for i := range batch {
		s := &batch[i]
		n, err := f.net.Sendv(int(s.Socket), [][]byte{s.Data})
		s.Sent, s.Err = int32(n), 0
		var e syscall.Errno
		switch {
		case errors.As(err, &e):
			s.Err = e
		case n < len(s.Data):
			s.Err = EAGAIN
		}
	}
}

// Listener accepts connections of a net.Listener.
type Listener struct {
	net *Net
	l   net.Listener

	mu    sync.Mutex
	spare *os.File // a descriptor to give up when there is no other
}

// Listen implements the contract. It knows the options SendBuffer and KeepAlive
// only.
func (n *Net) Listen(address string, o Options) (*Listener, error) {
	lc := net.ListenConfig{KeepAlive: o.KeepAlive}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	spare, err := os.Open(os.DevNull)
	if err != nil {
		l.Close()
		return nil, err
	}
	return &Listener{net: n, l: &tuned{l, o}, spare: spare}, nil
}

// tuned sets options on what it accepts.
type tuned struct {
	net.Listener
	o Options
}

func (t *tuned) Accept() (net.Conn, error) {
	c, err := t.Listener.Accept()
	// RecvBuffer would have to be set before the connection is made: shrunk
	// later, it leaves the peer waiting for a window that never opens.
	if tc, ok := c.(*net.TCPConn); ok && t.o.SendBuffer > 0 {
		_ = tc.SetWriteBuffer(t.o.SendBuffer) // without it a stuck client costs more
	}
	return c, err
}

// Addr implements the contract.
func (l *Listener) Addr() net.Addr { return l.l.Addr() }

// Accept implements the contract.
func (l *Listener) Accept(into []Accepted) (int, error) {
	c, err := l.l.Accept()
	if err != nil {
		var e syscall.Errno
		if errors.As(err, &e) {
			return 0, e
		}
		return 0, net.ErrClosed
	}
	into[0] = Accepted{Socket: l.net.add(c)}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		into[0].IP = a.AddrPort().Addr().As16()
	}
	return 1, nil
}

// Refuse implements the contract.
func (l *Listener) Refuse(response []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.spare != nil {
		l.spare.Close()
		l.spare = nil
	}
	c, err := l.l.Accept()
	if err == nil {
		dismiss(c, response)
	}
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	if spare, e := os.Open(os.DevNull); e == nil {
		l.spare = spare
	}
	return err == nil
}

// dismiss answers and closes at once, because its descriptor is needed again.
func dismiss(c net.Conn, response []byte) {
	c.SetDeadline(time.Now().Add(hush))
	var head [8 << 10]byte
	c.Read(head[:])
	c.Write(response)
	c.Close()
}

// Close implements the contract.
func (l *Listener) Close() error {
	err := l.l.Close() // first: it ends a Refuse that waits
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.spare != nil {
		l.spare.Close()
		l.spare = nil
	}
	return err
}
