package embedded

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// inlineMax is the most bytes of a multicast's body that are copied into each
// inbox: a ref costs a look-up when it is read, and its body a key.
const inlineMax = 32

// append puts r into the batch. All that can fail comes before the first write,
// so that a request that fails leaves nothing in the batch.
func (c *committer) append(r *request) error {
	if r.Ephemeral { // it gets an id and its turn, and is not stored
		c.heads.last = engine.NextID(c.heads.last, c.now)
		r.result = history.AppendResult{ID: c.heads.last}
		return nil
	}
	if r.prep != nil {
		defer c.endPreparation(r.prep)
	}
	if seen, err := c.seen(r); err != nil || seen {
		return err
	}
	for i := range r.targets {
		t := &r.targets[i]
		m, err := c.memberOf(r, i)
		if err != nil {
			return err
		}
		t.member = m
	}
	if err := c.findReplaced(r); err != nil {
		return err
	}
	id := engine.NextID(c.heads.last, c.now)
	c.heads.last = id
	r.result = history.AppendResult{ID: id, Recipients: len(r.targets)}
	r.expires = expiry(millisOf(c.now), r.TTL)
	if r.Kind == history.Broadcast {
		c.appendBroadcast(r, id)
	} else {
		c.appendEntries(r, id)
		c.addRecipients(r, id)
		if r.UnackedAfter != 0 {
			c.schedule(r, id)
		}
	}
	if r.IdempotencyKey != "" {
		c.remember(r.IdempotencyKey, id)
	}
	return nil
}

func (c *committer) appendBroadcast(r *request, id history.ID) {
	r.prev = c.heads.broadcasts.head()
	c.heads.broadcasts.add(id, r.expires, r.CollapseKey != "")
	if r.CollapseKey != "" {
		c.replaceBroadcast(r.CollapseKey, id)
	}
	setBody(c.batch, tagBroadcastBody, id, r.Data)
	c.setBroadcastHeader(id, r.expires, r.CollapseKey)
}

func (c *committer) setBroadcastHeader(id history.ID, expires millis, collapse string) {
	var buf [binary.MaxVarintLen64]byte
	setBody(c.batch, tagBroadcastHeader, id, append(binary.AppendUvarint(buf[:0], uint64(expires)), collapse...))
}

func (c *committer) appendEntries(r *request, id history.ID) {
	e := entry{id: id, expires: r.expires, body: r.Data}
	if r.Kind == history.Multicast {
		e.flags |= flagMulticast
	}
	if r.expires != 0 {
		e.flags |= flagExpires
	}
	if r.CollapseKey != "" {
		e.flags |= flagCollapse
		e.collapse = []byte(r.CollapseKey)
	}
	if len(r.targets) > 1 && len(r.Data) > inlineMax {
		e.flags |= flagRef
		e.body = nil
		setBody(c.batch, tagMulticastBody, id, r.Data)
	}
	for i := range r.targets {
		t := &r.targets[i]
		m := t.member
		t.prev = m.last.id
		c.members.change(m)
		m.last = place{id: id, seq: m.last.seq + 1}
		if m.oldest == 0 {
			m.oldest = id
		}
		if r.expires != 0 {
			m.lastTTL = m.last.seq
		}
		e.seq = m.last.seq
		if e.seq == 1 {
			r.result.Unknown++
		}
		setEntry(c.batch, t.user, &e)
		if r.CollapseKey != "" {
			c.replace(m, &r.replaces[i], &e)
		}
	}
}

func setEntry(b *pebble.Batch, user string, e *entry) {
	var buf [entryHeaderMax]byte
	header := e.appendHeader(buf[:0])
	op := b.SetDeferred(entryKeySize(user), len(header)+len(e.body))
	appendEntryKey(op.Key[:0], user, e.id)
	copy(op.Value[copy(op.Value, header):], e.body)
	_ = op.Finish()
}

// setBody stores value at an id.
func setBody(b *pebble.Batch, tag byte, id history.ID, value []byte) {
	op := b.SetDeferred(idKeySize, len(value))
	appendIDKey(op.Key[:0], tag, id)
	copy(op.Value, value)
	_ = op.Finish()
}

// ack moves the read mark of r's user, at most to the heads.
func (c *committer) ack(r *request) error {
	m, err := c.member(r.targets[0].user)
	if err != nil {
		return err
	}
	head := history.Cursor{Inbox: m.last.id, Broadcast: c.heads.broadcasts.head()}
	to, err := engine.Clamp(r.cursor, head, c.now)
	if err != nil {
		return err
	}
	was := m.markCursor()
	if err := c.moveMark(m, to); err != nil {
		return err
	}
	r.cursor = m.markCursor()
	r.moved = r.cursor != was
	return nil
}

// newInboxIter iterates over user's entries from first to last, both included.
func newInboxIter(r pebble.Reader, user string, first, last history.ID) (*pebble.Iterator, error) {
	bounds := make([]byte, 0, 2*entryKeySize(user))
	bounds = appendEntryKey(bounds, user, first)
	lower := bounds
	bounds = appendEntryKey(bounds, user, last+1)
	return r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: bounds[len(lower):]})
}
