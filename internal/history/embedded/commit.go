package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
)

// committer is the one goroutine that writes. It takes what is queued as one
// group, gives ids, writes one batch, makes the group visible and answers:
// one sync for all, ids in the order of visibility, and nothing that two
// appends could race for.
type committer struct {
	*Store
	pool sync.Pool // of *request; anybody's

	// All below is the committer's own.

	heads          heads // with the running group; Store.visible is without
	buckets        []history.ID
	batch          *pebble.Batch
	group          []*request
	size           int                   // of the group, about, in bytes
	groups         uint64                // so far
	stored         history.ID            // the last id of a group that was stored
	keys           map[string]history.ID // idempotency keys that the group stores
	recipients     []byte                // the recipients of what it stores
	recipientsFrom history.ID            // the first id in recipients
	names          []byte                // of one message, for recipients
	members        members
	// collapsed are the newest entries by collapse key that the group stores,
	// newestBroadcast the broadcasts of all groups.
	collapsed       map[inGroup]entry
	newestBroadcast map[string]history.ID
	preps           []*preparation // whose appends have yet to come
	now             time.Time      // of the group
	ahead           bool           // ids are ahead of the clock, and the log says so
	reading         millis         // the clock when it was last read for ages; 0: never
	credit          int            // bytes until the next look at Pebble's debts
	// panicked: Pebble panicked, which it does with locks held.
	panicked bool
	out      publisher
}

// groupBytes ends a group: more would make its first caller wait for little
// gain per byte, and a batch of half a memtable takes a slower path in Pebble.
const groupBytes = 1 << 20

// reset forgets all that load or the next group finds out.
func (c *committer) reset() {
	c.heads, c.buckets, c.members, c.credit = heads{}, nil, members{}, 0
	c.keys = map[string]history.ID{}
	c.collapsed = map[inGroup]entry{}
	c.newestBroadcast = map[string]history.ID{}
}

// run answers requests until the store closes.
func (c *committer) run() {
	defer close(c.stopped)
	tick := time.NewTicker(maintainEvery)
	defer tick.Stop()
	for {
		select {
		case r := <-c.queue:
			c.collect(r)
			c.commitGroup()
			if c.overgrown() {
				c.maintainOrWarn()
			}
		case <-tick.C:
			c.readClock()
			c.maintainOrWarn()
		case done := <-c.reopening:
			if err := c.reopen(); err != nil {
				done <- err
			} else {
				done <- nil
				c.resync()
			}
		case <-c.closing:
			c.drain()
			return
		}
	}
}

// drain answers what was queued when the store closed.
func (c *committer) drain() {
	for {
		select {
		case r := <-c.queue:
			c.collect(r)
			c.commitGroup()
		default:
			return
		}
	}
}

// collect makes a group of r and what is queued behind it.
func (c *committer) collect(r *request) {
	c.group, c.size = c.group[:0], 0
	for {
		c.group = append(c.group, r)
		// The members of a prepared append are not in the cache: requests behind
		// it would not see its changes.
		last := r.op == opAppend && r.prep != nil
		if c.size += r.size(); last || c.size >= groupBytes || len(c.group) == queueSize {
			return
		}
		select {
		case r = <-c.queue:
		default:
			return
		}
	}
}

// size estimates what r adds to the batch.
func (r *request) size() int {
	size := len(r.Data) + 96*len(r.targets)
	if r.changes != nil {
		size += r.changes.Len()
	}
	return size
}

// commitGroup stores the group, makes it visible and answers it.
func (c *committer) commitGroup() {
	err := c.storeGroup()
	if err == nil {
		// If we die here, Open finds the group whole: it was stored but never
		// acknowledged, and retries with keys find their ids.
		c.publish()
		c.recordAcks()
	}
	c.metrics.group(c.group, err)
	for i, r := range c.group {
		if err != nil {
			r.err = err
		}
		c.answer(r)
		c.group[i] = nil
	}
	clear(c.keys)
	clear(c.collapsed)
	c.batch = nil
}

// storeGroup writes the group as one batch. After an error c.heads are ahead of
// what is stored, which harms nobody: the store takes no more groups until it has
// been opened again.
func (c *committer) storeGroup() error {
	if err := c.fault.Load().err(); err != nil {
		return err
	}
	c.groups++
	c.setNow()
	c.batch = c.newBatch()
	// Appends last. The others are concurrent with them, so that the order is
	// ours, and this way they find all that they look up in the database.
	for op := opMaintain; op <= opAppend; op++ {
		for _, r := range c.group {
			if r.op == op {
				r.err = c.do(r)
			}
		}
	}
	c.writeMembers()
	c.writeRecipients()
	if c.batch.Empty() {
		return c.batch.Close()
	}
	c.writeHeads(c.batch)
	if err := c.apply(c.batch, c.lax()); err != nil {
		return err
	}
	c.stored = c.heads.last
	return nil
}

// aheadMost is how far ids may be ahead of the clock before the operator is told.
const aheadMost = time.Second

