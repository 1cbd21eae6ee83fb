package conn

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"pushd/internal/conn/reactor"
	"pushd/internal/history"
)

// Receipts tell to whom a message was delivered: to whose connections it was
// handed to the kernel. A delivery is not written down for that. Of a session that
// is sent something it is kept from where on, and once a second, when the kernel
// has taken all of it, that goes into the store as one span of the inbox, whatever
// number of messages it covers, and as one more connection for each broadcast.

const (
	// noteEvery is how often the store is told what was delivered.
	noteEvery = time.Second
	// Bounds of what waits to be told: spans of those who are gone, on a shard;
	// what is kept apart of one session; broadcasts that slow clients may still
	// take. What is more is not told.
	maxUnnoted = 1 << 16
	maxApart   = 1 << 9
	maxWalked  = 1 << 13
)

// receipts is what a shard has sent and the store was not told yet. It belongs to
// the loop.
type receipts struct {
	off     bool      // nobody wants to know
	pending []pending // sessions that were sent something, each once
	apart   map[reactor.Handle]*apart
	reach   reach
	spans   []history.UserSpan // of sessions that ended
	reached map[history.ID]int // broadcasts that came out of pages, by session that took them
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
	spans      []history.Span // of the inbox
	walks      []history.Span // of the broadcast log, live
	broadcasts []history.ID   // out of pages
}

func (a *apart) full() bool { return len(a.spans)+len(a.walks)+len(a.broadcasts) >= maxApart }

// sending is to be called before a session moves on by what it is sent.
func (s *shard) sending(ses *session) {
	if ses.pending == 0 && !s.receipts.off {
		s.begin(ses)
	}
}

func (s *shard) begin(ses *session) {
	r := &s.receipts
	r.pending = append(r.pending, pending{ses.handle, ses.inbox, ses.broadcast, s.loop.Now().UnixMilli()})
	ses.pending = uint32(len(r.pending))
	s.news.Store(true)
}

// passInbox moves a session past an entry that it is not sent.
func (s *shard) passInbox(ses *session, id history.ID) {
	if ses.pending != 0 {
		p := &s.receipts.pending[ses.pending-1]
		s.keepSpan(ses, history.Span{From: p.inbox, To: ses.inbox})
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
				a.walks = append(a.walks, history.Span{From: p.broadcast, To: ses.broadcast})
			})
		}
		p.broadcast = id
	}
	ses.broadcast = id
}

func (s *shard) keepSpan(ses *session, run history.Span) {
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
		if !s.loop.Taken(ses.handle) {
			s.count.Unnoted++
			return
		}
		s.tellApart(ses, a)
	}
	add(a)
}

