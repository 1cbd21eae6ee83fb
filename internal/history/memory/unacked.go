package memory

import (
	"slices"
	"time"

	"pushd.example/internal/history"
)

// asked is a push with UnackedAfter, and the recipients who were not checked yet.
type asked struct {
	id    history.ID
	due   time.Time
	users []string
}

func (s *Store) askLocked(id history.ID, now time.Time, p history.Push) {
	if p.UnackedAfter == 0 {
		return
	}
	users := slices.Clone(p.Users)
	slices.Sort(users)
	s.asked = append(s.asked, asked{id, roundUp(now.Truncate(time.Millisecond).Add(p.UnackedAfter)), slices.Compact(users)})
}

// recordUnacked implements eventlog.Unacked.
func (s *Store) recordUnacked(most int) (n int, next time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.asked {
		a := &s.asked[i]
		for !s.now().Before(a.due) && len(a.users) > 0 && n < most {
			if s.events.RecordUnacked(a.id, a.users[0], func() bool { return s.unackedLocked(a.users[0], a.id) }) {
				n++
			}
			a.users = a.users[1:]
		}
	}
	s.asked = slices.DeleteFunc(s.asked, func(a asked) bool { return len(a.users) == 0 })
	for _, a := range s.asked {
		if next.IsZero() || a.due.Before(next) {
			next = a.due
		}
	}
	return n, next, nil
}

// unackedLocked says whether user has a message and has not acked it.
func (s *Store) unackedLocked(user string, id history.ID) bool {
	v := s.viewLocked(user)
	return s.marks[user].Inbox < id && slices.ContainsFunc(v.shown, func(e entry) bool { return e.ID == id })
}
