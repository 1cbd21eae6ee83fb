package conn

import (
	"pushd.example/internal/conn/fanout"
	"pushd.example/internal/conn/feed"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/history"
)

// deliver gives a shard's sessions what comes live. It belongs to the loop.
type deliver struct {
	*core
	replay *replay
	queue  *fanout.Queue
	group  *fanout.Group // goes to all sessions, a stretch in each turn; nil: none
	found  []reactor.Handle
}

// run delivers what waits, in order, until so many sends were made. It reports
// whether some is left.
func (d *deliver) run(sends int) (more bool) {
	for sends > 0 {
		if d.group != nil {
			sends -= d.toAll(sends)
			continue
		}
		one, all := d.queue.Next()
		switch {
		case one != nil:
			d.remember(one)
			sends -= 1 + d.toUser(one)
			d.queue.Done(one, nil)
		case all != nil:
			d.begin(all)
		default:
			return false
		}
	}
	return true
}

// remember remembers a recall for as long as a page may be on its way.
func (d *deliver) remember(one *fanout.Delivery) {
	if one.Kind == feed.Recall {
		d.recalls.Add(one.First, d.loop.Now(), 2*d.server.cfg.StoreTimeout)
	}
}

// toUser delivers to a user's sessions and returns how many there are.
func (d *deliver) toUser(one *fanout.Delivery) int {
	// All first, then one by one: sending to one may end any other, and with
	// it the list that leads from one to the next.
	d.found = d.sessions.find(d.found[:0], one.User, one.Hash)
	for _, h := range d.found {
		if ses := d.lookup(h); ses != nil {
			d.toSession(ses, one.Delivery, one.Excluded, one.Frame)
		}
	}
	return len(d.found)
}

// begin begins to give a group to all sessions.
func (d *deliver) begin(all *fanout.Group) {
	for i := range all.Deliveries {
		one := &all.Deliveries[i]
		if d.remember(one); one.Kind == feed.Message {
			d.ledger.Broadcast(one.First)
		}
	}
	d.group = all
	d.sessions.beginRound()
}

// toAll gives the group to at most so many sessions, and returns how many that
// were.
func (d *deliver) toAll(most int) (visited int) {
	offer, excluded := d.group.Delivery(), d.group.Excluded()
	for ; visited < most; visited++ {
		ses := d.sessions.nextInRound()
		if ses == nil {
			d.queue.Done(nil, d.group)
			d.group = nil
			return visited
		}
		d.toSession(ses, offer, excluded, d.group.Frame)
	}
	return visited
}

// oldest returns the broadcast up to which no session will be sent anything any
// more that it was not sent already.
func (d *deliver) oldest() history.ID {
	if d.group == nil || d.group.Delivery().Kind != feed.Message {
		return history.MaxID
	}
	return d.group.Delivery().First - 1
}

// toSession does with a delivery what the session's reader says.
func (d *deliver) toSession(ses *session, offer feed.Delivery, excluded reactor.Handle, f *reactor.Frame) {
	action, ended := ses.reader.Offer(offer, ses.handle == excluded)
	switch action {
	case feed.Skip:
		if offer.Kind == feed.Acked && ses.attaching() {
			ses.acked = true
		}
		d.ledger.Hold(ses.key(), &ses.reader, ended)
	case feed.Send:
		d.sendLive(ses, offer, f)
	case feed.SendEach:
		d.each(ses.handle)
	case feed.SendIfIdle:
		if d.loop.SendAtOnce(ses.handle, f) {
			d.count.Ephemeral++
		} else {
			d.count.Dropped[slow]++
		}
	case feed.Miss:
		d.count.Dropped[catchingUp]++
	case feed.Read:
		d.count.Holes++
		d.replay.ask(ses)
	}
}

func (d *deliver) sendLive(ses *session, offer feed.Delivery, f *reactor.Frame) {
	switch {
	case offer.Kind != feed.Message: // a recall or an ack
		d.loop.Send(ses.handle, f)
		return
	case offer.Log == feed.Inbox:
		d.count.Inbox++
	case offer.First == offer.Last:
		d.count.Broadcast++
	default:
		d.count.Broadcast += uint64(len(d.group.Deliveries))
	}
	d.sent(ses)
	d.loop.Send(ses.handle, f)
}

// each offers a session the broadcasts of the group one by one.
func (d *deliver) each(h reactor.Handle) {
	for i := range d.group.Deliveries {
		one := &d.group.Deliveries[i]
		if ses := d.lookup(h); ses != nil { // else closed as too slow
			d.toSession(ses, one.Delivery, one.Excluded, one.Frame)
		}
	}
}
