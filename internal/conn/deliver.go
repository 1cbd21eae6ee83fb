package conn

import (
	"time"

	"pushd.example/internal/conn/proto"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/history"
)

// delivery is a message on its way to one user of a shard, or to all.
type delivery struct {
	frame *reactor.Frame
	id    history.ID
	prev  history.ID // the id before it in the log
	user  string     // "": a broadcast
	hash  uint32
	skip  reactor.Handle // a connection that is passed over; 0: none
	brief bool           // ephemeral: id and prev mean nothing
	last  bool           // of those with this frame on this shard: the reference goes with it
	// recall: the frame takes message id back; prev means nothing.
	recall bool
}

// deliveryWeight is what a delivery counts beside its frame.
const deliveryWeight = 64

func (d *delivery) release() {
	if d.last {
		d.frame.Release()
	}
}

// postman is the store's follower: it builds each message's frame once and
// brings it to each shard once, however many connections get it. The store
// calls it from one goroutine at a time.
type postman struct {
	server *Server
	out    [][]delivery // by shard
	weight []int
	// recalls are those of messages that may come only now: where several nodes
	// share the data, a log may be read late.
	recalls recalls
}

func (p *postman) init(s *Server) {
	p.server = s
	p.out = make([][]delivery, len(s.shards))
	p.weight = make([]int, len(s.shards))
}

// deliver is given to Store.Follow. It waits while a shard's mailbox is full,
// and with it the appends wait that would fill it further.
func (p *postman) deliver(batch []history.Delivery) {
	p.server.subscribers.tell(batch)
	for i := range batch {
		switch d := &batch[i]; {
		case d.Resync:
			p.resync()
		case d.Recall:
			p.recalls.add(d.Message.ID, time.Now(), 2*p.server.cfg.StoreTimeout)
			p.address(d)
		case !p.recalls.has(d.Message.ID): // the next one shows the hole
			p.address(d)
		}
	}
	for i, out := range p.out {
		if len(out) == 0 {
			continue
		}
		sh := p.server.shards[i]
		if !sh.deliveries.Put(p.weight[i], out...) {
			for j := range out {
				out[j].release()
			}
		}
		sh.loop.Wake()
		clear(out)
		p.out[i], p.weight[i] = out[:0], 0
	}
}

// resync makes all sessions read on from where they are. It need not wait for
// the deliveries before it, nor do they for it.
func (p *postman) resync() {
	for _, sh := range p.server.shards {
		sh.resyncs.Add(1)
		sh.loop.Wake()
	}
}

// address makes the frame of d and puts it out for the shards concerned.
func (p *postman) address(d *history.Delivery) {
	f := p.server.reactor.NewFrame(len(d.Message.Data) + len(d.Message.CollapseKey) + envelope)
	if d.Recall {
		f.B = proto.AppendRecall(f.B, d.Message.ID, d.Message.Kind)
	} else {
		f.B = proto.AppendMessage(f.B, d.Message)
		f.Message = true
	}
	item := delivery{frame: f, id: d.Message.ID, prev: d.Prev, brief: d.Message.Ephemeral, recall: d.Recall}
	if d.ExcludeConnection != "" {
		item.skip = p.server.connectionNamed(d.ExcludeConnection)
	}
	if d.Message.Kind == history.Broadcast {
		for i := range p.server.shards {
			p.put(i, item)
		}
	}
	for i := range d.Recipients {
		r := &d.Recipients[i]
		sh, hash := p.server.shardOf(r.User)
		item.user, item.hash, item.prev = r.User, hash, r.Prev
		p.put(sh.loop.ID(), item)
	}
	// One reference a shard, which its last delivery of the frame gives back.
	for _, out := range p.out {
		if n := len(out); n > 0 && out[n-1].frame == f {
			out[n-1].last = true
			f.Retain(1)
		}
	}
	f.Release()
}

func (p *postman) put(i int, d delivery) {
	p.out[i] = append(p.out[i], d)
	p.weight[i] += len(d.frame.B) + deliveryWeight
}

// deliver hands deliveries to sessions, in order, until so many sends were
// made. It reports whether some are left.
func (s *shard) deliver(sends int) (more bool) {
	for sends > 0 {
		if s.walk.frame != nil {
			sends -= s.step(sends)
			continue
		}
		if s.at == len(s.queue) {
			clear(s.queue)
			s.queue, s.at = s.deliveries.Take(s.queue[:0]), 0
			if len(s.queue) == 0 {
				return false
			}
		}
		d := &s.queue[s.at]
		if d.recall {
			s.noteRecall(d.id)
		}
		if d.user == "" {
			s.at += s.beginWalk(s.queue[s.at:])
			continue
		}
		s.at++
		sends -= 1 + s.toUser(d)
		s.finishDelivery(d)
	}
	return true
}

// finishDelivery gives the frame's reference back, if d has it, when the
// present batch has gone out.
func (s *shard) finishDelivery(d *delivery) {
	if d.last {
		s.loop.Drop(d.frame)
	}
}

// toUser delivers to a user's sessions and returns how many there are.
func (s *shard) toUser(d *delivery) int {
	// All first, then one by one: sending to one may end any other, and with
	// it the list that leads from one to the next.
	s.found = s.find(s.found[:0], d.user, d.hash)
	for _, h := range s.found {
		if ses := s.lookup(h); ses != nil {
			s.toSession(ses, d)
		}
	}
	return len(s.found)
}

func (s *shard) toSession(ses *session, d *delivery) {
	switch {
	case d.brief:
		s.brief(ses, d)
	case d.recall:
		s.recall(ses, d)
	case ses.state < live:
		ses.behind = true
	case d.id <= ses.inbox: // came with a page already
	case d.prev > ses.inbox:
		s.hole(ses)
	case ses.handle == d.skip:
		s.passInbox(ses, d.id)
	default:
		s.sending(ses)
		ses.inbox = d.id
		s.count.Inbox++
		s.loop.Send(ses.handle, d.frame)
	}
}

// brief delivers an ephemeral message, unless the client has others to take
// first: it would come late, and make room for itself by what must not be lost.
func (s *shard) brief(ses *session, d *delivery) {
	switch {
	case ses.handle == d.skip:
	case ses.state < live:
		s.count.Dropped[catchingUp]++
	case s.loop.SendAtOnce(ses.handle, d.frame):
		s.count.Ephemeral++
	default:
		s.count.Dropped[slow]++
	}
}

// hole makes a session read what it missed. The delivery that showed the hole
// comes with the page.
func (s *shard) hole(ses *session) {
	s.count.Holes++
	s.askPage(ses)
}
