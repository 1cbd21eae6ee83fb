package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"pushd.example/internal/history"
)

// probes are pushes of a node to itself, through the path of all pushes: if they
// come back, so do others. Without them, a node that receives nothing by fault
// looks like one to which nothing is sent.
type probes struct {
	mu    sync.Mutex // guards what follows
	heard sync.Cond  // seen changed
	sent  uint64
	seen  uint64
	last  time.Time // when one came back
}

func (s *probes) init() { s.heard.L = &s.mu }

// restart begins the silence anew.
func (s *probes) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = time.Now()
}

// silence returns how long none has come back.
func (s *probes) silence() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.last)
}

func (s *probes) next() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent++
	return s.sent
}

// back takes a probe that came back.
func (s *probes) back(data string) {
	n, err := strconv.ParseUint(data, 10, 64)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen, s.last = max(s.seen, n), time.Now()
	s.heard.Broadcast()
}

// await waits until probe n has come back.
func (s *probes) await(ctx context.Context, n uint64) error {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.heard.Broadcast()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.seen < n {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("waiting for a push to this node itself: %w", err)
		}
		s.heard.Wait()
	}
	return nil
}

// probePrefix begins the name of the user to whom probes go: no backend can name
// that user, since it is not UTF-8.
const probePrefix = "\xff"

// probe sends a probe, and waits until it has come back if wait is set.
func (p *partition) probe(ctx context.Context, wait bool) error {
	p.mu.Lock()
	user := probePrefix + p.node
	p.mu.Unlock()
	n := p.probes.next()
	sent := &op{cmd: p.probeCommand(user, n)}
	if err := p.writes.put(sent); err != nil {
		return err
	}
	// Nothing reads this user's inbox.
	if err := p.writes.put(&op{cmd: []any{"pexpire", p.inbox(user), millis(10 * p.store.conf.Lease)}}); err != nil || !wait {
		return err
	}
	reply, err := ints(sent.wait(ctx))
	if err != nil {
		return err
	}
	if reply[0] != outcomeDone {
		return errors.New("a push to this node itself was not taken")
	}
	return p.probes.await(ctx, n)
}

// probeCommand appends probe n. It chooses ids itself, so that probes use none of
// the partition's.
func (p *partition) probeCommand(user string, n uint64) []any {
	s := p.store
	return appendScript.call(&p.keys, appendCall{
		ids: p.ids(0), clock: s.clock(), nodeStreams: p.nodeStreams(),
		pushRecord: pushRecord{probePrefix + rand.Text(), ownKeyLife, s.forget(ownKeyLife)},
		message:    message{data: strconv.AppendUint(nil, n, 10)},
		id:         history.ID(n), inline: true, chunk: 1, chunks: 1,
		keep: 1, inboxAge: s.conf.Retention.InboxAge, users: []string{user},
	})
}
