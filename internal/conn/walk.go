package conn

import (
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/history"
)

// walk is the delivery of broadcasts to all sessions of a shard, a stretch in
// each turn. Of shard.list, what lies before pos was visited: sessions that
// come or go in between move others so that this stays true, and so nobody is
// passed over or visited twice. (Who comes in between needs no visit: the
// store is asked after the broadcast was appended.)
type walk struct {
	group []delivery     // broadcasts that follow one another
	frame *reactor.Frame // the frames of group in one; nil: no walk
	pos   int
}

const (
	// Broadcasts that wait together and pass over the same connection, or none,
	// go out as one send, up to these bounds.
	maxGroup      = 64
	maxGroupBytes = 16 << 10
)

// beginWalk begins with the broadcasts at the front of queue, and returns how
// many it took.
func (s *shard) beginWalk(queue []delivery) int {
	n, size := 1, len(queue[0].frame.B)
	for !queue[0].recall && n < min(len(queue), maxGroup) {
		d := &queue[n]
		size += len(d.frame.B)
		if d.user != "" || d.brief || d.recall || d.prev != queue[n-1].id || size > maxGroupBytes || d.skip != queue[n-1].skip {
			break
		}
		n++
	}
	w := &s.walk
	w.group = append(w.group[:0], queue[:n]...)
	w.pos = 0
	s.reachable(w.group)
	if n == 1 {
		w.frame = queue[0].frame
		w.frame.Retain(1)
		return n
	}
	w.frame = s.loop.NewFrame(size)
	for i := range w.group {
		w.frame.Join(w.group[i].frame)
	}
	return n
}

// step visits at most so many sessions, and returns how many it did.
func (s *shard) step(most int) (visited int) {
	w := &s.walk
	for visited < most && w.pos < len(s.list) {
		ses := s.sessions.At(s.list[w.pos])
		w.pos++ // first: the visit may end the session
		visited++
		s.visit(ses)
	}
	if w.pos == len(s.list) {
		for i := range w.group {
			s.finishDelivery(&w.group[i])
		}
		s.loop.Drop(w.frame)
		w.frame = nil
		clear(w.group)
	}
	return visited
}

// visit delivers the walk's broadcasts to one session.
func (s *shard) visit(ses *session) {
	w := &s.walk
	first, last := &w.group[0], &w.group[len(w.group)-1]
	switch {
	case first.brief: // a group of its own
		s.brief(ses, first)
	case first.recall:
		s.recall(ses, first)
	case ses.state < live:
		ses.behind = true
	case last.id <= ses.broadcast: // came with a page already
	case first.prev > ses.broadcast:
		s.hole(ses)
	case ses.handle == first.skip: // the whole group's
		s.passBroadcasts(ses, last.id)
	case first.id > ses.broadcast:
		s.sending(ses)
		ses.broadcast = last.id
		s.count.Broadcast += uint64(len(w.group))
		s.loop.Send(ses.handle, w.frame)
	default:
		s.visitRest(ses)
	}
}

// visitRest delivers those broadcasts that a page did not bring already.
func (s *shard) visitRest(ses *session) {
	h := ses.handle
	for i := range s.walk.group {
		d := &s.walk.group[i]
		if ses = s.lookup(h); ses == nil {
			return // closed as too slow
		}
		if d.id > ses.broadcast {
			s.sending(ses)
			ses.broadcast = d.id
			s.count.Broadcast++
			s.loop.Send(h, d.frame)
		}
	}
}

// reachable makes a group countable.
func (s *shard) reachable(group []delivery) {
	for i := range group {
		if d := &group[i]; !s.receipts.off && !d.brief && !d.recall {
			s.receipts.reach.walked(d.id)
		}
	}
}

// oldest returns below which ids the walk has nobody to bring a broadcast any more.
func (w *walk) oldest() history.ID {
	if w.frame == nil || w.group[0].brief || w.group[0].recall {
		return history.MaxID
	}
	return w.group[0].id - 1
}

// end lets go of the frames of a walk that nobody will finish.
func (w *walk) end() {
	if w.frame == nil {
		return
	}
	w.frame.Release()
	w.frame = nil
	for i := range w.group {
		w.group[i].release()
	}
}

// enlist puts a session among the visited.
func (s *shard) enlist(socket uint32) {
	s.list = append(s.list, socket)
	s.setPlace(len(s.list)-1, socket)
	if s.walk.frame != nil {
		s.swap(s.walk.pos, len(s.list)-1)
		s.walk.pos++
	}
}

// delist takes a session out.
func (s *shard) delist(ses *session) {
	at, last := int(ses.place), len(s.list)-1
	if s.walk.frame != nil && at < s.walk.pos {
		s.walk.pos--
		s.swap(at, s.walk.pos)
		at = s.walk.pos
	}
	s.swap(at, last)
	s.list = s.list[:last]
}

func (s *shard) swap(i, j int) {
	a, b := s.list[i], s.list[j]
	s.setPlace(i, b)
	s.setPlace(j, a)
}

func (s *shard) setPlace(i int, socket uint32) {
	s.list[i] = socket
	s.sessions.At(socket).place = uint32(i)
}
