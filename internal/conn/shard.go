package conn

import (
	"sync"
	"sync/atomic"
	"time"

	"pushd.example/internal/conn/reactor"
)

// shard is the part of the server that lives on one loop: the sessions of the
// users that hash to it. All but the mailboxes is the loop's own.
type shard struct {
	// Set once.
	server *Server
	loop   *reactor.Loop

	// Shared: other goroutines put, the loop takes.
	results    reactor.Mailbox[*call]
	deliveries reactor.Mailbox[delivery]
	questions  reactor.Mailbox[question]
	resyncs    atomic.Uint64 // times that sessions may have missed something
	news       atomic.Bool   // something was delivered that collect would tell
	published  struct {
		mu    sync.Mutex // guards stats
		stats stats
	}

	// The loop's own.
	users
	agents   agents
	refused  refused
	list     []uint32 // sockets of all sessions; walk goes over it
	walk     walk
	resync   resync
	recalls  recalls
	queue    []delivery // taken from deliveries, from at on not dealt with
	at       int
	done     []*call // the last results, to be swapped
	waiting  []retry // pages that could not be asked for
	found    []reactor.Handle
	count    stats
	receipts receipts
	synced   uint64 // of resyncs, how many were begun
	scratch  []byte
}

// retry is a session whose page has to be asked for again, not before a time.
type retry struct {
	h  reactor.Handle
	at time.Time
}

const (
	// retryAfter is how long a page that failed is left alone.
	retryAfter = time.Second
	// sendsPerTurn bounds what is delivered before the loop looks after its
	// sockets again.
	sendsPerTurn = 4 * 512
)

// stats counts what happened on one shard.
type stats struct {
	Inbox, Broadcast uint64 // live deliveries, one a connection, by log
	Replayed         uint64 // messages out of pages
	Holes            uint64 // live deliveries that found one missing before them
	Acks             uint64
	Ephemeral        uint64        // live deliveries of what is in no log
	Dropped          [drops]uint64 // ephemeral messages that were not sent
	Unnoted          uint64        // deliveries that receipts will not know of
	Sessions         int           // a gauge
}

// drop is why a connection did not get an ephemeral message.
type drop uint8

const (
	// slow: something waited for the client to read.
	slow drop = iota
	// catchingUp: it was not live yet.
	catchingUp
	drops
)

var dropWords = [drops]string{"slow", "catching_up"}

func (s *Server) newShard(l *reactor.Loop) reactor.Handler {
	sh := &shard{server: s, loop: l, users: users{sessions: s.sessions, first: map[uint32]uint32{}}}
	sh.receipts.off = s.cfg.Messages == nil
	sh.deliveries.Limit = s.cfg.DeliveryQueueBytes
	s.shards = append(s.shards, sh)
	return sh
}

// result brings a call's result; false means that the shard is gone.
func (s *shard) result(k *call) bool {
	ok := s.results.Put(1, k)
	s.loop.Wake()
	return ok
}

// Idle implements [reactor.Handler].
func (s *shard) Idle() bool {
	return s.results.Empty() && s.deliveries.Empty() && s.questions.Empty() && s.synced == s.resyncs.Load()
}

// Work implements [reactor.Handler]: first results, which may bring sessions
// to life, then deliveries.
func (s *shard) Work() (more bool) {
	s.done = s.results.Take(s.done[:0])
	for i, k := range s.done {
		s.done[i] = nil
		s.finish(k)
	}
	if n := s.resyncs.Load(); n != s.synced {
		s.synced = n
		s.beginResync()
	}
	s.retryPages()
	more = s.goOnResync()
	s.answer()
	s.loop.Flush()
	more = s.deliver(sendsPerTurn) || more
	s.count.Sessions = len(s.list)
	s.published.mu.Lock()
	s.published.stats = s.count
	s.published.mu.Unlock()
	return more
}

// finish gives a call's result to its session.
func (s *shard) finish(k *call) {
	defer s.loop.Recovered(k.h)
	if k.resync {
		s.resync.asking--
	}
	ses := s.lookup(k.h)
	switch {
	case ses == nil && k.what == attach && k.err == nil:
		s.server.calls.submit(&call{what: detach, user: k.user})
	case ses == nil:
	case k.what == attach:
		s.attached(ses, k)
	case k.what == page:
		s.paged(ses, k)
	case k.what == ack:
		s.acked(ses, k)
	}
}

// retryPages asks again for pages whose time has come.
func (s *shard) retryPages() {
	if len(s.waiting) == 0 {
		return
	}
	now := s.loop.Now()
	waiting := s.waiting
	s.waiting = nil
	for _, r := range waiting {
		if r.at.After(now) {
			s.waiting = append(s.waiting, r)
		} else if ses := s.lookup(r.h); ses != nil {
			s.askPage(ses)
		}
	}
}

// Stop implements [reactor.Handler].
func (s *shard) Stop() {
	for _, k := range s.results.Close() {
		if k.what == attach && k.err == nil {
			s.server.calls.submit(&call{what: detach, user: k.user})
		}
	}
	for _, q := range s.questions.Close() {
		q.drop()
	}
	s.queue = append(s.queue, s.deliveries.Close()...)
	for _, d := range s.queue[s.at:] {
		d.release()
	}
	s.queue, s.at = nil, 0
	s.walk.end()
	for more := true; more; {
		d := s.collect()
		s.server.unnoted.add(d.Deliveries)
		more = d.more
	}
}
