// Package redis is the engine of history.Store for several nodes. The data lie in
// one Redis (or Valkey) of version 7.0 or later that all nodes share: one server, a
// master with Sentinels, or a Cluster.
//
// # One round trip
//
// Every operation is one Lua script. Redis runs it as one step, so ids rise in the
// order in which entries become visible. Only a multicast to many users, which
// comes in chunks, and in a Cluster an operation on several partitions take more.
//
//	caller ──▶ pipeline ──▶ script: id, inbox, streams of nodes ──▶ answer
//	                                      │
//	connections ◀── follower ◀── tail (XREAD) ◀──┘   on every node
//
// lua/*.lua are the scripts. For each, a Go type declares the parameters by name,
// in the only place that knows their order (wire.go). Functions that several scripts
// use are in lua/lib, and constants come from lua.go.
//
// # Keys
//
// Users are divided into partitions, each in one slot of a Cluster; elsewhere one
// partition is enough. keys.go lists the keys. Scripts are given all keys that they
// use. An inbox is a LIST of entries: 8 bytes and the data each, or 8 bytes alone
// that refer to a multicast's body. A broadcast is one entry of the partition's
// broadcast log, for any number of users. A list keeps one entry more than retention
// shows: it tells what was dropped and where the log ended, so a user needs no other
// key for that.
//
// # Ids
//
// A partition gives the ids congruent to its number, so no two partitions give the
// same id. All calls carry the highest id that the node has seen in the partition
// (the floor): a new master with a slow clock that lost its tail gives none again. A
// multicast has the id that the partition of its first user gave. If the inbox of
// another partition, or of a later chunk, has a later id by then, the message gets
// an id of its own there, since ids must rise within each inbox.
//
// # Broadcasts
//
// The first partition gives the id; the others keep copies, so a page finds both
// logs of its user in one place. The push is answered when all copies have it. A
// copy takes only the broadcast that follows its last one, so relays of several
// nodes may overtake each other. The other nodes complete at their next beat what a node
// that died left undone. A node delivers a broadcast to its connections when
// it has read it from all copies.
//
// # Ephemeral messages
//
// They are routed like others, but only written to the streams of nodes. A broadcast
// is written once for each node, to its stream in the first partition. A call that
// Redis may have got is not sent again.
//
// # Presence and sessions
//
// In each partition a node has a number, a lease, and a stream of what it must
// deliver: the appending script writes to the stream if the user is connected to the
// node. Numbers are never used twice. When there may be holes in the stream (Redis
// was away or was restarted, another server is master, the stream was trimmed too
// early, the lease ended, the node's own probes do not come back), the node ends the
// session, takes a new number, registers its connections under it, and has all of
// them read on from where they are (Delivery.Resync). Scripts remove the numbers of
// dead nodes where they find them. Users who were connected only to a dead node are
// found by scanning all presence, a part with each beat.
//
// The appending script is given the streams of all nodes that live. If it finds a
// node whose stream is missing, it does nothing, and is called again with the nodes
// of that moment. That is meant for up to about 32 nodes.
//
// # Events
//
// Each partition has a stream of what happened to its users. The scripts that make
// it happen write it: so an event is there if and only if it happened, and the
// events of a user are in order. Readers read all partitions, up to 20 times a
// second. Reading is what has events recorded, and does three things more:
//
//   - It records the disconnects that are due.
//   - A reader who comes to the end of a stream with room left gets the lists of
//     recipients that are due, of pushes with UnackedAfter.
//   - For each such list it runs one script, which takes the list off the due ones
//     and records the users whose inboxes show the message unacked.
//
// # Receipts
//
// A receipt is computed from what is kept for each recipient: the read mark, in the
// meta HASH, and two STRINGs, the delivered ranges and the last moves of the read
// mark. None grows with what is sent. Redis drops delivered ranges to which nothing
// was added for as long as inboxes show entries: all entries in them are gone by
// then.
//
// # Faults
//
// A batch whose connection broke is sent again: each append has a key, which the
// engine makes if the caller gave none, attaching sets an absolute number, and the
// rest is safe to repeat. When Redis cannot be reached or does not answer within
// Config.Timeout, calls that it may have got, in any try, fail with ErrUnknown.
// Calls that wait, and new ones, fail at once with ErrUnavailable until the keeper
// has joined again.
//
// # Goroutines
//
// Each partition has a keeper (session.go), one worker for writes and two for reads
// (pipeline.go), and a tail (follow.go), which runs as long as the session. Open or
// the keeper starts them, and they end with Close.
//
// # Files
//
//	config.go      Config
//	url.go         where Redis is
//	client.go      clients of go-redis, and what they must not do automatically
//	open.go        Open, what it refuses, Ready, Close
//	keys.go        the key space
//	scripts.go     the scripts, and getting them into Redis
//	wire.go        parameters of scripts
//	lua.go         constants, and putting scripts together
//	errors.go      what is known of a command that failed
//	pipeline.go    batches of commands
//	entry.go       entries as bytes
//	append.go      unicasts and multicasts
//	broadcast.go   broadcasts and their copies
//	ephemeral.go   messages that are not kept
//	page.go        Page and Ack
//	attach.go      Attach and Detach
//	groups.go      groups
//	events.go      reading events
//	unacked.go     users who have not acked in time
//	recipients.go  to whom messages went
//	recall.go      recalling messages
//	delivered.go   recording deliveries
//	receipt.go     receipts
//	partition.go   what a node knows of a partition
//	session.go     a node's time in a partition: lease, beats
//	probe.go       pushes of a node to itself
//	follow.go      Follow, and reading what to deliver
//	shared.go      Client
//	metrics.go     pushd_history_*
package redis
