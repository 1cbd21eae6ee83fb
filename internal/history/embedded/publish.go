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
	before := c.visible
	deliver := c.makeVisible()
	c.countUnread(before)
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
	for op := opRecall; op <= opAppend; op++ {
		for _, r := range c.group {
			if r.op == op && r.err == nil {
				c.makeVisibleLocked(r)
			}
		}
	}
	return c.deliver
}

func (c *committer) makeVisibleLocked(r *request) {
	switch {
	case r.result.Duplicate:
	case r.op == opAck:
		c.ackedLocked(r)
	default:
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
}

// ackedLocked makes a delivery of an ack that has moved a read mark; countUnread
// completes it.
func (c *committer) ackedLocked(r *request) {
	if !r.moved || c.deliver == nil {
		return
	}
	if n, to := c.findLocked(r); n > 0 {
		r.acked = &history.ReadMark{}
		c.out.deliveries = append(c.out.deliveries, history.Delivery{
			Recipients: to, ExcludeConnection: r.ExcludeConnection, Acked: r.acked})
	}
}

// countUnread completes the deliveries of acks. The group's appends are delivered
// after them, so unread is counted up to the heads before the group.
func (c *committer) countUnread(before heads) {
	complete := c.out.deliveries[:0]
	for _, d := range c.out.deliveries {
		if d.Acked != nil {
			if err := c.complete(&d, before); err != nil {
				c.conf.Log.Error("history: telling connections of an ack", "error", err)
				continue
			}
		}
		complete = append(complete, d)
	}
	clear(c.out.deliveries[len(complete):])
	c.out.deliveries = complete
}

// complete sets the read mark of a delivery of an ack. A later ack of the group may
// have moved the mark further.
func (c *committer) complete(d *history.Delivery, at heads) error {
	v, err := c.openView(d.Recipients[0].User, at)
	if err != nil {
		return err
	}
	defer v.close()
	if err := v.limit(at); err != nil {
		return err
	}
	unread, err := v.unread()
	if err != nil {
		return err
	}
	head := v.head()
	d.Message.ID = max(head.Inbox, head.Broadcast)
	*d.Acked = history.ReadMark{Cursor: v.meta.markCursor(), Unread: unread}
	return nil
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
