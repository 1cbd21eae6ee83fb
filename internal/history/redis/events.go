package redis

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"pushd/internal/history"
)

const (
	// eventsPause is how often readers that wait look for events.
	eventsPause = 50 * time.Millisecond
	eventSize   = 1 + 6 + 7 + 7 // of an event's text, without the user
)

// ReadEvents implements history.Events.
func (s *Store) ReadEvents(ctx context.Context, q history.EventQuery) (history.EventPage, error) {
	if err := s.enter(ctx); err != nil {
		return history.EventPage{}, err
	}
	defer s.life.RUnlock()
	if err := q.Check(); err != nil {
		return history.EventPage{}, err
	}
	if err := q.After.Check(len(s.partitions)); err != nil {
		return history.EventPage{}, err
	}
	patience := time.Now().Add(q.Wait)
	for {
		page, moved, err := s.readEvents(ctx, q)
		if err != nil {
			return history.EventPage{}, harmless(err)
		}
		if len(page.Events) > 0 || page.Lost || len(q.After.Marks) == 0 || !moved && !time.Now().Before(patience) {
			return page, nil
		}
		q.After = page.Next
		if moved {
			continue // what came was of other kinds
		}
		select {
		case <-time.After(eventsPause):
		case <-ctx.Done():
			return history.EventPage{}, ctx.Err()
		}
		if s.closed.Load() {
			return history.EventPage{}, history.ErrClosed
		}
	}
}

// readEvents reads once in all partitions, and says whether there was anything.
func (s *Store) readEvents(ctx context.Context, q history.EventQuery) (page history.EventPage, moved bool, err error) {
	ops := make([]*op, len(s.partitions))
	for i, p := range s.partitions {
		ops[i] = &op{ctx: ctx, cmd: p.eventsCommand(i, q)}
		// It writes, and is to come after what was detached before.
		if err := p.writes.put(ops[i]); err != nil {
			return page, false, err
		}
	}
	page.Next.Marks = make([]history.PositionMark, len(ops))
	for i, o := range ops {
		reply, err := o.wait(ctx)
		if err != nil {
			return page, false, err
		}
		r := reader{reply: reply}
		page.Lost = r.int() == 1 || page.Lost
		page.Next.Marks[i] = history.PositionMark{Read: int64(r.int()), Run: uint64(r.int()), Seq: uint64(r.int())}
		events, _ := r.next().([]any)
		if r.err != nil {
			return page, false, r.err
		}
		moved = moved || len(events) > 0
		if page.Events, err = appendEvents(page.Events, events, q.Kinds); err != nil {
			return page, false, err
		}
	}
	// A user's are all in one partition.
	slices.SortStableFunc(page.Events, func(a, b history.Event) int { return a.Time.Compare(b.Time) })
	return page, moved, nil
}

// eventsCommand reads on in p, which is part i of the log.
func (p *partition) eventsCommand(i int, q history.EventQuery) []any {
	parts := len(p.store.partitions)
	read, run, seq := int64(-1), int64(-1), int64(-1)
	if len(q.After.Marks) > 0 {
		m := q.After.Marks[i]
		read, run, seq = m.Read, int64(m.Run), int64(m.Seq)
	}
	args := []any{p.store.clock(), read, run, seq, max(1, q.Limit/parts), max(p.store.conf.Events/parts, minEvents),
		history.WatchedFor.Milliseconds()}
	for bit := history.EventKind(1); bit != 0 && bit <= history.EveryEvent; bit <<= 1 {
		if q.Kinds.WithPairs().Has(bit) {
			args = append(args, int(bit))
		}
	}
	return eventsScript.call([]string{p.events, p.watch, p.leaving, p.presence}, args...)
}

// minEvents is the fewest events that a partition keeps.
const minEvents = 128

// appendEvents appends those of some kinds.
func appendEvents(dst []history.Event, texts []any, kinds history.EventKind) ([]history.Event, error) {
	for _, t := range texts {
		text, _ := t.(string)
		if len(text) <= eventSize {
			return nil, fmt.Errorf("%w: an event of %d bytes", errEntry, len(text))
		}
		if e := parseEvent(text); kinds.Has(e.Kind) {
			dst = append(dst, e)
		}
	}
	return dst, nil
}

// parseEvent reads what events.lua records.
func parseEvent(text string) history.Event {
	var ms [8]byte
	copy(ms[2:], text[1:7])
	return history.Event{
		Kind:   history.EventKind(text[0]),
		Time:   history.Epoch.Add(time.Duration(binary.BigEndian.Uint64(ms[:])) * time.Millisecond),
		User:   text[eventSize:],
		Cursor: history.Cursor{Inbox: parseID(text[7:]), Broadcast: parseID(text[14:])},
	}
}
