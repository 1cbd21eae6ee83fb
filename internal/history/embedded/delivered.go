package embedded

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
	"pushd.example/internal/history/watch"
)

// For each user we keep the ranges of the inbox that were delivered, and for each
// broadcast the number of connections that it was delivered to. Only
// RecordDelivered writes them, one call at a time. A user's ranges are a list of
//
//	From, less To of the one before | To, less From | At, less that before
//
// where the second is a uvarint and the others, which may be negative, are
// varints; At is 0 where it is not known.

// rangesAtOnce is the most ranges in one batch: appends wait while the committer
// stores it.
const rangesAtOnce = 256

// RecordDelivered implements history.Messages.
func (s *Store) RecordDelivered(ctx context.Context, d history.Deliveries) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	if err := d.Check(); err != nil {
		s.life.RUnlock()
		return err
	}
	// Copies: the caller may leave early. A user's ranges stay in order.
	d.Inboxes, d.Broadcasts = slices.Clone(d.Inboxes), maps.Clone(d.Broadcasts)
	slices.SortStableFunc(d.Inboxes, func(a, b history.UserRange) int { return compareUsers(a.User, b.User) })
	return s.inTurn(ctx, s.recording, func() error { return s.recordDelivered(ctx, d) })
}

// recordDelivered syncs once, when it has written all. Events lie in memory: each
// is recorded when its range is written, and if we die in between, the events die
// with us.
func (s *Store) recordDelivered(ctx context.Context, d history.Deliveries) error {
	err := s.change(true, func(b *pebble.Batch) error { return s.addConnections(b, d.Broadcasts) })
	if err != nil {
		return fmt.Errorf("recording who got broadcasts: %w", err)
	}
	s.events.RecordDelivered(nil, d.Missed)
	for some := range slices.Chunk(d.Inboxes, rangesAtOnce) {
		if err := ctx.Err(); err != nil {
			return err
		}
		var events []watch.Event
		err := s.change(true, func(b *pebble.Batch) (err error) {
			events, err = s.addRanges(b, some)
			return err
		})
		if err != nil {
			return fmt.Errorf("recording who got what: %w", err)
		}
		s.events.RecordDelivered(events, false)
	}
	// An empty record: its sync makes all before it in Pebble's log durable.
	return s.change(false, func(b *pebble.Batch) error { return b.LogData(nil, nil) })
}

// addConnections adds to the counts of those broadcasts that are kept.
func (s *Store) addConnections(b *pebble.Batch, counts map[history.ID]int) error {
	log := s.headsNow().broadcasts
	for id, n := range counts {
		if !log.has(id) {
			continue
		}
		before, err := readConnections(s.db, id)
		if err != nil {
			return err
		}
		setBody(b, tagConnections, id, binary.AppendUvarint(nil, uint64(before+n)))
	}
	return nil
}

// readConnections returns to how many connections broadcast id was delivered.
func readConnections(r pebble.Reader, id history.ID) (int, error) {
	value, found, err := readBody(r, tagConnections, id)
	if err != nil || !found {
		return 0, err
	}
	n, size := binary.Uvarint(value)
	if size <= 0 {
		return 0, fmt.Errorf("reading who got a broadcast: %w", errDamaged)
	}
	return int(n), nil
}

// addRanges adds ranges, which come in the order of their users' keys, to those
// that were delivered. While somebody watches it returns the events.
func (s *Store) addRanges(b *pebble.Batch, ranges []history.UserRange) (events []watch.Event, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tagDelivered}, UpperBound: []byte{tagDelivered + 1}})
	if err != nil {
		return nil, err
	}
	defer it.Close()
	watched := s.events.Watched(watch.Delivered)
	var key, value []byte
	var delivered engine.DeliveredRanges
	for len(ranges) > 0 {
		user := ranges[0].User
		key = appendUserKey(key[:0], tagDelivered, user)
		delivered, value = delivered[:0], value[:0]
		known := it.SeekGE(key) && bytes.Equal(it.Key(), key)
		if known {
			if delivered, err = parseRanges(delivered, it.Value()); err != nil {
				return nil, err
			}
		}
		for len(ranges) > 0 && ranges[0].User == user {
			if watched {
				if events, err = s.appendDelivered(events, ranges[0], delivered); err != nil {
					return nil, err
				}
			}
			delivered, ranges = delivered.Add(ranges[0].Range), ranges[1:]
		}
		if value = appendRanges(value, delivered); known && bytes.Equal(value, it.Value()) || len(value) == 0 {
			continue
		}
		if err := b.Set(key, value, nil); err != nil {
			return nil, err
		}
	}
	return events, it.Error()
}

// appendDelivered appends an event for each entry in u that was not delivered
// before.
func (s *Store) appendDelivered(events []watch.Event, u history.UserRange, before engine.DeliveredRanges) ([]watch.Event, error) {
	v, err := s.viewNow(u.User)
	if err != nil {
		return nil, err
	}
	defer v.close()
	ok, err := v.seek(u.From + 1)
	for ; ok && err == nil; ok = v.inbox.Next() {
		var e entry
		if e, err = v.entry(); err != nil || e.id > u.To {
			return events, err
		}
		if _, known := before.Find(e.id); !known && !v.dropped(&e) {
			events = append(events, watch.Event{Kind: watch.Delivered, Time: engine.DeliveredAt(u.Range, e.id), User: u.User, ID: e.id})
		}
	}
	return events, cmp.Or(err, v.inbox.Error())
}

func appendRanges(dst []byte, t engine.DeliveredRanges) []byte {
	var last history.Range
	for _, k := range t {
		dst = binary.AppendVarint(dst, int64(k.From-last.To))
		dst = binary.AppendUvarint(dst, uint64(k.To-k.From))
		dst = binary.AppendVarint(dst, int64(millisOf(k.At)-millisOf(last.At)))
		last = k
	}
	return dst
}

// parseRanges appends the ranges in value to dst.
func parseRanges(dst engine.DeliveredRanges, value []byte) (engine.DeliveredRanges, error) {
	var last history.ID
	var at millis
	for r := (fieldReader{rest: value}); len(r.rest) > 0; {
		k := history.Range{From: last + history.ID(r.signed())}
		k.To = k.From + history.ID(r.number())
		at += millis(r.signed())
		if r.damaged || k.From >= k.To {
			return nil, fmt.Errorf("reading what was delivered: %w", errDamaged)
		}
		if at != 0 {
			k.At = at.time()
		}
		dst, last = append(dst, k), k.To
	}
	return dst, nil
}

// readRanges appends user's delivered ranges to dst.
func readRanges(dst engine.DeliveredRanges, r pebble.Reader, user string) (engine.DeliveredRanges, error) {
	var buf [2 + history.MaxUser]byte
	value, closer, err := r.Get(appendUserKey(buf[:0], tagDelivered, user))
	if errors.Is(err, pebble.ErrNotFound) {
		return dst, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what was delivered: %w", err)
	}
	defer closer.Close()
	return parseRanges(dst, value)
}
