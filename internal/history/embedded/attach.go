package embedded

import (
	"context"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// Attach implements history.Store.
func (s *Store) Attach(ctx context.Context, user string, start history.Start) (history.Attachment, error) {
	if err := s.enterFor(ctx, user); err != nil {
		return history.Attachment{}, err
	}
	defer s.life.RUnlock()
	if err := start.Check(); err != nil {
		return history.Attachment{}, err
	}
	// The one atomic step. The page below reads what was visible before it, up to
	// these heads; the follower gets what becomes visible after it.
	s.mu.Lock()
	heads := s.visible
	s.presence.add(user)
	connections := s.presence.count(user)
	if connections == 1 {
		s.events.Attached(user)
	}
	s.mu.Unlock()

	a, err := s.attachment(user, start, heads)
	if err != nil {
		s.Detach(user)
		return history.Attachment{}, err
	}
	a.Connections = connections
	return a, nil
}

// Detach implements history.Store.
func (s *Store) Detach(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.presence.remove(user)
	if s.presence.count(user) == 0 {
		s.events.Detached(user)
	}
}

func (s *Store) attachment(user string, start history.Start, at heads) (history.Attachment, error) {
	v, err := s.openView(user, at)
	if err != nil {
		return history.Attachment{}, err
	}
	defer v.close()
	if err := v.limit(at); err != nil {
		return history.Attachment{}, err
	}
	head := v.head()
	a := history.Attachment{From: head, Page: history.Page{Cursor: head}}
	if start.At != history.StartNow {
		from := v.meta.markCursor()
		if start.At == history.StartAfter {
			from = start.Cursor
		}
		if a.From, err = engine.Clamp(from, head, v.clock); err != nil {
			return history.Attachment{}, err
		}
		if a.Page, err = v.forward(a.From, start.Limit, start.MaxBytes); err != nil {
			return history.Attachment{}, err
		}
	}
	a.Page.Unread, err = v.unread()
	return a, err
}
