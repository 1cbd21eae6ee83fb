package conn

import (
	"strconv"
	"time"

	"pushd.example/internal/conn/offheap"
	"pushd.example/internal/conn/proto"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/history"
)

// session is what an attached connection is to a shard: whose it is, and how
// far it was sent. 64 bytes, no pointers.
type session struct {
	handle reactor.Handle // 0: no session
	// inbox and broadcast are the last ids sent, or passed over because there
	// was nothing to send.
	inbox, broadcast history.ID
	expires          uint32 // unix seconds when the credential ends; 0 is never
	since            uint32 // unix seconds when it was attached
	agent            uint32 // in the shard's agents; 0 is none
	hash             uint32 // of the user
	next             uint32 // the next session with this hash: its socket + 1
	place            uint32 // in shard.list
	pending          uint32 // in receipts.pending, + 1; 0: receipts know all that it was sent
	name             offheap.Ref
	nameLen          uint8
	state            sessionState
	behind           bool // something was appended that the page asked for last may not have
	more             bool // the last page was not the last
}

// sessionState says what a session does with a live delivery.
//
//	attaching ─▶ replaying ◀─▶ live ◀─▶ stale
//	                 ▲                    │
//	                 └────────────────────┘
//
// The connection's own states (reactor) go beside: it is pending while
// attaching and open after that. When it begins to close the session is gone.
type sessionState uint8

const (
	// attaching: the store is asked where the connection stands. Deliveries
	// only set behind.
	attaching sessionState = iota
	// replaying: pages are sent, the next one when the client has taken the
	// last, so that catching up needs no room and cannot overrun a client.
	// Deliveries only set behind.
	replaying
	// live: deliveries are sent as they come.
	live
	// stale: live, but some may have been missed; the page that would have them
	// is still to be asked for (see resync).
	stale
)

const (
	pageMessages = 100
	pageBytes    = 64 << 10
)

// lookup returns the session of h, or nil if it is gone.
func (s *shard) lookup(h reactor.Handle) *session {
	if !s.loop.Owns(h) {
		return nil // the entry may be another shard's by now
	}
	if ses := s.sessions.At(h.Socket()); ses.handle == h {
		return ses
	}
	return nil
}

// attached opens the connection with all that is known by now in one send: the
// response, hello and the first page.
func (s *shard) attached(ses *session, k *call) {
	h := k.h
	if k.err != nil {
		s.forget(ses)
		s.loop.Refuse(h, refusal(k.err))
		return
	}
	if s.server.crowded(k.attachment) {
		s.forget(ses)
		s.server.calls.submit(&call{what: detach, user: k.user})
		s.loop.Refuse(h, proto.ErrCrowd)
		return
	}
	from, p := k.attachment.From, &k.attachment.Page
	f := s.loop.NewFrame(pageSize(p.Messages) + 512)
	f.B = proto.AppendUpgrade(f.B, k.visit.key[:], k.visit.subprotocol, k.visit.deflate)
	f.B = proto.AppendHello(f.B, proto.Hello{
		Connection: s.server.connectionID(h),
		User:       k.user,
		Cursor:     from,
		Unread:     p.Unread,
		Truncated:  p.Truncated,
	})
	ses.inbox, ses.broadcast = from.Inbox, from.Broadcast
	ses.since = uint32(s.loop.Now().Unix())
	ses.state = replaying
	s.fill(ses, f, p)
	s.loop.Open(h, f, k.visit.deflate)
	s.loop.Drop(f)
	s.goOn(h, len(p.Messages) > 0)
}

// fill appends a page to f, without what was recalled meanwhile, and moves the
// session past it.
func (s *shard) fill(ses *session, f *reactor.Frame, p *history.Page) {
	s.recalls.takeOut(p)
	for i := range p.Messages {
		f.B = proto.AppendMessage(f.B, p.Messages[i])
	}
	s.count.Replayed += uint64(len(p.Messages))
	s.replayed(ses, p)
	ses.more = p.HasMore
}

