package eventlog

import (
	"strings"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
)

// Unacked records, with RecordUnacked, recipients who have not acked a push that
// is due by now: about most events. It returns how many, and when the next push is
// due: the zero time if none is.
type Unacked func(most int) (found int, next time.Time, err error)

// check is one search for pushes that are due. There is one at a time, whichever
// reader asked for it, and it continues when that reader has left.
type check struct {
	done  chan struct{} // closed when the rest is set
	found int
	err   error
}

// check returns the check that is running, or starts one; nil if it is not time.
func (l *Log) check(most int, unacked Unacked) *check {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	switch {
	case l.running != nil:
		return l.running
	case !now.Before(l.checked) && now.Before(l.checkAt):
		return nil
	}
	k := &check{done: make(chan struct{})}
	l.running, l.checked = k, now
	go func() {
		defer close(k.done)
		var next time.Time
		k.found, next, k.err = unacked(most)
		l.mu.Lock()
		defer l.mu.Unlock()
		// A push that is appended from now on is due no sooner than that.
		l.running, l.checkAt = nil, now.Add(history.MinUnackedAfter)
		if !next.IsZero() && next.Before(l.checkAt) {
			l.checkAt = next
		}
	}()
	return k
}

// minPause is the time between two checks of a reader that waits.
const minPause = 10 * time.Millisecond

// untilCheck returns how long to wait until the next check.
func (l *Log) untilCheck() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(minPause, l.checkAt.Sub(l.now()))
}

// RecordUnacked adds an event that user has not acked message id, as of now, and
// reports whether it did. It does not if still returns false, which it calls while
// no ack can be recorded.
func (l *Log) RecordUnacked(id history.ID, user string, still func() bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !still() {
		return false
	}
	l.settleLocked()
	l.addLocked(watch.Event{Kind: watch.Unacked, Time: l.now(), User: strings.Clone(user), ID: id})
	return true
}
