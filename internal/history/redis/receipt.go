package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// Outcome implements history.Messages. Each partition is read at a moment of its
// own, and of a multicast each chunk.
func (s *Store) Receipt(ctx context.Context, id history.ID, most int) (history.Receipt, error) {
	if err := s.enter(ctx); err != nil {
		return history.Receipt{}, err
	}
	defer s.life.RUnlock()
	a, err := s.find(ctx, id)
	if err != nil {
		return history.Receipt{}, err
	}
	o := history.Receipt{Kind: a.kind}
	if a.kind == history.Broadcast {
		o.Acked, o.Delivered, err = s.tally(ctx, a.id)
		return o, err
	}
	var users []history.UserReceipt
	for _, sh := range a.shares {
		if users, err = sh.outcomes(ctx, a.id, users); err != nil {
			return history.Receipt{}, err
		}
	}
	slices.SortFunc(users, func(a, b history.UserReceipt) int { return cmp.Compare(a.User, b.User) })
	o.Recipients = len(users)
	for _, u := range users {
		if u.Acked {
			o.Acked++
		}
		if u.Delivered {
			o.Delivered++
		}
	}
	o.Users = users[:min(most, len(users))]
	return o, nil
}

// outcomes appends what the users of a partition have done.
func (sh share) outcomes(ctx context.Context, id history.ID, out []history.UserReceipt) ([]history.UserReceipt, error) {
	var ops []*op
	for chunk := range slices.Chunk(sh.users, maxChunk) {
		keys, args := make([]string, 0, 3*len(chunk)), make([]any, 0, len(chunk))
		for _, user := range chunk {
			keys = append(keys, sh.trail(user), sh.meta(user), sh.moves(user))
			args = append(args, uint64(cmp.Or(sh.apart[user], id)))
		}
		o := &op{ctx: ctx, cmd: outcomeScript.call(keys, args...)}
		if err := sh.reads.put(o); err != nil {
			return nil, err
		}
		ops = append(ops, o)
	}
	users := sh.users
	for _, o := range ops {
		times, err := ints(o.wait(ctx))
		if err != nil {
			return nil, harmless(err)
		}
		n := len(times) / 2
		if n > len(users) {
			return nil, fmt.Errorf("asking Redis: %d answers about %d users", n, len(users))
		}
		for i, user := range users[:n] {
			u := history.UserReceipt{User: user}
			u.DeliveredAt, u.Delivered = happened(times[2*i])
			u.DeliveredAt = engine.DeliveredAt(history.Range{At: u.DeliveredAt}, cmp.Or(sh.apart[user], id))
			u.AckedAt, u.Acked = happened(times[2*i+1])
			out = append(out, u)
		}
		users = users[n:]
	}
	return out, nil
}

// happened reads when something did, or that it did not.
func happened(ms int64) (at time.Time, ok bool) {
	if ms > 0 {
		at = history.Epoch.Add(time.Duration(ms) * time.Millisecond)
	}
	return at, ms >= 0
}

// tally counts the users who have acked a broadcast, and the connections that it
// went to.
func (s *Store) tally(ctx context.Context, id history.ID) (acked, delivered int, err error) {
	ops := make([]*op, 0, len(s.partitions))
	for _, p := range s.partitions {
		o := &op{ctx: ctx, cmd: tallyScript.call([]string{p.tally, p.handed}, uint64(id))}
		if err := p.reads.put(o); err != nil {
			return 0, 0, err
		}
		ops = append(ops, o)
	}
	for _, o := range ops {
		reply, failed := ints(o.wait(ctx))
		if failed == nil && len(reply) == 2 {
			acked, delivered = acked+int(reply[0]), delivered+int(reply[1])
		}
		err = errors.Join(err, failed)
	}
	return acked, delivered, harmless(err)
}
