package embedded

import (
	"context"
	"slices"

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
		return o, nil
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
		m, err := readMeta(snap, user)
		if err != nil {
			return history.Outcome{}, err
		}
		u := history.UserOutcome{User: user, Acked: m.mark.id >= id}
		if u.Acked {
			o.Acked++
		}
		if i >= most {
			continue
		}
		if u.Acked {
			moves, err := readMoves(snap, user, m.mark.id)
			if err != nil {
				return history.Outcome{}, err
			}
			u.AckedAt = moves.passed(id)
		}
		o.Users = append(o.Users, u)
	}
	return o, nil
}