// setNow reads the clock for a group.
func (c *committer) setNow() {
	c.now = c.conf.Now()
	at := millisOf(c.now)
	if at < c.heads.at {
		c.heads.setBack++
	}
	c.heads.at = at
	ahead := c.heads.last.Time().Sub(c.now)
	if ahead > aheadMost && !c.ahead {
		c.conf.Log.Warn("message ids are ahead of the clock, which was set back: messages are kept longer by as much",
			"ahead", ahead.Round(time.Millisecond))
	}
	c.ahead = ahead > aheadMost
}

// newBatch returns one with room for a group that is large: batches grow by
// copying.
func (c *committer) newBatch() *pebble.Batch {
	if c.size < groupBytes {
		return c.db.NewBatch()
	}
	return c.db.NewBatchWithSize(c.size)
}

func (c *committer) do(r *request) error {
	switch r.op {
	case opMaintain:
		c.readClock()
		return c.maintain()
	case opAck:
		return c.ack(r)
	case opPrepare:
		return c.beginPreparation(r)
	case opTrim:
		return c.trimAll(r)
	case opRecall:
		return c.recall(r)
	case opChanges:
		return c.batch.Apply(r.changes, nil)
	default:
		return c.append(r)
	}
}

// lax says whether nobody in the group waits for a sync.
func (c *committer) lax() bool {
	return !slices.ContainsFunc(c.group, func(r *request) bool { return !r.lax })
}

// apply commits b and closes it. A lax batch is not synced under any policy.
//
// If we die before the log is written, Open finds nothing of b; after, all of
// it: Pebble checks each record of the log and drops one that is not whole.
func (c *committer) apply(b *pebble.Batch, lax bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.panicked = true
			c.fault.Load().blow(fmt.Errorf("committing: %v", p))
			err = c.fault.Load().err()
		}
	}()
	if err := c.waitForRoom(b.Len()); err != nil {
		return err
	}
	began := time.Now()
	sync := pebble.NoSync
	if c.conf.Sync == SyncAlways && !lax {
		sync = pebble.Sync
	}
	if err := c.db.Apply(b, sync); err != nil {
		c.fault.Load().blow(fmt.Errorf("committing: %w", err))
	}
	if err := c.fault.Load().err(); err != nil {
		return err // Pebble may still use b
	}
	c.dirty.Store(true)
	c.metrics.committed(time.Since(began))
	return b.Close()
}

// waitForRoom holds the committer, and with it all appenders, while flushes or
// compactions are behind. It looks once per half memtable.
func (c *committer) waitForRoom(size int) error {
	if c.credit -= size; c.credit > 0 {
		return nil
	}
	c.credit = memTableSize / 2
	for {
		m := c.db.Metrics()
		if m.MemTable.Size < maxMemTables*memTableSize && m.Levels[0].Sublevels < maxLevel0 {
			return nil
		}
		c.metrics.stalled()
		pause := time.NewTimer(5 * time.Millisecond)
		select {
		case <-pause.C:
		case <-c.fault.Load().blown:
			pause.Stop()
			return c.fault.Load().err()
		}
	}
}

// load reads the heads, the broadcast index, the buckets of keys, where read
// marks lie and what was recalled.
func (c *committer) load() error {
	if err := c.loadHeads(); err != nil {
		return fmt.Errorf("reading its heads: %w", err)
	}
	if err := c.loadReading(); err != nil {
		return fmt.Errorf("reading when it was last maintained: %w", err)
	}
	if err := c.loadBroadcasts(); err != nil {
		return fmt.Errorf("reading the broadcast log: %w", err)
	}
	if err := c.loadBuckets(); err != nil {
		return fmt.Errorf("reading idempotency keys: %w", err)
	}
	if err := c.loadTally(); err != nil {
		return fmt.Errorf("reading where read marks lie: %w", err)
	}
	if err := c.loadRecalls(); err != nil {
		return fmt.Errorf("reading what was recalled: %w", err)
	}
	return nil
}

// writeHeads stores the last id and the last broadcast dropped.
func (c *committer) writeHeads(b *pebble.Batch) {
	op := b.SetDeferred(1, 2*idSize)
	op.Key[0] = tagHeads
	binary.BigEndian.PutUint64(op.Value, uint64(c.heads.last))
	binary.BigEndian.PutUint64(op.Value[idSize:], uint64(c.heads.broadcasts.dropped))
	_ = op.Finish() // errors only on an indexed batch
}

func (c *committer) loadHeads() error {
	value, closer, err := c.db.Get([]byte{tagHeads})
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer closer.Close()
	if len(value) != 2*idSize {
		return errDamaged
	}
	c.heads.last = history.ID(binary.BigEndian.Uint64(value))
	c.heads.broadcasts.dropped = history.ID(binary.BigEndian.Uint64(value[idSize:]))
	return nil
}

func (c *committer) loadBroadcasts() error {
	it, err := c.db.NewIter(&pebble.IterOptions{
		LowerBound: []byte{tagBroadcastHeader},
		UpperBound: []byte{tagBroadcastHeader + 1},
	})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		expires, n := binary.Uvarint(it.Value())
		if n <= 0 || len(it.Key()) != idKeySize {
			return errors.Join(errDamaged, it.Close())
		}
		id, key := entryID(it.Key()), string(it.Value()[n:])
		c.heads.broadcasts.add(id, millis(expires), key != "")
		if key != "" {
			c.newestBroadcast[key] = id
		}
	}
	return it.Close()
}
