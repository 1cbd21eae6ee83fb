//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// state is how far a connection is. It only moves forward:
//
//	dialing → upgrading → greeting → open
//
// and from any of them the connection may end, which removes it.
type state uint8

const (
	dialing   state = iota // connect is under way
	upgrading              // the request is sent, the answer not complete
	greeting               // upgraded; messages of the hello are still to come
	open
)

// conn is one connection. It belongs to its holder's loop.
type conn struct {
	fd    int
	index int
	began int64 // when it was due to be opened
	state state
	stuck bool
	hello int    // messages of the hello still to come
	code  uint16 // of the close frame that came, or 0
	head  []byte // what has come of the server's answer
	in    assembler
}

// dial begins connection index, which was due at the time given.
func (h *holder) dial(index int, due int64) {
	fd, err := h.socket(index)
	if err != nil {
		h.fail(err)
		return
	}
	c := &conn{fd: fd, index: index, began: due, hello: h.cfg.Hello, stuck: h.cfg.stuck(index)}
	for fd >= len(h.conns) {
		h.conns = append(h.conns, nil)
	}
	h.conns[fd] = c
	h.pending++
}

func (h *holder) socket(index int) (fd int, err error) {
	family := unix.AF_INET
	if _, six := h.server.(*unix.SockaddrInet6); six {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("opening a socket: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if h.cfg.stuck(index) {
		// As little as the kernel grants, so that the server feels it soon.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1)
	}
	if len(h.sources) > 0 {
		// The port is chosen when connecting, so that each source has all of
		// them towards each server.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err := unix.Bind(fd, h.sources[index%len(h.sources)]); err != nil {
			return -1, fmt.Errorf("binding to source address %s: %w", h.cfg.Sources[index%len(h.sources)], err)
		}
	}
	// Edge-triggered and for good: one call in the life of a connection.
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(fd)}
	if err := unix.EpollCtl(h.ep, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return -1, fmt.Errorf("watching a socket: %w", err)
	}
	if err := unix.Connect(fd, h.server); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return -1, connectError(err)
	}
	return fd, nil
}

func connectError(err error) error {
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("connecting: %w: every port of the source address is in use (add addresses with -sources)", err)
	}
	return fmt.Errorf("connecting: %w", err)
}

// ready handles what epoll reported for c.
func (h *holder) ready(c *conn, events uint32) {
	const over = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	if c.state == dialing {
		if err := h.upgrade(c, events); err != nil {
			h.end(c, err)
			return
		}
	}
	if c.stuck && c.state == open {
		if events&over != 0 {
			h.end(c, errors.New("the server cut off a connection that was stuck on purpose"))
		}
		return
	}
	if c.state == dialing || events&(unix.EPOLLIN|over) == 0 {
		return
	}
	for h.conns[c.fd] == c {
		n, err := unix.Read(c.fd, h.buf)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			h.end(c, fmt.Errorf("connection broke: %w", err))
			return
		case n == 0:
			h.end(c, c.ended())
			return
		}
		if err := h.feed(c, h.buf[:n]); err != nil {
			h.end(c, err)
			return
		}
		// A short read emptied the socket, unless its end is to be read too.
		if n < len(h.buf) && events&over == 0 {
			return
		}
	}
}

// upgrade sends the request as soon as the connection stands.
func (h *holder) upgrade(c *conn, events uint32) error {
	if events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) == 0 {
		return nil
	}
	if code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
		return connectError(unix.Errno(code))
	}
	var err error
	if h.out, err = h.handshakes.append(h.out[:0], c.index); err != nil {
		return err
	}
	c.state = upgrading
	return h.write(c, h.out)
}

// write sends b in one go: nothing here is large enough to fill a socket's
// buffer, except for one that the server does not read from.
func (h *holder) write(c *conn, b []byte) error {
	n, err := unix.Write(c.fd, b)
	if err == nil && n < len(b) {
		err = unix.EAGAIN
	}
	if err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	return nil
}

