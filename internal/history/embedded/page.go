package embedded

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// Page implements history.Store.
func (s *Store) Page(ctx context.Context, user string, q history.Query) (history.Page, error) {
	if err := s.enterFor(ctx, user); err != nil {
		return history.Page{}, err
	}
	defer s.life.RUnlock()
	if err := q.Check(); err != nil {
		return history.Page{}, err
	}
	v, err := s.viewNow(user)
	if err != nil {
		return history.Page{}, err
	}
	defer v.close()
	p, err := v.page(q)
	if err != nil {
		return history.Page{}, err
	}
	p.Unread, err = v.unread()
	return p, err
}

// unread counts what is unread of user's now.
func (s *Store) unread(user string) (int, error) {
	v, err := s.viewNow(user)
	if err != nil {
		return 0, err
	}
	defer v.close()
	return v.unread()
}

func (v *view) page(q history.Query) (history.Page, error) {
	var floor history.Cursor // nothing up to this is in the page
	if q.Unread {
		floor = v.meta.markCursor().Min(v.head())
	}
	switch q.Direction {
	case history.Newest:
		return v.backward(floor, history.MaxID+1, q.Limit, q.MaxBytes)
	case history.Backward:
		return v.backward(floor, q.Before, q.Limit, q.MaxBytes)
	default:
		after, err := engine.Clamp(q.After, v.head(), v.clock)
		if err != nil {
			return history.Page{}, err
		}
		return v.forward(after.Max(floor), q.Limit, q.MaxBytes)
	}
}

// forward returns the page after c, which lies at or before the heads.
func (v *view) forward(c history.Cursor, limit, maxBytes int) (history.Page, error) {
	inbox, err := v.inboxAfter(c.Inbox)
	if err != nil {
		return history.Page{}, err
	}
	shown := v.firstBroadcast()
	unseen := v.broadcasts.from(c.Broadcast + 1)
	p := history.Page{Cursor: v.head()}
	p.Truncated = inbox.dropped || v.broadcasts.dropped > c.Broadcast || unseen < shown
	m := merge{view: v, inbox: inbox, step: 1, next: max(shown, unseen), end: len(v.broadcasts.live)}
	rest, err := m.fill(&p, limit, maxBytes)
	if err != nil || rest == 0 {
		return p, err
	}
	p.HasMore = true
	// Not behind c: the logs advance apart, and c may be ahead in one.
	below, err := v.below(rest)
	p.Cursor = below.Max(c)
	return p, err
}

// backward returns the page after floor that ends below id.
func (v *view) backward(floor history.Cursor, id history.ID, limit, maxBytes int) (history.Page, error) {
	cursor, err := v.below(id)
	if err != nil {
		return history.Page{}, err
	}
	inbox, err := v.inboxBelow(id, floor.Inbox)
	if err != nil {
		return history.Page{}, err
	}
	p := history.Page{Cursor: cursor}
	first := max(v.firstBroadcast(), v.broadcasts.from(floor.Broadcast+1))
	m := merge{view: v, inbox: inbox, step: -1, next: v.broadcasts.from(id) - 1, end: first - 1}
	rest, err := m.fill(&p, limit, maxBytes)
	p.HasMore = rest != 0
	slices.Reverse(p.Messages)
	return p, err
}

// below returns the cursor that every entry with a lesser id lies at or before. If
// the last entry below id is no longer on the disk, id-1 stands for it.
func (v *view) below(id history.ID) (history.Cursor, error) {
	c := history.Cursor{Broadcast: v.broadcasts.below(id)}
	m := &v.meta
	switch {
	case id > m.last.id:
		c.Inbox = m.last.id
		return c, nil
	case id <= m.trimmed.id:
		c.Inbox = id - min(id, 1)
		return c, nil
	}
	c.Inbox = m.trimmed.id
	ok, err := v.seekBelow(id)
	if err != nil || !ok {
		return c, err
	}
	e, err := v.entry()
	c.Inbox = e.id
	return c, err
}

// inboxSide is the inbox's side of a merge: the shown entries, one at a time.
type inboxSide struct {
	entry        // the one that is next
	ok      bool // there is one
	dropped bool // retention hides an entry after the cursor
	skipped bool // entries were left out after the last message, or the cursor
	step    func() bool
	floor   history.ID // entries up to it are left out
}

// inboxAfter begins with the first shown entry after id.
func (v *view) inboxAfter(id history.ID) (*inboxSide, error) {
	trimmed := v.meta.trimmed.id > id
	s := &inboxSide{dropped: trimmed, skipped: trimmed}
	if id >= v.meta.last.id {
		return s, nil
	}
	ok, err := v.seek(id + 1)
	if err != nil {
		return nil, err
	}
	s.step = v.inbox.Next
	return s, s.settle(v, ok)
}

// inboxBelow begins with the last shown entry below id, and ends above floor.
func (v *view) inboxBelow(id, floor history.ID) (*inboxSide, error) {
	s := &inboxSide{floor: floor}
	if v.meta.last.seq <= v.floor || v.meta.last.id <= floor {
		return s, nil
	}
	ok, err := v.seekBelow(id)
	if err != nil {
		return nil, err
	}
	s.step = v.inbox.Prev
	return s, s.settle(v, ok)
}

