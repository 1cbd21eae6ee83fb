// Package receipts gathers what connections were sent, so that the store can
// tell later to whom a message was delivered.
//
// Delivered means that the kernel has taken the frame for a socket of the user.
// Nothing is written down for a single delivery: a reader ([feed.Reader]) knows
// from where on it was sent everything, and once a second, if the kernel has
// taken all of that, it becomes one range of the inbox, however many messages
// lie in it, and one more connection for each broadcast.
//
//	shard: Ledger ──Collect──┐
//	shard: Ledger ──Collect──┼──▶ Reporter ──RecordDelivered──▶ store
//	subscriptions ───Add─────┘    once a second
//
// A Ledger belongs to the loop of its shard. The Reporter has a goroutine of its
// own; the store is never called on a loop.
package receipts
