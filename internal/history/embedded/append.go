package embedded

import (
	"context"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
)

// queueSize bounds the requests that wait for the committer. When it is full,
// appenders wait.
const queueSize = 1024

// request is one call that writes, on its way through the committer. The
// caller fills it and puts it into the queue; from then on it is the
// committer's until it has answered through done, and the caller's again.
type request struct {
	op operation
	// Push is what opAppend stores. opRecall sets its Kind, opPrepare its
	// IdempotencyKey.
	history.Push
	replaces []entry // with a collapse key, of each target; seq is 0 where it is none
	// targets are the recipients, each once; for opAck, the user. For opRecall
	// result.ID is the message's id.
	targets []target
	cursor  history.Cursor // opAck: where to; from the committer, where the read mark lies
	moved   bool           // opAck: the read mark was not there before
	// acked is what followers get of an opAck: nil if nothing, zero if it could not
	// be read.
	acked   *history.ReadMark
	changes *pebble.Batch // opChanges: copied into the group's batch
	lax     bool          // opChanges, opTrim: need not be synced
	prep    *preparation  // opPrepare, and the opAppend that it is for

	// The answer.
	result  history.AppendResult
	err     error
	expires millis
	prev    history.ID // of a broadcast

	done chan struct{} // room for one: answering never blocks
	// settled: the committer has answered, or the caller has gone and nobody reads
	// done. The second of the two puts the request back into the pool.
	settled atomic.Bool
}

type operation uint8

// In the order in which a group does them.
const (
	opMaintain operation = iota
	opChanges
	opPrepare
	opTrim
	opRecall
	opAck
	opAppend
)

// target is a recipient of a request.
type target struct {
	user   string
	member *member    // its state in the group, the committer's
	prev   history.ID // the entry before in its inbox
}

// maxPooled is the most targets whose memory is kept for the next request.
const maxPooled = 256

func (s *Store) newRequest(op operation) *request {
	if r, ok := s.commit.pool.Get().(*request); ok {
		r.op = op
		return r
	}
	return &request{op: op, done: make(chan struct{}, 1)}
}

func (s *Store) recycle(r *request) {
	targets := r.targets[:0]
	if cap(targets) > maxPooled {
		targets = nil
	}
	clear(targets[:cap(targets)])
	*r = request{targets: targets, done: r.done}
	s.commit.pool.Put(r)
}

// Append implements history.Store. When it fails with ErrReadOnly the message
// may be found stored later (the write failed, or
// only its confirmation did); a retry with the same Key is safe.
func (s *Store) Append(ctx context.Context, p history.Push) (history.AppendResult, error) {
	if err := s.enter(ctx); err != nil {
		return history.AppendResult{}, err
	}
	defer s.life.RUnlock()
	if err := p.Check(); err != nil {
		return history.AppendResult{}, err
	}
	r := s.newRequest(opAppend)
	r.Push = p
	r.targets = appendTargets(r.targets, p.Users)
	if len(r.targets) >= prepareFrom && !r.Ephemeral {
		if known, err := s.prepare(ctx, r); err != nil || known.Duplicate {
			return known, err
		}
	}
	if err := s.submit(ctx, r); err != nil {
		return history.AppendResult{}, err
	}
	result, err := r.result, r.err
	s.recycle(r)
	return result, err
}

// appendTargets appends each user once, in order.
func appendTargets(dst []target, users []string) []target {
	if len(users) == 1 {
		return append(dst, target{user: users[0]})
	}
	seen := make(map[string]struct{}, len(users))
	for _, user := range users {
		if _, ok := seen[user]; !ok {
			seen[user] = struct{}{}
			dst = append(dst, target{user: user})
		}
	}
	return dst
}

// Ack implements history.Store.
func (s *Store) Ack(ctx context.Context, user string, c history.Cursor, exclude string) (mark history.ReadMark, err error) {
	if err := s.enterFor(ctx, user); err != nil {
		return mark, err
	}
	defer s.life.RUnlock()
	r := s.newRequest(opAck)
	r.targets = append(r.targets, target{user: user})
	r.cursor, r.ExcludeConnection = c, exclude
	if err := s.submit(ctx, r); err != nil {
		return mark, err
	}
	cursor, acked, err := r.cursor, r.acked, r.err
	s.recycle(r)
	if err != nil {
		return mark, err
	}
	if acked != nil && *acked != (history.ReadMark{}) {
		return *acked, nil
	}
	unread, err := s.unread(user)
	if err != nil {
		return mark, err
	}
	return history.ReadMark{Cursor: cursor, Unread: unread}, nil
}

// submit hands r to the committer and waits for the answer. After an error r
// is no longer the caller's.
func (s *Store) submit(ctx context.Context, r *request) error {
	if err := s.enqueue(ctx, r); err != nil {
		r.prep.abandon()
		return err
	}
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		if r.settled.Swap(true) {
			<-r.done // the answer came at the same moment
			return nil
		}
		return ctx.Err()
	}
}

func (s *Store) enqueue(ctx context.Context, r *request) error {
	if err := s.fault.Load().err(); err != nil {
		return err
	}
	select {
	case s.queue <- r:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answer gives r back to its caller.
func (s *Store) answer(r *request) {
	if r.settled.Swap(true) {
		s.recycle(r) // the caller has gone
		return
	}
	r.done <- struct{}{}
}
