// Package nodes makes one directory of the connections of several nodes.
//
// Each node knows only its own connections ([conn.Server]). A request goes to all
// nodes at once, by Redis' sharded pub/sub, and the node that sent it adds up the
// replies:
//
//	node a                           Redis                      nodes a, b, c
//	request ── SPUBLISH {…}ask ────▶ 3 receivers ─────────────▶ read their own
//	add up ◀──────────────────────── {…}answer:a ◀── SPUBLISH ─ connections
//
// SPUBLISH returns the number of receivers, which is the number of replies to wait
// for. If one of them is missing when the time is up, the call fails: an incomplete
// result would look like a complete one. Nothing is stored, so nothing needs to be
// cleaned up after a node that died, and an idle cluster costs nothing.
//
// A node that is reconnecting to Redis does not receive the request. Until it is
// back, its connections are missing in results, and a refusal (Departure.Refuse)
// does not reach it.
//
// Both channels have the same hash tag and so the same slot: in a Cluster they are
// on one shard (sharded pub/sub needs Redis 7.0).
package nodes
