package conn

import (
	"context"
	"sync"
	"time"

	"pushd.example/internal/history"
)

// noteEvery is how often the store is told what was delivered.
const noteEvery = time.Second

// handed is what a subscription's owner was handed.
type handed struct {
	runs    []history.Range
	reached map[history.ID]int // broadcasts
}

// handOut notes a page that the owner is about to be handed.
func (s *Subscription) handOut(p *history.Page) {
	if s.server.cfg.Messages == nil {
		return
	}
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
	if s.server.cfg.Messages == nil {
		return
	}
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
func (d *handed) add(run history.Range) {
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
		d.Inboxes = append(d.Inboxes, history.UserRange{User: s.user, Range: run})
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
	u.d.Missed = u.d.Missed || d.Missed
}

// take returns what there is to tell. That some was missed waits for what comes
// after it: a store that fails is not called for that alone.
func (u *unnoted) take() history.Deliveries {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.d.Inboxes) == 0 && len(u.d.Broadcasts) == 0 {
		return history.Deliveries{}
	}
	d := u.d
	u.d = history.Deliveries{}
	return d
}

// addUp adds more, which is given up, to counts.
func addUp(counts, more map[history.ID]int) map[history.ID]int {
	if counts == nil {
		return more
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
			if sh.news.Load() {
				s.collect(sh)
			}
		}
		s.subscribers.collect(&s.unnoted)
		s.tellDelivered(ctx)
	}
}

// collect gathers from a shard.
func (s *Server) collect(sh *shard) {
	for more := true; more; {
		// A loop answers or drops the question: what it has taken is not lost.
		d, err := ask(context.Background(), sh, (*shard).collect)
		if err != nil {
			return
		}
		s.unnoted.add(d.Deliveries)
		more = d.more
	}
}

// tellDelivered tells the store what was gathered. What it does not take is not
// known to receipts, and those who watch are told with the next call.
func (s *Server) tellDelivered(ctx context.Context) {
	d := s.unnoted.take()
	if len(d.Inboxes) == 0 && len(d.Broadcasts) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StoreTimeout)
	defer cancel()
	if err := s.cfg.Messages.RecordDelivered(ctx, d); err != nil {
		s.unnoted.add(history.Deliveries{Missed: true})
		s.refused.Add(uint64(len(d.Inboxes) + len(d.Broadcasts)))
		s.cfg.Log.Debug("recording what was delivered", "error", err)
	}
}
