package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"pushd.example/internal/history"
)

// session is the node's time in a partition under one name. It ends when the node
// may have missed messages: its lease or its stream is gone, the stream was trimmed
// too early, its own pushes do not come back, another server is master, or Redis was
// away. Then the next begins: the node gets a name that was never used, so that
// nothing of the old session is mistaken for the new one's, registers its
// connections, and has them read on from where they are.
type session struct {
	*partition
	name  string
	runID string // of the server
	tail  *tail
	since time.Time
}

const (
	// Pauses of the keeper after it could not join.
	minPause = 50 * time.Millisecond
	maxPause = time.Second
	// beatsPerLease is how often a lease is renewed before it would end.
	beatsPerLease = 6
	// maxSilence is how long the node's own pushes may take to come back.
	maxSilence = 4 * time.Second
)

// errHole ends a session in which something may have been missed.
var errHole = errors.New("messages may have been missed")

// keep is the keeper's goroutine: it runs one session after the other. It sends the
// result of the first join on first.
func (p *partition) keep(first chan<- error) {
	s := p.store
	pause := minPause
	for n := 0; s.ctx.Err() == nil; n++ {
		se, err := p.join(n > 0)
		if n == 0 {
			first <- err
			if err != nil {
				break
			}
		}
		if err == nil {
			err = se.stay()
			se.tail.stop()
		}
		if s.ctx.Err() != nil {
			p.leave()
			break
		}
		s.conf.Log.Warn("history: joining Redis again", "partition", p.number, "error", err)
		if !errors.Is(err, errHole) {
			p.lost(err)
		}
		if se != nil && time.Since(se.since) > maxPause {
			pause = minPause
		}
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
		}
		pause = min(2*pause, maxPause)
	}
	p.lost(history.ErrClosed)
}

// join begins a session. If again is true, connections may have been attached in an
// earlier session, and read on from where they are.
func (p *partition) join(again bool) (*session, error) {
	s := p.store
	ctx, cancel := context.WithTimeout(s.ctx, 2*s.conf.Timeout)
	defer cancel()
	number, err := s.client.Incr(ctx, p.keys.nodes).Result()
	if err != nil {
		return nil, fmt.Errorf("getting a number: %w", err)
	}
	se := &session{partition: p, name: strconv.FormatInt(number, 36), since: time.Now()}
	c := joinCall{node: se.name, lease: s.conf.Lease, oldNode: p.node}
	reply, err := s.client.Do(ctx, joinScript.call(&p.keys, c)...).Result()
	if err != nil {
		p.relocate()
		return nil, fmt.Errorf("joining: %w", err)
	}
	r := reader{reply: reply}
	se.runID, _ = r.next().(string)
	top, bn := history.ID(r.int()), r.int()
	p.setNodes(texts(r.next()))
	if r.err != nil {
		return nil, r.err
	}
	p.saw(top)
	s.following.join(p.number, top)
	if se.tail, err = p.newTail(ctx, se.name, fmt.Sprintf("%d-%d", top, bn)); err != nil {
		return nil, err
	}
	if err := se.begin(ctx, again); err != nil {
		se.tail.stop()
		return nil, err
	}
	return se, nil
}

// joinCall is what join.lua is called with.
type joinCall struct {
	node    string
	lease   time.Duration
	oldNode string // "": none
}

func (c joinCall) declare(w *wire, k *keys) {
	declareNode(w, k, c.node)
	w.key("OLD_STREAM", k.stream(c.oldNode))
	w.key("LOG", k.log)
	w.duration("lease", c.lease)
	w.text("old_node", c.oldNode)
}

// declareNode declares what a partition has of a node.
func declareNode(w *wire, k *keys, node string) {
	declareCounts(w, k)
	w.key("PRESENCE", k.presence)
	w.key("STREAM", k.stream(node))
	w.key("SCAN", k.scan)
	w.text("node", node)
}

