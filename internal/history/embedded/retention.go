package embedded

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"maps"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
)

// Reads filter what retention no longer shows, exactly. Deleting it from the disk
// comes later and in chunks: an append trims the inboxes that it goes to, a
// goroutine trims those that get nothing more (see aged.go), and range deletions
// remove what lies in order of time (bodies, broadcasts, keys), on Open and then
// hourly.

const (
	maintainEvery = time.Hour
	// trimChunk is how many entries too many an inbox gathers at least before
	// they are trimmed: each trim costs an iterator. The most is twice as many,
	// a number of each user's own: else inboxes that the same multicasts fill
	// would all be trimmed by the same multicast.
	trimChunk = 64
	// trimMost bounds one trim, for the sake of those who wait behind it.
	trimMost = 1024
)

// spared returns the id before which things are so old that they are taken off
// the disk: a sixteenth older than what is hidden. So a page that began before
// finds what it shows, and a clock that is set back a little loses nothing.
func spared(now time.Time, age time.Duration) history.ID {
	return history.FirstIDAt(now.Add(-age).Add(-age / 16)) // the sum may overflow
}

// readClock takes a reading of the clock for ages. What is deleted from the disk is
// old by this reading and by the one before it, which was taken an hour before or
// when the directory was opened before: a clock that is wrong once hides messages,
// and shows them again when it is right.
func (c *committer) readClock() {
	now := millisOf(c.conf.Now())
	c.trusted.Store(uint64(min(now, c.reading)))
	c.reading = now
}

// trustedNow returns the time by which ages delete at now.
func (s *Store) trustedNow(now time.Time) time.Time {
	if trusted := millis(s.trusted.Load()).time(); trusted.Before(now) {
		return trusted
	}
	return now
}

func (c *committer) loadReading() error {
	c.reading = 0
	value, closer, err := c.db.Get([]byte{tagReading})
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer closer.Close()
	r := fieldReader{rest: value}
	if c.reading = millis(r.number()); r.damaged {
		return errDamaged
	}
	return nil
}

// trim deletes entries that were hidden already before the group: readers of
// the state before it must not miss any.
func (c *committer) trim(m *member) error {
	hidden, cutoff, due := c.dueToTrim(m, c.now)
	if !due {
		return nil
	}
	it, err := newInboxIter(c.db, m.user, m.trimmed.id+1, m.last.id)
	if err != nil {
		return err
	}
	defer it.Close()
	ok := it.First()
	for n := 0; ok; n++ {
		e, err := parseEntry(it.Key(), it.Value())
		if err != nil {
			return err
		}
		if n == trimMost || e.seq > hidden && e.id >= cutoff {
			m.oldest = e.id
			return nil
		}
		if err := c.batch.Delete(it.Key(), nil); err != nil {
			return err
		}
		if err := c.forgetNewest(m.user, &e); err != nil {
			return err
		}
		m.trimmed, m.oldest = place{id: e.id, seq: e.seq}, e.id+1
		c.members.change(m)
		ok = it.Next()
	}
	if it.Error() == nil {
		m.oldest = 0
	}
	return it.Error()
}

// dueToTrim returns up to which position the count hides m's entries, before
// which id they are too old, and whether that is enough for a trim.
func (s *Store) dueToTrim(m *member, now time.Time) (hidden uint64, cutoff history.ID, due bool) {
	if m.last.seq == 0 {
		return 0, 0, false
	}
	keep := s.conf.Retention
	if n := uint64(keep.InboxCount); m.last.seq > n {
		hidden = m.last.seq - n
	}
	cutoff = spared(s.trustedNow(now), keep.InboxAge)
	aged := m.oldest != 0 && m.oldest < cutoff
	return hidden, cutoff, aged || s.enoughToTrim(m, hidden)
}

func (s *Store) enoughToTrim(m *member, hidden uint64) bool {
	if hidden < m.trimmed.seq+trimChunk {
		return false
	}
	return hidden >= m.trimmed.seq+trimChunk+maphash.String(s.presence.seed, m.user)%trimChunk
}

// maintain removes what is past its retention, but for inboxes.
//
// If we die after its commit, Open finds the log without what was removed; it
// was not shown any more.
func (c *committer) maintain() error {
	if err := c.fault.Load().err(); err != nil {
		return err
	}
	now := c.trustedNow(c.conf.Now())
	b := c.db.NewBatch()
	keep := c.conf.Retention
	log := c.heads.broadcasts
	log.cut(max(len(log.live)-keep.BroadcastCount, log.from(spared(now, keep.BroadcastAge)), 0))
	for _, tag := range []byte{tagBroadcastHeader, tagBroadcastBody, tagTally, tagConnections} {
		if err := c.deleteBefore(b, tag, log.dropped+1); err != nil {
			return err
		}
	}
	for _, tag := range []byte{tagMulticastBody, tagRecipients} {
		if err := c.deleteBefore(b, tag, spared(now, keep.InboxAge)); err != nil {
			return err
		}
	}
	// A push that was due that long ago was stored before that, and is hidden.
	if err := c.deleteBefore(b, tagDue, history.ID(millisOf(spared(now, keep.InboxAge).Time()))); err != nil {
		return err
	}
	recalled, err := c.forgetRecalls(b, now, log)
	if err != nil {
		return err
	}
	if err := c.dropBuckets(b, now); err != nil {
		return err
	}
	_ = b.Set([]byte{tagReading}, binary.AppendUvarint(nil, uint64(c.reading)), nil) // errors only on a closed batch
	c.heads.broadcasts = log
	maps.DeleteFunc(c.newestBroadcast, func(_ string, id history.ID) bool { return id <= log.dropped })
	c.writeHeads(b)
	if err := c.apply(b, false); err != nil {
		return err
	}
	c.recalled.Store(recalled)
	c.forgetTally(log.dropped)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.visible.broadcasts = log
	return nil
}

func (c *committer) maintainOrWarn() {
	if err := c.maintain(); err != nil && !c.fault.Load().isBlown() {
		c.conf.Log.Warn("history could not remove what is past its retention", "error", err)
	}
}

// overgrown says whether so many broadcasts came that their index, which lies in
// memory, must not wait for the hour.
func (c *committer) overgrown() bool {
	const slack = 1024
	return (len(c.heads.broadcasts.live)-slack)/2 > c.conf.Retention.BroadcastCount
}

// deleteBefore deletes the ids before end if there are any: a range deletion
// costs all later reads a little, also one of nothing.
func (c *committer) deleteBefore(b *pebble.Batch, tag byte, end history.ID) error {
	it, err := c.db.NewIter(&pebble.IterOptions{
		LowerBound: []byte{tag},
		UpperBound: appendIDKey(nil, tag, end),
	})
	if err != nil {
		return err
	}
	any := it.First()
	if err := it.Close(); err != nil || !any {
		return err
	}
	return deleteIDs(b, tag, 0, end)
}

func deleteIDs(b *pebble.Batch, tag byte, from, end history.ID) error {
	return b.DeleteRange(appendIDKey(nil, tag, from), appendIDKey(nil, tag, end), nil)
}
