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
	began   time.Time // Reader.Since counts from here, in ms
	dropped uint64
	missed  uint64 // of dropped, how many Collect has told of

	held       map[Key][]feed.Run // runs that ended before the kernel had taken them
	ready      []history.UserRange
	broadcasts broadcasts

	listed list
	// visiting is what listed was when the present collection began, and at is
	// how far that is. Readers that have not taken all go into listed again.
	visiting list
	at       int
	quiet    int // collections in a row that had few readers
}

// list has readers that were sent something, each once; readers that have ended
// too.
type list struct {
	keys []Key
	// oldest is a broadcast that lies before all that the readers may still take.
	oldest history.ID
}

// NewLedger returns a ledger of readers. off: nobody wants to know, and nothing
// is gathered.
func NewLedger(readers Readers, off bool) Ledger {
	return Ledger{readers: readers, off: off, began: time.Now(), listed: list{oldest: history.MaxID}}
}

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
	if r.Listed || l.off {
		return false
	}
	r.Listed, r.Since = true, l.clock(now)
	l.list(key, r)
	return true
}

func (l *Ledger) clock(now time.Time) uint32 { return uint32(now.Sub(l.began).Milliseconds()) }

// list puts a reader into the list.
func (l *Ledger) list(key Key, r *feed.Reader) {
	l.listed.keys = append(l.listed.keys, key)
	l.listed.oldest = min(l.listed.oldest, r.Unreported().Broadcast)
	for _, run := range l.held[key] {
		if run.Log == feed.Broadcasts {
			l.listed.oldest = min(l.listed.oldest, run.From)
		}
	}
}

// Hold keeps a run of a reader that has ended until the kernel has taken it.
func (l *Ledger) Hold(key Key, r *feed.Reader, run feed.Run) {
	if run.Empty() || !r.Listed {
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
	if !r.Listed || len(l.ready) >= maxReady {
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
	case !r.Listed:
		return
	case !taken:
	case len(l.ready) >= maxReady:
		l.dropped++
	default:
		l.settle(key, r)
	}
	delete(l.held, key)
	r.Listed = false
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
		l.ready = append(l.ready, userRange(l.readers.User(key), run, l.began.Add(time.Duration(r.Since)*time.Millisecond)))
	}
}

// userRange returns a run of a user's inbox as the store takes it.
func userRange(user string, run feed.Run, since time.Time) history.UserRange {
	return history.UserRange{User: user, Range: history.Range{From: run.From, To: run.To, At: since}}
}

// Unreported reports whether there is something that Collect may give, now or
// when clients have taken it.
func (l *Ledger) Unreported() bool { return len(l.listed.keys) > 0 || len(l.ready) > 0 }

// Collect takes some of what is ready to report; more: call it again at once for
// the rest. Deliveries that clients have yet to take stay. No reader will be sent
// broadcasts up to oldest any more, but those that it was sent already.
func (l *Ledger) Collect(now time.Time, oldest history.ID) (d history.Deliveries, more bool) {
	if l.at == 0 {
		l.listed, l.visiting = list{l.visiting.keys[:0], history.MaxID}, l.listed
	}
	end := min(l.at+collectVisits, len(l.visiting.keys))
	for _, key := range l.visiting.keys[l.at:end] {
		l.visit(key, now)
	}
	l.at = end
	d.Inboxes, l.ready = l.ready, nil
	d.Missed, l.missed = l.dropped > l.missed, l.dropped
	if l.at < len(l.visiting.keys) {
		return d, true
	}
	d.Broadcasts = l.broadcasts.take(min(oldest, l.listed.oldest))
	l.at = 0
	l.shrink()
	return d, false
}

// visit reports what a reader was sent, if the kernel has taken all of it.
func (l *Ledger) visit(key Key, now time.Time) {
	r, taken := l.readers.Reader(key)
	switch {
	case r == nil || !r.Listed: // it has ended
	case taken:
		l.settle(key, r)
		r.Listed = false
	default:
		r.Since = l.clock(now) // the kernel takes it later than that
		l.list(key, r)
	}
}

// shrink gives memory back that was for a crowd.
func (l *Ledger) shrink() {
	if max(len(l.visiting.keys), len(l.listed.keys)) >= cap(l.listed.keys)/4 {
		l.quiet = 0
	} else if l.quiet++; l.quiet == quietCollects {
		l.listed.keys, l.visiting.keys, l.quiet = slices.Clone(l.listed.keys), nil, 0
	}
}
