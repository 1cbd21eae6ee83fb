// Package history keeps what was said to whom.
//
// Two logs make up a user's history. The inbox is the user's own: unicasts
// inline, multicasts as references to a body stored once. The broadcast log is
// everybody's: a broadcast is one write, however many users there are. A page
// of history is the two merged by id when it is read.
//
//	Append ──▶ one committer gives ids, writes, syncs ──▶ visible ──▶ Follow ──▶ connections
//	                                                         │
//	                            Attach, Page, Ack ◀──────────┘
//
// Ids are given inside the operation that makes an entry visible, so id order
// is the order in which entries become visible: a reader that has seen an id
// has seen everything before it in that log.
//
// Four contracts stand beside each other: [Store] for messages, [Groups] for the
// members of groups, [Messages] for what became of a message after it was sent,
// and Events in package watch for what happened to users. Three engines implement
// all four: memory (naive, the oracle that tests compare with), embedded (Pebble,
// one machine) and redis (several nodes). The suite in historytest holds each
// engine to all contracts; package engine is what engines share.
package history
