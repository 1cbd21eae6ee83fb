package rpc

import "hash/maphash"

// stripeCount is the number of stripes. It bounds how many unicasts of one
// stream run at once; with fewer, the store's group commits become smaller.
const stripeCount = 512

// sequencer decides when the tasks of one Publish stream run, so that the tasks
// of each user run one at a time and in the order in which they were added.
//
// Users are hashed to stripes, as in lock striping. A task is queued in the
// stripe of each of its recipients, and runs when it is first in all of them.
// Tasks that share no stripe run at the same time.
//
// Its methods are called with the stream's lock held.
type sequencer struct {
	queues [stripeCount]queue
	seed   maphash.Seed
}

// queue holds the tasks of one stripe; the first of them may be running.
type queue struct {
	tasks []*task
	head  int
}

// push adds t at the end and reports whether the queue was empty.
func (q *queue) push(t *task) (first bool) {
	q.tasks = append(q.tasks, t)
	return len(q.tasks)-q.head == 1
}

// pop removes the first task and returns the one after it, nil if there is none.
func (q *queue) pop() *task {
	q.tasks[q.head] = nil
	if q.head++; q.head < len(q.tasks) {
		return q.tasks[q.head]
	}
	q.tasks, q.head = q.tasks[:0], 0
	return nil
}

// stripe returns the stripe of user.
func (s *sequencer) stripe(user string) int {
	return int(maphash.String(s.seed, user) % stripeCount)
}

// appendStripes appends the stripes of users to dst, each once.
func (s *sequencer) appendStripes(dst []int, users []string) []int {
	var seen [stripeCount]bool
	for _, user := range users {
		if n := s.stripe(user); !seen[n] {
			seen[n] = true
			dst = append(dst, n)
		}
	}
	return dst
}

// appendAllStripes appends every stripe to dst.
func appendAllStripes(dst []int) []int {
	for n := range stripeCount {
		dst = append(dst, n)
	}
	return dst
}

// add queues t in its stripes and reports whether it may run now.
func (s *sequencer) add(t *task) (ready bool) {
	for _, n := range t.stripes {
		if !s.queues[n].push(t) {
			t.blocked++
		}
	}
	return t.blocked == 0
}

// done removes t, which has run, and appends to ready the tasks that may run
// now.
func (s *sequencer) done(t *task, ready []*task) []*task {
	for _, n := range t.stripes {
		next := s.queues[n].pop()
		if next == nil {
			continue
		}
		if next.blocked--; next.blocked == 0 {
			ready = append(ready, next)
		}
	}
	return ready
}
