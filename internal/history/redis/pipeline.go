package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"pushd.example/internal/history"
)

// pipeline sends commands to a partition in the order in which they were put in.
// Commands that wait while a batch is under way make the next batch: the more there
// is to do, the less each costs. A batch whose connection broke is sent again, so
// commands must be safe to repeat, except for those that are marked once.
//
// When Redis cannot be reached, or does not answer in time, the pipeline is down:
// commands that wait fail, and new ones fail at once, until up is called.
type pipeline struct {
	part  *partition
	limit int // commands that may wait

	mu      sync.Mutex // guards what follows
	some    sync.Cond  // waiting, down or closed changed
	waiting []*op
	down    error // why nothing is sent, nil while all is well
	closed  bool
}

// op is one command, and its answer.
type op struct {
	ctx       context.Context // nil: it is sent even if its caller has gone
	cmd       []any
	replicate bool // answered when a replica has it
	must      bool // accepted even if too many commands wait
	once      bool // not sent again if Redis may have got it

	// The worker's until done is closed.
	doubt bool // an earlier try may have been done
	reply *goredis.Cmd
	err   error
	done  chan struct{}
}

const (
	// A batch ends with the op that takes it past one of these.
	maxOps   = 256
	maxBytes = 512 << 10

	maxWaiting = 16 << 10
)

// Pauses before a batch is sent again, and how often it is.
const (
	redirectPause = 20 * time.Millisecond
	brokenPause   = 5 * time.Millisecond

	maxBroken = 3  // times that the connection may break
	maxMoving = 50 // times that the slot may be elsewhere
)

func newPipeline(p *partition, workers int) *pipeline {
	l := &pipeline{part: p, limit: maxWaiting, down: errors.New("not connected yet")}
	l.some.L = &l.mu
	for range workers {
		p.store.helpers.Go(l.work)
	}
	return l
}

// put queues an op, or says why not.
func (l *pipeline) put(o *op) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return history.ErrClosed
	case l.down != nil:
		return unavailable(l.down)
	case len(l.waiting) >= l.limit && !o.must:
		return unavailable(fmt.Errorf("%d calls wait for Redis, which is the most", l.limit))
	}
	o.done = make(chan struct{})
	l.waiting = append(l.waiting, o)
	l.some.Signal()
	return nil
}

// do queues a command and waits for its answer.
func (l *pipeline) do(ctx context.Context, cmd []any, replicate bool) (any, error) {
	o := &op{ctx: ctx, cmd: cmd, replicate: replicate}
	if err := l.put(o); err != nil {
		return nil, err
	}
	return o.wait(ctx)
}

// wait waits for the answer, or until ctx ends.
func (o *op) wait(ctx context.Context) (any, error) {
	select {
	case <-o.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if o.err != nil {
		return nil, o.err
	}
	return o.reply.Val(), nil
}

// waitForAll waits until ops have succeeded, or returns the first error.
func waitForAll(ctx context.Context, ops []*op) error {
	for _, o := range ops {
		if _, err := o.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// take waits for ops and returns as many as make a batch; nil ends a worker.
func (l *pipeline) take() []*op {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) == 0 {
		if l.closed {
			return nil
		}
		l.some.Wait()
	}
	n, size := 0, 0
	for n < len(l.waiting) && n < maxOps && size < maxBytes {
		size += l.waiting[n].size()
		n++
	}
	batch := l.waiting[:n:n]
	if l.waiting = l.waiting[n:]; len(l.waiting) == 0 {
		l.waiting = nil
	}
	return batch
}

func (o *op) size() (n int) {
	for _, arg := range o.cmd {
		switch arg := arg.(type) {
		case string:
			n += len(arg)
		case []byte:
			n += len(arg)
		}
	}
	return n
}

// up accepts ops again.
func (l *pipeline) up() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = nil
}

// fail puts the pipeline down and fails what waits.
func (l *pipeline) fail(err error) {
	l.mu.Lock()
	waiting := l.waiting
	l.waiting = nil
	if l.down == nil {
		l.down = err
	}
	l.mu.Unlock()
	for _, o := range waiting {
		o.finish(unavailable(err))
	}
}

// state returns why the pipeline is down, nil if it is not.
func (l *pipeline) state() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down
}

// depth returns how many ops wait.
func (l *pipeline) depth() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// close lets the workers end when nothing waits any more.
func (l *pipeline) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.some.Broadcast()
}

func (o *op) finish(err error) {
	o.err = err
	close(o.done)
}

// work is a worker's goroutine.
func (l *pipeline) work() {
	for batch := l.take(); batch != nil; batch = l.take() {
		l.send(batch)
	}
}

