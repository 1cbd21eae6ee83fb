package conn

import (
	"context"
	"maps"
	"sync"
	"time"

	"pushd/internal/conn/reactor"
	"pushd/internal/history"
)

// Receipts tell to whom a message was delivered: to whose connections it was
// handed to the kernel. A delivery is not written down for that. A session's track
// knows from where on it was sent everything, and once a second that goes into
// the store as one span, whatever number of messages it covers.

const (
	// noteEvery is how often the store is told what was delivered.
	noteEvery = time.Second
	// maxUnnoted bounds the spans that wait for that on a shard.
	maxUnnoted = 1 << 16
)

// receipts is what a shard has delivered and the store was not told yet. It
// belongs to the loop.
type receipts struct {
	off  bool    // nobody wants to know
	sent []first // sessions that were sent something since
	// spans are what is known beside: of sessions that ended, or passed over
	// something.
	spans   []history.UserSpan
	reached map[history.ID]int // broadcasts, to how many connections
	// late are broadcasts that wait in a client's backlog.
	late map[reactor.Handle][]history.ID
}

// first is a session that has something to tell, and since when, in ms since 1970.
type first struct {
	h  reactor.Handle
	at int64
}

// sending is to be called before a session's inbox moves on by what it is sent.
func (s *shard) sending(ses *session) {
	if ses.noted == ses.inbox && !s.receipts.off {
		s.receipts.sent = append(s.receipts.sent, first{ses.handle, s.loop.Now().UnixMilli()})
		s.news.Store(true)
	}
}

// passOver moves a session past id, which it is not sent.
func (s *shard) passOver(ses *session, id history.ID) { s.noteRun(ses, ses.pass(id)) }

// noteRun keeps what a session was sent, unless it waits in a backlog: then it may
// never be.
func (s *shard) noteRun(ses *session, run history.Span) {
	r := &s.receipts
	switch {
	case run.From == run.To || r.off || s.loop.Waits(ses.handle):
	case len(r.spans) == maxUnnoted:
		s.count.Unnoted++
	default:
		run.At = s.loop.Now()
		r.spans = append(r.spans, history.UserSpan{User: string(s.name(ses)), Span: run})
		s.news.Store(true)
	}
}

// replayed notes a page that a session is about to be sent.
func (s *shard) replayed(ses *session, p *history.Page) {
	s.sending(ses)
	ses.follow(p, func(run history.Span) { s.noteRun(ses, run); s.sending(ses) })
	for i := range p.Messages {
		if m := &p.Messages[i]; m.Kind == history.Broadcast && !m.Ephemeral {
			s.reach(ses.handle, m.ID)
		}
	}
}

// reach counts that a broadcast is sent to one more connection, when that takes
// it.
func (s *shard) reach(h reactor.Handle, id history.ID) {
	r := &s.receipts
	if s.loop.Waits(h) && !r.off {
		if r.late == nil {
			r.late = map[reactor.Handle][]history.ID{}
		}
		r.late[h] = append(r.late[h], id)
		s.loop.NotifyDrained(h)
		return
	}
	s.reachMany(id, 1)
}

func (s *shard) reachMany(id history.ID, n int) {
	r := &s.receipts
	if n == 0 || r.off {
		return
	}
	if r.reached == nil {
		r.reached = map[history.ID]int{}
	}
	r.reached[id] += n
	s.news.Store(true)
}

// caughtUp counts what waited for a client that has now taken everything.
func (s *shard) caughtUp(h reactor.Handle) {
	for _, id := range s.receipts.late[h] {
		s.reachMany(id, 1)
	}
	delete(s.receipts.late, h)
}

// closing notes the last of a session; taken: the kernel took all that it was
// sent.
func (s *shard) closing(ses *session, taken bool) {
	if taken {
		s.passOver(ses, ses.inbox)
	}
	delete(s.receipts.late, ses.handle)
}

// collect takes what there is to tell the store. Of who has a backlog it is left.
func (s *shard) collect() history.Deliveries {
	s.news.Store(false)
	s.loop.Flush()
	r := &s.receipts
	d := history.Deliveries{Inboxes: r.spans, Broadcasts: r.reached}
	r.spans, r.reached = nil, nil
	sent := r.sent
	if r.sent = sent[:0]; len(sent) < cap(sent)/4 {
		r.sent = nil // it was for a crowd
	}
	for _, f := range sent {
		ses := s.lookup(f.h)
		switch {
		case ses == nil || ses.noted == ses.inbox: // it is among the spans
		case s.loop.Waits(f.h):
			r.sent = append(r.sent, f)
			s.news.Store(true)
		default:
			run := ses.pass(ses.inbox)
			run.At = time.UnixMilli(f.at)
			d.Inboxes = append(d.Inboxes, history.UserSpan{User: string(s.name(ses)), Span: run})
		}
	}
	return d
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
		s.sent.add(run)
	}
	s.sent.reached = addUp(s.sent.reached, s.handed.reached)
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
	d := history.Deliveries{Broadcasts: s.sent.reached}
	for _, run := range s.sent.runs {
		d.Inboxes = append(d.Inboxes, history.UserSpan{User: s.user, Span: run})
	}
	s.sent = handed{}
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

// noteDeliveries tells the store what was delivered, until ctx ends.
func (s *Server) noteDeliveries(ctx context.Context) {
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, sh := range s.shards {
			if !sh.news.Load() {
				continue
			}
			if d, err := ask(ctx, sh, (*shard).collect); err == nil {
				s.unnoted.add(d)
			}
		}
		s.subscribers.collect(&s.unnoted)
		s.tellDelivered()
	}
}

// tellDelivered tells the store what was gathered. What it does not take is not
// known to receipts.
func (s *Server) tellDelivered() {
	d := s.unnoted.take()
	if len(d.Inboxes) == 0 && len(d.Broadcasts) == 0 || s.cfg.Sent == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.StoreTimeout)
	defer cancel()
	if err := s.cfg.Sent.NoteDelivered(ctx, d); err != nil {
		s.refused.Add(uint64(len(d.Inboxes) + len(d.Broadcasts)))
		s.cfg.Log.Debug("noting what was delivered", "error", err)
	}
}
