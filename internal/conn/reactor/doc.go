// Package reactor serves WebSocket connections: it accepts them, reads and
// writes their frames, and lets them go. What the connections are for is the
// business of a [Handler].
//
// # Who owns what
//
// A connection belongs to one [Loop]. Only the loop's goroutine reads, writes
// and closes its socket and touches its slot, its backlog and its input; so
// there is no lock per connection. Everybody else puts something into a
// [Mailbox] and wakes the loop. Who has to come back to a connection later
// keeps its [Handle], which a closed socket's next owner does not share.
//
// Who closes the socket? Its loop, in reap, at the end of the turn in which
// the connection ended, and nobody else. Until then no other connection can
// have its number, so within a turn a number means one connection.
//
// # Goroutines
//
//	accept     one a Reactor   Run … Shutdown      takes connections in, refuses
//	Loop.run   one a loop      Run … Shutdown      everything else
//
// None is per connection, and neither are timers: what is due is found by
// deadlines that lie in order of time, and by a sweep over the connections.
//
// # A turn
//
//	wait for events ─▶ read, decode, Handler.Message ─▶ connections that came in
//	     ▲                                                         │
//	 close the dead ◀── deadlines, sweep ◀── Handler.Work ◀────────┘
//
// Whatever is sent in a turn is collected and goes out in batches through a
// [netpoll.Flusher]. A frame that the kernel does not take in full becomes a
// node of the connection's queue in the backlog; so frames are never copied,
// and a client that keeps up never touches the backlog.
//
// # Compression
//
// A frame that is marked as a message has a compressed form, which is made by
// the loop that first meets a client who takes it, with the loop's own
// Deflater, and shared from then on like the frame itself, whose last
// reference gives it back. Clients' messages are inflated by the loop's own
// Inflater. A connection has one byte of all this.
//
// # What an idle connection costs
//
// A slot of 56 bytes, outside the heap, and 4 bytes in the loop's list. A
// buffer it has only while a head or frame is incomplete, a queue only while
// the kernel takes no more.
package reactor
