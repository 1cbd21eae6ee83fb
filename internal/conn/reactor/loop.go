package reactor

import (
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync/atomic"
	"time"

	"pushd.example/internal/conn/netpoll"
	"pushd.example/internal/conn/offheap"
	"pushd.example/internal/conn/proto"
)

const (
	eventsPerTurn = 512
	readSize      = 64 << 10
	// readBudget is how many full buffers one connection is read in a turn.
	readBudget = 2
	batchSize  = 512
	// arrivalsPerTurn bounds how long new connections delay the others: to
	// about a millisecond.
	arrivalsPerTurn = 64
	maxTick         = 100 * time.Millisecond
	// mostStep is the most that a loop's clock advances in a turn. A loop that
	// is well takes a turn at least every maxTick.
	mostStep = 2 * maxTick
)

// Loop owns connections: it alone reads, writes and closes their sockets and
// touches their slots. Its methods may be called on its own goroutine only,
// which is where the handler runs; Post, Wake and NewFrame from any.
type Loop struct {
	// Set once.
	id      int
	reactor *Reactor
	cfg     *Config
	limits  proto.Limits
	net     *netpoll.Net
	poller  *netpoll.Poller
	flusher netpoll.Flusher
	slots   *offheap.Table[slot] // shared; a slot belongs to the loop that owns the socket
	handler Handler
	log     *slog.Logger
	tick    time.Duration
	credit  int64 // nanoseconds of burst in the rate limit
	price   int64 // nanoseconds that a message costs; 0: no limit

	// Shared with other goroutines.
	sockets  Mailbox[arrival]
	asleep   atomic.Bool
	draining atomic.Bool // close everything, then end
	force    atomic.Bool // end now
	stats    published

	// The loop's own.
	conns     []uint32  // sockets of all connections that are not dead
	dead      []uint32  // sockets to close at the turn's end
	paused    []Handle  // closing, with input that is left for the next tick
	again     []Handle  // with input left unread
	arrivals  []arrival // from sockets; those from taken on are not dealt with
	taken     int
	waiting   []arrival // admitted, in the order of their turns
	backlog   backlog
	halfHeads inputs // of connections in state head
	inputs    inputs // of all others
	heads     deadlines
	lingers   deadlines
	batch     []netpoll.Send
	inFlight  []*Frame // of batch
	spare     struct { // batch and inFlight of the last flush
		batch    []netpoll.Send
		inFlight []*Frame
	}
	dropped   []*Frame // references to give back after the batch
	flushing  bool
	swept     int // position in conns
	nextTick  time.Time
	request   proto.Request
	pages     map[Handle]*proto.Page // of pending connections that come from one
	told      int                    // connections with the flag toldPage
	asking    Handle                 // whose request the handler has right now,
	leftover  []byte                 // and what followed its head
	buf       []byte
	vector    [16][]byte
	deflater  proto.Deflater
	inflater  proto.Inflater
	now       time.Time
	clock     uint32        // milliseconds that the loop has run; wraps
	fraction  time.Duration // of a millisecond, not in clock yet
	count     Stats
	drainSeen bool
}

// arrival is a socket given to a loop: fresh from accept, or admitted, with
// what its handler has to say and what was read past the head.
type arrival struct {
	socket   uint32
	address  uint32 // the key of the client's address, of a fresh one
	admitted bool
	turn     time.Time // when an admitted one may begin
	v        any
	input    []byte
	page     *proto.Page // nil: not from one
}

// ID returns the loop's number, from 0.
func (l *Loop) ID() int { return l.id }

// Now returns the time at which the turn began.
func (l *Loop) Now() time.Time { return l.now }

// Wake makes the loop take a turn soon. It costs a system call only if the
// loop sleeps.
func (l *Loop) Wake() {
	if l.asleep.Load() && l.asleep.Swap(false) {
		l.poller.Wake()
	}
}

func (l *Loop) post(a arrival) bool {
	ok := l.sockets.Put(1, a)
	l.Wake()
	return ok
}

// run is the loop's goroutine, from Run to the end of Shutdown.
func (l *Loop) run() {
	events := make([]netpoll.Event, eventsPerTurn)
	more := false
	for !l.finished() {
		n, err := l.poller.Wait(events, l.patience(more))
		l.asleep.Store(false)
		began := time.Now()
		l.tell(began)
		if err != nil {
			l.log.Error("waiting for sockets", "error", err)
			time.Sleep(maxTick) // never spin on what should not happen
		}
		for _, e := range events[:n] {
			l.event(Handle(e.Tag), e.Ready)
		}
		more = l.turn()
		l.count.Turns.add(time.Since(began))
		l.publish()
	}
	l.end()
}

// patience returns how long to wait for events.
func (l *Loop) patience(more bool) time.Duration {
	if more {
		return 0
	}
	l.asleep.Store(true)
	wait := l.tick
	if len(l.waiting) > 0 {
		wait = min(wait, max(turnSlack, l.untilTurn(0)))
	}
	// A goroutine that gave us something just before we set asleep did not wake us.
	if !l.sockets.Empty() || !l.handler.Idle() || l.draining.Load() && !l.drainSeen || l.force.Load() {
		l.asleep.Store(false)
		return 0
	}
	return wait
}

