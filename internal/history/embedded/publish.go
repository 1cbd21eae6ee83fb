package embedded

import (
	"sync"

	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
)

// publisher makes deliveries of a group. Its memory is the committer's.
type publisher struct {
	deliveries []history.Delivery
	recipients []history.Recipient // of all deliveries; kept by followers
}

// publish makes the group visible and delivers it to the follower.
func (c *committer) publish() {
	c.delivering.Lock()
	defer c.delivering.Unlock()
	deliver := c.makeVisible()
	if len(c.out.deliveries) > 0 {
		deliver(c.out.deliveries)
	}
	clear(c.out.deliveries) // keep no message alive
	c.out.deliveries = c.out.deliveries[:0]
	c.out.recipients = nil
}

// recordAcks records an event for each read mark that the group moved.
func (c *committer) recordAcks() {
	for _, r := range c.group {
		if r.moved {
			c.events.Record(watch.Event{Kind: watch.Acked, User: r.targets[0].user, Cursor: r.cursor})
		}
	}
}

// makeVisible moves the heads and finds the attached recipients, in one step: a
// connection that attaches before it is among them, and one that attaches after it
// sees the new heads.
func (c *committer) makeVisible() (deliver func([]history.Delivery)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.visible = c.heads
	for _, r := range c.group {
		if r.op != opAppend && r.op != opRecall || r.err != nil || r.result.Duplicate {
			continue
		}
		d := history.Delivery{
			Message:           history.Message{ID: r.result.ID, Kind: r.Kind, Data: r.Data, CollapseKey: r.CollapseKey, Ephemeral: r.Ephemeral},
			Prev:              r.prev,
			ExcludeConnection: r.ExcludeConnection,
			Recall:            r.op == opRecall,
		}
		if r.Kind == history.Broadcast {
			r.result.Online, r.result.OnlineUsers = c.presence.total, len(c.presence.counts)
		} else {
			r.result.Online, d.Recipients = c.findLocked(r)
			r.result.OnlineUsers = len(d.Recipients)
		}
		if c.deliver != nil && r.result.Online > 0 {
			c.out.deliveries = append(c.out.deliveries, d)
		}
	}
	return c.deliver
}

// findLocked counts the connections of r's targets and lists those who have
// any.
func (c *committer) findLocked(r *request) (online int, present []history.Recipient) {
	if c.presence.total == 0 {
		return 0, nil
	}
	begin := len(c.out.recipients)
	for i := range r.targets {
		t := &r.targets[i]
		n := c.presence.count(t.user)
		if online += n; n > 0 {
			c.out.recipients = append(c.out.recipients, history.Recipient{User: t.user, Prev: t.prev})
		}
	}
	end := len(c.out.recipients)
	return online, c.out.recipients[begin:end:end]
}

// Follow implements history.Store.
func (s *Store) Follow(deliver func([]history.Delivery)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return func() {}
	}
	if s.deliver != nil {
		panic("embedded: a second follower")
	}
	s.deliver = deliver
	return sync.OnceFunc(func() {
		s.delivering.Lock() // until deliver has returned
		defer s.delivering.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.deliver = nil
	})
}
