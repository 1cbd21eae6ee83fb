package reactor

import "pushd.example/internal/conn/proto"

// greet begins with a connection fresh from accept. Most clients have sent
// their request by then, so it is read before the poller hears of the socket.
func (l *Loop) greet(socket, address uint32) {
	h, s := l.enlist(socket, head)
	defer l.Recovered(h)
	s.fresh(address, l.clock)
	l.read(h, s, false)
	if s = l.lookup(h); s == nil || s.has(silent) {
		return
	}
	if s.state == head {
		l.heads.add(h, l.clock)
	}
	l.watch(h, s)
}

// readHead reads bytes of a request's head. An incomplete head is kept in
// l.halfHeads; input of a connection in any other state is kept in l.inputs.
func (l *Loop) readHead(h Handle, s *slot, p []byte) {
	searched := 0
	if s.input != 0 {
		searched = len(l.halfHeads.get(s.input))
		ref, ok := l.halfHeads.add(s.input, p, h, l.clock)
		if !ok {
			l.Refuse(h, proto.ErrBusy)
			return
		}
		s.input = ref
		p = l.halfHeads.get(ref)
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
	if l.halfHeads.count >= l.mostHeads() {
		oldest, _, _ := l.halfHeads.oldest()
		l.reactor.refused[OverHeads].Add(1)
		l.refuse(oldest, l.lookup(oldest), proto.ErrBusy, jitter(), OverHeads.String())
	}
	ref, ok := l.halfHeads.add(0, p, h, l.clock)
	if !ok {
		l.Refuse(h, proto.ErrBusy)
		return
	}
	s.input = ref
}

// mostHeads is how many incomplete heads are kept.
func (l *Loop) mostHeads() int { return max(1, l.cfg.MaxHeads/l.cfg.Loops) }

// hand gives a complete request to the handler.
func (l *Loop) hand(h Handle, s *slot, p []byte, end int) {
	if ref := s.input; ref != 0 {
		s.input = 0
		defer l.halfHeads.free(ref) // p lies in it
	}
	l.asking, l.leftover = h, p[end:]
	l.ask(h, s, p[:end])
	rest := l.leftover
	l.asking, l.leftover = 0, nil
	if s = l.lookup(h); s != nil && s.state != closing {
		l.keepLeftover(h, s, rest)
	}
}

// ask gives a valid request to the handler, and refuses any other.
func (l *Loop) ask(h Handle, s *slot, head []byte) {
	err := l.request.Parse(head, l.cfg.Path)
	if page := l.request.Page(); page != nil {
		l.pages[h] = page
	}
	if err != nil {
		l.Refuse(h, err)
		return
	}
	if !l.cfg.Compression {
		l.request.Deflate = proto.Deflate{}
	}
	l.become(s, pending)
	l.handler.Request(h, &l.request)
}

// keepLeftover keeps what followed the head: frames, which wait until the
// connection opens.
func (l *Loop) keepLeftover(h Handle, s *slot, rest []byte) {
	if len(rest) == 0 {
		return
	}
	l.keep(h, s, rest)
	if s.state == open {
		l.again = append(l.again, h)
	}
}

// keep stores what was received and cannot be handled yet.
func (l *Loop) keep(h Handle, s *slot, p []byte) {
	if !l.store(h, s, p) {
		l.overfull(h)
		return
	}
	s.flags |= unread
}

// Open answers a request: the connection is a WebSocket from now on. f is the
// response (see proto.AppendUpgrade), perhaps with first frames behind it, and
// deflate what it says of compression.
func (l *Loop) Open(h Handle, f *Frame, deflate proto.Deflate) {
	s := l.lookup(h)
	if s == nil || s.state != pending {
		return
	}
	l.become(s, open)
	l.takePage(h)
	l.count.Handshakes[outcomeOf(101)]++
	s.seen, s.window = l.clock, deflate.Window
	l.send(h, s, f, message)
	switch {
	case s.state != open: // sending showed that it is gone
	case l.draining.Load():
		l.begin(h, s, Drained, proto.CloseGoingAway, goingAway)
	case s.has(unread):
		l.again = append(l.again, h)
	}
}
