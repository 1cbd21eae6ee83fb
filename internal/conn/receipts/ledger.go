package receipts

import (
	"slices"
	"time"

	"pushd.example/internal/conn/feed"
	"pushd.example/internal/history"
)

// Bounds of what waits to be reported. Deliveries beyond them are dropped:
// receipts do not know of them.
const (
	// maxReady is how many ranges wait for the next collection at most before
	// no more are added early: mostly those of readers that have ended.
	maxReady = 1 << 16
	// maxHeld is how many runs are held for one reader.
	maxHeld = 1 << 9
	// collectVisits is how many readers one Collect looks at.
	collectVisits = 1024
	// quietCollects is after how many collections with few readers the memory
	// for many is given back.
	quietCollects = 60
)

// Key names a reader of a ledger; never 0.
type Key uint64

// Readers finds the readers that a ledger has listed.
type Readers interface {
	// Reader returns the reader of key, or nil if it has ended. taken: the
	// kernel has taken everything that it was sent.
	Reader(key Key) (r *feed.Reader, taken bool)
	// User returns the user of a reader that has not ended.
	User(key Key) string
}

// Ledger knows which readers of a shard were sent something that is not
// reported yet. It belongs to the shard's loop.
type Ledger struct {
	readers Readers
	off     bool
	dropped uint64
	missed  uint64 // of dropped, how many Collect has told of

	listed     []listing
	held       map[Key][]feed.Run // runs that ended before the kernel had taken them
	ready      []history.UserRange
	broadcasts broadcasts

	// The present collection looks at listed[at:until].
	at, until int
	quiet     int // collections in a row that had few readers
}

// listing is a reader that was sent something. The reader knows its place.
type listing struct {
	key   Key   // 0: the reader has ended
	since int64 // when the first of it was sent, in ms since 1970
}

// NewLedger returns a ledger of readers. off: nobody wants to know, and nothing
// is gathered.
func NewLedger(readers Readers, off bool) Ledger { return Ledger{readers: readers, off: off} }

// Dropped returns how many runs were sent and will not be reported.
func (l *Ledger) Dropped() uint64 { return l.dropped }

// Broadcast is called for each stored broadcast before it goes out.
func (l *Ledger) Broadcast(id history.ID) {
	if !l.off {
		l.broadcasts.live(id)
	}
}

// Sent is called when a reader is sent something. It reports whether that made
// it listed.
func (l *Ledger) Sent(key Key, r *feed.Reader, now time.Time) (listed bool) {
	if r.Listed != 0 || l.off {
		return false
	}
	l.listed = append(l.listed, listing{key, now.UnixMilli()})
	r.Listed = uint32(len(l.listed))
	return true
}

// Hold keeps a run of a reader that has ended until the kernel has taken it.
func (l *Ledger) Hold(key Key, r *feed.Reader, run feed.Run) {
	if run.Empty() || r.Listed == 0 {
		return
	}
	if len(l.held[key]) == maxHeld {
		if _, taken := l.readers.Reader(key); !taken || len(l.ready) >= maxReady {
			l.dropped++
			return
		}
		l.release(key, r)
	}
	if l.held == nil {
		l.held = map[Key][]feed.Run{}
	}
	l.held[key] = append(l.held[key], run)
}

// Taken makes what a reader was sent ready to report, if the kernel has taken
// all of it. It is called before a page is sent, since the kernel may take long
// for that.
func (l *Ledger) Taken(key Key, r *feed.Reader) {
	if r.Listed == 0 || len(l.ready) >= maxReady {
		return
	}
	if _, taken := l.readers.Reader(key); taken {
		l.settle(key, r)
	}
}

// End is called when a reader ends. taken: the kernel has taken everything that
// it was sent; else nothing of what is unreported counts.
func (l *Ledger) End(key Key, r *feed.Reader, taken bool) {
	switch {
	case r.Listed == 0:
		return
	case !taken:
	case len(l.ready) >= maxReady:
		l.dropped++
	default:
		l.settle(key, r)
	}
	delete(l.held, key)
	l.listed[r.Listed-1].key, r.Listed = 0, 0
}

// settle makes everything that a reader was sent ready to report.
func (l *Ledger) settle(key Key, r *feed.Reader) {
	l.release(key, r)
	inbox, broadcasts := r.Taken(r.At())
	l.report(key, r, inbox)
	l.report(key, r, broadcasts)
}

// release makes the runs that are held for a reader ready to report.
func (l *Ledger) release(key Key, r *feed.Reader) {
	for _, run := range l.held[key] {
		l.report(key, r, run)
	}
	delete(l.held, key)
}

func (l *Ledger) report(key Key, r *feed.Reader, run feed.Run) {
	switch {
	case run.Empty():
	case run.Log == feed.Broadcasts:
		l.broadcasts.add(run)
	default:
		l.ready = append(l.ready, userRange(l.readers.User(key), run, l.listed[r.Listed-1].since))
	}
}

// userRange returns a run of a user's inbox as the store takes it.
func userRange(user string, run feed.Run, since int64) history.UserRange {
	return history.UserRange{User: user, Range: history.Range{From: run.From, To: run.To, At: time.UnixMilli(since)}}
}

// Unreported reports whether a reader is listed.
func (l *Ledger) Unreported() bool { return len(l.listed) > 0 || len(l.ready) > 0 }

// Collect takes some of what is ready to report; more: call it again at once for
// the rest. Deliveries that clients have yet to take stay. No reader will be sent
// broadcasts below oldest any more, but those that it was sent already.
func (l *Ledger) Collect(now time.Time, oldest history.ID) (d history.Deliveries, more bool) {
	if l.at == 0 {
		l.until = len(l.listed)
	}
	for end := min(l.at+collectVisits, l.until); l.at < end; l.at++ {
		key := l.listed[l.at].key
		if key == 0 {
			continue
		}
		if r, taken := l.readers.Reader(key); taken {
			l.settle(key, r)
			r.Listed, l.listed[l.at].key = 0, 0
		}
	}
	d.Inboxes, l.ready = l.ready, nil
	d.Missed, l.missed = l.dropped > l.missed, l.dropped
	if l.at < l.until {
		return d, true
	}
	d.Broadcasts = l.broadcasts.take(l.keep(now, oldest))
	l.at = 0
	return d, false
}

// keep keeps the readers that have yet to take something, and returns the
// smaller of oldest and the first broadcast that one of them may still take.
func (l *Ledger) keep(now time.Time, oldest history.ID) history.ID {
	n := 0
	for i, entry := range l.listed {
		if entry.key == 0 {
			continue
		}
		r, _ := l.readers.Reader(entry.key)
		if i < l.until {
			entry.since = now.UnixMilli() // the kernel takes it later than that
		}
		oldest = min(oldest, r.Unreported().Broadcast)
		for _, run := range l.held[entry.key] {
			if run.Log == feed.Broadcasts {
				oldest = min(oldest, run.From)
			}
		}
		l.listed[n] = entry
		n++
		r.Listed = uint32(n)
	}
	l.listed = l.listed[:n]
	l.shrink()
	return oldest
}

// shrink gives memory back that was for a crowd.
func (l *Ledger) shrink() {
	if max(l.until, len(l.listed)) >= cap(l.listed)/4 {
		l.quiet = 0
	} else if l.quiet++; l.quiet == quietCollects {
		l.listed, l.quiet = slices.Clone(l.listed), 0
	}
}
