package reactor

import (
	"time"

	"pushd.example/internal/conn/proto"
)

// sweepsPerInterval is how often a connection is looked at in a PingInterval:
// pings and expiries are late by up to an eighth of it.
const sweepsPerInterval = 8

// onTick does what is due by the clock.
func (l *Loop) onTick() {
	since := l.tick + l.now.Sub(l.nextTick)
	l.nextTick = l.now.Add(l.tick)
	for h, ok := l.heads.due(l.clock); ok; h, ok = l.heads.due(l.clock) {
		if s := l.lookup(h); s != nil && s.state == head {
			l.Refuse(h, proto.ErrHandshakeSlow)
		}
	}
	for h, ok := l.lingers.due(l.clock); ok; h, ok = l.lingers.due(l.clock) {
		switch s := l.lookup(h); {
		case s == nil:
		case s.queue != 0 && l.clock-l.backlog.queues[s.queue].moved < l.lingers.after:
			l.lingers.add(h, l.clock) // what comes before the Close frame is on its way
		default:
			l.drop(h, s, Lost)
		}
	}
	l.unpause()
	l.expireInputs()
	l.sweep(since)
}

// sweep looks at as many connections as are due after so much time.
func (l *Loop) sweep(since time.Duration) {
	round := l.cfg.PingInterval / sweepsPerInterval
	n := int(int64(len(l.conns))*int64(min(since, round))/int64(round)) + 1
	for range min(n, len(l.conns)) {
		if l.swept >= len(l.conns) {
			l.swept = 0
		}
		if len(l.conns) == 0 {
			return
		}
		socket := l.conns[l.swept]
		l.swept++
		if s := l.slots.At(socket); s.state == open {
			l.look(l.handle(socket), s)
		}
	}
}

// look sees whether an open connection has been silent or stuck for too long. A
// client that something waits for is judged by whether the kernel takes bytes for
// it: its answer to a ping may have to wait for them. Any other is closed if it
// has left a ping unanswered for a whole interval.
func (l *Loop) look(h Handle, s *slot) {
	defer l.Recovered(h)
	interval := uint32(l.cfg.PingInterval.Milliseconds())
	silent := l.clock - s.seen
	switch {
	case s.queue != 0 && l.clock-l.backlog.queues[s.queue].moved >= 2*interval:
		l.begin(h, s, Slow, proto.CloseTooSlow, "nothing was read for too long")
		return
	case s.has(pinged) && s.queue == 0 && silent >= 2*interval && l.asked(h, silent-interval):
		l.begin(h, s, Idle, proto.CloseNoPong, "no answer to a ping")
		return
	case silent >= interval && !s.has(pinged):
		s.flags |= pinged
		s.seen = l.clock - interval // it has an interval from now on, however late this is
		f := l.NewFrame(8)
		f.B = proto.AppendPingFrame(f.B, nil)
		l.send(h, s, f, control)
		l.Drop(f)
	}
	l.handler.Sweep(h, l.now)
}

// asked reports whether a ping that went out so many milliseconds ago has come to
// the client's system. On a slow line it may lie behind what the kernel has still
// to send; that the kernel gives up after Socket.UserTimeout.
func (l *Loop) asked(h Handle, ago uint32) bool {
	return l.net.Unacked(int(h.Socket())) == 0 || int64(ago) >= l.cfg.Socket.UserTimeout.Milliseconds()
}
