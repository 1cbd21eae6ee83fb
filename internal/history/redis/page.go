package redis

import (
	"context"
	"fmt"
	"slices"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// viewKeys are the keys of view.lua.
func (p *partition) viewKeys(user string) []string {
	return []string{p.inbox(user), p.meta(user), p.log, p.bodies, p.ends, p.expired, p.recalled, p.back}
}

// viewArgs are the arguments of view.lua, and room for more.
func (s *Store) viewArgs(more ...any) []any {
	r := &s.conf.Retention
	args := make([]any, 0, 16)
	args = append(args, s.clock(), r.InboxCount, millis(r.InboxAge), r.BroadcastCount, millis(r.BroadcastAge))
	return append(args, more...)
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
	before := uint64(q.Before)
	if q.Direction == history.Newest {
		before = uint64(history.MaxID) + 1
	}
	p := s.partitionOf(user)
	reply, err := p.reads.do(ctx, pageScript.call(p.viewKeys(user), s.viewArgs(
		int(q.Direction), uint64(q.After.Inbox), uint64(q.After.Broadcast), before, bit(q.Unread), q.Limit, q.MaxBytes,
	)...), false)
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

// Ack implements history.Store.
func (s *Store) Ack(ctx context.Context, user string, c history.Cursor) (int, error) {
	if err := s.enterFor(ctx, user); err != nil {
		return 0, err
	}
	defer s.life.RUnlock()
	p := s.partitionOf(user)
	cmd := ackScript.call(append(p.viewKeys(user), p.events, p.watch, p.moves(user), p.tally),
		s.viewArgs(uint64(c.Inbox), uint64(c.Broadcast), user, engine.AcksKept)...)
	reply, err := p.writes.do(ctx, cmd, s.conf.Durability == history.Replicated)
	if err != nil {
		return 0, harmless(err)
	}
	unread, ok := reply.(int64)
	if !ok {
		return 0, fmt.Errorf("asking Redis: reply %T to an ack", reply)
	}
	if unread < 0 {
		return 0, futureCursor(c)
	}
	return int(unread), nil
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
