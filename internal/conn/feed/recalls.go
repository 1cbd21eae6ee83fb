package feed

import (
	"time"

	"pushd.example/internal/history"
)

// Recalls remembers what was recalled lately: pages that were read before may
// still be on their way, and a message must not follow its recall. The zero
// value remembers nothing.
type Recalls struct {
	ids  map[history.ID]bool
	ages []recallAge // the oldest first
}

type recallAge struct {
	id   history.ID
	when time.Time
}

// Add remembers id, and forgets what is older than keep.
func (r *Recalls) Add(id history.ID, now time.Time, keep time.Duration) {
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

// Has reports whether id is remembered.
func (r *Recalls) Has(id history.ID) bool { return len(r.ids) > 0 && r.ids[id] }

// LeaveOut takes what is remembered out of a page.
func (r *Recalls) LeaveOut(p *history.Page) {
	if len(r.ids) > 0 {
		LeaveOut(p, r.Has)
	}
}

// LeaveOut takes the messages out of a page whose id out reports. A
// message of the inbox leaves a gap in the page.
func LeaveOut(p *history.Page, out func(history.ID) bool) {
	var gaps []history.ID
	messages, left, old := p.Messages[:0], false, p.Gaps
	for i := range p.Messages {
		m := &p.Messages[i]
		inbox := m.Kind != history.Broadcast
		if inbox && len(old) > 0 && old[0] == m.ID {
			old, left = old[1:], true
		}
		if out(m.ID) {
			left = left || inbox
			continue
		}
		if inbox && left {
			gaps, left = append(gaps, m.ID), false
		}
		messages = append(messages, *m)
	}
	clear(p.Messages[len(messages):])
	p.Messages, p.Gaps = messages, gaps
}
