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

// Receipt implements history.Messages. Each partition is read at a moment of its
// own, and so is each chunk of a multicast.
func (s *Store) Receipt(ctx context.Context, id history.ID, most int) (history.Receipt, error) {
	if err := s.enter(ctx); err != nil {
		return history.Receipt{}, err
	}
	defer s.life.RUnlock()
	a, err := s.find(ctx, id)
	if err != nil {
		return history.Receipt{}, err
	}
	receipt := history.Receipt{Kind: a.kind}
	if a.kind == history.Broadcast {
		receipt.Acked, receipt.Delivered, err = s.broadcastReceipt(ctx, a.id)
		return receipt, err
	}
	var users []history.UserReceipt
	for _, part := range a.parts {
		if users, err = part.receipts(ctx, a.id, users); err != nil {
			return history.Receipt{}, err
		}
	}
	slices.SortFunc(users, func(a, b history.UserReceipt) int { return cmp.Compare(a.User, b.User) })
	receipt.Recipients = len(users)
	for _, u := range users {
		if u.Acked {
			receipt.Acked++
		}
		if u.Delivered {
			receipt.Delivered++
		}
	}
	receipt.Users = users[:min(most, len(users))]
	return receipt, nil
}

// receipts appends what is known of the users of a partition.
func (r recipients) receipts(ctx context.Context, id history.ID, out []history.UserReceipt) ([]history.UserReceipt, error) {
	var ops []*op
	for chunk := range slices.Chunk(r.users, maxChunk) {
		c := receiptsCall{users: chunk}
		for _, user := range chunk {
			c.ids = append(c.ids, cmp.Or(r.ownIDs[user], id))
		}
		o := &op{ctx: ctx, cmd: receiptsScript.call(&r.keys, c)}
		if err := r.reads.put(o); err != nil {
			return nil, err
		}
		ops = append(ops, o)
	}
	for i, o := range ops {
		times, err := ints(o.wait(ctx))
		if err != nil {
			return nil, harmless(err)
		}
		users := r.users[i*maxChunk : min((i+1)*maxChunk, len(r.users))]
		if len(times) != 2*len(users) {
			return nil, fmt.Errorf("asking Redis: %d numbers about %d users, want 2 for each", len(times), len(users))
		}
		for i, user := range users {
			out = append(out, userReceipt(user, cmp.Or(r.ownIDs[user], id), times[2*i], times[2*i+1]))
		}
	}
	return out, nil
}

// userReceipt makes a receipt of what receipts.lua returns for a user.
func userReceipt(user string, id history.ID, delivered, acked int64) history.UserReceipt {
	u := history.UserReceipt{User: user}
	u.DeliveredAt, u.Delivered = happened(delivered)
	u.DeliveredAt = engine.DeliveredAt(history.Range{At: u.DeliveredAt}, id)
	u.AckedAt, u.Acked = happened(acked)
	return u
}

// receiptsCall is what receipts.lua is called with.
type receiptsCall struct {
	users []string
	ids   []history.ID // that the message has in each user's inbox
}

func (c receiptsCall) declare(w *wire, k *keys) {
	w.list("ids", len(c.ids), func(i int) any { return uint64(c.ids[i]) })
	w.keyEach("DELIVERED_RANGES", c.users, k.delivered)
	w.keyEach("METAS", c.users, k.meta)
	w.keyEach("MARK_MOVES", c.users, k.markMoves)
}

// happened reads when something did, or that it did not.
func happened(ms int64) (at time.Time, ok bool) {
	if ms > 0 {
		at = history.Epoch.Add(time.Duration(ms) * time.Millisecond)
	}
	return at, ms >= 0
}

// broadcastReceiptCall is what broadcast_receipt.lua is called with.
type broadcastReceiptCall struct{ id history.ID }

func (c broadcastReceiptCall) declare(w *wire, k *keys) {
	w.key("BROADCAST_MARKS", k.broadcastMarks)
	w.key("BROADCAST_DELIVERIES", k.broadcastDeliveries)
	w.id("id", c.id)
}

// broadcastReceipt counts the users who have acked a broadcast, and the connections
// that it went to.
func (s *Store) broadcastReceipt(ctx context.Context, id history.ID) (acked, delivered int, err error) {
	ops := make([]*op, 0, len(s.partitions))
	for _, p := range s.partitions {
		o := &op{ctx: ctx, cmd: broadcastReceiptScript.call(&p.keys, broadcastReceiptCall{id})}
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
