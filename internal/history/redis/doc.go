// Package redis is the engine of history.Store for several nodes: the data lie
// in one Redis (or Valkey) of version 7.0 or later, standalone, watched by
// Sentinels or a Cluster, which all nodes share.
//
// # One round trip
//
// Every operation is one Lua script, of which lua/*.lua hold the text: Redis
// runs it as one step, so that ids rise in the order in which entries become
// visible. Only a multicast to many users (chunks) and, in a Cluster, whatever
// touches several partitions is more.
//
//	caller ──▶ lane ──▶ pipeline ──▶ script: id, inbox, streams of nodes ──▶ answer
//	                                                      │
//	       connections ◀── follower ◀── tail (XREAD) ◀────┘   on every node
//
// # Keys
//
// The users are cut into partitions, each in one slot of a Cluster; one
// partition is enough elsewhere. keys.go lists the keys, all of which scripts
// are told beforehand. An inbox is a LIST of entries, 8 bytes and the data each,
// or 8 bytes alone that refer to a multicast's body. A broadcast is one entry of
// the partition's broadcast log, whatever the number of users. A list keeps one
// entry more than retention shows: it tells what was dropped and where the log
// ended, so that a user needs no other key.
//
// # Ids
//
// A partition gives the ids congruent to its number, so that no two give the
// same one. All calls carry the highest id that the node has seen there (the
// floor): a new master with a slow clock that lost its tail gives none again. A
// multicast has the id that the partition of its first user gave; if an inbox of
// another partition, or of a later chunk, has a later id by then, it gets an id
// of its own there, since ids must rise within each inbox.
//
// # Broadcasts
//
// The first partition gives the id; the others keep copies, so that a page finds
// both logs of its user in one place. The push is answered when all copies have
// it. A copy takes only what follows on its end, so relays of several nodes may
// overtake each other; what a node that died left undone the others fill in at
// their next beat. A node hands a broadcast to its connections when it has read
// it from all copies.
//
// # Ephemeral messages
//
// They are looked up like others, and written to the streams of the nodes alone:
// a broadcast once for each node, into its stream of the first partition. A call
// that Redis may have got is not sent again.
//
// # Presence and sessions
//
// In each partition a node has a number, a lease, and a stream of what it must
// deliver, into which the appending script writes if the user is connected
// there. Numbers are never used twice: when there may be holes in what a node
// was told (Redis was away, was started again, another server is master, the
// stream was trimmed too early, the lease ended, the node's own probes do not
// come back), it ends the session, takes a new number, registers its connections
// under it, and has all of them read on from where they are (Delivery.Resync).
// Numbers of the dead are struck out by whoever meets them; those who were
// connected to nothing else are found by going through the presence of all, a
// piece with each beat.
//
// The appending script has to be told the streams of all nodes that live; it
// does nothing if it meets one that it was not told, and is called again. That
// is fine up to some 32 nodes.
//
// # Events
//
// Each partition has a stream of what happened to its users, which the scripts
// write that make it happen: so an event is there if and only if it happened,
// and a user's are in order. Readers ask all partitions, some times a second;
// their asking is what has events recorded at all, and what finds out that
// somebody has been gone for long enough, and who has not acked in time: a push
// that asks for it puts its notes of recipients among what is due, whoever comes to
// the end of a stream and has room left is told of some that are, and one script
// takes such a note out and looks through the inboxes that it names.
//
// # Receipts
//
// What became of a message is arithmetic on what is kept of each recipient: the
// read mark, which lies in the meta HASH, and two STRINGs, the trail of what was
// delivered and the last moves of the read mark. None grows with what is sent.
// Redis drops a trail that nothing was added to for as long as inboxes show
// entries: all that lies in it is gone by then.
//
// # Faults
//
// A pipeline whose connection broke is sent again: each append has a key, which
// the engine makes if the caller gave none, attaching sets an absolute number,
// and the rest may be done twice. When Redis cannot be reached or does not
// answer within Config.Timeout, calls that it may have got, in whichever try,
// fail with ErrUnknown, what waits and what comes fails at once with
// ErrUnavailable, until the keeper has joined again.
//
// # Goroutines
//
// Per partition: the keeper (session.go), a worker for writes and two for reads
// (lane.go), and the tail (follow.go), which runs as long as the session. All
// are started by Open or the keeper and end with Close.
//
// # Files
//
//	config.go     Config
//	url.go        where Redis is
//	client.go     clients of go-redis, and what they must not do by themselves
//	open.go       Open, what it refuses, Ready, Close
//	keys.go       the key space
//	scripts.go    the scripts, and getting them into Redis
//	errors.go     what became of a command that failed
//	lane.go       pipelines
//	entry.go      entries as bytes
//	append.go     unicasts and multicasts
//	broadcast.go  broadcasts and their copies
//	ephemeral.go  what is not kept
//	page.go       Page and Ack
//	attach.go     Attach and Detach
//	groups.go     groups
//	events.go     what happened, for those who watch
//	unacked.go    who has not acked in time
//	sent.go       to whom messages went
//	recall.go     taking messages back
//	delivered.go  keeping what was delivered
//	outcome.go    receipts: who has got it and who has acked
//	partition.go  what a node knows of a partition
//	session.go    a node's time in a partition: lease, beats
//	probe.go      pushes of a node to itself
//	follow.go     Follow, and reading what to deliver
//	metrics.go    pushd_history_*
package redis
