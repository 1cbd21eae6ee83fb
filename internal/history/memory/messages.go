package memory

import (
	"context"
	"slices"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// KindOf implements history.Messages.
func (s *Store) KindOf(ctx context.Context, id history.ID) (history.Kind, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.openLocked(ctx); err != nil {
		return 0, err
	}
	kind, _, err := s.sentLocked(id)
	return kind, err
}

// sentLocked returns how message id was sent and, unless it was a broadcast, its
// recipients.
func (s *Store) sentLocked(id history.ID) (kind history.Kind, users []string, err error) {
	v := s.viewLocked("")
	if i := v.broadcast.find(id); i >= 0 {
		if v.broadcast.dropped(i, v.now, v.keepBroadcast) {
			return 0, nil, history.ErrNotFound
		}
		return history.Broadcast, nil, nil
	}
	for user, inbox := range s.inboxes {
		if i := inbox.find(id); i >= 0 {
			kind, users = inbox[i].Kind, append(users, user)
		}
	}
	if len(users) == 0 || id < history.FirstIDAt(v.now.Add(-s.retention.InboxAge)) {
		return 0, nil, history.ErrNotFound
	}
	return kind, users, nil
}

// Recall implements history.Messages.
func (s *Store) Recall(ctx context.Context, id history.ID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.inTurn(ctx, func() (handOver func(), err error) { return s.recall(ctx, id) })
}

// recall hides the message and returns what is left to do. Its caller has the
// turn.
func (s *Store) recall(ctx context.Context, id history.ID) (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.openLocked(ctx); err != nil {
		return nil, err
	}
	kind, users, err := s.sentLocked(id)
	if err != nil {
		return nil, err
	}
	d := history.Delivery{Message: history.Message{ID: id, Kind: kind}, Recall: true}
	if kind == history.Broadcast {
		s.broadcasts[s.broadcasts.find(id)].recalled = true
	}
	for _, user := range users {
		inbox := s.inboxes[user]
		inbox[inbox.find(id)].recalled = true
		if s.attached[user] > 0 {
			d.Recipients = append(d.Recipients, history.Recipient{User: user})
		}
	}
	concerns := len(d.Recipients) > 0 || kind == history.Broadcast && len(s.attached) > 0
	if s.deliver == nil || !concerns {
		return nil, nil
	}
	deliver := s.deliver
	return func() { deliver([]history.Delivery{d}) }, nil
}

// ack is where an ack took a read mark, and when.
type ack struct {
	to history.ID
	at time.Time
}

// ackLocked records an ack that takes user's read mark in the inbox to an id, if
// that is forward.
func (s *Store) ackLocked(user string, to history.ID) {
	if from := s.marks[user].Inbox; to > from {
		if len(s.acks[user]) == 0 {
			s.acks[user] = []ack{{to: from}}
		}
		acks := append(s.acks[user], ack{to, s.now().UTC().Truncate(time.Millisecond)})
		s.acks[user] = acks[max(0, len(acks)-engine.AcksKept-1):] // and the one before, where the first began
	}
}

// Receipt implements history.Messages.
func (s *Store) Receipt(ctx context.Context, id history.ID, most int) (history.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.openLocked(ctx); err != nil {
		return history.Receipt{}, err
	}
	kind, users, err := s.sentLocked(id)
	o := history.Receipt{Kind: kind, Recipients: len(users)}
	if kind == history.Broadcast {
		o.Delivered = s.deliveredTo[id]
	}
	if err != nil {
		return o, err
	}
	slices.Sort(users)
	for _, user := range users {
		u := history.UserReceipt{User: user, Acked: s.marks[user].Inbox >= id}
		if u.Acked {
			o.Acked++
			u.AckedAt = s.ackedAtLocked(user, id)
		}
		if u.DeliveredAt, u.Delivered = s.delivered[user].Find(id); u.Delivered {
			o.Delivered++
		}
		if len(o.Users) < most {
			o.Users = append(o.Users, u)
		}
	}
	for _, mark := range s.marks {
		if kind == history.Broadcast && mark.Broadcast >= id {
			o.Acked++
		}
	}
	return o, nil
}

// ackedAtLocked returns when user's read mark passed id, which it did.
func (s *Store) ackedAtLocked(user string, id history.ID) time.Time {
	acks := s.acks[user]
	if len(acks) == 0 || id <= acks[0].to {
		return time.Time{}
	}
	for _, a := range acks {
		if a.to >= id {
			return a.at
		}
	}
	return time.Time{}
}
