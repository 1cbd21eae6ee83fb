package redis

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
)

const (
	// eventsPause is how long readers that wait pause between two reads.
	eventsPause = 50 * time.Millisecond
	// eventsEffort is how long a reader that does not wait reads on while there are
	// more events, but none of the kinds asked for.
	eventsEffort = 250 * time.Millisecond
	eventSize    = 1 + 6 + 7 + 7 // of an event's text, without the user
)

// ReadEvents implements watch.Events.
func (s *Store) ReadEvents(ctx context.Context, q watch.Query) (watch.Page, error) {
	if err := s.enter(ctx); err != nil {
		return watch.Page{}, err
	}
	defer s.life.RUnlock()
	if err := q.Check(); err != nil {
		return watch.Page{}, err
	}
	if err := q.After.Check(len(s.partitions)); err != nil {
		return watch.Page{}, err
	}
	for began, last := time.Now(), false; ; {
		found, err := s.readAndCheck(ctx, q)
		if err != nil {
			return watch.Page{}, harmless(err)
		}
		if last || len(found.Events) > 0 || found.Lost || len(q.After.Marks) == 0 {
			return found.Page, nil
		}
		var pause time.Duration
		pause, last = found.whatNext(time.Since(began), q.Wait)
		if pause < 0 {
			return found.Page, nil
		}
		if err := s.pauseReader(ctx, pause); err != nil {
			return watch.Page{}, err
		}
		q.After = found.Next
	}
}

