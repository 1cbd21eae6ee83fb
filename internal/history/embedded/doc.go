// Package embedded is the engine of history.Store for one machine: a Pebble
// database in one directory, no server beside it.
//
// # How an append becomes visible
//
//	callers ──▶ queue ──▶ committer: ids, one batch ──▶ log, sync ──▶ publish ──▶ answers
//	                                                                    │  heads, deliveries
//	                           Attach, Page ◀── snapshot up to the heads ┘
//
// One goroutine, the committer, writes. It takes what is queued as a group,
// gives ids in order, writes one batch, and only when that is durable moves
// the heads, hands the group to the follower and answers. So id order is the
// order of visibility, live is equal to history, and one sync serves all who
// wait. Readers take the heads, then a snapshot, and cut off what lies past
// the heads.
//
// # Crashes
//
// A batch is in Pebble's log as a whole or not at all. If the process dies
//
//   - before the log is written: Open finds nothing of the group; its callers
//     were not answered.
//   - after that and before the callers are answered: Open finds all of the
//     group; retries with the same key find their ids.
//   - during a trim or maintenance: Open finds either state; what was removed
//     was not shown any more.
//
// The last id is written with each group, so ids continue to rise after Open.
//
// # Faults
//
// The first write that fails makes the store read-only: see [fault] for how, and
// why it is done below Pebble. Reads go on. When the disk takes writes again, the
// store closes the database and opens it again, in the same process: see heal.go.
// A file that cannot be made for want of a descriptor is waited for.
//
// # Goroutines
//
//   - the committer: started by Open, ends with Close when no call runs any
//     more and the queue is empty.
//   - the healer and trimAged: started by Open, end with Close.
//   - syncEvery, with SyncInterval: started by Open, ends with Close.
//   - one for each change of a group, each RecordDelivered and each sweep for
//     unacked pushes: started by the call, ends with the committer's last answer, which Close
//     waits for.
//   - Pebble's own (log writer, flushes, compactions): end with its Close.
//
// # Files
//
//	config.go       Config, and what Pebble is told
//	open.go         Open, Close, Store and its locks
//	keys.go         the key space
//	entry.go        one line of an inbox, as bytes
//	meta.go         what is known of a user, as bytes
//	append.go       requests: Append and Ack until the committer has them
//	commit.go       the committer: groups, batches, what Open loads
//	prepare.go      what a large multicast reads before its turn
//	build.go        what a request puts into a batch
//	collapse.go     a message replaces the last one with its collapse key
//	members.go      the metas that the committer has at hand
//	recipients.go   the recipients of messages
//	recall.go       taking messages back
//	acks.go         acks with their times, for receipts
//	delivered.go    which ranges of inboxes were delivered
//	receipt.go      receipts: who got it, who has acked
//	idempotency.go  keys that make retries harmless
//	publish.go      becoming visible; Follow
//	presence.go     who is attached
//	broadcasts.go   the index of the broadcast log
//	attach.go       Attach and Detach
//	changes.go      what callers build and the committer only stores
//	groups.go       who is in which group
//	events.go       what happened, for those who watch
//	unacked.go      pushes that were not acked in time
//	view.go         one user's history at one moment; unread
//	page.go         pages: the two logs merged
//	aged.go         trimming the inboxes of users who get nothing more
//	retention.go    what is deleted from the disk, and when
//	fault.go        what happens when a write fails
//	faultfs.go      the file system that notices
//	heal.go         opening again after a fault
//	logger.go       Pebble's logger and events
//	metrics.go      pushd_history_*
package embedded
