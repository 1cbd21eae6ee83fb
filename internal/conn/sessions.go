package conn

import (
	mathbits "math/bits"

	"pushd.example/internal/conn/feed"
	"pushd.example/internal/conn/offheap"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/conn/receipts"
)

// session is what an attached connection is to a shard: whose it is, and how
// far it was sent. 80 bytes, no pointers.
//
// The connection's own states (package reactor) go beside the reader's: it is
// pending while the reader is attaching and open after that. When it begins to
// close the session is gone.
type session struct {
	handle  reactor.Handle // 0: no session
	reader  feed.Reader
	expires uint32 // unix seconds when the credential ends; 0 is never
	since   uint32 // unix seconds when it was attached
	agent   uint32 // in sessions.agents; 0 is none
	hash    uint32 // of the user
	next    uint32 // the next session with this hash: its socket + 1
	place   uint32 // in sessions.list
	name    offheap.Ref
	nameLen uint8
	acked   bool // the read mark moved while the session was attaching
}

// key is what the ledger of receipts knows a session by.
func (s *session) key() receipts.Key { return receipts.Key(s.handle) }

// attaching reports whether the store has not answered yet.
func (s *session) attaching() bool { return s.reader.State() == feed.Attaching }

// sessions are the sessions of a shard: by socket, by user, and in a list for
// what goes to all. It belongs to the shard's loop.
//
// By user: a map goes from a hash of the user to a socket, from where the
// sessions with that hash are linked. Nothing in it is a pointer, so the garbage
// collector passes it by. Two users may share a hash; find compares the names.
type sessions struct {
	table *offheap.Table[session] // by socket; shared by all shards
	first map[uint32]uint32       // by hash, a socket + 1
	names offheap.Arena
	agents

	// list has the sockets of all sessions. While a round is under way, those
	// before visited had their turn. Sessions that come or go meanwhile move
	// others so that this stays true; those that come had their turn, since the
	// store is asked after what the round brings was appended.
	list    []uint32
	visited int
	round   bool

	// present has a bit for each socket that has a session here. Scans that take
	// many turns go by socket, since a session keeps its own while places in list
	// change.
	present []uint64
}

func newSessions(table *offheap.Table[session]) sessions {
	return sessions{table: table, first: map[uint32]uint32{}}
}

// add makes a session of a connection for user.
func (s *sessions) add(h reactor.Handle, user string, hash uint32, agent string) *session {
	ses := s.table.At(h.Socket())
	*ses = session{handle: h, hash: hash, agent: s.agents.join(agent)}
	ses.name, ses.nameLen = s.names.Put(user), uint8(len(user))
	ses.next = s.first[hash]
	s.first[hash] = h.Socket() + 1
	s.enlist(h.Socket())
	word, bit := h.Socket()/64, h.Socket()%64
	for uint32(len(s.present)) <= word {
		s.present = append(s.present, 0)
	}
	s.present[word] |= 1 << bit
	return ses
}

// remove ends a session.
func (s *sessions) remove(ses *session) {
	s.delist(ses)
	s.unlink(ses)
	s.names.Free(ses.name, int(ses.nameLen))
	s.agents.leave(ses.agent)
	s.present[ses.handle.Socket()/64] &^= 1 << (ses.handle.Socket() % 64)
	*ses = session{}
}

// scanVisits is how many sessions one turn of a scan looks at: less than half a
// millisecond's worth.
const scanVisits = 2048

// scan calls visit for the sessions on sockets from one on, in order, until it
// has looked at scanVisits of them or visit returns false. It returns where to go
// on, and whether there is something left.
func (s *sessions) scan(from uint32, visit func(*session) bool) (next uint32, more bool) {
	visits := 0
	for word := int(from / 64); word < len(s.present); word++ {
		bits := s.present[word]
		if word == int(from/64) {
			bits &= ^uint64(0) << (from % 64)
		}
		for ; bits != 0; bits &= bits - 1 {
			socket := uint32(word*64 + mathbits.TrailingZeros64(bits))
			if visits == scanVisits || !visit(s.table.At(socket)) {
				return socket, true
			}
			visits++
		}
	}
	return uint32(len(s.present) * 64), false
}

// unlink takes a session out of those with its hash.
func (s *sessions) unlink(ses *session) {
	this := ses.handle.Socket() + 1
	if at := s.first[ses.hash]; at != this {
		prev := s.table.At(at - 1)
		for prev.next != this {
			prev = s.table.At(prev.next - 1)
		}
		prev.next = ses.next
		return
	}
	if ses.next == 0 {
		delete(s.first, ses.hash)
	} else {
		s.first[ses.hash] = ses.next
	}
}

// find appends the handles of a user's sessions to dst.
func (s *sessions) find(dst []reactor.Handle, user string, hash uint32) []reactor.Handle {
	for at := s.first[hash]; at != 0; {
		ses := s.table.At(at - 1)
		if string(s.user(ses)) == user {
			dst = append(dst, ses.handle)
		}
		at = ses.next
	}
	return dst
}

// user returns whose session it is, good as long as the session is.
func (s *sessions) user(ses *session) []byte { return s.names.Get(ses.name, int(ses.nameLen)) }

// beginRound begins to go through all sessions that are there now.
func (s *sessions) beginRound() { s.visited, s.round = 0, true }

// nextInRound returns the next session of the round, nil when it is over.
func (s *sessions) nextInRound() *session {
	if s.visited == len(s.list) {
		s.round = false
		return nil
	}
	s.visited++ // first: whatever is done to the session may end it
	return s.table.At(s.list[s.visited-1])
}

func (s *sessions) enlist(socket uint32) {
	s.list = append(s.list, socket)
	s.setPlace(len(s.list)-1, socket)
	if s.round {
		s.swap(s.visited, len(s.list)-1)
		s.visited++
	}
}

func (s *sessions) delist(ses *session) {
	at, last := int(ses.place), len(s.list)-1
	if s.round && at < s.visited {
		s.visited--
		s.swap(at, s.visited)
		at = s.visited
	}
	s.swap(at, last)
	s.list = s.list[:last]
}

func (s *sessions) swap(i, j int) {
	a, b := s.list[i], s.list[j]
	s.setPlace(i, b)
	s.setPlace(j, a)
}

func (s *sessions) setPlace(i int, socket uint32) {
	s.list[i] = socket
	s.table.At(socket).place = uint32(i)
}
