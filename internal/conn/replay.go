package conn

import (
	"time"

	"pushd.example/internal/conn/feed"
	"pushd.example/internal/conn/proto"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/history"
)

// replay sends sessions pages of history: what they missed before they came, and
// what live deliveries left out. The next page is asked for when the client has
// taken the last, so that catching up needs no room and cannot overrun a client.
// It belongs to the loop.
//
// A resync makes every session read the page after its cursor, after the store
// said that deliveries may have been missed. It goes through the sessions by
// socket, a stretch in each turn, with few pages under way at a time: a store that
// has just come back need not serve all at once. Meanwhile live deliveries go on;
// a hole that one of them shows is mended at once.
type replay struct {
	*core
	shard   *shard  // gets the results
	waiting []again // pages that could not be asked for

	resyncing bool
	at        uint32 // sockets below were looked at
	asking    int    // pages of the resync under way
}

// again is a session whose page has to be asked for again, not before a time.
type again struct {
	h  reactor.Handle
	at time.Time
}

const (
	// Bounds of one page.
	pageMessages = 100
	pageBytes    = 64 << 10
	// retryAfter is how long a page that failed is left alone.
	retryAfter = time.Second
	// maxAsking is how many pages a resync has under way.
	maxAsking = 16
)

// begin opens a session's connection with all that is known by now in one send:
// the response, hello and the first page.
func (r *replay) begin(ses *session, k *call) {
	h, from, p := k.h, k.attachment.From, &k.attachment.Page
	f := r.loop.NewFrame(proto.PageSize(p.Messages) + 512)
	f.B = proto.AppendUpgrade(f.B, k.handshake.key[:], k.handshake.subprotocol, k.handshake.deflate)
	f.B = proto.AppendHello(f.B, proto.Hello{
		Connection: r.server.connectionID(h),
		User:       k.user,
		Cursor:     from,
		Unread:     p.Unread,
		Truncated:  p.Truncated,
	})
	ses.since = uint32(r.loop.Now().Unix())
	ses.reader.Begin(from)
	r.fill(ses, f, p)
	r.loop.Open(h, f, k.handshake.deflate)
	r.loop.Drop(f)
	if ses.acked { // the unread of hello may be from before the ack
		ses.acked = false
		r.server.calls.submit(&call{kind: readMark, shard: r.shard, h: h, user: k.user})
	}
	r.next(h, len(p.Messages) > 0)
}

// fill appends a page to f, without what was recalled meanwhile, and moves the
// session past it.
func (r *replay) fill(ses *session, f *reactor.Frame, p *history.Page) {
	key, reader := ses.key(), &ses.reader
	r.recalls.LeaveOut(p)
	for i := range p.Messages {
		f.B = proto.AppendMessage(f.B, p.Messages[i])
	}
	r.count.Replayed += uint64(len(p.Messages))
	r.ledger.Taken(key, reader) // mostly the page before
	if len(p.Messages) > 0 {
		r.sent(ses)
	}
	reader.Page(p, func(run feed.Run) { r.ledger.Hold(key, reader, run) })
}

// next goes on after a page. If something was sent, that waits until the client
// has taken it.
func (r *replay) next(h reactor.Handle, sent bool) {
	switch ses := r.lookup(h); {
	case ses == nil: // closed by what was just done
	case sent:
		r.loop.NotifyDrained(h)
	case ses.reader.Next():
		r.ask(ses)
	}
}

// Drained implements [reactor.Handler].
func (r *replay) Drained(h reactor.Handle) { r.next(h, false) }

// ask asks the store for what lies after a session's cursor, at once or, if too
// many calls wait, later; then it returns nil.
func (r *replay) ask(ses *session) *call {
	k := &call{
		kind: page, shard: r.shard, h: ses.handle, user: string(r.sessions.user(ses)),
		cursor: ses.reader.Fetch(),
	}
	if !r.server.calls.submit(k) {
		r.waiting = append(r.waiting, again{ses.handle, r.loop.Now()})
		return nil
	}
	return k
}

// paged sends a page that was asked for.
func (r *replay) paged(ses *session, k *call) {
	switch {
	case k.err != nil:
		r.server.cfg.Log.Debug("reading a page", "error", k.err)
		r.waiting = append(r.waiting, again{k.h, r.loop.Now().Add(retryAfter)})
		return
	case k.page.Truncated:
		r.loop.Close(k.h, reactor.Truncated, proto.CloseGoingAway, "history was cut; reconnect with the cursor")
		return
	}
	f := r.loop.NewFrame(proto.PageSize(k.page.Messages))
	r.fill(ses, f, &k.page)
	sent := len(f.B) > 0
	if sent {
		r.loop.Send(k.h, f)
	}
	r.loop.Drop(f)
	r.next(k.h, sent)
}

// retry asks again for pages whose time has come.
func (r *replay) retry() {
	if len(r.waiting) == 0 {
		return
	}
	now := r.loop.Now()
	waiting := r.waiting
	r.waiting = nil
	for _, a := range waiting {
		if a.at.After(now) {
			r.waiting = append(r.waiting, a)
		} else if ses := r.lookup(a.h); ses != nil {
			r.ask(ses)
		}
	}
}

// beginResync begins a resync, also if one is under way: sessions that it has
// looked at may have missed something since.
func (r *replay) beginResync() { r.resyncing, r.at = true, 0 }

// resync asks for pages as long as there is room, and reports whether it has
// to be called again in any case.
func (r *replay) resync() (more bool) {
	if !r.resyncing {
		return false
	}
	next, left := r.sessions.scan(r.at, func(ses *session) bool {
		if r.asking >= maxAsking {
			return false
		}
		if ses.reader.Resync() {
			if k := r.ask(ses); k != nil {
				k.resync = true
				r.asking++
			}
		}
		return true
	})
	r.at, r.resyncing = next, left
	return left && r.asking < maxAsking
}
