package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"pushd.example/internal/history"
)

// following is the node's follower, and the deliveries that wait for it.
type following struct {
	mu      sync.Mutex // held while deliver runs
	deliver func([]history.Delivery)

	// heads are how far the broadcast logs of the partitions were read. A
	// broadcast is delivered when all copies of it were read: a user who attaches
	// in a partition that does not have it yet must not miss it.
	heads   []history.ID
	pending []history.Delivery
	// from is where reading the home's log last began. An older broadcast may not
	// be pending any more, and still reach a copy after connections have read that
	// copy.
	from history.ID
}

// Follow implements history.Store.
func (s *Store) Follow(deliver func([]history.Delivery)) (stop func()) {
	f := &s.following
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.closed.Load() {
		return func() {}
	}
	if f.deliver != nil {
		panic("redis: a second follower")
	}
	f.deliver = deliver
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.deliver = nil
	})
}

// join sets where reading a partition's broadcast log begins.
func (f *following) join(partition int, at history.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heads[partition] = at
	if partition == 0 {
		f.from = at
	}
}

// deliverNow hands deliveries to the follower.
func (f *following) deliverNow(batch []history.Delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deliverLocked(batch)
}

func (f *following) deliverLocked(batch []history.Delivery) {
	if f.deliver != nil && len(batch) > 0 {
		f.deliver(batch)
	}
}

// take delivers what was read in a partition: deliveries for inboxes, and
// broadcasts.
func (f *following) take(partition int, batch, broadcasts []history.Delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(broadcasts); n > 0 {
		f.heads[partition] = broadcasts[n-1].Message.ID
		if partition == 0 {
			f.pending = append(f.pending, broadcasts...)
		}
		all := slices.Min(f.heads)
		n := 0
		for n < len(f.pending) && f.pending[n].Message.ID <= all {
			n++
		}
		batch = merge(batch, f.pending[:n])
		f.pending = slices.Delete(f.pending, 0, n)
	}
	f.deliverLocked(batch)
	if partition != 0 && len(broadcasts) > 0 && broadcasts[0].Message.ID <= f.from {
		f.deliverLocked([]history.Delivery{{Resync: true}})
	}
}

// merge puts broadcasts among the deliveries of a node's stream, by their ids. The
// stream keeps its order, in which recalls and acks have their turn.
func merge(stream, broadcasts []history.Delivery) []history.Delivery {
	all := make([]history.Delivery, 0, len(stream)+len(broadcasts))
	for _, d := range stream {
		n := 0
		for n < len(broadcasts) && broadcasts[n].Message.ID <= d.Message.ID {
			n++
		}
		all, broadcasts = append(append(all, broadcasts[:n]...), d), broadcasts[n:]
	}
	return append(all, broadcasts...)
}

// tail reads what a partition has for the node: the node's stream and the
// broadcast log, with one blocking read. After its connection broke, it continues
// from where it was.
type tail struct {
	*partition
	stream string
	read   atomic.Int64 // entries of the stream, ever
	// delivering is true while the follower runs.
	delivering atomic.Bool
	done       chan struct{}

	// The goroutine's own.
	logAt string

	mu     sync.Mutex // guards what follows
	at     string     // id of the last entry that was read
	client *goredis.Client
	ended  bool
}

const (
	tailCount = 256
	tailBlock = time.Second
	tailPause = 10 * time.Millisecond
)

// newTail begins to read the stream of the named node from its beginning, and
// the broadcast log after the given entry.
func (p *partition) newTail(ctx context.Context, name, logAt string) (*tail, error) {
	t := &tail{partition: p, stream: p.keys.stream(name), at: "0-0", logAt: logAt, done: make(chan struct{})}
	var err error
	if t.client, err = p.newReader(ctx); err != nil {
		return nil, err
	}
	p.store.helpers.Go(t.run)
	return t, nil
}

// position returns the id up to which the stream was read.
func (t *tail) position() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at
}

// stop ends the reading, and waits for the follower to return.
func (t *tail) stop() {
	t.mu.Lock()
	t.ended = true
	t.client.Close()
	t.mu.Unlock()
	<-t.done
}

// current returns the client, nil when the tail has ended.
func (t *tail) current() *goredis.Client {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return nil
	}
	return t.client
}

// run is the tail's goroutine.
func (t *tail) run() {
	defer close(t.done)
	ctx := t.store.ctx
	for client := t.current(); client != nil; client = t.current() {
		reply, err := client.Do(ctx, "xread", "count", tailCount, "block", tailBlock.Milliseconds(),
			"streams", t.stream, t.log, t.position(), t.logAt).Result()
		if err == nil {
			err = t.take(reply)
		}
		if err != nil && !errors.Is(err, goredis.Nil) && t.current() != nil {
			t.mend(err)
		}
	}
}

// mend is called when a read failed. The keeper finds out why; mend only waits a
// little and, in a Cluster, connects again.
func (t *tail) mend(err error) {
	t.store.conf.Log.Debug("history: reading what this node must deliver", "partition", t.number, "error", err)
	t.nudge()
	time.Sleep(tailPause)
	if t.store.target.kind != cluster {
		return
	}
	// The partition may have moved to another server.
	ctx, cancel := context.WithTimeout(t.store.ctx, t.store.conf.Timeout)
	defer cancel()
	t.relocate()
	client, err := t.newReader(ctx)
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		client.Close()
		return
	}
	t.client.Close()
	t.client = client
}

// take delivers a reply of XREAD: pairs of a stream's name and its entries.
func (t *tail) take(reply any) error {
	list, _ := reply.([]any)
	var batch, broadcasts []history.Delivery
	var probed []string
	for _, item := range list {
		pair, _ := item.([]any)
		if len(pair) != 2 {
			return fmt.Errorf("%w: XREAD gave %T", errEntry, item)
		}
		entries, err := streamEntries(pair[1])
		if err != nil {
			return err
		}
		if pair[0] == t.log {
			broadcasts = t.broadcasts(entries)
		} else {
			batch, probed = t.entries(entries)
		}
	}
	t.delivering.Store(true)
	t.store.following.take(t.number, batch, broadcasts)
	t.delivering.Store(false)
	for _, data := range probed {
		t.probes.back(data)
	}
	return nil
}

func (t *tail) broadcasts(entries []streamEntry) (out []history.Delivery) {
	for _, e := range entries {
		t.logAt = e.id
		d, err := parseBroadcast(e)
		if err != nil {
			t.store.conf.Log.Error("history: reading a broadcast", "error", err)
			continue
		}
		t.saw(d.Message.ID)
		out = append(out, d)
	}
	return out
}

// entries reads the node's stream: deliveries, and probes that came back.
func (t *tail) entries(entries []streamEntry) (out []history.Delivery, probed []string) {
	for _, e := range entries {
		if _, hello := e.fields["hello"]; hello {
			continue
		}
		d, err := parseNode(e)
		if err != nil {
			t.store.conf.Log.Error("history: reading what this node must deliver", "error", err)
			continue
		}
		t.saw(d.Message.ID)
		if len(d.Recipients) == 1 && strings.HasPrefix(d.Recipients[0].User, probePrefix) {
			probed = append(probed, e.fields["d"])
		} else {
			out = append(out, d)
		}
	}
	t.read.Add(int64(len(entries)))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at = entries[len(entries)-1].id
	return out, probed
}
