package embedded

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
)

// What was delivered of inboxes is a trail for each user, of the broadcast log a
// count for each broadcast. Only NoteDelivered writes them, in turns. A trail is
// a list of
//
//	From, less To of the one before | To, less From | At, less that before
//
// where the second is a uvarint and the others, which may be negative, are
// varints; At is 0 where it is not known.

// notedAtOnce bounds the trails that are written while others wait.
const notedAtOnce = 256

// NoteDelivered implements history.Messages.
func (s *Store) NoteDelivered(ctx context.Context, d history.Deliveries) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	if err := d.Check(); err != nil {
		s.life.RUnlock()
		return err
	}
	// Copies: the caller may leave early. A user's spans stay in order.
	spans, counts := slices.Clone(d.Inboxes), maps.Clone(d.Broadcasts)
	slices.SortStableFunc(spans, func(a, b history.UserRange) int { return compareUsers(a.User, b.User) })
	return s.inTurn(ctx, s.noting, func() error { return s.noteDelivered(ctx, spans, counts) })
}

// noteDelivered syncs once, when it has written all.
func (s *Store) noteDelivered(ctx context.Context, spans []history.UserRange, counts map[history.ID]int) error {
	err := s.change(true, func(b *pebble.Batch) error { return s.addConnections(b, counts) })
	if err != nil {
		return fmt.Errorf("noting who got broadcasts: %w", err)
	}
	for some := range slices.Chunk(spans, notedAtOnce) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.change(true, func(b *pebble.Batch) error { return s.addSpans(b, some) }); err != nil {
			return fmt.Errorf("noting who got what: %w", err)
		}
	}
	// Nothing, but what is behind the rest in the log and is synced.
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

// addSpans adds spans, which come in the order of their users' keys, to the
// trails.
func (s *Store) addSpans(b *pebble.Batch, spans []history.UserRange) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tagTrail}, UpperBound: []byte{tagTrail + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	var key, value []byte
	var trail history.Trail
	for len(spans) > 0 {
		user := spans[0].User
		key = appendUserKey(key[:0], tagTrail, user)
		trail, value = trail[:0], value[:0]
		known := it.SeekGE(key) && bytes.Equal(it.Key(), key)
		if known {
			if trail, err = parseTrail(trail, it.Value()); err != nil {
				return err
			}
		}
		for len(spans) > 0 && spans[0].User == user {
			trail, spans = trail.Add(spans[0].Range), spans[1:]
		}
		if value = appendTrail(value, trail); known && bytes.Equal(value, it.Value()) || len(value) == 0 {
			continue
		}
		if err := b.Set(key, value, nil); err != nil {
			return err
		}
	}
	return it.Error()
}

func appendTrail(dst []byte, t history.Trail) []byte {
	var last history.Range
	for _, k := range t {
		dst = binary.AppendVarint(dst, int64(k.From-last.To))
		dst = binary.AppendUvarint(dst, uint64(k.To-k.From))
		dst = binary.AppendVarint(dst, int64(millisOf(k.At)-millisOf(last.At)))
		last = k
	}
	return dst
}

// parseTrail appends the spans in value to dst.
func parseTrail(dst history.Trail, value []byte) (history.Trail, error) {
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

// readTrail appends user's trail to dst.
func readTrail(dst history.Trail, r pebble.Reader, user string) (history.Trail, error) {
	var buf [2 + history.MaxUser]byte
	value, closer, err := r.Get(appendUserKey(buf[:0], tagTrail, user))
	if errors.Is(err, pebble.ErrNotFound) {
		return dst, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what was delivered: %w", err)
	}
	defer closer.Close()
	return parseTrail(dst, value)
}
