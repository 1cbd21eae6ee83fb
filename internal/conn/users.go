package conn

import (
	"pushd.example/internal/conn/offheap"
	"pushd.example/internal/conn/reactor"
)

// users finds a shard's sessions by user. The map goes from a hash of the user
// to a socket, from where the sessions with that hash are linked: nothing in
// it is a pointer, so the garbage collector passes it by. Two users may share
// a hash; who looks compares the names.
type users struct {
	sessions *offheap.Table[session]
	first    map[uint32]uint32
	names    offheap.Arena
}

// add links the session of socket, whose hash is set, to user.
func (u *users) add(socket uint32, user string) {
	s := u.sessions.At(socket)
	s.name, s.nameLen = u.names.Put(user), uint8(len(user))
	s.next = u.first[s.hash] // a socket + 1, so that 0 ends the list
	u.first[s.hash] = socket + 1
}

// remove undoes add.
func (u *users) remove(socket uint32) {
	s := u.sessions.At(socket)
	u.names.Free(s.name, int(s.nameLen))
	if at := u.first[s.hash]; at != socket+1 {
		prev := u.sessions.At(at - 1)
		for prev.next != socket+1 {
			prev = u.sessions.At(prev.next - 1)
		}
		prev.next = s.next
		return
	}
	if s.next == 0 {
		delete(u.first, s.hash)
	} else {
		u.first[s.hash] = s.next
	}
}

// find appends the handles of a user's sessions to dst.
func (u *users) find(dst []reactor.Handle, user string, hash uint32) []reactor.Handle {
	for at := u.first[hash]; at != 0; {
		s := u.sessions.At(at - 1)
		if string(u.name(s)) == user {
			dst = append(dst, s.handle)
		}
		at = s.next
	}
	return dst
}

// name returns the user of s, good as long as the session is.
func (u *users) name(s *session) []byte { return u.names.Get(s.name, int(s.nameLen)) }
