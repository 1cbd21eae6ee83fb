package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pushd/internal/history"
)

// Outcome implements history.Sent. Each partition is read at a moment of its
// own, and of a multicast each chunk.
func (s *Store) Outcome(ctx context.Context, id history.ID, most int) (history.Outcome, error) {
	if err := s.enter(ctx); err != nil {
		return history.Outcome{}, err
	}
	defer s.life.RUnlock()
	a, err := s.find(ctx, id)
	if err != nil {
		return history.Outcome{}, err
	}
	o := history.Outcome{Kind: a.kind}
	if a.kind == history.Broadcast {
		o.Acked, err = s.tally(ctx, a.id)
		return o, err
	}
	var users []history.UserOutcome
	for _, sh := range a.shares {
		if users, err = sh.outcomes(ctx, a.id, users); err != nil {
			return history.Outcome{}, err
		}
	}
	slices.SortFunc(users, func(a, b history.UserOutcome) int { return cmp.Compare(a.User, b.User) })
	o.Recipients = len(users)
	for _, u := range users {
		if u.Acked {
			o.Acked++
		}
	}
	o.Users = users[:min(most, len(users))]
	return o, nil
}

// outcomes appends what the users of a partition have done.
func (sh share) outcomes(ctx context.Context, id history.ID, out []history.UserOutcome) ([]history.UserOutcome, error) {
	var ops []*op
	for chunk := range slices.Chunk(sh.users, maxChunk) {
		keys, args := make([]string, 0, 2*len(chunk)), make([]any, 0, len(chunk))
		for _, user := range chunk {
			keys, args = append(keys, sh.meta(user), sh.moves(user)), append(args, uint64(cmp.Or(sh.apart[user], id)))
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
		if len(times) > len(users) {
			return nil, fmt.Errorf("asking Redis: %d answers about %d users", len(times), len(users))
		}
		for i, at := range times {
			u := history.UserOutcome{User: users[i], Acked: at >= 0}
			if at > 0 {
				u.AckedAt = history.Epoch.Add(time.Duration(at) * time.Millisecond)
			}
			out = append(out, u)
		}
		users = users[len(times):]
	}
	return out, nil
}

// tally counts the users who have acked a broadcast.
func (s *Store) tally(ctx context.Context, id history.ID) (acked int, err error) {
	ops := make([]*op, 0, len(s.partitions))
	for _, p := range s.partitions {
		o := &op{ctx: ctx, cmd: tallyScript.call([]string{p.tally}, uint64(id))}
		if err := p.reads.put(o); err != nil {
			return 0, err
		}
		ops = append(ops, o)
	}
	for _, o := range ops {
		reply, failed := o.wait(ctx)
		n, _ := reply.(int64)
		acked, err = acked+int(n), errors.Join(err, failed)
	}
	return acked, harmless(err)
}
