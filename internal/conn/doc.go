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
// had, the client is told so with 503 before it was promised a WebSocket.
//
// Attach registers the connection and reads the first page in one step, and
// the session is in its user's list before that; so everything is either in
// the page, or delivered to a session that is there to see it. A delivery to a
// session that is not live yet only notes that there is more to fetch. A live
// one checks the delivery's prev, the id before it in the log, against the
// last that it was sent: a hole sends it back to replaying. When the store says
// that it may have left deliveries out (Delivery.Resync), all sessions go there,
// a few at a time.
//
// A recall goes to every session of its recipients, whatever they were sent. A
// page that was read before it and is sent after it is sent without the message:
// each loop remembers what was recalled lately.
//
// # Who owns what
//
// A user's connections all live on one loop, that which the user's hash
// chooses; the handshake moves them there. The loop owns the sessions, the
// index of users, the sockets and what waits for them: see package reactor,
// which also closes the sockets, in one place. Other goroutines have two
// mailboxes a shard: deliveries, filled by the store's committer through
// Follow, which waits when one is full and so slows the publishers down; and
// results of the store's calls, which the calls' workers make because no loop
// ever waits for anything. What is in them names sessions by user or by
// handle, so it meets nobody if the connection is gone.
//
// While somebody watches what is delivered, a shard notes it and has it recorded
// by a call of its own (delivered.go), one at a time.
//
// For receipts nothing is written down for a delivery: once a second each shard
// tells from where to where its sessions were sent their inboxes, and to how many
// each broadcast went (receipts.go, reach.go), as far as the kernel has taken
// everything. One call of the store notes that for all shards and subscriptions
// (notes.go).
//
// # Goroutines
//
//	accept, Loop.run   reactor's: one, and one a core   Serve … Shutdown
//	calls.work         Config.StoreWorkers              Serve … Shutdown, after the loops
//	noteDeliveries     one                              Serve … Shutdown, after the loops
//
// deliver runs on a goroutine of the store.
//
// # What an idle connection costs
//
//	56 B  reactor's slot, outside the heap
//	64 B  session, outside the heap
//	 8 B  places in the reactor's list and the shard's
//	16 B  the user's name, in steps of 8 bytes
//	10 B to 20 B  an entry of the users' index
//
// and no goroutine, timer, buffer or pointer. The kernel's part is about 3.8
// KB: socket, inode, file, dentry, epoll entry.
package conn
