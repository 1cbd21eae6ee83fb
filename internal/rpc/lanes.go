package rpc

import "hash/maphash"

// laneCount is how many lanes there are. Users share lanes, so it bounds how
// many unicasts run at once; with fewer, groups of appends become smaller.
const laneCount = 512

// lanes says when tasks may run: two that share a lane one after the other, in
// the order in which they were added; all others at the same time. Each user is
// in one lane, so that a task which takes the lanes of its recipients comes to
// each of them in order. Its caller locks.
type lanes struct {
	queues [laneCount]queue
	seed   maphash.Seed
}

// queue is the tasks of one lane, the running one first.
type queue struct {
	tasks []*task
	head  int
}

func (q *queue) add(t *task) (first bool) {
	q.tasks = append(q.tasks, t)
	return len(q.tasks)-q.head == 1
}

// shift takes the first task away and returns the next, nil if there is none.
func (q *queue) shift() *task {
	q.tasks[q.head] = nil
	if q.head++; q.head < len(q.tasks) {
		return q.tasks[q.head]
	}
	q.tasks, q.head = q.tasks[:0], 0
	return nil
}

// of returns the lane of user.
func (l *lanes) of(user string) int {
	return int(maphash.String(l.seed, user) % laneCount)
}

// lanesOf appends the lanes of users to dst, each once.
func (l *lanes) lanesOf(dst []int, users []string) []int {
	var seen [laneCount]bool
	for _, user := range users {
		if lane := l.of(user); !seen[lane] {
			seen[lane] = true
			dst = append(dst, lane)
		}
	}
	return dst
}

// all appends every lane to dst.
func (l *lanes) all(dst []int) []int {
	for lane := range laneCount {
		dst = append(dst, lane)
	}
	return dst
}

// add puts t behind what is in its lanes and says whether it may run at once.
func (l *lanes) add(t *task) (ready bool) {
	for _, lane := range t.lanes {
		if !l.queues[lane].add(t) {
			t.waiting++
		}
	}
	return t.waiting == 0
}

// done takes t, which has run, out of its lanes and appends to ready those that
// may run now.
func (l *lanes) done(t *task, ready []*task) []*task {
	for _, lane := range t.lanes {
		next := l.queues[lane].shift()
		if next == nil {
			continue
		}
		if next.waiting--; next.waiting == 0 {
			ready = append(ready, next)
		}
	}
	return ready
}
