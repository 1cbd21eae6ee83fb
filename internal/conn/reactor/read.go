package reactor

import (
	"slices"

	"pushd.example/internal/conn/netpoll"
	"pushd.example/internal/conn/proto"
)

// read reads what the socket has. After a hang-up it reads to the end of
// the stream; otherwise a read that did not fill the buffer was the last.
func (l *Loop) read(h Handle, s *slot, hup bool) {
	if s.state == pending {
		s.flags |= unread
		if hup {
			l.drop(h, s, Lost)
		}
		return
	}
	for range readBudget {
		if s.state == open && l.owed(s) {
			s.flags |= unread // until readOn
			return
		}
		if s.state == closing && s.spent >= closingBytes {
			l.pause(h, s)
			return
		}
		n, err := l.net.Recv(int(h.Socket()), l.buf)
		switch {
		case err == netpoll.EAGAIN:
			return
		case err != nil || n == 0:
			l.drop(h, s, Lost)
			return
		}
		s.seen = l.clock
		s.flags &^= pinged
		if s.state == closing {
			s.spent += int64(n)
		}
		l.received(h, s, l.buf[:n])
		if l.lookup(h) == nil || s.state == pending {
			return
		}
		if n < len(l.buf) && !hup {
			return
		}
	}
	s.flags |= unread
	l.again = append(l.again, h)
}

// closingBytes is the read limit of a closing connection in one tick, while its
// Close frame or the end of its stream is awaited. Without it, one client that
// flooded the server took a core until CloseTimeout was over.
const closingBytes = 256 << 10

// pause leaves the input of a closing client in the kernel until the next tick.
func (l *Loop) pause(h Handle, s *slot) {
	if !s.has(unread) {
		s.flags |= unread
		l.paused = append(l.paused, h)
	}
}

// unpause continues with the connections that were paused.
func (l *Loop) unpause() {
	for _, h := range l.paused {
		if s := l.lookup(h); s != nil {
			s.spent = 0
			l.again = append(l.again, h)
		}
	}
	l.paused = l.paused[:0]
}

// readAgain continues with connections that had more input than they may have
// read in one turn.
func (l *Loop) readAgain() {
	n := len(l.again)
	for _, h := range l.again[:n] {
		l.resume(h)
	}
	l.again = l.again[:copy(l.again, l.again[n:])]
}

func (l *Loop) resume(h Handle) {
	s := l.lookup(h)
	if s == nil || !s.has(unread) || s.state == pending {
		return
	}
	defer l.Recovered(h)
	s.flags &^= unread
	if s.state == open && s.input != 0 {
		l.decode(h, s, nil)
	}
	if l.lookup(h) != nil {
		// A hang-up may have been reported before: reading to the end is always right.
		l.read(h, s, true)
	}
}

func (l *Loop) received(h Handle, s *slot, p []byte) {
	switch {
	case s.state == head:
		l.readHead(h, s, p)
	case !s.has(deaf):
		l.decode(h, s, p)
	}
}

// decode decodes the frames in p, which continues a kept incomplete one.
func (l *Loop) decode(h Handle, s *slot, p []byte) {
	if s.input != 0 && len(p) > 0 && !l.store(h, s, p) {
		l.overfull(h)
		return
	}
	if s.input != 0 {
		p = l.inputs.get(s.input)
	}
	off, limits := s.frames.Assembled(), l.limits
	limits.Deflate = s.window != 0
	for {
		ev, next, err := s.frames.Next(p, off, limits)
		switch {
		case err != nil:
			l.fail(h, err)
			return
		case ev.Op == proto.None:
			l.keepFrame(h, s, p, next)
			return
		}
		off = next
		if s.input != 0 && s.frames.Assembled() == 0 {
			l.inputs.renew(s.input, l.clock)
		}
		l.frame(h, s, ev)
		if l.lookup(h) == nil || s.has(deaf) {
			return
		}
	}
}

// keepFrame keeps what a later decode needs of p.
func (l *Loop) keepFrame(h Handle, s *slot, p []byte, off int) {
	assembled, raw := s.frames.Keep(p, off)
	switch n := len(assembled) + len(raw); {
	case n == 0:
		l.dropInput(s)
	case s.input != 0:
		l.inputs.set(s.input, p[:len(assembled)+copy(p[len(assembled):], raw)])
	default:
		if !l.store(h, s, p[:len(assembled)+copy(p[len(assembled):], raw)]) {
			l.overfull(h)
		}
	}
}

// frame handles one event of a client that is open, or that has been sent a
// Close frame and has not answered yet.
func (l *Loop) frame(h Handle, s *slot, ev proto.Event) {
	if ev.Op == proto.Close {
		l.closed(h, s, ev)
		return
	}
	if s.state != open {
		return
	}
	l.count.Messages++
	if !l.allow(s, weight(ev)) {
		l.begin(h, s, TooMany, proto.CloseTooManyMessages, "too many messages")
		return
	}
	switch ev.Op {
	case proto.Text, proto.Binary:
		if ev.Deflated && !l.inflate(h, &ev) {
			return
		}
		l.handler.Message(h, ev.Op, ev.Payload)
	case proto.Ping:
		f := l.NewFrame(2 + len(ev.Payload))
		f.B = proto.AppendPongFrame(f.B, ev.Payload)
		l.send(h, s, f, control)
		l.Drop(f)
	}
}

// weight is how many messages an event counts as. 4 KiB of compressed data that
// holds one table of codes after the other keeps an inflater busy for 0.5 ms.
func weight(ev proto.Event) int64 {
	if ev.Deflated {
		return 1 + int64(len(ev.Payload)>>12)
	}
	return 1
}

// allow spends from the connection's share of messages: spent is the time up
// to which it has used its rate, which may lie ahead by the burst.
func (l *Loop) allow(s *slot, messages int64) bool {
	if l.price == 0 {
		return true
	}
	now := l.now.Sub(l.reactor.began).Nanoseconds()
	s.spent = max(s.spent, now)
	price := min(messages*l.price, l.credit)
	if s.spent+price > now+l.credit {
		return false
	}
	s.spent += price
	return true
}

// fail closes the connection of a client that broke the rules.
func (l *Loop) fail(h Handle, err *proto.CloseError) {
	why := Protocol
	if err.Code == proto.CloseTooBig {
		why = TooBig
	}
	if i := slices.Index(proto.CloseErrorMetrics[:], err.Metric); i >= 0 {
		l.count.Errors[i]++
	}
	l.abandon(h, why, err.Code, err.Reason)
}
