package redis

import (
	"context"
	"encoding/binary"
	"slices"

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
	ops, err := s.noteInboxes(ctx, d.Inboxes)
	if err == nil {
		ops, err = s.noteBroadcasts(ctx, d.Broadcasts, ops)
	}
	for _, o := range ops {
		if _, failed := o.wait(ctx); err == nil {
			err = failed
		}
	}
	return harmless(err)
}

// noteInboxes sends spans to the partitions of their users, in their order, and
// returns what to wait for.
func (s *Store) noteInboxes(ctx context.Context, spans []history.UserRange) (ops []*op, err error) {
	of := make([][]history.UserRange, len(s.partitions))
	for _, u := range spans {
		i := s.partitionOf(u.User).number
		of[i] = append(of[i], u)
	}
	for i, p := range s.partitions {
		for chunk := range slices.Chunk(of[i], maxChunk) {
			o := &op{ctx: ctx, cmd: p.trailCommand(chunk)}
			if err := p.writes.put(o); err != nil {
				return ops, err
			}
			ops = append(ops, o)
		}
	}
	return ops, nil
}

func (p *partition) trailCommand(spans []history.UserRange) []any {
	keys, args := make([]string, 0, len(spans)), make([]any, 0, 2+len(spans))
	args = append(args, engine.MergeBeyond, engine.MaxRanges, p.store.forget(p.store.conf.Retention.InboxAge))
	for _, u := range spans {
		keys, args = append(keys, p.trail(u.User)), append(args, packSpan(u.Range))
	}
	return trailScript.call(keys, args...)
}

// packSpan writes a span as trail.lua reads it.
func packSpan(s history.Range) []byte {
	var b [14 + 8]byte
	binary.BigEndian.PutUint64(b[:], uint64(s.From)<<8)
	binary.BigEndian.PutUint64(b[7:], uint64(s.To)<<8)
	binary.BigEndian.PutUint64(b[14:], uint64(engine.SinceEpoch(s.At))<<16)
	return b[:20]
}

// noteBroadcasts adds to ops what counts connections, which is not sent twice.
func (s *Store) noteBroadcasts(ctx context.Context, counts map[history.ID]int, ops []*op) ([]*op, error) {
	args := make([]any, 0, 2*len(counts))
	for id, n := range counts {
		args = append(args, uint64(id), n)
	}
	home := s.home()
	for chunk := range slices.Chunk(args, 2*maxChunk) {
		o := &op{ctx: ctx, once: true, cmd: handedScript.call([]string{home.handed, home.log}, chunk...)}
		if err := home.writes.put(o); err != nil {
			return ops, err
		}
		ops = append(ops, o)
	}
	return ops, nil
}
