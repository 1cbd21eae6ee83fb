package fanout

import (
	"time"

	"pushd.example/internal/conn/feed"
	"pushd.example/internal/conn/proto"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/history"
)

// Config is what a Fanout needs; all of it.
type Config struct {
	Queues []*Queue // by shard
	// ShardOf returns the shard of a user, and the hash that it knows the user by.
	ShardOf func(user string) (shard int, hash uint32)
	// Connection returns the connection with an id; 0 if the id is not ours.
	Connection func(id string) reactor.Handle
	NewFrame   func(bytes int) *reactor.Frame
	// Others gets what the shards get, first: subscriptions, which live on none.
	Others func(d *history.Delivery)
	// KeepRecalls is how long a message may come after its recall: where several
	// nodes share the data, a log may be read late.
	KeepRecalls time.Duration
}

// Fanout is the store's follower. The store calls Deliver from one goroutine at
// a time.
type Fanout struct {
	cfg     Config
	out     [][]Delivery // by shard
	bytes   []int
	recalls feed.Recalls
}

// New returns a Fanout.
func New(cfg Config) *Fanout {
	return &Fanout{cfg: cfg, out: make([][]Delivery, len(cfg.Queues)), bytes: make([]int, len(cfg.Queues))}
}

// Deliver is given to Store.Follow. It waits while a queue is full.
func (f *Fanout) Deliver(batch []history.Delivery) {
	for i := range batch {
		d := &batch[i]
		if !d.Resync && !d.Recall && d.Acked == nil && f.recalls.Has(d.Message.ID) {
			continue // the next message shows the hole
		}
		f.cfg.Others(d)
		switch {
		case d.Resync:
			for _, q := range f.cfg.Queues {
				q.resync()
			}
			continue
		case d.Recall:
			f.recalls.Add(d.Message.ID, time.Now(), f.cfg.KeepRecalls)
		}
		f.address(d)
	}
	for i, out := range f.out {
		if len(out) == 0 {
			continue
		}
		f.cfg.Queues[i].put(f.bytes[i], out)
		clear(out)
		f.out[i], f.bytes[i] = out[:0], 0
	}
}

// address builds the frame of d and puts it out for the shards that it concerns.
func (f *Fanout) address(d *history.Delivery) {
	frame := f.frame(d)
	item := Delivery{Frame: frame, Delivery: Offer(d)}
	if d.ExcludeConnection != "" {
		item.Excluded = f.cfg.Connection(d.ExcludeConnection)
	}
	if d.Message.Kind == history.Broadcast {
		for i := range f.out {
			f.put(i, item)
		}
	}
	for i := range d.Recipients {
		r := &d.Recipients[i]
		shard, hash := f.cfg.ShardOf(r.User)
		item.User, item.Hash, item.Prev = r.User, hash, r.Prev
		f.put(shard, item)
	}
	// One reference a shard, which goes with its last delivery of the frame.
	for _, out := range f.out {
		if n := len(out); n > 0 && out[n-1].Frame == frame {
			out[n-1].last = true
			frame.Retain(1)
		}
	}
	frame.Release()
}

func (f *Fanout) frame(d *history.Delivery) *reactor.Frame {
	if d.Acked != nil {
		frame := f.cfg.NewFrame(proto.AckedSize)
		frame.B = proto.AppendAcked(frame.B, *d.Acked)
		return frame
	}
	frame := f.cfg.NewFrame(proto.MessageSize(&d.Message))
	if d.Recall {
		frame.B = proto.AppendRecall(frame.B, d.Message.ID, d.Message.Kind)
	} else {
		frame.B = proto.AppendMessage(frame.B, d.Message)
		frame.Message = true
	}
	return frame
}

// Offer returns what readers are offered of a delivery: to everybody, or, with
// the Prev of the recipient, to one user.
func Offer(d *history.Delivery) feed.Delivery {
	o := feed.Delivery{Prev: d.Prev, First: d.Message.ID, Last: d.Message.ID}
	switch {
	case d.Recall:
		o.Kind = feed.Recall
	case d.Acked != nil:
		o.Kind = feed.Acked
	case d.Message.Ephemeral:
		o.Kind = feed.Ephemeral
	}
	if d.Message.Kind == history.Broadcast {
		o.Log = feed.Broadcasts
	}
	return o
}

func (f *Fanout) put(shard int, d Delivery) {
	f.out[shard] = append(f.out[shard], d)
	f.bytes[shard] += len(d.Frame.B) + weight
}
