package conn

import (
	"context"
	"sync"
	"time"

	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/history"
)

// call is one call of the store for a session, and then its result: the two
// travel there and back as one.
type call struct {
	kind      callKind
	shard     *shard
	h         reactor.Handle
	user      string
	handshake *handshake // of an attach

	cursor history.Cursor // of a page or ack
	resync bool           // a page that a resync asked for

	attachment history.Attachment
	page       history.Page
	mark       history.ReadMark
	err        error
}

// callKind says which call of the store it is.
type callKind uint8

const (
	attach callKind = iota
	page
	ack
	readMark // of a session that was attaching when the mark moved: at most one each
	detach   // has no result
)

// calls makes calls of the store off the loops, with a fixed number of
// workers. The queue is bounded, but for detaches and readMarks: there can be no more
// of them than connections.
type calls struct {
	store   history.Store
	workers int
	limit   int
	timeout time.Duration
	ctx     context.Context // ends with stop
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex // guards what follows
	some    sync.Cond  // waiting or stopped changed
	waiting []*call
	first   int // of waiting; those before are taken
	stopped bool
}

func newCalls(cfg Config) *calls {
	c := &calls{store: cfg.Store, workers: cfg.StoreWorkers, limit: cfg.StoreQueue, timeout: cfg.StoreTimeout}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.some.L = &c.mu
	return c
}

// start begins the workers, which end with stop.
func (c *calls) start() {
	for range c.workers {
		c.running.Go(c.work)
	}
}

// submit queues a call; it reports false when too many wait.
func (c *calls) submit(k *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting)-c.first >= c.limit && k.kind < readMark {
		return false
	}
	c.waiting = append(c.waiting, k)
	c.some.Signal()
	return true
}

// detach takes one Attach of user back.
func (c *calls) detach(user string) { c.submit(&call{kind: detach, user: user}) }

// take waits for a call; nil ends a worker.
func (c *calls) take() *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.first == len(c.waiting) {
		if c.stopped {
			return nil
		}
		c.some.Wait()
	}
	k := c.waiting[c.first]
	c.waiting[c.first] = nil
	if c.first++; c.first == len(c.waiting) {
		c.waiting, c.first = c.waiting[:0], 0
	} else if c.first > 1024 && c.first > len(c.waiting)/2 {
		n := copy(c.waiting, c.waiting[c.first:])
		clear(c.waiting[n:])
		c.waiting, c.first = c.waiting[:n], 0
	}
	return k
}

// depth returns how many calls wait.
func (c *calls) depth() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting) - c.first
}

// stop makes what was submitted and ends the workers.
func (c *calls) stop() {
	c.cancel()
	c.mu.Lock()
	c.stopped = true
	c.some.Broadcast()
	c.mu.Unlock()
	c.running.Wait()
}

// work is a worker's goroutine.
func (c *calls) work() {
	for k := c.take(); k != nil; k = c.take() {
		c.do(k)
		if k.kind == detach {
			continue
		}
		if !k.shard.result(k) && k.kind == attach && k.err == nil {
			c.store.Detach(k.user)
		}
	}
}

func (c *calls) do(k *call) {
	if k.kind == detach {
		c.store.Detach(k.user)
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.timeout)
	defer cancel()
	switch k.kind {
	case attach:
		k.attachment, k.err = c.store.Attach(ctx, k.user, k.handshake.start)
	case page:
		k.page, k.err = c.store.Page(ctx, k.user, history.Query{
			Direction: history.Forward, After: k.cursor, Limit: pageMessages, MaxBytes: pageBytes})
	case ack:
		k.mark, k.err = c.store.Ack(ctx, k.user, k.cursor, k.shard.server.connectionID(k.h))
	case readMark:
		k.mark, k.err = c.store.Ack(ctx, k.user, history.Cursor{}, "") // moves nothing
	}
}
