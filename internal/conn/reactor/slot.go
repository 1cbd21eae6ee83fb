package reactor

import (
	"sync/atomic"

	"pushd.example/internal/conn/proto"
)

// Handle names one connection: its socket, and the generation of the slot that
// the socket's number indexes. When the connection ends, or moves to another
// loop, the generation changes, so that an event or a result of the store with
// the old handle is ignored. The zero Handle names none.
type Handle uint64

func handleOf(socket, generation uint32) Handle {
	return Handle(generation)<<32 | Handle(socket)
}

// Socket returns the socket's number: small, and this connection's alone for
// as long as it lives, so that tables can be indexed by it.
func (h Handle) Socket() uint32 { return uint32(h) }

func (h Handle) generation() uint32 { return uint32(h >> 32) }

// state is where a connection is in its life.
//
//	free ─▶ head ─▶ pending ─▶ open ─▶ closing ─▶ dead ─▶ free
//
// It goes from every state to dead when the socket fails, from head and
// pending to closing when the request is refused, and from pending to free,
// here, and to pending, there, when it moves to another loop.
type state uint8

const (
	// free: no connection. The slot belongs to the next owner of the socket's
	// number.
	free state = iota
	// head: the request's head is not complete.
	head
	// pending: the handler has the request and will say Open, Refuse or Admit.
	// Nothing is read.
	pending
	// open: a WebSocket.
	open
	// closing: a Close frame or a refusal has been sent, or waits in the
	// backlog. The handler has been told.
	closing
	// dead: nothing is left but the socket, which is closed at the turn's end.
	dead
)

type flags uint16

const (
	registered flags = 1 << iota // with the poller
	inBatch                      // has an entry in the batch
	unread                       // there may be input that was not read
	pinged                       // a ping went out since the last input
	notify                       // the handler wants to know when all is sent
	deaf                         // closing: input is thrown away, the end is sent after the backlog
	ended                        // closing: the end of the stream was sent
	toldPage                     // closing: a page that was refused; see Loop.refuse
	silent                       // closing: nothing more is read; the socket is closed when all is sent
)

// taken reports whether the kernel has all that was sent.
func (s *slot) taken() bool { return s.queue == 0 && !s.has(inBatch) }

// slot is all that a connection without backlog and without partial input has
// in this package: 56 bytes. Its loop owns it; the generation alone is read
// by others.
type slot struct {
	generation atomic.Uint32
	flags      flags
	state      state
	window     uint8 // in which the client takes compressed messages, as a power of two; 0: none are sent or taken
	frames     proto.State
	address    uint32 // the key of the client's address
	place      uint32 // in the loop's list
	queue      uint32 // in the loop's backlog; 0 is none
	input      uint32 // in the loop's inputs; 0 is none
	seen       uint32 // the loop's clock at the last input
	// The rate limit: the time up to which messages are paid for. When closing,
	// how many bytes were read in this tick.
	spent int64
}

// fresh makes the slot a new connection's.
func (s *slot) fresh(address, now uint32) {
	s.flags, s.window, s.frames, s.address = 0, 0, proto.State{}, address
	s.queue, s.input = 0, 0
	s.seen, s.spent = now, 0
}

func (s *slot) has(f flags) bool { return s.flags&f != 0 }
