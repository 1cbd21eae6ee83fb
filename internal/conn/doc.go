// Package conn is the clients' door: it takes WebSocket connections, and sends
// each what history has for its user, what it missed first and then live.
//
// # The life of a connection
//
//	accept ─▶ head ─▶ Request ──────────▶ Adopt ─▶ Attach ─▶ Open ──▶ replaying ◀─▶ live ─▶ closed
//	          ≤ 8 KiB  origin, token,     on the    a call   101,     page by page
//	          ≤ 10 s   user, cursor       user's    of the   hello,
//	                   401, 403, 400      loop      store    page
//
// From accept to the complete request, and from the first Close frame on, a
// connection is package reactor's alone. In between it has a session here: it
// is attaching while the store is asked where it stands, replaying while it
// gets pages of what it missed, and live after that. If the store cannot be
// had, the client is told so with 503 before it was promised a WebSocket. (A
// browser page cannot see a status: package reactor tells it by a close code.)
//
// Attach registers the connection and reads the first page in one step, and
// the session is in its user's list before that. So everything is either in the
// page, or delivered to a session that is there to see it. Package feed decides
// what a session gets next: a delivery, nothing, or a page first. When the store
// says that it may have left deliveries out, every session reads a page, a few
// at a time.
//
// A recall goes to every session of its recipients, whatever they were sent. A
// page that was read before it and is sent after it is sent without the message:
// each shard remembers recent recalls.
//
// An ack goes to every session of its user but the one that acked, which has the
// answer. A session that is attaching meanwhile may have read the mark before: when
// it is open, the store is asked for the mark.
//
// # The rooms
//
//	Server        takes clients in, follows the store, answers for who is connected
//	shard         one a loop; its parts share a core:
//	  door        lets clients in: origin, token, user, cursor
//	  replay      sends pages: what was missed before connecting, or by a hole
//	  deliver     gives sessions what comes live
//	  sessions    by socket, by user, and all of them
//	Subscription  a connection by gRPC, which lives on no loop
//
//	fanout        store ─▶ shards: one frame a message, one bounded queue a shard
//	feed          what a reader gets next; pure
//	receipts      shards ─▶ store: what the kernel has taken, once a second
//	reactor       sockets, frames, backlogs; proto, netpoll, uring, offheap below it
//
// # Who owns what
//
// A user's connections all live on one loop, that which the user's hash
// chooses; the handshake moves them there. The loop owns the sessions, the
// index of users, the sockets and what waits for them: see package reactor,
// which also closes the sockets, in one place. Other goroutines have three
// mailboxes a shard: deliveries, which the store's committer fills through
// Follow and package fanout; results of the store's calls, which the workers in
// calls make because no loop ever waits for anything; and questions, which
// backends ask. All of them name sessions by user or by handle, which finds none
// if the connection is gone.
//
// # Goroutines
//
//	accept, Loop.run   reactor's: one, and one a core   Serve … Shutdown
//	calls.work         Config.StoreWorkers              Serve … Shutdown, after the loops
//	reporter.Run       one                              Serve … Shutdown, after the loops
//
// The store calls Fanout.Deliver on a goroutine of its own.
//
// # What an idle connection costs
//
//	56 B  reactor's slot, outside the heap
//	80 B  session, outside the heap
//	 8 B  places in the reactor's list and the shard's
//	16 B  the user's name, in steps of 8 bytes
//	10 B to 20 B  an entry of the users' index
//
// and no goroutine, timer, buffer or pointer. The kernel's part is about 3.8
// KB: socket, inode, file, dentry, epoll entry.
package conn
