package redis

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pushd.example/internal/history"
)

// view is what view.lua needs.
type view struct {
	clock    any
	user     string
	keep     int // entries that an inbox shows
	inboxAge time.Duration
	logRetention
}

func (p *partition) view(user string) view {
	s := p.store
	return view{s.clock(), user, s.conf.Retention.InboxCount, s.conf.Retention.InboxAge, s.logRetention()}
}

func (v view) declare(w *wire, k *keys) {
	w.key("INBOX", k.inbox(v.user))
	w.key("META", k.meta(v.user))
	w.key("EXPIRIES", k.expiries)
	w.key("EXPIRED", k.expired)
	w.key("RECALLED", k.recalled)
	w.time(v.clock)
	w.number("keep", int64(v.keep))
	w.duration("inbox_age", v.inboxAge)
	v.logRetention.declare(w, k)
}

// declarePage declares the keys that merge.lua needs besides those of a view.
func declarePage(w *wire, k *keys) {
	w.key("BODIES", k.bodies)
	w.key("RECALLED_LOG", k.recalledBroadcasts)
}

// pageSize bounds a page; maxBytes is 0 for no bound.
type pageSize struct{ limit, maxBytes int }

func (s pageSize) declare(w *wire) {
	w.number("limit", int64(s.limit))
	w.number("max_bytes", int64(s.maxBytes))
}

// cursor declares two numbers, of which name is the first part of the names.
func (w *wire) cursor(name string, c history.Cursor) {
	w.id(name+"_inbox", c.Inbox)
	w.id(name+"_broadcast", c.Broadcast)
}

// pageCall is what page.lua is called with.
type pageCall struct {
	view
	pageSize
	direction history.Direction
	after     history.Cursor
	before    history.ID
	unread    bool
}

func (c pageCall) declare(w *wire, k *keys) {
	c.view.declare(w, k)
	declarePage(w, k)
	c.pageSize.declare(w)
	w.number("direction", int64(c.direction))
	w.cursor("after", c.after)
	w.id("before", c.before)
	w.flag("unread_only", c.unread)
}

// Page implements history.Store.
func (s *Store) Page(ctx context.Context, user string, q history.Query) (history.Page, error) {
	if err := s.enterFor(ctx, user); err != nil {
		return history.Page{}, err
	}
	defer s.life.RUnlock()
	if err := q.Check(); err != nil {
		return history.Page{}, err
	}
	p := s.partitionOf(user)
	c := pageCall{p.view(user), pageSize{q.Limit, q.MaxBytes}, q.Direction, q.After, q.Before, q.Unread}
	if q.Direction == history.Newest {
		c.before = history.MaxID + 1
	}
	reply, err := p.reads.do(ctx, pageScript.call(&p.keys, c), false)
	if err != nil {
		return history.Page{}, harmless(err)
	}
	r := reader{reply: reply}
	page, unread := history.Page{}, r.int()
	if unread < 0 {
		return history.Page{}, futureCursor(q.After)
	}
	page = r.page()
	page.Unread = unread
	if q.Direction != history.Forward {
		slices.Reverse(page.Messages)
	}
	return page, r.err
}

// futureCursor is the error for a cursor that the scripts refuse.
func futureCursor(c history.Cursor) error {
	return fmt.Errorf("%w: %v names a message from the future", history.ErrCursor, c)
}

// ackCall is what ack.lua is called with.
type ackCall struct {
	view
	nodeStreams
	to      history.Cursor
	exclude string // the connection that acks
}

func (c ackCall) declare(w *wire, k *keys) {
	c.view.declare(w, k)
	declareEvents(w, k)
	w.key("MARK_MOVES", k.markMoves(c.user))
	w.key("BROADCAST_MARKS", k.broadcastMarks)
	w.key("PRESENCE", k.presence)
	w.cursor("to", c.to)
	w.text("user", c.user)
	w.text("exclude", c.exclude)
	c.nodeStreams.declareSingle(w, k)
	c.nodeStreams.declare(w, k)
}

// Ack implements history.Store.
func (s *Store) Ack(ctx context.Context, user string, c history.Cursor, exclude string) (history.ReadMark, error) {
	if err := s.enterFor(ctx, user); err != nil {
		return history.ReadMark{}, err
	}
	defer s.life.RUnlock()
	p := s.partitionOf(user)
	for range maxRefresh {
		cmd := ackScript.call(&p.keys, ackCall{p.view(user), p.nodeStreams(), c, exclude})
		reply, err := p.writes.do(ctx, cmd, s.conf.Durability == history.Replicated)
		if err != nil {
			return history.ReadMark{}, harmless(err)
		}
		r := reader{reply: reply}
		switch outcome := r.int(); {
		case r.err == nil && outcome == outcomeNewNode:
			if err := p.refreshNodes(ctx); err != nil {
				return history.ReadMark{}, err
			}
			continue
		case r.err == nil && outcome == outcomeFuture:
			return history.ReadMark{}, futureCursor(c)
		}
		mark := history.ReadMark{Unread: r.int()}
		mark.Cursor = r.cursor()
		return mark, r.err
	}
	return history.ReadMark{}, fmt.Errorf("%w: acking: new nodes joined during each of %d tries; ack again", history.ErrUnavailable, maxRefresh)
}

// reader reads a reply that is a list, value by value. After an error it gives
// zeros.
type reader struct {
	reply any
	at    int
	err   error
}

func (r *reader) next() any {
	list, ok := r.reply.([]any)
	if !ok || r.at >= len(list) {
		if r.err == nil {
			r.err = fmt.Errorf("asking Redis: a reply of %T ends too early", r.reply)
		}
		return nil
	}
	r.at++
	return list[r.at-1]
}

func (r *reader) int() int {
	n, ok := r.next().(int64)
	if !ok && r.err == nil {
		r.err = fmt.Errorf("asking Redis: value %d of a reply is no number", r.at)
	}
	return int(n)
}

func (r *reader) text() string {
	text, ok := r.next().(string)
	if !ok && r.err == nil {
		r.err = fmt.Errorf("asking Redis: value %d of a reply is no text", r.at)
	}
	return text
}

func (r *reader) cursor() history.Cursor {
	return history.Cursor{Inbox: history.ID(r.int()), Broadcast: history.ID(r.int())}
}

// page reads what forward and backward of merge.lua return.
func (r *reader) page() history.Page {
	in := reader{reply: r.next(), err: r.err}
	p := history.Page{Cursor: in.cursor(), HasMore: in.int() == 1, Truncated: in.int() == 1}
	rows, _ := in.next().([]any)
	gaps, _ := in.next().([]any)
	r.err = in.err
	if len(rows) == 0 {
		return p
	}
	p.Messages = make([]history.Message, 0, len(rows))
	for _, row := range rows {
		text, _ := row.(string)
		m, err := parseRow(text)
		if err != nil && r.err == nil {
			r.err = err
		}
		p.Messages = append(p.Messages, m)
	}
	for _, row := range gaps {
		if i, ok := row.(int64); ok && i >= 1 && i <= int64(len(rows)) {
			p.Gaps = append(p.Gaps, p.Messages[i-1].ID)
		}
	}
	return p
}
