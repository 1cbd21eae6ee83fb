package reactor

import (
	"pushd.example/internal/conn/netpoll"
	"pushd.example/internal/conn/proto"
)

// NewFrame returns an empty frame with room for n bytes. Any goroutine may call
// it.
func (l *Loop) NewFrame(n int) *Frame { return l.reactor.frames.get(n) }

// Send sends f to an open connection; to others it does nothing. A client that
// takes compressed messages gets its compressed form. A client that reads too
// slowly for what it is sent is closed. The frame must stay until the batch is
// flushed: give the reference back with Drop.
func (l *Loop) Send(h Handle, f *Frame) { l.sendAs(h, f, message) }

// Answer sends f as Send does, in answer to a message of the client. The client
// is not closed for it, however much waits: while too many of its answers wait,
// the loop reads no more of its messages.
func (l *Loop) Answer(h Handle, f *Frame) { l.sendAs(h, f, answer) }

func (l *Loop) sendAs(h Handle, f *Frame, c class) {
	if s := l.lookup(h); s != nil && s.state == open {
		if s.window != 0 {
			f = l.deflated(s, f)
		}
		l.send(h, s, f, c)
	}
}

// SendAtOnce sends f as Send does, unless something waits for the client to read
// it. It reports whether it did.
func (l *Loop) SendAtOnce(h Handle, f *Frame) bool {
	s := l.lookup(h)
	if s != nil && s.has(inBatch) {
		l.flush() // to know what the kernel took
		s = l.lookup(h)
	}
	if s == nil || s.state != open || s.has(inBatch) || s.queue != 0 {
		return false
	}
	l.Send(h, f)
	return true
}

// Taken reports whether the kernel has taken all that was sent to a connection.
// Data in the current batch counts as not taken yet.
func (l *Loop) Taken(h Handle) bool {
	s := l.lookup(h)
	return s != nil && s.taken()
}

// Drop gives back a reference when the present batch is on its way.
func (l *Loop) Drop(f *Frame) { l.dropped = append(l.dropped, f) }

// send puts f into the batch, or at the end of the backlog if there is one: a
// socket may be in a batch only once.
func (l *Loop) send(h Handle, s *slot, f *Frame, c class) {
	if s.queue != 0 || s.has(inBatch) {
		l.enqueue(h, s, f, c)
		return
	}
	s.flags |= inBatch
	l.batch = append(l.batch, netpoll.Send{Socket: int32(h.Socket()), Data: f.B})
	l.inFlight = append(l.inFlight, f)
	if len(l.batch) >= batchSize {
		l.flush()
	}
}

// Flush sends what was collected in this turn so far.
func (l *Loop) Flush() { l.flush() }

// flush sends the batch, and frames that are sent meanwhile.
func (l *Loop) flush() {
	if l.flushing {
		return // the call further up continues until the batch is empty
	}
	l.flushing = true
	defer func() { l.flushing = false }()
	for len(l.batch) > 0 {
		batch, frames := l.batch, l.inFlight
		l.batch, l.inFlight = l.spare.batch[:0], l.spare.inFlight[:0]
		l.flusher.Flush(batch)
		for i := range batch {
			l.settle(&batch[i], frames[i])
		}
		clear(batch)
		clear(frames)
		l.spare.batch, l.spare.inFlight = batch, frames
	}
	for _, f := range l.dropped {
		f.Release()
	}
	clear(l.dropped)
	l.dropped = l.dropped[:0]
}

// settle handles the result of one entry of a batch.
func (l *Loop) settle(e *netpoll.Send, f *Frame) {
	socket := uint32(e.Socket)
	s := l.slots.At(socket) // still the same connection: sockets are closed after the last flush of a turn
	if s.state == dead {
		return
	}
	h := l.handle(socket)
	l.count.Bytes += uint64(e.Sent)
	if e.Err == 0 || e.Err == netpoll.EAGAIN {
		s.flags &^= inBatch
	}
	switch {
	case e.Err == 0:
		l.count.Frames++
		if s.queue == 0 {
			l.settled(h, s)
		} else {
			l.drain(h, s)
		}
	case e.Err == netpoll.EAGAIN:
		l.postpone(h, s, f, int(e.Sent))
	default:
		l.drop(h, s, Lost) // in the batch still: it was not taken
	}
}

