package reactor

import "pushd.example/internal/conn/proto"

// store adds p to the incomplete message of a connection. If there is no room,
// the oldest incomplete message is evicted first: its client had the longest
// time to finish it. So thousands of clients that never finish keep nobody out.
// It reports false if there is no room even so, or if the connection is gone.
func (l *Loop) store(h Handle, s *slot, p []byte) bool {
	for l.lookup(h) != nil { // closing others may send, and find out about h
		ref, ok := l.inputs.add(s.input, p, h, l.clock)
		if ok {
			s.input = ref
			return true
		}
		oldest, _, some := l.inputs.oldest()
		if !some || oldest == h {
			return false
		}
		l.overfull(oldest)
	}
	return false
}

// overfull closes a connection whose incomplete message has no room.
func (l *Loop) overfull(h Handle) {
	l.abandon(h, Input, proto.CloseTooManyMessages, "the server is short of memory for incomplete messages")
}

// expireInputs closes clients that take too long to finish a message.
func (l *Loop) expireInputs() {
	limit := uint32(l.cfg.MessageTimeout.Milliseconds())
	for {
		h, since, ok := l.inputs.oldest()
		if !ok || l.clock-since < limit {
			return
		}
		if s := l.lookup(h); s.state == pending || l.owed(s) { // we do not read it, the client is not to blame
			l.inputs.renew(s.input, l.clock)
			continue
		}
		l.abandon(h, Unfinished, proto.CloseTooSlow, "a message took too long to come")
	}
}

// abandon ends a connection and reads no more of it: part of its input is lost.
func (l *Loop) abandon(h Handle, why Reason, code uint16, text string) {
	s := l.lookup(h)
	switch {
	case s == nil:
		return
	case s.state == pending:
		l.Refuse(h, proto.ErrBusy)
		l.tellClosed(h, false)
		return
	}
	l.begin(h, s, why, code, text)
	if s = l.lookup(h); s != nil {
		l.deafen(h, s)
	}
}

func (l *Loop) dropInput(s *slot) {
	switch {
	case s.input == 0:
	case s.state == head:
		l.halfHeads.free(s.input)
	default:
		l.inputs.free(s.input)
	}
	s.input = 0
}
