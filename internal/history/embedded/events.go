package embedded

import (
	"context"

	"pushd.example/internal/history"
)

// ReadEvents implements history.Events.
func (s *Store) ReadEvents(ctx context.Context, q history.EventQuery) (history.EventPage, error) {
	if err := s.enter(ctx); err != nil {
		return history.EventPage{}, err
	}
	defer s.life.RUnlock()
	return s.events.Read(ctx, q, s.recordUnacked)
}
