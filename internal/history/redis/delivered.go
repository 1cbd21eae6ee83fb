package redis

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// RecordDelivered implements history.Messages.
func (s *Store) RecordDelivered(ctx context.Context, d history.Deliveries) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.life.RUnlock()
	if err := d.Check(); err != nil {
		return err
	}
	ops, err := s.recordInboxes(ctx, d)
	if err == nil {
		ops, err = s.recordBroadcasts(ctx, d.Broadcasts, ops)
	}
	for _, o := range ops {
		if _, failed := o.wait(ctx); err == nil {
			err = failed
		}
	}
	return harmless(err)
}

// recordInboxes sends ranges to the partitions of their users, in their order, and
// returns what to wait for. The home partition also gets that deliveries were
// missed, before its ranges.
func (s *Store) recordInboxes(ctx context.Context, d history.Deliveries) (ops []*op, err error) {
	of := make([][]history.UserRange, len(s.partitions))
	for _, u := range d.Inboxes {
		i := s.partitionOf(u.User).number
		of[i] = append(of[i], u)
	}
	for i, p := range s.partitions {
		missed := d.Missed && p == s.home()
		for n := 0; missed || n < len(of[i]); missed = false {
			chunk := of[i][n:min(n+maxChunk, len(of[i]))]
			o := &op{ctx: ctx, cmd: p.deliveredCommand(chunk, missed)}
			if err := p.writes.put(o); err != nil {
				return ops, err
			}
			ops = append(ops, o)
			n += len(chunk)
		}
	}
	return ops, nil
}

func (p *partition) deliveredCommand(ranges []history.UserRange, missed bool) []any {
	s, r := p.store, &p.store.conf.Retention
	return recordDeliveredScript.call(&p.keys, deliveredCall{
		clock: s.clock(), keep: r.InboxCount, inboxAge: r.InboxAge, forget: s.forget(r.InboxAge),
		missed: missed, ranges: ranges,
	})
}

// deliveredCall is what record_delivered.lua is called with.
type deliveredCall struct {
	clock    any
	keep     int // entries that an inbox shows
	inboxAge time.Duration
	forget   time.Duration // until Redis may drop ranges that are not added to; 0: never
	missed   bool          // deliveries before these were not recorded
	ranges   []history.UserRange
}

func (c deliveredCall) declare(w *wire, k *keys) {
	declareEvents(w, k)
	w.time(c.clock)
	w.number("keep", int64(c.keep))
	w.duration("inbox_age", c.inboxAge)
	w.duration("forget", c.forget)
	w.flag("missed", c.missed)
	users := make([]string, len(c.ranges))
	for i, u := range c.ranges {
		users[i] = u.User
	}
	w.list("ranges", len(c.ranges), func(i int) any { return packRange(c.ranges[i].Range) })
	w.texts("users", users)
	w.keyEach("DELIVERED_RANGES", users, k.delivered)
	w.keyEach("INBOXES", users, k.inbox)
}

// rangeSize is that of a range as lua/lib/delivered.lua has it.
const rangeSize = 7 + 7 + 6

// packRange writes a range as lua/lib/delivered.lua has it.
func packRange(r history.Range) []byte {
	var b [rangeSize + 2]byte
	binary.BigEndian.PutUint64(b[:], uint64(r.From)<<8)
	binary.BigEndian.PutUint64(b[7:], uint64(r.To)<<8)
	binary.BigEndian.PutUint64(b[14:], uint64(engine.SinceEpoch(r.At))<<16)
	return b[:rangeSize]
}

// recordBroadcasts adds to ops the commands that count connections. They are not
// sent twice.
func (s *Store) recordBroadcasts(ctx context.Context, counts map[history.ID]int, ops []*op) ([]*op, error) {
	home := s.home()
	for chunk := range slices.Chunk(slices.Collect(maps.Keys(counts)), maxChunk) {
		c := broadcastDeliveredCall{ids: chunk}
		for _, id := range chunk {
			c.counts = append(c.counts, counts[id])
		}
		o := &op{ctx: ctx, once: true, cmd: broadcastDeliveredScript.call(&home.keys, c)}
		if err := home.writes.put(o); err != nil {
			return ops, err
		}
		ops = append(ops, o)
	}
	return ops, nil
}

// broadcastDeliveredCall is what broadcast_delivered.lua is called with.
type broadcastDeliveredCall struct {
	ids    []history.ID
	counts []int // connections that each went to
}

func (c broadcastDeliveredCall) declare(w *wire, k *keys) {
	w.key("BROADCAST_DELIVERIES", k.broadcastDeliveries)
	w.key("LOG", k.log)
	w.list("ids", len(c.ids), func(i int) any { return uint64(c.ids[i]) })
	w.list("counts", len(c.counts), func(i int) any { return c.counts[i] })
}