// postpone puts what is left of f before everything else that waits.
func (l *Loop) postpone(h Handle, s *slot, f *Frame, sent int) {
	l.count.Deferred++
	l.openQueue(h, s)
	l.backlog.pushFront(s.queue, f, sent)
	l.shed()
}

// enqueue puts f behind what waits.
func (l *Loop) enqueue(h Handle, s *slot, f *Frame, c class) {
	if c == message && s.state == open && l.full(s, f) {
		// The kernel may take more by now.
		if s.has(inBatch) {
			l.flush()
		} else {
			l.drain(h, s)
		}
		switch {
		case l.lookup(h) == nil:
			return
		case s.queue == 0 && !s.has(inBatch):
			l.send(h, s, f, c)
			return
		case l.full(s, f):
			l.begin(h, s, Slow, proto.CloseTooSlow, "messages came faster than you read")
			return
		}
	}
	l.openQueue(h, s)
	l.count.Deferred++
	l.backlog.push(s.queue, f, c)
	l.shed()
}

// openQueue gives a connection a queue in the backlog unless it has one.
func (l *Loop) openQueue(h Handle, s *slot) {
	if s.queue == 0 {
		s.queue = l.backlog.open(h.Socket(), l.clock)
		l.count.Backlogged++
	}
}

// closeQueue drops the connection's queue, if any.
func (l *Loop) closeQueue(s *slot) {
	if s.queue != 0 {
		l.backlog.close(s.queue)
		l.count.Backlogged--
		s.queue = 0
	}
}

// full reports whether a connection's backlog has no room for f.
func (l *Loop) full(s *slot, f *Frame) bool {
	return s.queue != 0 && l.backlog.full(s.queue, len(f.B), l.cfg.ClientBacklogFrames, l.cfg.ClientBacklogBytes)
}

// owed reports whether so many answers wait for a client that no more of its
// messages are read.
func (l *Loop) owed(s *slot) bool {
	return s.queue != 0 && l.backlog.queues[s.queue].answers >= answersPause
}

// readOn continues to read a client that has taken the answers that were owed.
func (l *Loop) readOn(h Handle, s *slot) {
	if s.state == open && s.has(unread) && !l.owed(s) {
		l.again = append(l.again, h)
	}
}

// shed closes the clients with the largest backlogs while all backlogs
// together are too large.
func (l *Loop) shed() {
	for l.backlog.bytes > l.cfg.MaxBacklogBytes/l.cfg.Loops {
		socket, ok := l.backlog.largest()
		if !ok {
			return
		}
		h, s := l.handle(socket), l.slots.At(socket)
		if s.state == open {
			l.begin(h, s, Shed, proto.CloseTooSlow, "too much waits for slow clients")
		} else {
			l.drop(h, s, Shed)
		}
	}
}

// alive notes that a client takes what it is sent: it has an interval from now
// on to answer a ping.
func (l *Loop) alive(s *slot) {
	interval := uint32(l.cfg.PingInterval.Milliseconds())
	if l.clock-s.seen > interval {
		s.seen = l.clock - interval
	}
}

// drain sends what waits until the kernel takes no more.
func (l *Loop) drain(h Handle, s *slot) {
	if s.has(inBatch) {
		return // settle comes back here
	}
	for s.queue != 0 {
		v := l.backlog.gather(s.queue, l.vector[:0])
		n, err := l.net.Sendv(int(h.Socket()), v)
		clear(v)
		if err == netpoll.EAGAIN {
			return
		}
		if err != nil {
			l.drop(h, s, Lost)
			return
		}
		l.count.Bytes += uint64(n)
		l.count.Frames += uint64(l.backlog.advance(s.queue, n, l.clock))
		l.alive(s)
		l.readOn(h, s)
		if l.backlog.empty(s.queue) {
			l.closeQueue(s)
			l.settled(h, s)
			return
		}
	}
}