// pauseReader lets a reader wait, or says why it must stop.
func (s *Store) pauseReader(ctx context.Context, pause time.Duration) error {
	if pause > 0 {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	if s.closed.Load() {
		return history.ErrClosed
	}
	return ctx.Err()
}

// foundEvents is what was read of all partitions at once.
type foundEvents struct {
	watch.Page
	full   bool           // a partition may have more, if only of other kinds
	checks []unackedCheck // that are due, in partitions that have no more
}

// whatNext returns how long a reader who has found nothing pauses before it reads
// again, below 0 if it does not; and whether that is the last read, for the events
// that the checks recorded.
func (f *foundEvents) whatNext(spent, wait time.Duration) (pause time.Duration, last bool) {
	switch found := len(f.checks) > 0; {
	case (found || f.full) && spent < max(wait, eventsEffort):
		return 0, false
	case found:
		return 0, true
	case f.full || spent >= wait:
		return -1, false
	}
	return min(eventsPause, wait-spent), false
}

// readAndCheck reads all partitions once, and does as many of the unacked checks that
// are due as the page has room for. The next read returns what they record.
func (s *Store) readAndCheck(ctx context.Context, q watch.Query) (foundEvents, error) {
	found, err := s.readEvents(ctx, q)
	if err == nil {
		err = s.recordUnacked(ctx, found.checks, q.Limit-len(found.Events))
	}
	return found, err
}

// readEvents reads all partitions once.
func (s *Store) readEvents(ctx context.Context, q watch.Query) (found foundEvents, err error) {
	ops := make([]*op, len(s.partitions))
	for i, p := range s.partitions {
		ops[i] = &op{ctx: ctx, cmd: p.eventsCommand(i, q)}
		// It writes, and must come after earlier calls of Detach.
		if err := p.writes.put(ops[i]); err != nil {
			return found, err
		}
	}
	for i, o := range ops {
		reply, err := o.wait(ctx)
		if err != nil {
			return found, err
		}
		if err := found.add(s.partitions[i], reply, q); err != nil {
			return found, err
		}
	}
	// All events of a user are in one partition.
	slices.SortStableFunc(found.Events, func(a, b watch.Event) int { return a.Time.Compare(b.Time) })
	return found, nil
}

// add reads the reply of one partition, the next.
func (f *foundEvents) add(p *partition, reply any, q watch.Query) error {
	in := reader{reply: reply}
	f.Lost = in.int() == 1 || f.Lost
	mark := watch.Mark{Read: int64(in.int()), Run: uint64(in.int()), Seq: uint64(in.int())}
	texts, _ := in.next().([]any)
	checks, err := p.readChecks(in.next())
	if err := cmp.Or(in.err, err); err != nil {
		return err
	}
	f.Next.Marks, f.checks, f.full = append(f.Next.Marks, mark), append(f.checks, checks...), f.full || len(texts) == p.eventsLimit(q)
	events, lost, err := appendEvents(f.Events, texts, q.Kinds)
	f.Events, f.Lost = events, f.Lost || lost
	return err
}

// eventsLimit is the most events that p returns.
func (p *partition) eventsLimit(q watch.Query) int {
	return max(1, q.Limit/len(p.store.partitions))
}

// eventsCommand reads on in p, which is part i of the log.
func (p *partition) eventsCommand(i int, q watch.Query) []any {
	s := p.store
	c := eventsCall{
		clock: s.clock(), after: noMark, limit: p.eventsLimit(q), eventsKept: s.eventsKept(), wantDue: q.Kinds.Has(watch.Unacked),
	}
	if len(q.After.Marks) > 0 {
		c.after = q.After.Marks[i]
	}
	kinds := q.Kinds.WithPairs() &^ watch.Unacked // readers record it themselves
	for kind := watch.Kind(1); kind != 0 && kind <= watch.AllKinds; kind <<= 1 {
		if kinds.Has(kind) {
			c.kinds = append(c.kinds, kind)
		}
	}
	return readEventsScript.call(&p.keys, c)
}

// noMark is the position of a reader that has read nothing yet.
var noMark = watch.Mark{Read: -1}

// eventsCall is what events_read.lua is called with.
type eventsCall struct {
	clock      any
	after      watch.Mark
	limit      int
	eventsKept int
	wantDue    bool // return the unacked checks that are due
	kinds      []watch.Kind
}

func (c eventsCall) declare(w *wire, k *keys) {
	declareEvents(w, k)
	w.key("LINGERING", k.lingering)
	w.key("PRESENCE", k.presence)
	w.key("DUE", k.due)
	w.key("RECIPIENTS", k.recipients)
	w.time(c.clock)
	w.number("read_at", c.after.Read)
	w.number("after_time", int64(c.after.Run))
	w.number("after_number", int64(c.after.Seq))
	w.number("limit", int64(c.limit))
	w.number("events_kept", int64(c.eventsKept))
	w.flag("want_due", c.wantDue)
	w.list("kinds", len(c.kinds), func(i int) any { return int(c.kinds[i]) })
}

// declareEvents declares what a script needs to record events.
func declareEvents(w *wire, k *keys) {
	w.key("EVENTS", k.events)
	w.key("WATCH", k.watch)
}

// minEvents is the fewest events that a partition keeps: those of one list of
// recipients.
const minEvents = maxChunk

// eventsKept returns how many events each partition keeps.
func (s *Store) eventsKept() int { return max(s.conf.Events/len(s.partitions), minEvents) }

// appendEvents appends those of some kinds, and says whether some were never
// recorded.
func appendEvents(dst []watch.Event, texts []any, kinds watch.Kind) (_ []watch.Event, lost bool, _ error) {
	for _, t := range texts {
		text, _ := t.(string)
		if len(text) < eventSize {
			return nil, false, fmt.Errorf("%w: an event of %d bytes", errEntry, len(text))
		}
		switch e := parseEvent(text); {
		case e.Kind == 0:
			lost = lost || kinds.Has(watch.Delivered)
		case kinds.Has(e.Kind):
			dst = append(dst, e)
		}
	}
	return dst, lost, nil
}

// parseEvent reads what lua/lib/events.lua records.
func parseEvent(text string) watch.Event {
	var ms [8]byte
	copy(ms[2:], text[1:7])
	e := watch.Event{
		Kind: watch.Kind(text[0]),
		Time: history.Epoch.Add(time.Duration(binary.BigEndian.Uint64(ms[:])) * time.Millisecond),
		User: text[eventSize:],
	}
	a, b := parseID(text[7:]), parseID(text[14:])
	if e.Kind == watch.Acked {
		e.Cursor = history.Cursor{Inbox: a, Broadcast: b}
	} else {
		e.ID = a
	}
	return e
}
