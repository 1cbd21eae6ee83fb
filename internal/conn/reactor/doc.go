// Package reactor serves WebSocket connections: it accepts them, reads and
// writes their frames, and closes them. A [Handler] decides what the
// connections are for.
//
// # Who owns what
//
// A connection belongs to one [Loop]. Only the loop's goroutine reads, writes
// and closes its socket and touches its slot, its backlog and its input; so
// there is no lock per connection. Other goroutines put something into a
// [Mailbox] and wake the loop. They name a connection by its [Handle], which
// becomes invalid when the connection ends, even if the socket's number is
// used again.
//
// Only the loop closes the socket: in reap, at the end of the turn in which
// the connection ended. Until then no other connection can have its number, so
// within a turn a number means one connection.
//
// # Goroutines
//
//	accept     one a Reactor   Run … Shutdown      accepts connections, refuses
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
// The frames that are sent in a turn are collected and go out in batches
// through a [netpoll.Flusher]. A frame that the kernel does not take in full
// becomes a node of the connection's queue in the backlog; so frames are never
// copied, and a client that keeps up never touches the backlog.
//
// # Handshakes
//
// A connection whose head is complete is pending: the handler looks at the
// request and refuses it or calls [Loop.Admit]. There the one bucket of the
// Reactor gives it a turn, and the loop that is to own it adopts it when the
// turn comes. Nothing else paces connections, so a client that sends nothing, or
// is refused, delays nobody.
//
// A refusal is a status, but a browser page cannot see one. As long as there are
// few of them, a page is answered as a WebSocket that is closed with a code; the
// handler does not notice, and counters have the status.
//
// # Slow clients
//
// The bounds of what may wait for a client count the messages behind the one that is
// being sent. Answers and control frames are bounded by not reading the client.
// If much waits, control frames pass it, at the end of a WebSocket frame; so
// messages over 1 MiB are sent in fragments (package proto). The loop's clock
// leaves out the time for which the loop stood still.
//
// # Compression
//
// A frame that is marked as a message has a compressed form. The first loop
// that sends it to a client with compression makes it, with the loop's own
// Deflater; from then on all loops share it, until the frame is released. The
// loop's own Inflater inflates clients' messages. All that a connection keeps
// of this is one byte.
//
// # What an idle connection costs
//
// A slot of 56 bytes, outside the heap, and 4 bytes in the loop's list. It has
// a buffer only while a head or frame is incomplete, and a queue only while
// the kernel takes no more.
package reactor
