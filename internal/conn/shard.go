package conn

import (
	"sync"
	"sync/atomic"
	"time"

	"pushd.example/internal/conn/fanout"
	"pushd.example/internal/conn/feed"
	"pushd.example/internal/conn/proto"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/conn/receipts"
	"pushd.example/internal/history"
)

// shard is the part of the server that lives on one loop: the sessions of the
// users that hash to it. It handles the connections of the loop; what it is made
// of belongs to the loop too, but for the mailboxes.
type shard struct {
	*core
	door
	replay
	deliver

	results   reactor.Mailbox[*call] // of the store's calls
	questions questions
	done      []*call // the last results, to be swapped

	published struct {
		mu    sync.Mutex // guards stats
		stats stats
	}
}

// core is what the parts of a shard share. Server and loop are set once; the
// rest is the loop's own.
type core struct {
	server *Server
	loop   *reactor.Loop

	sessions sessions
	ledger   receipts.Ledger
	recalls  feed.Recalls // lately, for pages that were read before
	count    stats

	// unreported: the ledger has something to collect. Others read it, so that
	// an idle loop is not woken for nothing.
	unreported atomic.Bool
}

// stats counts what happened on one shard.
type stats struct {
	Inbox, Broadcast uint64 // live deliveries, one a connection, by log
	Replayed         uint64 // messages out of pages
	Holes            uint64 // live deliveries that found one missing before them
	Acks             uint64
	Ephemeral        uint64        // live deliveries of what is in no log
	Dropped          [drops]uint64 // ephemeral messages that were not sent
	Unrecorded       uint64        // deliveries that receipts will not know of
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

// sendsPerTurn bounds what is delivered before the loop looks after its sockets
// again.
const sendsPerTurn = 4 * 512

func (s *Server) newShard(l *reactor.Loop) reactor.Handler {
	c := &core{server: s, loop: l, sessions: newSessions(s.sessions)}
	c.ledger = receipts.NewLedger(c, s.cfg.Messages == nil)
	sh := &shard{core: c}
	sh.door = door{core: c}
	sh.replay = replay{core: c, shard: sh}
	sh.deliver = deliver{core: c, replay: &sh.replay, queue: &fanout.Queue{Loop: l}}
	sh.queue.Limit(s.cfg.DeliveryQueueBytes)
	s.shards = append(s.shards, sh)
	return sh
}

// lookup returns the session of h, or nil if it is gone.
func (c *core) lookup(h reactor.Handle) *session {
	if !c.loop.Owns(h) {
		return nil // the entry may be another shard's by now
	}
	if ses := c.sessions.table.At(h.Socket()); ses.handle == h {
		return ses
	}
	return nil
}

// forget ends a session.
func (c *core) forget(ses *session) { c.sessions.remove(ses) }

// Reader implements [receipts.Readers].
func (c *core) Reader(key receipts.Key) (r *feed.Reader, taken bool) {
	h := reactor.Handle(key)
	if ses := c.lookup(h); ses != nil {
		return &ses.reader, c.loop.Taken(h)
	}
	return nil, false
}

// User implements [receipts.Readers].
func (c *core) User(key receipts.Key) string {
	return string(c.sessions.user(c.lookup(reactor.Handle(key))))
}

// sent tells the ledger that a session is sent something.
func (c *core) sent(ses *session) {
	if c.ledger.Sent(ses.key(), &ses.reader, c.loop.Now()) {
		c.unreported.Store(true)
	}
}

// reply sends f, which is the answer to one connection, and gives it back.
func (c *core) reply(h reactor.Handle, f *reactor.Frame) {
	c.loop.Answer(h, f)
	c.loop.Drop(f)
}

// complain tells a client what was wrong with its message.
func (c *core) complain(h reactor.Handle, code, message string) {
	f := c.loop.NewFrame(256)
	f.B = proto.AppendError(f.B, code, message)
	c.reply(h, f)
}

// result brings a call's result; false means that the shard is gone.
func (s *shard) result(k *call) bool {
	ok := s.results.Put(1, k)
	s.loop.Wake()
	return ok
}

// Idle implements [reactor.Handler].
func (s *shard) Idle() bool {
	return s.results.Empty() && s.questions.empty() && s.queue.Empty()
}

// Work implements [reactor.Handler]: first results, which may bring sessions
// to life, then deliveries.
func (s *shard) Work() (more bool) {
	s.done = s.results.Take(s.done[:0])
	for i, k := range s.done {
		s.done[i] = nil
		s.finish(k)
	}
	if s.queue.Resync() {
		s.beginResync()
	}
	s.retry()
	more = s.resync()
	s.questions.answer()
	s.loop.Flush()
	more = s.run(sendsPerTurn) || more
	s.publish()
	return more
}

func (s *shard) publish() {
	s.count.Sessions = len(s.sessions.list)
	s.count.Unrecorded = s.ledger.Dropped()
	s.published.mu.Lock()
	s.published.stats = s.count
	s.published.mu.Unlock()
}

// finish gives a call's result to its session.
func (s *shard) finish(k *call) {
	defer s.loop.Recovered(k.h)
	if k.resync {
		s.asking--
	}
	ses := s.lookup(k.h)
	switch {
	case ses == nil && k.kind == attach && k.err == nil:
		s.server.calls.detach(k.user)
	case ses == nil:
	case k.kind == attach:
		s.attached(ses, k)
	case k.kind == page:
		s.paged(ses, k)
	case k.kind == ack:
		s.acked(k)
	case k.kind == readMark && k.err == nil:
		s.sendMark(k)
	}
}

// Sweep implements [reactor.Handler].
func (s *shard) Sweep(h reactor.Handle, now time.Time) {
	if ses := s.lookup(h); ses != nil && ses.expires != 0 && now.Unix() >= int64(ses.expires) {
		s.loop.Close(h, reactor.Expired, proto.CloseTokenExpired, "the token has expired")
	}
}

// Closed implements [reactor.Handler]. A session that is attaching is detached
// when the store's answer comes.
func (s *shard) Closed(h reactor.Handle, taken bool) {
	ses := s.lookup(h)
	if ses == nil {
		return
	}
	s.ledger.End(ses.key(), &ses.reader, taken)
	if !ses.attaching() {
		s.server.calls.detach(string(s.sessions.user(ses)))
	}
	s.forget(ses)
}

// Stop implements [reactor.Handler].
func (s *shard) Stop() {
	for _, k := range s.results.Close() {
		if k.kind == attach && k.err == nil {
			s.server.calls.detach(k.user)
		}
	}
	s.questions.close()
	s.queue.Close()
	for more := true; more; {
		var d history.Deliveries
		d, more = s.ledger.Collect(s.loop.Now(), history.MaxID)
		s.server.reporter.Add(d)
	}
}