func (h *holder) feed(c *conn, b []byte) error {
	if c.state == upgrading {
		// Usually the whole head comes at once and nothing needs keeping.
		if len(c.head) > 0 {
			c.head = append(c.head, b...)
			b = c.head
		}
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			if len(b) > maxHead {
				return fmt.Errorf("handshake: the server's answer has no end within %d bytes", maxHead)
			}
			c.head = append(c.head[:0], b...)
			return nil
		}
		if err := h.handshakes.check(b[:end], b[end+4:]); err != nil {
			return err
		}
		// The first frames may have come with the answer.
		b, c.head, c.state = b[end+4:], nil, greeting
		h.tally.Greeting++
		if h.hello != nil {
			if err := h.write(c, h.hello); err != nil {
				return err
			}
		}
		if c.hello == 0 {
			h.opened(c)
		}
	}
	return c.in.feed(b,
		func(m []byte, deflated bool) error { return h.message(c, m, deflated) },
		func(op byte, payload []byte) { h.control(c, op, payload) })
}

// opened is called once, when the connection is as a client would use it.
func (h *holder) opened(c *conn) {
	c.state = open
	h.pending--
	h.tally.Greeting--
	h.tally.Open++
	h.result.Connect.record(time.Duration(h.clock.now() - c.began))
}

// message counts the deliveries in m: usually one, but a server may pack
// several into a frame, and none in what it says for itself.
func (h *holder) message(c *conn, m []byte, deflated bool) (err error) {
	wire := len(m)
	if deflated {
		if !h.cfg.Compression {
			return errReserved
		}
		if m, err = h.inflater.inflate(m); err != nil {
			return err
		}
	}
	if c.state == greeting {
		if c.hello--; c.hello <= 0 {
			h.opened(c)
		}
		return nil
	}
	if c.index >= h.cfg.Conns {
		return nil // what everybody gets, it gets too, but is not expected to
	}
	now, found := h.clock.now(), false
	for rest := m; ; {
		s, after, ok := nextStamp(rest)
		if !ok {
			break
		}
		if rest = after; s.run == h.tally.Run {
			h.count(s, now)
			found = true
		}
	}
	if found {
		h.tally.Last = now
		h.tally.Bytes += uint64(wire)
	}
	return nil
}

func (h *holder) count(s stamp, now int64) {
	if missing := int(s.seq) + 1 - len(h.result.Counts); missing > 0 {
		h.result.Counts = append(h.result.Counts, make([]uint32, missing)...)
	}
	h.result.Counts[s.seq]++
	h.result.Delivery.record(time.Duration(now - s.due))
	h.tally.Deliveries++
}

func (h *holder) control(c *conn, op byte, payload []byte) {
	switch op {
	case opPing:
		h.out = appendClientFrame(h.out[:0], opPong, payload)
		_ = h.write(c, h.out) // a server that cannot take it will close
	case opClose:
		if len(payload) >= 2 {
			c.code = binary.BigEndian.Uint16(payload)
		}
		h.out = appendClientFrame(h.out[:0], opClose, payload[:min(len(payload), 2)])
		_ = h.write(c, h.out) // the server may have closed for good already
	}
}

// ended says why the server may have ended the connection.
func (c *conn) ended() error {
	switch {
	case c.code != 0:
		return fmt.Errorf("the server closed the connection with code %d", c.code)
	case c.state == upgrading:
		return errors.New("handshake: the server closed the connection without an answer")
	}
	return errors.New("the server closed the connection without a close frame")
}

// end closes c, which ended by err, and begins it anew if the server asked for
// that.
func (h *holder) end(c *conn, err error) {
	unix.Close(c.fd)
	h.conns[c.fd] = nil
	if c.state == open {
		h.tally.Open--
		h.tally.Closed++
		h.result.Errors.note(err)
		return
	}
	h.pending--
	if c.state == greeting {
		h.tally.Greeting--
	}
	var no *refusal
	if errors.As(err, &no) && no.after > 0 {
		h.tally.Retried++
		h.again(retry{c.index, h.clock.now() + int64(no.after)})
		return
	}
	h.fail(err)
}

// again puts r among the retries. Most are later than all others.
func (h *holder) again(r retry) {
	i := len(h.retries)
	for i > 0 && h.retries[i-1].at > r.at {
		i--
	}
	h.retries = slices.Insert(h.retries, i, r)
}