// begin registers the connections under the new name, and lets calls in.
func (se *session) begin(ctx context.Context, again bool) error {
	p := se.partition
	p.mu.Lock()
	p.node = se.name
	p.writes.up()
	p.reads.up()
	ops, err := p.registerLocked()
	p.mu.Unlock()
	for _, o := range ops {
		if err == nil {
			_, err = o.wait(se.store.ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("registering connections: %w", err)
	}
	p.probes.restart()
	if again {
		se.store.metrics.resynced()
		se.store.following.deliverNow([]history.Delivery{{Resync: true}})
	}
	// The first push of all, to this node itself, shows that pushes go through.
	return p.probe(ctx, true)
}

// stay keeps the session until it ends, and returns why.
func (se *session) stay() error {
	s := se.store
	tick := time.NewTicker(s.conf.Lease / beatsPerLease)
	defer tick.Stop()
	var homeTop uint64 // as of the beat before
	for {
		select {
		case <-s.ctx.Done():
			return history.ErrClosed
		case <-se.wake:
			if err := se.writes.state(); err != nil {
				return err
			}
		case <-tick.C:
		}
		for more := true; more; {
			var err error
			if more, err = se.beat(); err != nil {
				return err
			}
		}
		if err := se.probe(s.ctx, false); err != nil {
			s.conf.Log.Debug("history: probing", "partition", se.number, "error", err)
		}
		if se.probes.silence() > maxSilence && !se.tail.delivering.Load() {
			return fmt.Errorf("%w: no push to this node itself came back", errHole)
		}
		// A node that died may have left a broadcast that not all copies have.
		if se.logTop.Load() < homeTop {
			if err := s.fill(s.ctx, se.partition, false); err != nil {
				s.conf.Log.Warn("history: copying broadcasts", "partition", se.number, "error", err)
			}
		}
		homeTop = s.home().logTop.Load()
	}
}

// beat renews the lease. It returns whether it left work for another beat, which
// must come at once. An error ends the session.
func (se *session) beat() (more bool, err error) {
	s, p := se.store, se.partition
	cmd := beatScript.call(&p.keys, beatCall{s.clock(), se.name, s.conf.Lease, se.tail.position()})
	var reply any
	for range maxBroken {
		// The connections may have been cut: each try finds one less.
		if reply, err = s.client.Do(s.ctx, cmd...).Result(); fateOf(err) != unknown {
			break
		}
	}
	switch f := fateOf(err); {
	case f == moving:
		p.relocate()
		return false, nil // the lease holds for some beats more
	case f == refused:
		return false, nil
	case err != nil:
		return false, fmt.Errorf("renewing the lease: %w", err)
	}
	r := reader{reply: reply}
	if r.int() == 0 {
		return false, fmt.Errorf("%w: the lease has ended", errHole)
	}
	runID, _ := r.next().(string)
	trimmed, top := int64(r.int()), r.int()
	p.setNodes(texts(r.next()))
	more = r.int() == 1
	if r.err != nil {
		return false, r.err
	}
	p.logTop.Store(uint64(top))
	switch {
	case runID != se.runID:
		return false, fmt.Errorf("%w: another server is master, or it was started again", errHole)
	case trimmed > se.tail.read.Load():
		return false, fmt.Errorf("%w: the stream was trimmed, since more than %d waited for this node", errHole, s.conf.Backlog)
	}
	return more, nil
}

// beatCall is what beat.lua is called with.
type beatCall struct {
	clock any
	node  string
	lease time.Duration
	read  string // id up to which the node's stream was read
}

func (c beatCall) declare(w *wire, k *keys) {
	declareNode(w, k, c.node)
	declareEvents(w, k)
	w.key("LINGERING", k.lingering)
	w.key("LOG", k.log)
	w.key("EXPIRIES", k.expiries)
	w.key("EXPIRED", k.expired)
	w.time(c.clock)
	w.duration("lease", c.lease)
	w.text("read", c.read)
}

// leaveCall is what leave.lua is called with.
type leaveCall struct{ node string }

func (c leaveCall) declare(w *wire, k *keys) { declareNode(w, k, c.node) }

// leave removes the node from the partition, so that the others know at once that
// it is gone. If it cannot, they know when the lease ends.
func (p *partition) leave() {
	if p.writes.state() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.store.conf.Timeout)
	defer cancel()
	cmd := leaveScript.call(&p.keys, leaveCall{p.node})
	if err := p.store.client.Do(ctx, cmd...).Err(); err != nil {
		p.store.conf.Log.Debug("history: leaving", "partition", p.number, "error", err)
	}
}
