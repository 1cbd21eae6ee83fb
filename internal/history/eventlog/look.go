package eventlog

import (
	"strings"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
)

// Unacked records, with RecordUnacked, what is due by now: about so many events at
// most. It returns how many, and when the next is due: the zero time if none is.
type Unacked func(most int) (found int, next time.Time, err error)

// look is one look for what is due. There is one at a time, whoever asked for it,
// and it goes on when they have left.
type look struct {
	done  chan struct{} // closed when the rest is set
	found int
	err   error
}

// look returns the look that is under way, or begins one; nil if it is not time.
func (l *Log) look(most int, unacked Unacked) *look {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	switch {
	case l.looking != nil:
		return l.looking
	case !now.Before(l.looked) && now.Before(l.lookAt):
		return nil
	}
	k := &look{done: make(chan struct{})}
	l.looking, l.looked = k, now
	go func() {
		defer close(k.done)
		var next time.Time
		k.found, next, k.err = unacked(most)
		l.mu.Lock()
		defer l.mu.Unlock()
		// What is asked for from now on is due no sooner than that.
		l.looking, l.lookAt = nil, now.Add(history.MinUnackedAfter)
		if !next.IsZero() && next.Before(l.lookAt) {
			l.lookAt = next
		}
	}()
	return k
}

// minPause is between two looks of a reader that waits.
const minPause = 10 * time.Millisecond

// untilLook returns when to look again.
func (l *Log) untilLook() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(minPause, l.lookAt.Sub(l.now()))
}

// RecordUnacked adds that user has not acked message id, as of now, and reports
// whether it did: not if that is no longer so when no ack can be recorded
// meanwhile.
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
