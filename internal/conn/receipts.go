package conn

import (
	"slices"
	"time"

	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/history"
)

// Receipts tell to whom a message was delivered: to whose connections it was
// handed to the kernel. A delivery is not written down for that. Of a session that
// is sent something it is kept from where on, and once a second, when the kernel
// has taken all of it, that goes into the store as one span of the inbox, whatever
// number of messages it covers, and as one more connection for each broadcast.

const (
	// Bounds of what waits to be told: spans told beside the collecting, on a
	// shard, mostly of those who are gone; what is kept apart of one session. What
	// is more is not told.
	maxUnnoted = 1 << 16
	maxApart   = 1 << 9
	// collectVisits is how many sessions one turn looks at.
	collectVisits = 1024
	// quietNotes is after how long with few pending the memory for many goes.
	quietNotes = 60
)

// receipts is what a shard has sent and the store was not told yet. It belongs to
// the loop.
type receipts struct {
	off     bool      // nobody wants to know
	pending []pending // sessions that were sent something, each once
	apart   map[reactor.Handle]*apart
	reach   reach
	spans   []history.UserRange // that were taken
	reached map[history.ID]int  // broadcasts out of pages, to how many sessions that took them
	missed  bool                // some were dropped since collect looked last

	// Of pending, what collect has still to look at: from, to. It looks at what
	// was there when it began.
	at, until int
	quiet     int // how often there was little
}

// pending is a session that was sent something: from where on, and since when, in
// ms since 1970. Its session knows where it lies.
type pending struct {
	h                reactor.Handle // 0: the session has ended
	inbox, broadcast history.ID
	since            int64
}

// apart is what else a pending session was sent, before it passed over something.
type apart struct {
	spans      []history.Range // of the inbox
	walks      []history.Range // of the broadcast log, live
	broadcasts []history.ID    // out of pages
}

func (a *apart) full() bool { return len(a.spans)+len(a.walks)+len(a.broadcasts) >= maxApart }

// sending is to be called before a session moves on by what it is sent.
func (s *shard) sending(ses *session) {
	if ses.pending == 0 && !s.receipts.off {
		s.pend(ses)
	}
}

func (s *shard) pend(ses *session) {
	r := &s.receipts
	r.pending = append(r.pending, pending{ses.handle, ses.inbox, ses.broadcast, s.loop.Now().UnixMilli()})
	ses.pending = uint32(len(r.pending))
	s.news.Store(true)
}

// passInbox moves a session past an entry that it is not sent.
func (s *shard) passInbox(ses *session, id history.ID) {
	if ses.pending != 0 {
		p := &s.receipts.pending[ses.pending-1]
		s.keepSpan(ses, history.Range{From: p.inbox, To: ses.inbox})
		p.inbox = id
	}
	ses.inbox = id
}

// passBroadcasts is the same in the broadcast log.
func (s *shard) passBroadcasts(ses *session, id history.ID) {
	if ses.pending != 0 {
		p := &s.receipts.pending[ses.pending-1]
		if p.broadcast != ses.broadcast {
			s.keep(ses, func(a *apart) {
				a.walks = append(a.walks, history.Range{From: p.broadcast, To: ses.broadcast})
			})
		}
		p.broadcast = id
	}
	ses.broadcast = id
}

func (s *shard) keepSpan(ses *session, run history.Range) {
	if run.From != run.To {
		s.keep(ses, func(a *apart) { a.spans = append(a.spans, run) })
	}
}

// keep keeps something apart.
func (s *shard) keep(ses *session, add func(*apart)) {
	r := &s.receipts
	a := r.apart[ses.handle]
	if a == nil {
		if r.apart == nil {
			r.apart = map[reactor.Handle]*apart{}
		}
		a = &apart{}
		r.apart[ses.handle] = a
	}
	if a.full() {
		if !s.loop.Taken(ses.handle) || len(r.spans) >= maxUnnoted {
			s.drop()
			return
		}
		s.tellApart(ses, a)
	}
	add(a)
}

// replayed moves a session over a page that it is about to be sent.
func (s *shard) replayed(ses *session, p *history.Page) {
	if ses.pending != 0 && len(s.receipts.spans) < maxUnnoted && s.loop.Taken(ses.handle) {
		s.tell(ses) // mostly the page before, before it is too late
	}
	if len(p.Messages) > 0 {
		s.sending(ses)
	}
	t := track{inbox: ses.inbox, noted: ses.inbox}
	if ses.pending != 0 {
		t.noted = s.receipts.pending[ses.pending-1].inbox
	}
	t.follow(p, func(run history.Range) {
		if ses.pending != 0 {
			s.keepSpan(ses, run)
		}
	})
	ses.inbox = t.inbox
	if ses.pending != 0 {
		s.receipts.pending[ses.pending-1].inbox = t.noted
		for i := range p.Messages {
			if m := &p.Messages[i]; m.Kind == history.Broadcast && !m.Ephemeral {
				s.keep(ses, func(a *apart) { a.broadcasts = append(a.broadcasts, m.ID) })
			}
		}
	}
	if p.Cursor.Broadcast > ses.broadcast {
		s.passBroadcasts(ses, p.Cursor.Broadcast)
	}
}

