package memory

import (
	"context"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
	"pushd.example/internal/history/watch"
)

// RecordDelivered implements history.Messages.
func (s *Store) RecordDelivered(ctx context.Context, d history.Deliveries) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.openLocked(ctx); err != nil {
		return err
	}
	if err := d.Check(); err != nil {
		return err
	}
	var events []watch.Event
	for _, u := range d.Inboxes {
		events = append(events, s.newlyDeliveredLocked(u)...)
		s.delivered[u.User] = s.delivered[u.User].Add(u.Range)
	}
	s.events.RecordDelivered(events, d.Missed)
	for id, n := range d.Broadcasts {
		if s.broadcasts.find(id) >= 0 {
			s.deliveredTo[id] += n
		}
	}
	return nil
}

// newlyDeliveredLocked returns an event for each entry in a range that was not
// delivered before.
func (s *Store) newlyDeliveredLocked(u history.UserRange) (events []watch.Event) {
	v := s.viewLocked(u.User)
	for i, e := range v.inbox {
		_, before := s.delivered[u.User].Find(e.ID)
		if u.From < e.ID && e.ID <= u.To && !before && !v.inbox.dropped(i, v.now, v.keepInbox) {
			events = append(events, watch.Event{Kind: watch.Delivered, Time: engine.DeliveredAt(u.Range, e.ID), User: u.User, ID: e.ID})
		}
	}
	return events
}
