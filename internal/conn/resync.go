package conn

// resync makes every session read the page after its cursor, after the store
// said that deliveries may have been missed. It goes through the shard's list
// from its end, a stretch in each turn, with few pages under way at a time: a
// store that has just come back need not serve all at once. Meanwhile live
// deliveries go on; a hole that one of them shows is mended at once.
type resync struct {
	stale  int // sessions whose turn is still to come
	at     int // in shard.list; what lies from here on was visited
	asking int // pages under way
}

const (
	// maxAsking is how many pages a resync has under way.
	maxAsking = 16
	// resyncVisits is how many sessions one turn looks at.
	resyncVisits = 4096
)

// beginResync marks all sessions. One that is not live reads a page anyway, and
// is made to read another.
func (s *shard) beginResync() {
	for _, socket := range s.list {
		ses := s.sessions.At(socket)
		switch ses.state {
		case live:
			ses.state = stale
			s.resync.stale++
		case attaching, replaying:
			ses.behind = true
		}
	}
	s.resync.at = len(s.list)
}

// fresh takes back that a session is stale, because it reads its page now or is
// gone.
func (s *shard) fresh(ses *session) {
	if ses.state == stale {
		ses.state = live
		s.resync.stale--
	}
}

// goOnResync asks for pages as long as there is room, and reports whether it has
// to be called again in any case.
func (s *shard) goOnResync() (more bool) {
	r := &s.resync
	for visits := 0; r.stale > 0 && r.asking < maxAsking; visits++ {
		if visits == resyncVisits {
			return true
		}
		// Who comes or goes moves others, so that one round may miss some.
		if r.at = min(r.at, len(s.list)); r.at == 0 {
			r.at = len(s.list)
		}
		r.at--
		if ses := s.sessions.At(s.list[r.at]); ses.state == stale {
			if k := s.askPage(ses); k != nil {
				k.resync = true
				r.asking++
			}
		}
	}
	return false
}
