package embedded

import (
	"fmt"
	"strings"

	"pushd.example/internal/history"
)

// member is a user's meta as the committer knows it: with all that is
// committed, and with the running group.
type member struct {
	meta
	user    string
	group   uint64  // the last group that touched it
	changed bool    // by the running group, which has yet to write it
	acks    *ackLog // nil: not read yet
}

// members caches those that were touched lately: a look-up in the database is
// a third of the committer's work on an append. Two generations make it small:
// when the young one is full it becomes the old one, and the old one goes,
// between groups: a group finds whom it has touched. A failed group leaves the
// cache wrong, and the store read-only.
type members struct {
	young, old map[string]*member
	changed    []*member
}

// membersKept is the size of a generation: about 2 MiB.
const membersKept = 8192

func (c *members) get(user string) *member {
	if m, ok := c.young[user]; ok {
		return m
	}
	m, ok := c.old[user]
	if ok {
		c.put(m)
	}
	return m
}

func (c *members) put(m *member) {
	if c.young == nil {
		c.young = make(map[string]*member, membersKept)
	}
	c.young[m.user] = m
}

// age drops the old generation once the young one is full.
func (c *members) age() {
	if len(c.young) >= membersKept {
		c.young, c.old = nil, c.young
	}
}

func (c *members) change(m *member) {
	if !m.changed {
		m.changed = true
		c.changed = append(c.changed, m)
	}
}

// member returns user's state in the running group.
func (c *committer) member(user string) (*member, error) {
	m := c.members.get(user)
	if m == nil {
		known, err := readMeta(c.db, user)
		if err != nil {
			return nil, err
		}
		// A copy: user may be a piece of something large.
		m = &member{meta: known, user: strings.Clone(user)}
		c.members.put(m)
	}
	return m, c.touch(m)
}

// touch is done to each member once a group, before anything else is.
func (c *committer) touch(m *member) error {
	if m.group == c.groups {
		return nil
	}
	m.group = c.groups
	if err := c.trim(m); err != nil {
		return fmt.Errorf("trimming an inbox: %w", err)
	}
	return nil
}

// writeMembers puts the metas that the group changed into the batch: once each,
// however many of its requests did.
func (c *committer) writeMembers() {
	var buf [metaMax]byte
	for i, m := range c.members.changed {
		value := m.append(buf[:0])
		op := c.batch.SetDeferred(metaKeySize(m.user), len(value))
		appendMetaKey(op.Key[:0], m.user)
		copy(op.Value, value)
		_ = op.Finish() // errors only on an indexed batch
		for _, p := range c.preps {
			p.outdate(m.user)
		}
		m.changed = false
		c.members.changed[i] = nil
	}
	c.members.changed = c.members.changed[:0]
	c.members.age()
	if len(c.preps) > 0 {
		c.endPreparation(nil)
	}
}

// moveMark moves m's read mark to c, in each log only forward.
func (c *committer) moveMark(m *member, to history.Cursor) error {
	if to.Broadcast > m.markBroadcast {
		if err := c.moveTally(m.markBroadcast, to.Broadcast); err != nil {
			return err
		}
		m.markBroadcast = to.Broadcast
		c.members.change(m)
	}
	if to.Inbox <= m.mark.id {
		return nil
	}
	seq, err := c.position(m, to.Inbox)
	if err != nil {
		return fmt.Errorf("looking up a read mark: %w", err)
	}
	if err := c.recordAck(m, to.Inbox); err != nil {
		return err
	}
	m.mark = place{id: to.Inbox, seq: seq}
	c.members.change(m)
	return nil
}

// position returns the position of the last entry at or before id, which lies
// at or before m.last.
func (c *committer) position(m *member, id history.ID) (uint64, error) {
	switch {
	case id == m.last.id:
		return m.last.seq, nil
	case id <= m.trimmed.id:
		return m.trimmed.seq, nil
	}
	it, err := newInboxIter(c.db, m.user, m.trimmed.id+1, id)
	if err != nil {
		return 0, err
	}
	defer it.Close()
	if !it.Last() {
		return m.trimmed.seq, it.Error()
	}
	e, err := parseEntry(it.Key(), it.Value())
	return e.seq, err
}