// send sends a batch until each of its ops is answered or given up.
func (l *pipeline) send(ops []*op) {
	ops = forget(ops)
	for t := (tries{}); len(ops) > 0; {
		l.part.exchange(ops)
		ops = l.answer(ops, &t)
	}
}

// tries counts why a batch was sent again.
type tries struct{ broken, moving int }

// answer finishes the ops whose fate is final, and returns those to be sent again.
func (l *pipeline) answer(ops []*op, t *tries) (again []*op) {
	var gone error
	var isBroken, isMoving bool
	for _, o := range ops {
		f := fateOf(o.reply.Err())
		switch {
		case f == unknown && t.broken < maxBroken && !o.once:
			isBroken, o.doubt = true, true
			again = append(again, o)
			continue
		case f == unknown && t.broken < maxBroken: // one that is sent once only
			isBroken = true
		case f == moving && t.moving < maxMoving:
			isMoving = true
			again = append(again, o)
			continue
		case f == away || f == silent || f == unknown:
			gone = o.reply.Err()
		}
		o.finish(o.failure(o.reply.Err(), f))
	}
	switch {
	case gone != nil:
		l.part.lost(gone)
		for _, o := range again {
			o.finish(o.failure(gone, fateOf(o.reply.Err())))
		}
		return nil
	case isBroken:
		t.broken++
		time.Sleep(brokenPause)
	case isMoving:
		t.moving++
		l.part.relocate()
		time.Sleep(redirectPause)
	}
	return again
}

// failure is what the caller gets. A refusal of the last try says nothing about
// earlier tries, whose connection broke.
func (o *op) failure(err error, f fate) error {
	if o.doubt && f != fine {
		f = unknown
	}
	return failure(err, f)
}

// forget answers ops whose callers have gone, and returns the others.
func forget(ops []*op) []*op {
	rest := ops[:0]
	for _, o := range ops {
		if o.ctx != nil && o.ctx.Err() != nil {
			o.finish(o.ctx.Err())
		} else {
			rest = append(rest, o)
		}
	}
	return rest
}

// exchange sends ops once, and sets their replies.
func (p *partition) exchange(ops []*op) {
	ctx := context.Background()
	client, err := p.route(ctx)
	if err != nil {
		for _, o := range ops {
			o.reply = goredis.NewCmd(ctx, o.cmd...)
			o.reply.SetErr(err)
		}
		return
	}
	pipe := client.Pipeline()
	replicate := false
	for _, o := range ops {
		replicate = replicate || o.replicate
		o.reply = goredis.NewCmd(ctx, o.cmd...)
		_ = pipe.Process(ctx, o.reply)
	}
	var replicas *goredis.Cmd
	if replicate {
		replicas = pipe.Do(ctx, "wait", 1, (p.store.conf.Timeout / 2).Milliseconds())
	}
	start := time.Now()
	_, _ = pipe.Exec(ctx) // each op has its own error
	p.store.metrics.exchanged(len(ops), time.Since(start).Seconds())
	if replicas == nil {
		return
	}
	for _, o := range ops {
		if !o.replicate || o.reply.Err() != nil {
			continue
		}
		if n, err := replicas.Int(); err != nil {
			o.reply.SetErr(err)
		} else if n < 1 {
			o.reply.SetErr(errNoReplica{p.store.conf.Timeout / 2})
		}
	}
}

// errNoReplica: stored, but no replica has said so.
type errNoReplica struct{ after time.Duration }

func (e errNoReplica) Error() string {
	return fmt.Sprintf("it is stored, but no replica confirmed it within %v; check the replicas", e.after)
}

// route returns the client to send ops through. In a Cluster it is the client of
// the partition's server: the Cluster's own would send again what broke off, so the
// outcome would be lost, and a WAIT must go over the connection that wrote.
func (p *partition) route(ctx context.Context) (goredis.UniversalClient, error) {
	if c, ok := p.store.client.(*goredis.ClusterClient); ok {
		return c.MasterForKey(ctx, p.log)
	}
	return p.store.client, nil
}

// relocate makes the client read again where the slots are, and loads the scripts
// into the server: one of the two was missing.
func (p *partition) relocate() {
	ctx := context.Background()
	client := p.store.client
	if c, ok := client.(*goredis.ClusterClient); ok {
		c.ReloadState(ctx)
		owner, err := c.MasterForKey(ctx, p.log)
		if err != nil {
			return
		}
		client = owner
	}
	for _, s := range scripts {
		client.ScriptLoad(ctx, s.text)
	}
}
