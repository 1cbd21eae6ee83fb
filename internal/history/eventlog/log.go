package eventlog

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pushd.example/internal/history/engine"
	"pushd.example/internal/history/watch"
)

// Log is a bounded log of events. All methods may be called from any goroutine.
type Log struct {
	// Set once.
	now  func() time.Time
	size int    // events kept
	run  uint64 // of this log and no other

	// watched is when each kind ceases to be recorded, in milliseconds since
	// history.Epoch. It is read without mu, so that recording costs nothing
	// while nobody watches.
	watched [kinds]atomic.Int64

	mu      sync.Mutex    // guards what follows
	since   [kinds]int64  // when each kind began to be recorded
	events  []watch.Event // event n at place (n-1) % size
	last    uint64        // number of the last event
	leaving map[string]time.Time
	queue   []departure   // of users who may be leaving, in order
	news    chan struct{} // closed when readers have to read again; nil if none waits
	running *check        // for pushes that are due
	// checked is when the last check began, checkAt when there may be something
	// for the next to find.
	checked, checkAt time.Time
	closed           bool
}

// kinds is how many kinds of events there are.
const kinds = 8

// departure is a user whose last connection ended.
type departure struct {
	user string
	due  time.Time // when that is an event
}

// New returns an empty Log that keeps so many events, on a clock.
func New(now func() time.Time, size int) *Log {
	return &Log{now: now, size: size, run: rand.Uint64(), leaving: map[string]time.Time{}}
}

// Watched says whether events of one of the kinds in k are recorded.
func (l *Log) Watched(k watch.Kind) bool {
	var now int64
	for i := range l.watched {
		until := l.watched[i].Load()
		if !k.Has(1<<i) || until == 0 {
			continue
		}
		if now == 0 {
			now = engine.SinceEpoch(l.now())
		}
		if now < until {
			return true
		}
	}
	return false
}

// Attached is to be called when a user has a first connection.
func (l *Log) Attached(user string) {
	if !l.Watched(watch.Presence) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settleLocked()
	if _, back := l.leaving[user]; back {
		delete(l.leaving, user)
		return
	}
	l.addLocked(watch.Event{Kind: watch.Connected, Time: l.now(), User: strings.Clone(user)})
}

// Detached is to be called when the last connection of a user went.
func (l *Log) Detached(user string) {
	if !l.Watched(watch.Presence) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settleLocked()
	d := departure{strings.Clone(user), l.now().Add(watch.Linger)}
	l.leaving[d.user] = d.due
	l.queue = append(l.queue, d)
	l.wakeLocked()
}

// settleLocked records the users who are disconnected by now.
func (l *Log) settleLocked() {
	n := 0
	for n < len(l.queue) && !l.queue[n].due.After(l.now()) {
		d := l.queue[n]
		n++
		if due, ok := l.leaving[d.user]; ok && due.Equal(d.due) {
			delete(l.leaving, d.user)
			l.addLocked(watch.Event{Kind: watch.Disconnected, Time: d.due, User: d.user})
		}
	}
	if l.queue = l.queue[n:]; len(l.queue) == 0 {
		l.queue = nil
	}
}

// Record adds e if its kind is watched. Its time is now.
func (l *Log) Record(e watch.Event) {
	if !l.Watched(e.Kind) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settleLocked()
	e.Time, e.User = l.now(), strings.Clone(e.User)
	l.addLocked(e)
}

// RecordDelivered adds events of kind Delivered if that is watched, each with its
// time, or now if it has none. Missed says that some before them are not there.
func (l *Log) RecordDelivered(events []watch.Event, missed bool) {
	if !l.Watched(watch.Delivered) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settleLocked()
	if missed {
		l.addLocked(watch.Event{Time: l.now()}) // see pageLocked
	}
	for _, e := range events {
		if e.User = strings.Clone(e.User); e.Time.IsZero() {
			e.Time = l.now()
		}
		l.addLocked(e)
	}
}

func (l *Log) addLocked(e watch.Event) {
	e.Time = e.Time.UTC().Truncate(time.Millisecond)
	if len(l.events) < l.size {
		l.events = append(l.events, e)
	} else {
		l.events[l.last%uint64(l.size)] = e
	}
	l.last++
	l.wakeLocked()
}

// Close makes all reads fail, also those that wait.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.wakeLocked()
}

func (l *Log) wakeLocked() {
	if l.news != nil {
		close(l.news)
		l.news = nil
	}
}
