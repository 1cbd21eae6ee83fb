package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
)

// A replaced entry stays where it is, so that positions do not change, and names
// the entry that replaced it: views that show the one hide the other. An index has
// the newest entry with each key; only appends with a collapse key maintain it.

// inGroup names a user's collapse key among those that the group stores.
type inGroup struct{ user, key string }

// findReplaced finds what r takes the place of in the inboxes of its targets.
func (c *committer) findReplaced(r *request) error {
	if r.CollapseKey == "" || r.Kind == history.Broadcast {
		return nil
	}
	r.replaces = make([]entry, len(r.targets))
	for i := range r.targets {
		e, err := c.replacedBy(r, i)
		if err != nil {
			return fmt.Errorf("reading what a message replaces: %w", err)
		}
		r.replaces[i] = e
	}
	return nil
}

// replacedBy returns what r takes the place of in the inbox of its target i: what
// the group stores, else what was prepared, else what the database says.
func (c *committer) replacedBy(r *request, i int) (entry, error) {
	m := r.targets[i].member
	if e, ok := c.collapsed[inGroup{m.user, r.CollapseKey}]; ok {
		return e, nil
	}
	if r.prep == nil || m != &r.prep.members[i] {
		return c.newest(m, r.CollapseKey)
	}
	if e := r.prep.newest[i]; e.id > m.trimmed.id {
		return e, nil
	}
	return entry{}, nil
}

// newest returns m's newest entry with a key if it is unread, else none.
func (s *Store) newest(m *member, key string) (entry, error) {
	id, err := s.newestID(m.user, key)
	if err != nil || id <= max(m.mark.id, m.trimmed.id) {
		return entry{}, err
	}
	at := appendEntryKey(nil, m.user, id)
	value, closer, err := s.db.Get(at)
	if errors.Is(err, pebble.ErrNotFound) {
		return entry{}, nil // it was trimmed meanwhile
	}
	if err != nil {
		return entry{}, err
	}
	defer closer.Close()
	return parseEntry(at, slices.Clone(value))
}

// newestID returns what the index says, 0 for nothing.
func (s *Store) newestID(user, key string) (history.ID, error) {
	value, closer, err := s.db.Get(appendNameKey(nil, tagCollapse, user, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer closer.Close()
	if len(value) != idSize {
		return 0, errDamaged
	}
	return history.ID(binary.BigEndian.Uint64(value)), nil
}

// replace puts e, which was just appended to m's inbox, into the place of old.
func (c *committer) replace(m *member, old, e *entry) {
	if old.seq != 0 {
		old.flags |= flagReplaced
		old.by = e.id
		m.lastTTL = max(m.lastTTL, old.seq)
		setEntry(c.batch, m.user, old)
	}
	c.collapsed[inGroup{m.user, string(e.collapse)}] = *e
	_ = c.batch.Set(appendNameKey(nil, tagCollapse, m.user, string(e.collapse)), appendID(nil, e.id), nil) // errors only on a closed batch
}

// forgetNewest takes e, which is trimmed, out of the index.
func (c *committer) forgetNewest(user string, e *entry) error {
	if e.flags&flagCollapse == 0 {
		return nil
	}
	id, err := c.newestID(user, string(e.collapse))
	if err != nil || id != e.id {
		return err
	}
	return c.batch.Delete(appendNameKey(nil, tagCollapse, user, string(e.collapse)), nil)
}

// replaceBroadcast puts the broadcast id into the place of the newest with a
// key. If we die after the commit, Open finds that one expired.
func (c *committer) replaceBroadcast(key string, id history.ID) {
	if old, ok := c.newestBroadcast[key]; ok && c.heads.broadcasts.replace(old, id) {
		c.setBroadcastHeader(old, longAgo, key)
	}
	c.newestBroadcast[key] = id
}
