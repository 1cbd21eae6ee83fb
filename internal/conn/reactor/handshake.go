package reactor

import (
	"slices"

	"pushd/internal/conn/proto"
)

// greet begins with a connection fresh from accept. Most clients have sent
// their request by then, so it is read before the poller hears of the socket.
func (l *Loop) greet(socket, ip uint32) {
	h, s := l.enlist(socket, head)
	defer l.Recovered(h)
	s.fresh(ip, l.clock)
	l.read(h, s, false)
	if s = l.lookup(h); s == nil {
		return
	}
	if s.state == head {
		l.heads.add(h, l.clock)
	}
	l.watch(h, s)
}

// readHead takes in bytes of a request's head.
func (l *Loop) readHead(h Handle, s *slot, p []byte) {
	searched := 0
	if s.input != 0 {
		searched = len(l.inputs.get(s.input))
		ref, ok := l.inputs.add(s.input, p)
		if !ok {
			l.Refuse(h, proto.ErrBusy)
			return
		}
		s.input = ref
		p = l.inputs.get(ref)
	}
	end := proto.HeadEnd(p, searched)
	if end < 0 {
		if err := proto.CheckBegin(p); err != nil {
			l.Refuse(h, err)
			return
		}
	}
	switch {
	case end > maxHead || end < 0 && len(p) >= maxHead:
		l.Refuse(h, proto.ErrHeadTooLarge)
	case end >= 0:
		l.hand(h, s, p, end)
	case s.input == 0:
		l.keepHead(h, s, p)
	}
}

// keepHead keeps the beginning of a head, at the cost of the oldest that is
// kept when there are too many.
func (l *Loop) keepHead(h Handle, s *slot, p []byte) {
	most := max(1, l.cfg.MaxHeads/l.cfg.Loops)
	if len(l.partial) >= most {
		l.partial = slices.DeleteFunc(l.partial, func(h Handle) bool {
			s := l.lookup(h)
			return s == nil || s.state != head
		})
	}
	if len(l.partial) >= most {
		oldest := l.partial[0]
		l.partial = slices.Delete(l.partial, 0, 1)
		l.Refuse(oldest, proto.ErrBusy)
	}
	ref, ok := l.inputs.add(0, p)
	if !ok {
		l.Refuse(h, proto.ErrBusy)
		return
	}
	s.input = ref
	l.partial = append(l.partial, h)
}

// hand gives a complete request to the handler.
func (l *Loop) hand(h Handle, s *slot, p []byte, end int) {
	if err := l.request.Parse(p[:end], l.cfg.Path); err != nil {
		l.Refuse(h, err)
		return
	}
	l.become(s, pending)
	l.asking, l.leftover = h, p[end:]
	l.handler.Request(h, &l.request)
	rest := l.leftover
	l.asking, l.leftover = 0, nil
	if s = l.lookup(h); s != nil && s.state != closing {
		l.keepLeftover(h, s, rest)
	}
}

// keepLeftover keeps what followed the head: frames, which wait until the
// connection opens.
func (l *Loop) keepLeftover(h Handle, s *slot, rest []byte) {
	switch {
	case s.input != 0 && len(rest) > 0: // rest lies in that buffer, behind the head
		b := l.inputs.get(s.input)
		l.inputs.set(s.input, b[:copy(b, rest)])
	case s.input != 0:
		l.dropInput(s)
	case len(rest) > 0:
		l.keep(h, s, rest)
	}
	if s.input == 0 {
		return
	}
	s.flags |= unread
	if s.state == open {
		l.again = append(l.again, h)
	}
}

// keep stores what was received and cannot be handled yet.
func (l *Loop) keep(h Handle, s *slot, p []byte) {
	ref, ok := l.inputs.add(s.input, p)
	if !ok {
		l.drop(h, s, Input)
		return
	}
	s.input = ref
	s.flags |= unread
}

// Move gives a connection whose request is not answered to another loop, whose
// handler gets v. Here the handle means nothing from now on; to may be l.
func (l *Loop) Move(h Handle, to *Loop, v any) {
	s := l.lookup(h)
	if s == nil || s.state != pending {
		return
	}
	if to == l {
		l.handler.Adopt(h, v)
		return
	}
	a := arrival{socket: h.Socket(), moved: true, v: v}
	switch {
	case h == l.asking:
		a.input = append(a.input, l.leftover...)
	case s.input != 0:
		a.input = append(a.input, l.inputs.get(s.input)...)
	}
	if s.has(registered) {
		if err := l.poller.Remove(int(h.Socket())); err != nil {
			l.log.Error("moving a socket", "error", err)
		}
	}
	l.dropInput(s)
	l.delist(s, free)
	s.flags = 0
	s.generation.Add(1)
	if !to.post(a) {
		l.discard(&a)
	}
}

// adopt begins with a connection that was moved here.
func (l *Loop) adopt(a *arrival) {
	h, s := l.enlist(a.socket, pending)
	defer l.Recovered(h)
	s.seen = l.clock
	if len(a.input) > 0 {
		l.keep(h, s, a.input)
	}
	if s.state == pending {
		l.handler.Adopt(h, a.v)
	}
	if s = l.lookup(h); s != nil {
		l.watch(h, s)
	}
}

// Open answers a request: the connection is a WebSocket from now on. f is the
// response (see proto.AppendUpgrade), perhaps with first frames behind it.
func (l *Loop) Open(h Handle, f *Frame) {
	s := l.lookup(h)
	if s == nil || s.state != pending {
		return
	}
	l.become(s, open)
	l.count.Handshakes[outcomeOf(101)]++
	s.seen = l.clock
	l.send(h, s, f)
	switch {
	case s.state != open: // sending showed that it is gone
	case l.draining.Load():
		l.begin(h, s, Drained, proto.CloseGoingAway, goingAway)
	case s.has(unread):
		l.again = append(l.again, h)
	}
}

// Refuse answers a request that becomes no WebSocket, and ends the connection.
func (l *Loop) Refuse(h Handle, e *proto.HTTPError) {
	s := l.lookup(h)
	if s == nil || s.state != pending && s.state != head {
		return
	}
	l.count.Handshakes[outcomeOf(e.Status)]++
	retry := 0
	if e.Status == proto.ErrBusy.Status {
		retry = jitter()
	}
	f := l.NewFrame(512)
	f.B = proto.AppendHTTPError(f.B, e, retry)
	l.become(s, closing)
	s.flags |= deaf
	l.dropInput(s)
	l.send(h, s, f)
	l.Drop(f)
	l.lingers.add(h, l.clock)
}
