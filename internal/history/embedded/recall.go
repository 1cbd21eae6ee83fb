package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
)

// Recall rewrites the entry of a message to one recipient in place, as one that has
// expired. For a multicast or a broadcast it deletes the body and adds the id to a
// list that every read consults: the entries, one in each inbox, stay. The list is
// in memory, and in the database for Open.

// ids are in order.
type ids []history.ID

// from returns the index of the first with at least this id.
func (l ids) from(id history.ID) int {
	i, _ := slices.BinarySearch(l, id)
	return i
}

func (l ids) has(id history.ID) bool {
	_, ok := slices.BinarySearch(l, id)
	return ok
}

// between counts those from first to last, both included.
func (l ids) between(first, last history.ID) int { return max(0, l.from(last+1)-l.from(first)) }

// with returns a copy that has id too.
func (l ids) with(id history.ID) ids {
	i, ok := slices.BinarySearch(l, id)
	if ok {
		return l
	}
	return slices.Insert(slices.Clip(l), i, id)
}

// recalled are the multicasts and the broadcasts that were recalled. It is never
// changed in place. The committer puts a new one into Store.recalled before it
// commits what belongs to it, and readers take it after their snapshot, so that a
// reader that finds a body gone knows why. If the commit fails, the list is ahead
// of what is stored until the store, read-only now, is opened again.
type recalled struct {
	multicasts, broadcasts ids
}

func (l *recalled) with(kind history.Kind, id history.ID) *recalled {
	next := *l
	if kind == history.Broadcast {
		next.broadcasts = l.broadcasts.with(id)
	} else {
		next.multicasts = l.multicasts.with(id)
	}
	return &next
}

// KindOf implements history.Messages.
func (s *Store) KindOf(ctx context.Context, id history.ID) (history.Kind, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.life.RUnlock()
	a, err := s.find(id)
	return a.kind, err
}

// find returns the recipients of message id.
func (s *Store) find(id history.ID) (addressed, error) {
	at, keep, now := s.headsNow(), s.conf.Retention, s.conf.Now()
	log := &at.broadcasts
	if i := log.from(id); i < len(log.live) && log.live[i].id == id {
		if i < log.kept(keep.BroadcastCount, history.FirstIDAt(now.Add(-keep.BroadcastAge))) {
			return addressed{}, history.ErrNotFound
		}
		return addressed{kind: history.Broadcast}, nil
	}
	if id > at.last || id < history.FirstIDAt(now.Add(-keep.InboxAge)) {
		return addressed{}, history.ErrNotFound
	}
	return findRecipients(s.db, id)
}

// Recall implements history.Messages.
func (s *Store) Recall(ctx context.Context, id history.ID) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.life.RUnlock()
	a, err := s.find(id)
	if err != nil {
		return err
	}
	users, err := a.users()
	if err != nil {
		return err
	}
	r := s.newRequest(opRecall)
	r.Kind, r.result.ID = a.kind, id
	for _, user := range users {
		r.targets = append(r.targets, target{user: user})
	}
	if err := s.submit(ctx, r); err != nil {
		return err
	}
	err = r.err
	s.recycle(r)
	return err
}

// recall hides r's message. If we die before the commit, Open finds it as it
// was; after, recalled.
func (c *committer) recall(r *request) error {
	if len(r.targets) == 1 {
		return c.hide(r.targets[0].user, r.result.ID)
	}
	body := byte(tagMulticastBody)
	if r.Kind == history.Broadcast {
		body = tagBroadcastBody
	}
	setBody(c.batch, tagRecalled, r.result.ID, []byte{byte(r.Kind)})
	c.recalled.Store(c.recalled.Load().with(r.Kind, r.result.ID))
	return c.batch.Delete(appendIDKey(nil, body, r.result.ID), nil)
}

// longAgo is an expiry that is past at any time.
const longAgo millis = 1

// hide rewrites an entry, if it is still there, as one that has expired.
func (c *committer) hide(user string, id history.ID) error {
	m, err := c.member(user)
	if err != nil {
		return err
	}
	value, closer, err := c.db.Get(appendEntryKey(nil, user, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking up an entry: %w", err)
	}
	defer closer.Close()
	e, err := parseEntry(appendID(nil, id), value)
	if err != nil {
		return fmt.Errorf("looking up an entry: %w", err)
	}
	if e.seq <= m.trimmed.seq {
		return nil // this group deletes it
	}
	e.flags |= flagExpires
	e.expires, e.body = longAgo, nil
	setEntry(c.batch, user, &e)
	m.lastTTL = max(m.lastTTL, e.seq)
	c.members.change(m)
	return nil
}

// forgetRecalls removes the recalled messages from the list that no page shows any
// more, and returns the rest.
func (c *committer) forgetRecalls(b *pebble.Batch, now time.Time, log broadcastLog) (*recalled, error) {
	next := *c.recalled.Load()
	old := next.multicasts.from(spared(now, c.conf.Retention.InboxAge))
	gone := next.broadcasts.from(log.dropped + 1)
	for _, id := range slices.Concat(next.multicasts[:old], next.broadcasts[:gone]) {
		if err := b.Delete(appendIDKey(nil, tagRecalled, id), nil); err != nil {
			return nil, err
		}
	}
	next.multicasts, next.broadcasts = next.multicasts[old:], next.broadcasts[gone:]
	return &next, nil
}

func (c *committer) loadRecalls() error {
	it, err := c.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tagRecalled}, UpperBound: []byte{tagRecalled + 1}})
	if err != nil {
		return err
	}
	all := &recalled{} // not seen by anybody yet; keys come in order of id
	for ok := it.First(); ok; ok = it.Next() {
		if len(it.Key()) != idKeySize || len(it.Value()) != 1 {
			return errors.Join(errDamaged, it.Close())
		}
		if id := entryID(it.Key()); history.Kind(it.Value()[0]) == history.Broadcast {
			all.broadcasts = append(all.broadcasts, id)
		} else {
			all.multicasts = append(all.multicasts, id)
		}
	}
	c.recalled.Store(all)
	return it.Close()
}
