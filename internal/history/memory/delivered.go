package memory

import (
	"context"

	"pushd.example/internal/history"
)

// NoteDelivered implements history.Messages.
func (s *Store) NoteDelivered(ctx context.Context, d history.Deliveries) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.openLocked(ctx); err != nil {
		return err
	}
	if err := d.Check(); err != nil {
		return err
	}
	for _, u := range d.Inboxes {
		s.trails[u.User] = s.trails[u.User].Add(u.Range)
	}
	for id, n := range d.Broadcasts {
		if s.broadcasts.find(id) >= 0 {
			s.handed[id] += n
		}
	}
	return nil
}
