// Package nodes makes the connections of several nodes one directory.
//
// Each node knows its own connections ([conn.Server]) and nobody else's. A
// question goes to all nodes at once, by Redis' sharded pub/sub, and whoever
// asked adds up the answers:
//
//	node a                       Redis                       nodes a, b, c
//	ask ── SPUBLISH {…}ask ────▶ 3 receivers ──────────────▶ look at their own
//	add up ◀──────────────────── {…}answer:a ◀── SPUBLISH ── connections
//
// The number of receivers, which SPUBLISH returns, says how many answers to
// wait for. If one is missing when the time is up the call fails: half of an
// answer would look like a whole one. Nothing is stored, so nothing has to be
// cleaned up after a node that died, and an idle cluster costs nothing.
//
// A node that is just reconnecting to Redis does not receive the question, so
// for that moment its connections are not in the answers, and a refusal
// (Departure.Refuse) does not reach it.
//
// Both channels have one hash tag and so one slot: in a Cluster they live on
// one shard (sharded pub/sub needs Redis 7.0).
package nodes
