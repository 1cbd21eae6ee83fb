package redis

import (
	"cmp"
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
		found, err := s.readEvents(ctx, q)
		if err != nil {
			return history.EventPage{}, harmless(err)
		}
		if len(found.Events) > 0 || found.Lost || len(q.After.Marks) == 0 {
			return found.EventPage, nil
		}
		if err := s.recordUnacked(ctx, found.due, q.Limit); err != nil {
			return history.EventPage{}, harmless(err)
		}
		more := found.others || len(found.due) > 0
		if !more && !time.Now().Before(patience) {
			return found.EventPage, nil
		}
		if q.After = found.Next; more {
			continue
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

// foundEvents is what one look into all partitions has found.
type foundEvents struct {
	history.EventPage
	others bool      // there were some, perhaps only of other kinds
	due    []dueNote // where there were none
}

// readEvents looks once into all partitions.
func (s *Store) readEvents(ctx context.Context, q history.EventQuery) (found foundEvents, err error) {
	ops := make([]*op, len(s.partitions))
	for i, p := range s.partitions {
		ops[i] = &op{ctx: ctx, cmd: p.eventsCommand(i, q)}
		// It writes, and is to come after what was detached before.
		if err := p.writes.put(ops[i]); err != nil {
			return found, err
		}
	}
	for i, o := range ops {
		reply, err := o.wait(ctx)
		if err != nil {
			return found, err
		}
		if err := found.add(s.partitions[i], reply, q.Kinds); err != nil {
			return found, err
		}
	}
	// A user's are all in one partition.
	slices.SortStableFunc(found.Events, func(a, b history.Event) int { return a.Time.Compare(b.Time) })
	return found, nil
}

// add reads the reply of one partition, the next.
func (f *foundEvents) add(p *partition, reply any, kinds history.EventKind) error {
	in := reader{reply: reply}
	f.Lost = in.int() == 1 || f.Lost
	mark := history.PositionMark{Read: int64(in.int()), Run: uint64(in.int()), Seq: uint64(in.int())}
	texts, _ := in.next().([]any)
	due, err := p.readDue(in.next())
	if err := cmp.Or(in.err, err); err != nil {
		return err
	}
	if kinds.Has(history.Delivered) {
		p.watched.Store(true) // here at once, elsewhere with the next beat
	}
	f.Next.Marks, f.due, f.others = append(f.Next.Marks, mark), append(f.due, due...), f.others || len(texts) > 0
	events, lost, err := appendEvents(f.Events, texts, kinds)
	f.Events, f.Lost = events, f.Lost || lost
	return err
}

// eventsCommand reads on in p, which is part i of the log.
func (p *partition) eventsCommand(i int, q history.EventQuery) []any {
	parts := len(p.store.partitions)
	read, run, seq := int64(-1), int64(-1), int64(-1)
	if len(q.After.Marks) > 0 {
		m := q.After.Marks[i]
		read, run, seq = m.Read, int64(m.Run), int64(m.Seq)
	}
	limit, notes := max(1, q.Limit/parts), 0
	if q.Kinds.Has(history.Unacked) {
		notes = limit
	}
	args := []any{p.store.clock(), read, run, seq, limit, p.store.eventsKept(), history.WatchedFor.Milliseconds(), notes}
	kinds := q.Kinds.WithPairs() &^ history.Unacked // recorded always, when it is found out
	for bit := history.EventKind(1); bit != 0 && bit <= history.EveryEvent; bit <<= 1 {
		if kinds.Has(bit) {
			args = append(args, int(bit))
		}
	}
	return eventsScript.call([]string{p.events, p.watch, p.leaving, p.presence, p.due, p.notes}, args...)
}

// minEvents is the fewest events that a partition keeps: those of one note.
const minEvents = maxChunk

// eventsKept returns how many events each partition keeps.
func (s *Store) eventsKept() int { return max(s.conf.Events/len(s.partitions), minEvents) }

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
