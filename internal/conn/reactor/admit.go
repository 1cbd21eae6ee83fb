package reactor

import (
	"slices"
	"time"

	"pushd.example/internal/conn/proto"
)

// Admit lets a request in that the handler wants to serve. When its turn has
// come (see Limits.UpgradeRate), the handler of the loop to gets it with v, by
// Adopt; to may be l. If too many come, Admit refuses the request with 503 and
// the time to come back. The handle is invalid on this loop from now on.
func (l *Loop) Admit(h Handle, to *Loop, v any) {
	s := l.lookup(h)
	if s == nil || s.state != pending {
		return
	}
	d := l.reactor.upgrades.admit(l.now, s.address)
	if d.retryAfter > 0 {
		l.reactor.refused[d.why].Add(1)
		l.refuse(h, s, proto.ErrBusy, d.retryAfter, d.why.String())
		return
	}
	if to == l && !d.turn.After(l.now) {
		l.handler.Adopt(h, v)
		return
	}
	a := arrival{socket: h.Socket(), admitted: true, turn: d.turn, v: v, input: l.takeInput(h, s), page: l.takePage(h)}
	if s.has(registered) {
		if err := l.poller.Remove(int(h.Socket())); err != nil {
			l.log.Error("moving a socket", "error", err)
		}
	}
	l.delist(s, free)
	s.flags = 0
	s.generation.Add(1)
	if !to.post(a) {
		l.discard(&a)
	}
}

// takeInput returns a copy of what was read past the head of h's request.
func (l *Loop) takeInput(h Handle, s *slot) (input []byte) {
	switch {
	case h == l.asking:
		input = append(input, l.leftover...)
	case s.input != 0:
		input = append(input, l.inputs.get(s.input)...)
	}
	l.dropInput(s)
	return input
}

// takeArrivals begins with connections that came in, and reports whether some
// are left for the next turn.
func (l *Loop) takeArrivals() (more bool) {
	if l.taken == len(l.arrivals) {
		clear(l.arrivals)
		l.arrivals, l.taken = l.sockets.Take(l.arrivals[:0]), 0
	}
	for range min(arrivalsPerTurn, len(l.arrivals)-l.taken) {
		a := &l.arrivals[l.taken]
		l.taken++
		if a.admitted {
			l.waiting = append(l.waiting, *a)
		} else {
			l.greet(a.socket, a.address)
		}
	}
	return l.adoptWaiting() || l.taken < len(l.arrivals)
}

// adoptWaiting begins with admitted connections whose turn has come, and
// reports whether there are more of them. Clients that were put off come back
// in the same moment, since Retry-After counts seconds; their turns lie apart,
// so that they take no more CPU at once than the rate allows.
func (l *Loop) adoptWaiting() (more bool) {
	n := 0
	for n < len(l.waiting) && n < arrivalsPerTurn && l.untilTurn(n) == 0 {
		n++
	}
	for i := range l.waiting[:n] {
		l.adopt(&l.waiting[i])
	}
	l.waiting = slices.Delete(l.waiting, 0, n)
	return len(l.waiting) > 0 && l.untilTurn(0) == 0
}

// untilTurn returns the time until the turn of the i-th of l.waiting.
func (l *Loop) untilTurn(i int) time.Duration {
	if l.draining.Load() {
		return 0
	}
	return max(0, l.waiting[i].turn.Sub(l.now))
}

// adopt begins with an admitted connection.
func (l *Loop) adopt(a *arrival) {
	h, s := l.enlist(a.socket, pending)
	defer l.Recovered(h)
	s.seen = l.clock
	if a.page != nil {
		l.pages[h] = a.page
	}
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
