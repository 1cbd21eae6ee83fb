// Package fanout brings what the store appends to the shards: each message's
// frame is built once, and each shard gets it once, however many connections it
// goes to.
//
//	Store.Follow ──▶ Fanout ──▶ Queue ──▶ shard's loop ──▶ sessions
//	 one goroutine              one a shard
//
// A Queue is bounded. When one is full the Fanout waits, and with it the appends
// that would fill it further: a slow node slows its publishers down.
package fanout
