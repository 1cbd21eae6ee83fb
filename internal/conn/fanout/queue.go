package fanout

import (
	"sync/atomic"

	"pushd.example/internal/conn/feed"
	"pushd.example/internal/conn/reactor"
)

// Delivery is a message, a recall or an ack on its way to one user of a shard, or to
// everybody.
type Delivery struct {
	feed.Delivery
	Frame *reactor.Frame
	User  string // "": everybody
	Hash  uint32 // of User
	// Excluded is a connection that does not get it; 0: none.
	Excluded reactor.Handle
	last     bool // of those with this frame in this queue: the queue's reference goes with it
}

// Bounds of a Group.
const (
	maxGroup      = 64
	maxGroupBytes = 16 << 10
)

// Group is what goes to everybody next: one ephemeral message or recall, or
// broadcasts that follow one another and are sent as one frame. Excluded is the
// same for all of them.
type Group struct {
	Deliveries []Delivery
	Frame      *reactor.Frame
}

// Delivery returns the group as one.
func (g *Group) Delivery() feed.Delivery {
	d := g.Deliveries[0].Delivery
	d.Last = g.Deliveries[len(g.Deliveries)-1].Last
	return d
}

// Excluded returns the connection that does not get the group; 0: none.
func (g *Group) Excluded() reactor.Handle { return g.Deliveries[0].Excluded }

// Queue is what waits for one shard. Any goroutine may call Put, Resync and
// Empty; the rest belongs to the shard's loop. The Loop is set before use.
type Queue struct {
	Loop *reactor.Loop

	mailbox reactor.Mailbox[Delivery]
	resyncs atomic.Uint64 // times that deliveries may have been missed

	// The loop's own.
	taken  []Delivery // out of the mailbox; those before at are dealt with
	at     int
	group  Group
	synced uint64 // of resyncs, how many the shard knows of
}

// Limit bounds what waits: the bytes of each delivery's frame and 64 more. It is
// called before use.
func (q *Queue) Limit(bytes int) { q.mailbox.Limit = bytes }

// weight is what a delivery counts beside its frame.
const weight = 64

// put adds deliveries, waiting for room; if the loop has ended it drops them.
func (q *Queue) put(bytes int, some []Delivery) {
	if !q.mailbox.Put(bytes, some...) {
		for i := range some {
			some[i].release()
		}
	}
	q.Loop.Wake()
}

// resync says that deliveries may have been missed. It does not wait for those
// that were put before it, nor do they for it.
func (q *Queue) resync() {
	q.resyncs.Add(1)
	q.Loop.Wake()
}

// Resync reports whether deliveries may have been missed since the last call.
func (q *Queue) Resync() bool {
	n := q.resyncs.Load()
	missed := n != q.synced
	q.synced = n
	return missed
}

// Empty reports whether nothing has come since the last Next and Resync.
func (q *Queue) Empty() bool { return q.mailbox.Empty() && q.synced == q.resyncs.Load() }

// Next returns what to deliver next: to one user, or to everybody, or nothing.
// The caller gives it back with Done before it calls Next again.
func (q *Queue) Next() (one *Delivery, all *Group) {
	if q.at == len(q.taken) {
		clear(q.taken)
		q.taken, q.at = q.mailbox.Take(q.taken[:0]), 0
		if len(q.taken) == 0 {
			return nil, nil
		}
	}
	if d := &q.taken[q.at]; d.User != "" {
		q.at++
		return d, nil
	}
	return nil, q.join()
}

// Done gives what Next returned back: its frames go when they were sent.
func (q *Queue) Done(one *Delivery, all *Group) {
	if one != nil {
		q.finish(one)
		return
	}
	for i := range all.Deliveries {
		q.finish(&all.Deliveries[i])
	}
	q.Loop.Drop(all.Frame)
	clear(all.Deliveries)
	all.Frame = nil
}

func (q *Queue) finish(d *Delivery) {
	if d.last {
		q.Loop.Drop(d.Frame)
	}
}

// join takes the group that lies first.
func (q *Queue) join() *Group {
	queue := q.taken[q.at:]
	n, size := 1, len(queue[0].Frame.B)
	for queue[0].Kind == feed.Message && n < min(len(queue), maxGroup) {
		d := &queue[n]
		size += len(d.Frame.B)
		if d.User != "" || d.Kind != feed.Message || d.Prev != queue[n-1].Last || size > maxGroupBytes || d.Excluded != queue[n-1].Excluded {
			break
		}
		n++
	}
	g := &q.group
	g.Deliveries = append(g.Deliveries[:0], queue[:n]...)
	q.at += n
	if n == 1 {
		g.Frame = queue[0].Frame
		g.Frame.Retain(1)
		return g
	}
	g.Frame = q.Loop.NewFrame(size)
	for i := range g.Deliveries {
		g.Frame.Join(g.Deliveries[i].Frame)
	}
	return g
}

// Close drops everything, also a group that was not given back.
func (q *Queue) Close() {
	q.taken = append(q.taken, q.mailbox.Close()...)
	for i := range q.taken[q.at:] {
		q.taken[q.at+i].release()
	}
	q.taken, q.at = nil, 0
	if q.group.Frame != nil {
		q.group.Frame.Release()
		for i := range q.group.Deliveries {
			q.group.Deliveries[i].release()
		}
	}
}

func (d *Delivery) release() {
	if d.last {
		d.Frame.Release()
	}
}
