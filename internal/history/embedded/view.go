package embedded

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
)

// view is one user's history at one moment: what was visible when `heads` were
// the heads, under the retention of now. It reads from a snapshot taken after
// the heads were, so that all that was visible is in it. More may be: groups
// that were published since, and one that is committed but not yet published
// (its sync is done, its callers not yet answered). limit cuts those off.
type view struct {
	snap       *pebble.Snapshot
	user       string
	keep       history.Retention
	clock      time.Time
	now        millis
	meta       meta
	last       history.ID // nothing after this is in the view
	broadcasts broadcastLog
	recalled   *recalled
	// floor is the position up to which the count hides entries, or they are
	// gone; cutoff the id before which the age does.
	floor  uint64
	cutoff history.ID
	inbox  *pebble.Iterator // opened when needed
}

// headsNow returns the visible heads.
func (s *Store) headsNow() heads {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.visible
}

// viewNow opens a view of user as of now.
func (s *Store) viewNow(user string) (*view, error) {
	at := s.headsNow()
	v, err := s.openView(user, at)
	if err != nil {
		return nil, err
	}
	if v.meta.last.id > at.last {
		// Somebody wrote to user meanwhile. The snapshot has all up to its last
		// entry, so the view may go that far, if that much is visible by now.
		at = s.headsNow()
		at.last = min(at.last, v.meta.last.id)
		at.broadcasts = at.broadcasts.upTo(at.last)
	}
	if err := v.limit(at); err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

// openView takes the snapshot and reads user's meta. The caller calls limit
// before anything else, and close in the end.
func (s *Store) openView(user string, at heads) (*view, error) {
	v := &view{snap: s.db.NewSnapshot(), user: user, keep: s.conf.Retention, clock: s.conf.Now()}
	v.now = millisOf(v.clock)
	v.recalled = s.recalled.Load() // after the snapshot
	var err error
	if v.meta, err = readMeta(v.snap, user); err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

func (v *view) close() {
	if v.inbox != nil {
		_ = v.inbox.Close() // its errors were seen when it was read
	}
	_ = v.snap.Close()
}

// limit takes the view back to at, and works out what retention hides.
func (v *view) limit(at heads) error {
	v.last, v.broadcasts = at.last, at.broadcasts
	if v.meta.last.id > at.last {
		if err := v.takeBack(); err != nil {
			return err
		}
	}
	v.cutoff = history.FirstIDAt(v.clock.Add(-v.keep.InboxAge))
	v.floor = v.meta.trimmed.seq
	if n := uint64(v.keep.InboxCount); v.meta.last.seq > n {
		v.floor = max(v.floor, v.meta.last.seq-n)
	}
	return nil
}

// takeBack finds the last entry of the view where meta is ahead of it. The rest
// of meta may stay: trims only take what was hidden before, the read mark may
// show early, and a later lastTTL only costs a look.
func (v *view) takeBack() error {
	trimmed := v.meta.trimmed
	v.meta.last = place{id: min(trimmed.id, v.last), seq: trimmed.seq}
	it, err := v.iter()
	if err != nil || !it.Last() {
		return err
	}
	e, err := parseEntry(it.Key(), it.Value())
	v.meta.last = place{id: e.id, seq: e.seq}
	return err
}

// iter returns the iterator over the view's inbox.
func (v *view) iter() (*pebble.Iterator, error) {
	if v.inbox != nil {
		return v.inbox, nil
	}
	it, err := newInboxIter(v.snap, v.user, v.meta.trimmed.id+1, max(v.last, v.meta.trimmed.id))
	if err != nil {
		return nil, fmt.Errorf("reading an inbox: %w", err)
	}
	v.inbox = it
	return it, nil
}

// entry parses the entry that the iterator is at.
func (v *view) entry() (entry, error) {
	e, err := parseEntry(v.inbox.Key(), v.inbox.Value())
	if err != nil {
		return entry{}, fmt.Errorf("reading an inbox: %w", err)
	}
	return e, nil
}

// seek moves the iterator to the first entry with at least this id.
func (v *view) seek(id history.ID) (bool, error) {
	it, err := v.iter()
	if err != nil {
		return false, err
	}
	var buf [2 + history.MaxUser + idSize]byte
	return it.SeekGE(appendEntryKey(buf[:0], v.user, id)), it.Error()
}

// seekBelow moves the iterator to the last entry below id.
func (v *view) seekBelow(id history.ID) (bool, error) {
	it, err := v.iter()
	if err != nil {
		return false, err
	}
	var buf [2 + history.MaxUser + idSize]byte
	return it.SeekLT(appendEntryKey(buf[:0], v.user, id)), it.Error()
}

func (v *view) head() history.Cursor {
	return history.Cursor{Inbox: v.meta.last.id, Broadcast: v.broadcasts.head()}
}

// dropped says whether retention hides e.
func (v *view) dropped(e *entry) bool { return e.seq <= v.floor || e.id < v.cutoff }

// gone says whether e has expired, was recalled, or something in the view took
// its place.
func (v *view) gone(e *entry) bool {
	return e.expires.past(v.now) || e.by != 0 && e.by <= v.last ||
		e.flags&flagMulticast != 0 && v.recalled.multicasts.has(e.id)
}

// unacked says whether entry id is shown and not acked.
func (v *view) unacked(id history.ID) (bool, error) {
	if id <= v.meta.mark.id {
		return false, nil
	}
	ok, err := v.seek(id)
	if err != nil || !ok {
		return false, err
	}
	e, err := v.entry()
	return e.id == id && !v.dropped(&e) && !v.gone(&e), err
}

// firstBroadcast returns the index of the first broadcast that retention shows.
func (v *view) firstBroadcast() int {
	return v.broadcasts.kept(v.keep.BroadcastCount, history.FirstIDAt(v.clock.Add(-v.keep.BroadcastAge)))
}

// unread counts what is shown after the read mark: by subtraction of positions
// where no age, ttl or recall can have made holes.
func (v *view) unread() (int, error) {
	inbox, err := v.unreadInbox()
	from := max(v.firstBroadcast(), v.broadcasts.from(v.meta.markBroadcast+1))
	return inbox + v.broadcasts.shown(from, v.now, v.last, v.recalled.broadcasts), err
}

func (v *view) unreadInbox() (int, error) {
	m := &v.meta
	from := max(m.mark.seq, v.floor) // nothing up to this position counts
	if from >= m.last.seq {
		return 0, nil
	}
	begin := max(m.mark.id, m.trimmed.id) + 1 // no entry that counts is before this id
	if max(begin, m.oldest) < v.cutoff {
		ok, err := v.seek(v.cutoff)
		if err != nil || !ok {
			return 0, err
		}
		e, err := v.entry()
		if err != nil {
			return 0, err
		}
		from, begin = max(from, e.seq-1), e.id
	}
	if from >= m.last.seq {
		return 0, nil
	}
	n := int(m.last.seq - from)
	if m.lastTTL <= from && v.recalled.multicasts.between(begin, m.last.id) == 0 {
		return n, nil
	}
	gone, err := v.goneAfter(from, begin)
	return n - gone, err
}

// goneAfter counts the entries behind position from that have expired or were
// recalled or replaced, looking from id begin on.
func (v *view) goneAfter(from uint64, begin history.ID) (int, error) {
	n := 0
	ok, err := v.seek(begin)
	for ; ok && err == nil; ok = v.inbox.Next() {
		var e entry
		if e, err = v.entry(); e.seq > from && v.gone(&e) {
			n++
		}
	}
	if err == nil && v.inbox != nil {
		err = v.inbox.Error()
	}
	return n, err
}
