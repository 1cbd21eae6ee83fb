package embedded

import (
	"context"

	"pushd.example/internal/history/watch"
)

// ReadEvents implements watch.Events.
func (s *Store) ReadEvents(ctx context.Context, q watch.Query) (watch.Page, error) {
	if err := s.enter(ctx); err != nil {
		return watch.Page{}, err
	}
	defer s.life.RUnlock()
	return s.events.Read(ctx, q, s.recordUnacked)
}