// replayed moves a session over a page that it is about to be sent.
func (s *shard) replayed(ses *session, p *history.Page) {
	if ses.pending != 0 && s.loop.Taken(ses.handle) {
		s.tell(ses) // mostly the page before, before it is too late
	}
	if len(p.Messages) > 0 {
		s.sending(ses)
	}
	t := track{inbox: ses.inbox, noted: ses.inbox}
	if ses.pending != 0 {
		t.noted = s.receipts.pending[ses.pending-1].inbox
	}
	t.follow(p, func(run history.Span) {
		if ses.pending != 0 {
			s.keepSpan(ses, run)
		}
	})
	if ses.inbox = t.inbox; ses.pending != 0 {
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

// closing notes the last of a session; taken: the kernel took all that it was
// sent.
func (s *shard) closing(ses *session, taken bool) {
	if ses.pending == 0 {
		return
	}
	if taken {
		s.tell(ses)
	}
	delete(s.receipts.apart, ses.handle)
	s.receipts.pending[ses.pending-1].h, ses.pending = 0, 0
	s.news.Store(true)
}

// tell makes what a session took something to tell. It is pending still.
func (s *shard) tell(ses *session) {
	p := &s.receipts.pending[ses.pending-1]
	if a := s.receipts.apart[ses.handle]; a != nil {
		s.tellApart(ses, a)
		delete(s.receipts.apart, ses.handle)
	}
	s.tellSpan(ses, history.Span{From: p.inbox, To: ses.inbox})
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

func (s *shard) tellSpan(ses *session, run history.Span) {
	r := &s.receipts
	switch {
	case run.From == run.To:
	case len(r.spans) == maxUnnoted:
		s.count.Unnoted++
	default:
		run.At = time.UnixMilli(r.pending[ses.pending-1].since)
		r.spans = append(r.spans, history.UserSpan{User: string(s.name(ses)), Span: run})
	}
}

// collect takes what there is to tell the store. What a client has yet to take
// stays.
func (s *shard) collect() history.Deliveries {
	s.news.Store(false)
	s.loop.Flush()
	r := &s.receipts
	for i := range r.pending {
		if ses := s.pendingAt(i); ses != nil && s.loop.Taken(ses.handle) {
			s.tell(ses)
			ses.pending, r.pending[i].h = 0, 0
		}
	}
	s.count.Unnoted += r.reach.lost
	d := history.Deliveries{Inboxes: r.spans, Broadcasts: r.reach.take(r.reached, s.keepPending())}
	r.spans, r.reached = nil, nil
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
	oldest = history.MaxID
	if s.walk.frame != nil {
		oldest = s.walk.group[0].id - 1
	}
	n := 0
	for i := range r.pending {
		ses := s.pendingAt(i)
		if ses == nil {
			continue
		}
		p := r.pending[i]
		p.since = s.loop.Now().UnixMilli() // it is not sooner than that
		oldest = min(oldest, p.broadcast)
		if a := r.apart[p.h]; a != nil && len(a.walks) > 0 {
			oldest = min(oldest, a.walks[0].From)
		}
		r.pending[n] = p
		n++
		ses.pending = uint32(n)
	}
	if r.pending = r.pending[:n]; n < cap(r.pending)/4 {
		r.pending = slices.Clone(r.pending) // it was for a crowd
	}
	if n > 0 {
		s.news.Store(true)
	}
	return oldest
}

// reach counts to how many sessions live broadcasts went. A session adds one to
// all from one id to another, whatever number there is, as a difference at either
// end.
type reach struct {
	ids   []history.ID // of broadcasts, in order
	diffs []int        // one more than ids
	lost  uint64       // ids that were forgotten
}

// walked adds a broadcast that will go out, and forgets the oldest of too many.
func (r *reach) walked(id history.ID) {
	if n := len(r.ids); n > 0 && id <= r.ids[n-1] {
		return // told again, nobody will get it
	}
	if len(r.ids) == maxWalked {
		drop := len(r.ids) / 2
		for i := range drop {
			r.diffs[i+1] += r.diffs[i]
		}
		r.ids = slices.Delete(r.ids, 0, drop)
		r.diffs = slices.Delete(r.diffs, 0, drop)
		r.lost += uint64(drop)
	}
	if len(r.diffs) == 0 {
		r.diffs = append(r.diffs, 0)
	}
	r.ids, r.diffs = append(r.ids, id), append(r.diffs, 0)
}

// add counts one for each with from < id <= to.
func (r *reach) add(from, to history.ID) {
	if len(r.ids) == 0 || from >= to {
		return
	}
	i, _ := slices.BinarySearch(r.ids, from+1)
	j, _ := slices.BinarySearch(r.ids, to+1)
	r.diffs[i]++
	r.diffs[j]--
}

// take adds the counts to some others, begins anew, and keeps the ids above one.
func (r *reach) take(counts map[history.ID]int, above history.ID) map[history.ID]int {
	n := 0
	for i, id := range r.ids {
		if n += r.diffs[i]; n > 0 {
			if counts == nil {
				counts = map[history.ID]int{}
			}
			counts[id] += n
		}
	}
	i, _ := slices.BinarySearch(r.ids, above+1)
	r.ids, r.lost = slices.Delete(r.ids, 0, i), 0
	r.diffs = r.diffs[:min(len(r.diffs), len(r.ids)+1)]
	clear(r.diffs)
	return counts
}

// handed is what a subscription's owner was handed.
type handed struct {
	runs    []history.Span
	reached map[history.ID]int // broadcasts
}

// handOut notes a page that the owner is about to be handed.
func (s *Subscription) handOut(p *history.Page) {
	d := &s.handed
	s.track.follow(p, d.add)
	for i := range p.Messages {
		if m := &p.Messages[i]; m.Kind == history.Broadcast {
			if d.reached == nil {
				d.reached = map[history.ID]int{}
			}
			d.reached[m.ID]++
		}
	}
}

// passOn makes what was handed out something to tell.
func (s *Subscription) passOn() {
	s.handed.add(s.track.pass(s.track.inbox))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, run := range s.handed.runs {
		s.done.add(run)
	}
	s.done.reached = addUp(s.done.reached, s.handed.reached)
	s.handed = handed{runs: s.handed.runs[:0]}
}

// add adds a run, to the last one if they touch.
func (d *handed) add(run history.Span) {
	switch n := len(d.runs); {
	case run.From == run.To:
	case n > 0 && d.runs[n-1].To == run.From:
		d.runs[n-1].To = run.To
	default:
		run.At = time.Now()
		d.runs = append(d.runs, run)
	}
}

// delivered takes what there is to tell of a subscription.
func (s *Subscription) delivered() history.Deliveries {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := history.Deliveries{Broadcasts: s.done.reached}
	for _, run := range s.done.runs {
		d.Inboxes = append(d.Inboxes, history.UserSpan{User: s.user, Span: run})
	}
	s.done = handed{}
	return d
}

// unnoted is what the store will be told next, gathered from the shards and the
// subscriptions.
type unnoted struct {
	mu sync.Mutex // guards d
	d  history.Deliveries
}

func (u *unnoted) add(d history.Deliveries) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.d.Inboxes = append(u.d.Inboxes, d.Inboxes...)
	u.d.Broadcasts = addUp(u.d.Broadcasts, d.Broadcasts)
}

func (u *unnoted) take() history.Deliveries {
	u.mu.Lock()
	defer u.mu.Unlock()
	d := u.d
	u.d = history.Deliveries{}
	return d
}

// addUp adds more to counts.
func addUp(counts, more map[history.ID]int) map[history.ID]int {
	if counts == nil {
		return maps.Clone(more)
	}
	for id, n := range more {
		counts[id] += n
	}
	return counts
}

// noteDeliveries tells the store what was delivered, until stop is closed. Calls
// of the store end with ctx.
func (s *Server) noteDeliveries(ctx context.Context, stop <-chan struct{}) {
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		for _, sh := range s.shards {
			if !sh.news.Load() {
				continue
			}
			// A loop answers or drops the question: what it has taken is not lost.
			if d, err := ask(context.Background(), sh, (*shard).collect); err == nil {
				s.unnoted.add(d)
			}
		}
		s.subscribers.collect(&s.unnoted)
		s.tellDelivered(ctx)
	}
}

// tellDelivered tells the store what was gathered. What it does not take is not
// known to receipts.
func (s *Server) tellDelivered(ctx context.Context) {
	d := s.unnoted.take()
	if len(d.Inboxes) == 0 && len(d.Broadcasts) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StoreTimeout)
	defer cancel()
	if err := s.cfg.Sent.NoteDelivered(ctx, d); err != nil {
		s.refused.Add(uint64(len(d.Inboxes) + len(d.Broadcasts)))
		s.cfg.Log.Debug("noting what was delivered", "error", err)
	}
}