// lastOf tells the last of a session; taken: the kernel took all that it was sent.
func (s *shard) lastOf(ses *session, taken bool) {
	switch {
	case ses.pending == 0:
		return
	case !taken:
	case len(s.receipts.spans) >= maxUnnoted:
		s.drop()
	default:
		s.tell(ses)
	}
	delete(s.receipts.apart, ses.handle)
	s.receipts.pending[ses.pending-1].h, ses.pending = 0, 0
	s.news.Store(true)
}

// drop counts a delivery that the store will not be told of.
func (s *shard) drop() {
	s.count.Unnoted++
	s.receipts.missed = true
}

// tell makes what a session took something to tell. It is pending still.
func (s *shard) tell(ses *session) {
	p := &s.receipts.pending[ses.pending-1]
	if a := s.receipts.apart[ses.handle]; a != nil {
		s.tellApart(ses, a)
		delete(s.receipts.apart, ses.handle)
	}
	s.tellSpan(ses, history.Range{From: p.inbox, To: ses.inbox})
	s.receipts.reach.add(p.broadcast, ses.broadcast)
	p.inbox, p.broadcast = ses.inbox, ses.broadcast
}

func (s *shard) tellApart(ses *session, a *apart) {
	r := &s.receipts
	for _, run := range a.spans {
		s.tellSpan(ses, run)
	}
	for _, run := range a.walks {
		r.reach.add(run.From, run.To)
	}
	for _, id := range a.broadcasts {
		if r.reached == nil {
			r.reached = map[history.ID]int{}
		}
		r.reached[id]++
	}
	*a = apart{}
}

func (s *shard) tellSpan(ses *session, run history.Range) {
	if r := &s.receipts; run.From != run.To {
		run.At = time.UnixMilli(r.pending[ses.pending-1].since)
		r.spans = append(r.spans, history.UserRange{User: string(s.name(ses)), Range: run})
	}
}

// collected is what collect gives.
type collected struct {
	history.Deliveries
	more bool // there is more to collect, at once
}

// collect takes some of what there is to tell the store. What a client has yet to
// take stays.
func (s *shard) collect() collected {
	r := &s.receipts
	if r.at == 0 {
		s.news.Store(false)
		r.until = len(r.pending)
	}
	s.loop.Flush()
	for end := min(r.at+collectVisits, r.until); r.at < end; r.at++ {
		if ses := s.pendingAt(r.at); ses != nil && s.loop.Taken(ses.handle) {
			s.tell(ses)
			ses.pending, r.pending[r.at].h = 0, 0
		}
	}
	d := collected{Deliveries: history.Deliveries{Inboxes: r.spans, Missed: r.missed}, more: r.at < r.until}
	r.missed = false
	if r.spans = nil; d.more {
		return d
	}
	d.Broadcasts = r.reach.take(r.reached, s.keepPending())
	r.reached, r.at = nil, 0
	return d
}

// pendingAt returns the session of a place in pending, nil if it has ended.
func (s *shard) pendingAt(i int) *session {
	if h := s.receipts.pending[i].h; h != 0 {
		return s.lookup(h)
	}
	return nil
}

// keepPending keeps those who have yet to take something, and returns below which
// broadcasts nobody has any more to take.
func (s *shard) keepPending() (oldest history.ID) {
	r := &s.receipts
	oldest = s.walk.oldest()
	n := 0
	for i := range r.pending {
		ses := s.pendingAt(i)
		if ses == nil {
			continue
		}
		p := r.pending[i]
		if i < r.until {
			p.since = s.loop.Now().UnixMilli() // it is not sooner than that
		}
		oldest = min(oldest, p.broadcast)
		if a := r.apart[p.h]; a != nil && len(a.walks) > 0 {
			oldest = min(oldest, a.walks[0].From)
		}
		r.pending[n] = p
		n++
		ses.pending = uint32(n)
	}
	if r.pending = r.pending[:n]; n > 0 {
		s.news.Store(true)
	}
	r.shrink()
	return oldest
}

// shrink lets go of memory that was for a crowd.
func (r *receipts) shrink() {
	if max(r.until, len(r.pending)) >= cap(r.pending)/4 {
		r.quiet = 0
	} else if r.quiet++; r.quiet == quietNotes {
		r.pending, r.quiet = slices.Clone(r.pending), 0
	}
}
