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

// Watched implements history.Events.
func (s *Store) Watched(kind history.EventKind) bool { return s.events.Watched(kind) }

// RecordDelivered implements history.Events.
func (s *Store) RecordDelivered(ctx context.Context, events []history.Event) error {
	return s.events.RecordDelivered(ctx, events)
}
