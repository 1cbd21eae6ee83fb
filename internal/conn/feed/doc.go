// Package feed decides what a reader of a user's history gets next. It is the
// one place that knows: WebSocket sessions and gRPC subscriptions both ask it.
//
// A reader stands at a position in each of the two logs. It is offered what is
// appended, and answers whether that is to be sent, was sent already, or shows
// that something is missing, which is then read as pages:
//
//	                 Page, with more to come
//	                         ┌──────┐
//	                         ▼      │   Next, nothing left
//	attaching ──Begin──▶ replaying ─────────────────▶ live
//	                         ▲                          │
//	                         └── Fetch (a hole, or      ┘
//	                             a resync), FallBehind
//
// Beside that a reader remembers what it was sent and nobody has reported yet,
// for receipts: everything between one position and another, a [Run]. A run ends when
// the reader passes over something, and the reader's owner keeps it.
//
// Nothing here reads a clock, a store or a socket, or takes a lock. An owner
// calls a reader from one goroutine at a time.
package feed
