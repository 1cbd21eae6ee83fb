package reactor

import (
	"slices"

	"pushd.example/internal/conn/proto"
)

// Close ends an open connection: a Close frame with code and text follows what
// waits in its backlog, then the client has Limits.CloseTimeout to answer. Of a
// backlog that is longer than longQueue, or of a client that is closed for
// being Slow, only the rest of the frame that was sent in part goes out.
func (l *Loop) Close(h Handle, why Reason, code uint16, text string) {
	if s := l.lookup(h); s != nil && s.state == open {
		l.begin(h, s, why, code, text)
	}
}

// begin begins the closing handshake; a connection that is not open ends at
// once.
func (l *Loop) begin(h Handle, s *slot, why Reason, code uint16, text string) {
	if s.state != open {
		l.drop(h, s, why)
		return
	}
	if s.has(inBatch) {
		l.flush() // then it is known what was taken
		if l.lookup(h) == nil || s.state != open {
			return
		}
	}
	taken := s.taken()
	l.count.Closes[why]++
	l.become(s, closing)
	s.flags &^= notify
	s.spent = 0
	if s.queue != 0 && (why == Slow || why == Shed || why != ByClient && l.backlog.isLong(s.queue)) {
		l.backlog.cut(s.queue)
	}
	if s.has(unread) {
		l.again = append(l.again, h) // the client's Close may be there
	}
	f := l.NewFrame(128)
	f.B = proto.AppendCloseFrame(f.B, code, text)
	l.send(h, s, f, answer) // not control: it comes last
	l.Drop(f)
	l.lingers.add(h, l.clock)
	l.tellClosed(h, taken)
}

func (l *Loop) tellClosed(h Handle, taken bool) {
	defer l.Recovered(0)
	l.handler.Closed(h, taken)
}

// closed handles a client's Close frame: either it answers ours, or we answer it
// with its own code.
func (l *Loop) closed(h Handle, s *slot, ev proto.Event) {
	if s.state == open {
		l.begin(h, s, ByClient, ev.Code, "")
	}
	if s = l.lookup(h); s != nil {
		l.deafen(h, s)
	}
}

// deafen discards further input; the end of our stream follows the backlog. Closing at once instead could reset the
// connection before the client has read our Close frame.
func (l *Loop) deafen(h Handle, s *slot) {
	s.flags |= deaf
	l.dropInput(s)
	if !s.has(inBatch) && s.queue == 0 {
		l.settled(h, s)
	}
}

// settled is called when all that was sent to a connection was taken by the
// kernel.
func (l *Loop) settled(h Handle, s *slot) {
	switch {
	case s.state == open && s.has(notify):
		s.flags &^= notify
		l.tellDrained(h)
	case s.has(silent):
		l.drop(h, s, Lost) // not counted: the request was answered
	case s.state == closing && s.has(deaf) && !s.has(ended):
		s.flags |= ended
		if err := l.net.CloseWrite(int(h.Socket())); err != nil {
			l.drop(h, s, Lost)
		}
	}
}

func (l *Loop) tellDrained(h Handle) {
	defer l.Recovered(h)
	l.handler.Drained(h)
}

// NotifyDrained asks for one call of Handler.Drained, when all that was sent
// so far was taken by the kernel.
func (l *Loop) NotifyDrained(h Handle) {
	if s := l.lookup(h); s != nil && s.state == open {
		s.flags |= notify
		if !s.has(inBatch) && s.queue == 0 {
			l.settled(h, s)
		}
	}
}

// drop ends a connection and tells the client nothing. Its socket is closed at
// the turn's end.
func (l *Loop) drop(h Handle, s *slot, why Reason) {
	was, taken := s.state, s.taken()
	l.closeQueue(s)
	l.dropInput(s)
	l.takePage(h)
	if s.has(toldPage) {
		l.told--
	}
	l.delist(s, dead)
	l.dead = append(l.dead, h.Socket())
	switch was {
	case head, pending:
		l.count.Handshakes[outcomeOf(0)]++
	case open:
		l.count.Closes[why]++
	}
	if was == pending || was == open {
		l.tellClosed(h, taken)
	}
}

const goingAway = "the server is going away"

// drainAll closes every connection because the server shuts down. Those whose
// request is with the handler are closed by Open.
func (l *Loop) drainAll() {
	l.drainSeen = true
	for i := len(l.conns) - 1; i >= 0; i-- {
		if i >= len(l.conns) {
			continue // several went at once
		}
		s := l.slots.At(l.conns[i])
		h := l.handle(l.conns[i])
		switch s.state {
		case head:
			l.Refuse(h, proto.ErrBusy)
		case open:
			l.begin(h, s, Drained, proto.CloseGoingAway, goingAway)
		}
	}
}

// finished reports whether the loop's work is done.
func (l *Loop) finished() bool {
	return l.force.Load() || l.draining.Load() && l.drainSeen &&
		len(l.conns) == 0 && len(l.waiting) == 0 && l.taken == len(l.arrivals) && l.sockets.Empty()
}

// discard ends a connection that arrived too late for the loop.
func (l *Loop) discard(a *arrival) {
	h, s := l.enlist(a.socket, closing)
	if !a.admitted {
		s.fresh(a.address, l.clock)
	}
	l.drop(h, s, Drained)
}

// end closes all connections and stops the handler.
func (l *Loop) end() {
	for _, a := range slices.Concat(l.waiting, l.arrivals[l.taken:], l.sockets.Close()) {
		l.discard(&a)
	}
	for len(l.conns) > 0 {
		socket := l.conns[len(l.conns)-1]
		l.drop(l.handle(socket), l.slots.At(socket), Drained)
	}
	l.flush()
	l.reap()
	l.publish()
	l.handler.Stop()
}