// tell sets the loop's times. Its clock, by which it judges how long clients have
// been silent or stuck, does not count the time for which the loop itself stood
// still: a suspended machine, a stopped process, a turn that took too long.
// Nothing that clients sent meanwhile has been read.
func (l *Loop) tell(now time.Time) {
	l.fraction += min(now.Sub(l.now), mostStep)
	l.now = now
	if whole := l.fraction.Truncate(time.Millisecond); whole > 0 {
		l.clock += uint32(whole.Milliseconds())
		l.fraction -= whole
	}
}

// turn does what there is to do beside events, and reports whether some is
// left.
func (l *Loop) turn() (more bool) {
	more = l.takeArrivals()
	l.readAgain()
	l.flush()
	if l.work() {
		more = true
	}
	l.flush()
	tick := !l.now.Before(l.nextTick)
	if tick {
		l.onTick()
	}
	if l.draining.Load() && (tick || !l.drainSeen) {
		l.drainAll()
	}
	l.flush()
	l.reap()
	return more || len(l.again) > 0
}

func (l *Loop) work() (more bool) {
	defer l.Recovered(0)
	return l.handler.Work()
}

// event handles what the poller reports about one socket. The handle may be stale.
func (l *Loop) event(h Handle, r netpoll.Ready) {
	s := l.lookup(h)
	if s == nil {
		return
	}
	defer l.Recovered(h)
	if r&netpoll.Writable != 0 && s.queue != 0 {
		l.drain(h, s)
	}
	if r&netpoll.Readable != 0 && s.state != dead {
		l.read(h, s, r&netpoll.Hup != 0)
	}
}

// lookup returns the slot of h, or nil if the connection is gone.
func (l *Loop) lookup(h Handle) *slot {
	if !l.Owns(h) {
		return nil
	}
	s := l.slots.At(h.Socket())
	if s.state == free || s.state == dead {
		return nil
	}
	return s
}

// Peer returns the address of h's other end, "" if it is unknown.
func (l *Loop) Peer(h Handle) string {
	if l.lookup(h) == nil {
		return ""
	}
	if a := l.net.Peer(int(h.Socket())); a.IsValid() {
		return a.String()
	}
	return ""
}

// Owns reports whether h is a connection of this loop, even if it is closing
// or was dropped in this turn. Rows of tables that are indexed by the socket
// belong to the loop only while it owns the socket.
func (l *Loop) Owns(h Handle) bool {
	return h != 0 && int(h.Socket()) < l.slots.Len() && l.slots.At(h.Socket()).generation.Load() == h.generation()
}

func (l *Loop) handle(socket uint32) Handle {
	return handleOf(socket, l.slots.At(socket).generation.Load())
}

// Recovered is to be deferred: it stops a panic and ends the connection h, if
// any.
func (l *Loop) Recovered(h Handle) {
	v := recover()
	if v == nil {
		return
	}
	l.count.Panics++
	l.log.Error("recovered from a panic", "panic", v, "stack", string(debug.Stack()))
	if s := l.lookup(h); s != nil {
		l.begin(h, s, Panicked, proto.CloseInternal, "")
	}
}

func (l *Loop) publish() {
	l.count.Waiting = len(l.waiting)
	l.count.BacklogBytes = l.backlog.bytes
	l.count.HeadBytes = l.halfHeads.bytes
	l.count.InputBytes = l.inputs.bytes
	l.stats.set(&l.count)
}

// enlist adds socket to the loop's connections.
func (l *Loop) enlist(socket uint32, st state) (Handle, *slot) {
	s := l.slots.At(socket)
	generation := s.generation.Add(1) // first: it makes the last owner's writes ours
	s.state = st
	s.place = uint32(len(l.conns))
	l.conns = append(l.conns, socket)
	*l.gauge(st)++
	return handleOf(socket, generation), s
}

// delist is enlist's inverse; the slot is free or dead after it.
func (l *Loop) delist(s *slot, st state) {
	last := l.conns[len(l.conns)-1]
	l.conns[s.place] = last
	l.slots.At(last).place = s.place
	l.conns = l.conns[:len(l.conns)-1]
	l.become(s, st)
}

// become changes the state.
func (l *Loop) become(s *slot, st state) {
	*l.gauge(s.state)--
	*l.gauge(st)++
	s.state = st
}

// gauge returns the number of connections in a state.
func (l *Loop) gauge(st state) *int {
	switch st {
	case head, pending:
		return &l.count.Connecting
	case open:
		return &l.count.Open
	case closing:
		return &l.count.Closing
	}
	return new(int)
}

// watch registers the socket with the poller unless it is already.
func (l *Loop) watch(h Handle, s *slot) {
	if s.has(registered) {
		return
	}
	if err := l.poller.Add(int(h.Socket()), uint64(h)); err != nil {
		l.log.Error("watching a socket", "error", err)
		l.drop(h, s, Lost)
		return
	}
	s.flags |= registered
}

// reap closes the sockets of the dead. It is the only place that does, and
// nothing of this turn can name them any more.
func (l *Loop) reap() {
	for _, socket := range l.dead {
		s := l.slots.At(socket)
		l.reactor.gone(s.address)
		s.state = free
		s.generation.Add(1) // before the number is anybody else's
		l.net.Close(int(socket))
	}
	l.dead = l.dead[:0]
}

// jitter returns a delay in seconds for Retry-After.
func jitter() int { return 1 + rand.IntN(8) }