// goOn goes on after a page: live when there is nothing more to catch up with.
// If something was sent, that is decided when the client has taken it.
func (s *shard) goOn(h reactor.Handle, sent bool) {
	ses := s.lookup(h)
	switch {
	case ses == nil: // closed by what was just done
	case sent:
		s.loop.NotifyDrained(h)
	case ses.more || ses.behind:
		s.askPage(ses)
	default:
		ses.state = live
	}
}

// Drained implements [reactor.Handler].
func (s *shard) Drained(h reactor.Handle) { s.goOn(h, false) }

// askPage asks the store for what lies after the session's cursor, at once or,
// if too many calls wait, later; then it returns nil.
func (s *shard) askPage(ses *session) *call {
	s.fresh(ses)
	ses.state = replaying
	ses.behind = false // the page holds whatever was appended until now
	k := &call{
		what: page, shard: s, h: ses.handle, user: string(s.name(ses)),
		cursor: history.Cursor{Inbox: ses.inbox, Broadcast: ses.broadcast},
	}
	if !s.server.calls.submit(k) {
		s.waiting = append(s.waiting, retry{ses.handle, s.loop.Now()})
		return nil
	}
	return k
}

// paged sends a page that was asked for.
func (s *shard) paged(ses *session, k *call) {
	switch {
	case k.err != nil:
		s.server.cfg.Log.Debug("reading a page", "error", k.err)
		s.waiting = append(s.waiting, retry{k.h, s.loop.Now().Add(retryAfter)})
		return
	case k.page.Truncated:
		s.loop.Close(k.h, reactor.Truncated, proto.CloseGoingAway, "history was cut; reconnect with the cursor")
		return
	}
	f := s.loop.NewFrame(pageSize(k.page.Messages))
	s.fill(ses, f, &k.page)
	sent := len(f.B) > 0
	if sent {
		s.loop.Send(k.h, f)
	}
	s.loop.Drop(f)
	s.goOn(k.h, sent)
}

// envelope is more than a message's frame has beside its data.
const envelope = 192

func pageSize(messages []history.Message) int {
	n := 0
	for i := range messages {
		n += len(messages[i].Data) + len(messages[i].CollapseKey) + envelope
	}
	return n
}

// Message implements [reactor.Handler].
func (s *shard) Message(h reactor.Handle, op proto.Op, payload []byte) {
	ses := s.lookup(h)
	if ses == nil {
		return
	}
	if op != proto.Text {
		s.loop.Close(h, reactor.Unsupported, proto.CloseUnsupported, "only text messages are understood")
		return
	}
	var m proto.ClientMessage
	if err := proto.ParseClient(payload, &m); err != nil {
		s.complain(h, err.Code, err.Message)
		return
	}
	switch m.Type {
	case proto.ClientPing:
		f := s.loop.NewFrame(32)
		f.B = proto.AppendPong(f.B)
		s.reply(h, f)
	case proto.ClientAck:
		k := &call{what: ack, shard: s, h: h, user: string(s.name(ses)), cursor: m.Cursor}
		if !s.server.calls.submit(k) {
			s.complain(h, proto.CodeUnavailable, "too much is going on: ack again later")
		}
	}
}

// acked tells the client how many messages are unread now.
func (s *shard) acked(_ *session, k *call) {
	if k.err != nil {
		e := complaint(k.err)
		s.complain(k.h, e.Code, e.Message)
		return
	}
	s.count.Acks++
	s.scratch = append(s.scratch[:0], `{"type":"acked","unread":`...)
	s.scratch = strconv.AppendInt(s.scratch, int64(k.unread), 10)
	s.scratch = append(s.scratch, '}')
	f := s.loop.NewFrame(len(s.scratch) + 4)
	f.B = proto.AppendFrame(f.B, proto.Text, s.scratch)
	s.reply(k.h, f)
}

func (s *shard) complain(h reactor.Handle, code, message string) {
	f := s.loop.NewFrame(256)
	f.B = proto.AppendError(f.B, code, message)
	s.reply(h, f)
}

func (s *shard) reply(h reactor.Handle, f *reactor.Frame) {
	s.loop.Send(h, f)
	s.loop.Drop(f)
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
	s.fresh(ses)
	s.lastOf(ses, taken)
	if ses.state != attaching {
		s.server.calls.submit(&call{what: detach, user: string(s.name(ses))})
	}
	s.forget(ses)
}
