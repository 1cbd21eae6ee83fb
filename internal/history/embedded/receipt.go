package embedded

import (
	"context"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// Receipt implements history.Messages.
func (s *Store) Receipt(ctx context.Context, id history.ID, most int) (history.Receipt, error) {
	if err := s.enter(ctx); err != nil {
		return history.Receipt{}, err
	}
	defer s.life.RUnlock()
	a, err := s.find(id)
	o := history.Receipt{Kind: a.kind, Recipients: a.count}
	if err != nil {
		return o, err
	}
	if a.kind == history.Broadcast {
		o.Acked = s.tally.from(id)
		o.Delivered, err = readConnections(s.db, id)
		return o, err
	}
	users, err := a.users()
	if err != nil {
		return o, err
	}
	slices.Sort(users)
	snap := s.db.NewSnapshot()
	defer snap.Close()
	l := lookUp{Reader: snap, id: id}
	for i, user := range users {
		if i%1024 == 0 && ctx.Err() != nil {
			return history.Receipt{}, ctx.Err()
		}
		named := i < most
		u, err := l.of(user, named)
		if err != nil {
			return history.Receipt{}, err
		}
		if u.Acked {
			o.Acked++
		}
		if u.Delivered {
			o.Delivered++
		}
		if named {
			o.Users = append(o.Users, u)
		}
	}
	return o, nil
}

// lookUp finds out what became of a message at one user after the other.
type lookUp struct {
	pebble.Reader
	id     history.ID
	ranges engine.DeliveredRanges // of the last user: memory for the next
}

// of returns what became of the message at user; when it was acked only if that
// is asked for.
func (l *lookUp) of(user string, when bool) (u history.UserReceipt, err error) {
	m, err := readMeta(l, user)
	if err != nil {
		return u, err
	}
	if l.ranges, err = readRanges(l.ranges[:0], l, user); err != nil {
		return u, err
	}
	u.User, u.Acked = user, m.mark.id >= l.id
	u.DeliveredAt, u.Delivered = l.ranges.Find(l.id)
	if !u.Acked || !when {
		return u, nil
	}
	acks, err := readAcks(l, user, m.mark.id)
	if err != nil {
		return u, err
	}
	u.AckedAt = acks.passed(l.id)
	return u, nil
}
