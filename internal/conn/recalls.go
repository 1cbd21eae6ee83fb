package conn

import (
	"time"

	"pushd.example/internal/history"
)

// recalls remembers what was recalled lately. Pages that were read before may
// still be on their way, and a recall must not be followed by the message. It
// belongs to one goroutine.
type recalls struct {
	ids  map[history.ID]bool
	ages []recallAge // the oldest first
}

type recallAge struct {
	id   history.ID
	when time.Time
}

// add remembers id, and forgets what is older than a time.
func (r *recalls) add(id history.ID, now time.Time, keep time.Duration) {
	n := 0
	for n < len(r.ages) && now.Sub(r.ages[n].when) > keep {
		delete(r.ids, r.ages[n].id)
		n++
	}
	r.ages = r.ages[n:] // append moves what is left, now and then
	if r.ids == nil {
		r.ids = map[history.ID]bool{}
	}
	if !r.ids[id] {
		r.ids[id] = true
		r.ages = append(r.ages, recallAge{id, now})
	}
}

func (r *recalls) has(id history.ID) bool { return len(r.ids) > 0 && r.ids[id] }

// takeOut takes what is remembered out of a page.
func (r *recalls) takeOut(p *history.Page) {
	if len(r.ids) > 0 {
		leaveOut(p, func(m *history.Message) bool { return r.ids[m.ID] })
	}
}

// recall sends a recall to a session. One that is attaching has got nothing
// yet, and its first page will be without the message.
func (s *shard) recall(ses *session, d *delivery) {
	if ses.state != attaching {
		s.loop.Send(ses.handle, d.frame)
	}
}

// noteRecall remembers a recall for as long as a page may be on its way.
func (s *shard) noteRecall(id history.ID) {
	s.recalls.add(id, s.loop.Now(), 2*s.server.cfg.StoreTimeout)
}
