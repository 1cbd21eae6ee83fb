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
		if q.Kinds.Has(history.Delivered) {
			s.partitions[i].watched.Store(true) // here at once, elsewhere with the next beat
		}
		page.Next.Marks[i] = history.PositionMark{Read: int64(r.int()), Run: uint64(r.int()), Seq: uint64(r.int())}
		events, _ := r.next().([]any)
		if r.err != nil {
			return page, false, r.err
		}
		moved = moved || len(events) > 0
		var lost bool
		if page.Events, lost, err = appendEvents(page.Events, events, q.Kinds); err != nil {
			return page, false, err
		}
		page.Lost = page.Lost || lost
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

// appendEvents appends those of some kinds, and says whether some were never
// recorded.
func appendEvents(dst []history.Event, texts []any, kinds history.EventKind) (_ []history.Event, lost bool, _ error) {
	for _, t := range texts {
		text, _ := t.(string)
		if len(text) < eventSize {
			return nil, false, fmt.Errorf("%w: an event of %d bytes", errEntry, len(text))
		}
		switch e := parseEvent(text); {
		case e.Kind == 0:
			lost = lost || kinds.Has(history.Delivered)
		case kinds.Has(e.Kind):
			dst = append(dst, e)
		}
	}
	return dst, lost, nil
}

// parseEvent reads what events.lua records.
func parseEvent(text string) history.Event {
	var ms [8]byte
	copy(ms[2:], text[1:7])
	e := history.Event{
		Kind: history.EventKind(text[0]),
		Time: history.Epoch.Add(time.Duration(binary.BigEndian.Uint64(ms[:])) * time.Millisecond),
		User: text[eventSize:],
	}
	a, b := parseID(text[7:]), parseID(text[14:])
	if e.Kind == history.Acked {
		e.Cursor = history.Cursor{Inbox: a, Broadcast: b}
	} else {
		e.ID = a
	}
	return e
}

// Watched implements history.Events.
func (s *Store) Watched(kind history.EventKind) bool {
	return kind != history.Delivered || s.home().watched.Load()
}

// deliveredBatch is how many deliveries one script records.
const deliveredBatch = 200

// RecordDelivered implements history.Events.
func (s *Store) RecordDelivered(ctx context.Context, events []history.Event) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.life.RUnlock()
	if err := history.CheckDelivered(events); err != nil {
		return err
	}
	of := make([][]any, len(s.partitions))
	for _, e := range events {
		i := s.partitionOf(e.User).number
		of[i] = append(of[i], e.User, uint64(e.ID))
	}
	var ops []*op
	for i, p := range s.partitions {
		for batch := range slices.Chunk(of[i], 2*deliveredBatch) {
			o := &op{ctx: ctx, cmd: deliveredScript.call([]string{p.events, p.watch}, append([]any{s.clock()}, batch...)...)}
			if err := p.writes.put(o); err != nil {
				return err
			}
			ops = append(ops, o)
		}
	}
	for _, o := range ops {
		if _, err := o.wait(ctx); err != nil {
			return harmless(err)
		}
	}
	return nil
}