func (s *inboxSide) advance(v *view) error { return s.settle(v, s.step()) }

// settle goes on to an entry that is shown, if there is one.
func (s *inboxSide) settle(v *view, ok bool) error {
	for ; ok; ok = s.step() {
		e, err := v.entry()
		if err != nil {
			return err
		}
		switch {
		case e.id <= s.floor:
			s.ok = false
			return nil
		case v.dropped(&e):
			s.dropped = true
		case !v.gone(&e):
			s.entry, s.ok = e, true
			return nil
		}
		s.skipped = true
	}
	s.ok = false
	if err := v.inbox.Error(); err != nil {
		return fmt.Errorf("reading an inbox: %w", err)
	}
	return nil
}

// merge is the two logs of a view, entries and broadcasts, in order of id.
type merge struct {
	view  *view
	inbox *inboxSide
	step  int // 1: oldest first; -1: newest first
	// next is the index of the next broadcast, end of the one to stop before.
	next, end int
}

// fill adds messages to p as far as they fit and returns the id of the first
// that does not, 0 if all do.
func (m *merge) fill(p *history.Page, limit, maxBytes int) (history.ID, error) {
	p.Messages = make([]history.Message, 0, min(limit, 64))
	sum := 0
	for {
		msg, ok, err := m.peek(len(p.Messages) < limit)
		if err != nil || !ok {
			return 0, err
		}
		n := len(p.Messages)
		if sum += len(msg.Data); n == limit || n > 0 && maxBytes > 0 && sum > maxBytes {
			return msg.ID, nil
		}
		if err := m.take(p, msg); err != nil {
			return 0, err
		}
	}
}

// take puts msg, which is next, into p.
func (m *merge) take(p *history.Page, msg history.Message) error {
	p.Messages = append(p.Messages, msg)
	if msg.Kind != history.Broadcast {
		if m.inbox.skipped && m.step > 0 {
			p.Gaps = append(p.Gaps, msg.ID)
		}
		m.inbox.skipped = false
	}
	return m.advance(msg.Kind)
}

// peek returns the next message, with its data if that is wanted. False: there
// is none.
func (m *merge) peek(data bool) (history.Message, bool, error) {
	for {
		b, ok := m.broadcast()
		if !ok && !m.inbox.ok {
			return history.Message{}, false, nil
		}
		msg := history.Message{ID: m.inbox.id, Kind: m.inbox.kind()}
		if ok && (!m.inbox.ok || (b < m.inbox.id) == (m.step > 0)) {
			msg = history.Message{ID: b, Kind: history.Broadcast}
		}
		if !data {
			return msg, true, nil
		}
		found, err := m.load(&msg)
		if err != nil || found {
			return msg, found, err
		}
		// Retention has moved on and taken the body since the view was opened.
		m.inbox.skipped = m.inbox.skipped || msg.Kind != history.Broadcast
		if err := m.advance(msg.Kind); err != nil {
			return msg, false, err
		}
	}
}

// broadcast returns the id of the next broadcast that is not gone and was not
// recalled.
func (m *merge) broadcast() (history.ID, bool) {
	for ; m.next*m.step < m.end*m.step; m.next += m.step {
		if b := &m.view.broadcasts.live[m.next]; !b.gone(m.view.now, m.view.last) && !m.view.recalled.broadcasts.has(b.id) {
			return b.id, true
		}
	}
	return 0, false
}

func (m *merge) advance(k history.Kind) error {
	if k == history.Broadcast {
		m.next += m.step
		return nil
	}
	return m.inbox.advance(m.view)
}

// load copies msg's data. False: it is gone.
func (m *merge) load(msg *history.Message) (found bool, err error) {
	switch {
	case msg.Kind == history.Broadcast:
		return m.loadBroadcast(msg)
	case m.inbox.ref():
		msg.Data, found, err = readBody(m.view.snap, tagMulticastBody, msg.ID)
	default:
		msg.Data, found = slices.Clone(m.inbox.body), true
	}
	msg.CollapseKey = string(m.inbox.collapse)
	return found, err
}

func (m *merge) loadBroadcast(msg *history.Message) (found bool, err error) {
	msg.Data, found, err = readBody(m.view.snap, tagBroadcastBody, msg.ID)
	if err != nil || !found || !m.view.broadcasts.live[m.next].keyed {
		return found, err
	}
	header, found, err := readBody(m.view.snap, tagBroadcastHeader, msg.ID)
	if err != nil || !found {
		return found, err
	}
	_, n := binary.Uvarint(header)
	msg.CollapseKey = string(header[max(n, 0):])
	return true, nil
}

// readBody reads a body that is stored once. False: it is gone.
func readBody(r pebble.Reader, tag byte, id history.ID) ([]byte, bool, error) {
	var buf [idKeySize]byte
	value, closer, err := r.Get(appendIDKey(buf[:0], tag, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading a body: %w", err)
	}
	defer closer.Close()
	return slices.Clone(value), true, nil
}
