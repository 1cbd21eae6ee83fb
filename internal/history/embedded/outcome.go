package embedded

import (
	"context"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pushd/internal/history"
)

// Outcome implements history.Sent.
func (s *Store) Outcome(ctx context.Context, id history.ID, most int) (history.Outcome, error) {
	if err := s.enter(ctx); err != nil {
		return history.Outcome{}, err
	}
	defer s.life.RUnlock()
	a, err := s.find(id)
	o := history.Outcome{Kind: a.kind, Recipients: a.count}
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
	for i, user := range users {
		if i%1024 == 0 && ctx.Err() != nil {
			return history.Outcome{}, ctx.Err()
		}
		named := i < most
		u, err := userOutcome(snap, user, id, named)
		if err != nil {
			return history.Outcome{}, err
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

// userOutcome returns what became of message id at user, with times if they are
// asked for.
func userOutcome(r pebble.Reader, user string, id history.ID, times bool) (u history.UserOutcome, err error) {
	m, err := readMeta(r, user)
	if err != nil {
		return u, err
	}
	trail, err := readTrail(r, user)
	if err != nil {
		return u, err
	}
	u.User, u.Acked = user, m.mark.id >= id
	u.DeliveredAt, u.Delivered = trail.Find(id)
	if !u.Acked || !times {
		return u, nil
	}
	moves, err := readMoves(r, user, m.mark.id)
	if err != nil {
		return u, err
	}
	u.AckedAt = moves.passed(id)
	return u, nil
}
