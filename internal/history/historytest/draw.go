package historytest

import (
	"time"

	"pgregory.net/rapid"

	"pushd.example/internal/history"
)

// drawRetention draws counts and ages that a short run reaches; 0 is a default.
func drawRetention(rt *rapid.T) history.Retention {
	age := rapid.SampledFrom([]time.Duration{0, 2 * time.Second, time.Minute})
	return history.Retention{
		InboxCount:      rapid.IntRange(0, 5).Draw(rt, "inbox count"),
		InboxAge:        age.Draw(rt, "inbox age"),
		BroadcastCount:  rapid.IntRange(0, 5).Draw(rt, "broadcast count"),
		BroadcastAge:    age.Draw(rt, "broadcast age"),
		IdempotencyKeys: age.Draw(rt, "keys"),
	}
}

func drawUser(rt *rapid.T) string {
	return rapid.SampledFrom(append(addressees, newcomer)).Draw(rt, "user")
}

func drawUnicast(rt *rapid.T) history.Push {
	return history.Push{Kind: history.Unicast, Users: []string{rapid.SampledFrom(addressees).Draw(rt, "to")}}
}

// drawMulticast may name a user twice.
func drawMulticast(rt *rapid.T) history.Push {
	users := rapid.SliceOfN(rapid.SampledFrom(addressees), 1, 4).Draw(rt, "to")
	return history.Push{Kind: history.Multicast, Users: users}
}

// drawSize draws sizes on both sides of what an engine may hold inline.
func drawSize(rt *rapid.T) int {
	return rapid.SampledFrom([]int{0, 1, 8, 31, 32, 33, 40, 300}).Draw(rt, "size")
}

func drawMaxBytes(rt *rapid.T) int {
	return rapid.SampledFrom([]int{0, 0, 1, 33, 70, 400}).Draw(rt, "max bytes")
}

func drawTTL(rt *rapid.T) time.Duration {
	return rapid.SampledFrom([]time.Duration{
		0, 0, 0, time.Nanosecond, time.Millisecond, 1500 * time.Microsecond, time.Second, time.Hour,
	}).Draw(rt, "ttl")
}

// drawUnackedAfter draws one that p, with its TTL, may have.
func drawUnackedAfter(rt *rapid.T, p history.Push) time.Duration {
	after := rapid.SampledFrom([]time.Duration{0, 0, 0, time.Second, 1500500 * time.Microsecond, time.Minute}).Draw(rt, "unacked after")
	if p.Kind == history.Broadcast || p.TTL != 0 && p.TTL <= after {
		return 0
	}
	return after
}

// drawPause draws steps that meet the ends of TTLs, ages and keys exactly, and
// some that leap over all of them.
func drawPause(rt *rapid.T) time.Duration {
	return rapid.SampledFrom([]time.Duration{
		300 * time.Microsecond, time.Millisecond, time.Millisecond, 500 * time.Millisecond, 999 * time.Millisecond,
		time.Second, 2 * time.Second, 59 * time.Second, time.Minute, time.Hour, 31 * 24 * time.Hour,
	}).Draw(rt, "pause")
}

// drawID draws an id that was given, its neighbour, or one that never was.
func (m *machine) drawID(rt *rapid.T) history.ID {
	known := append([]history.ID{1, history.MaxID}, m.ids...)
	id := rapid.SampledFrom(known).Draw(rt, "id")
	return id + history.ID(rapid.IntRange(0, 2).Draw(rt, "beside")) - 1
}

// drawCursor draws a cursor that was given, two halves of such, one made of any
// ids, or one from the future: near enough for a store that lost its tail, or
// not.
func (m *machine) drawCursor(rt *rapid.T) history.Cursor {
	given := rapid.SampledFrom(append([]history.Cursor{{}}, m.cursors...))
	c := given.Draw(rt, "cursor")
	switch rapid.IntRange(0, 7).Draw(rt, "made of") {
	case 0, 1:
		c.Broadcast = given.Draw(rt, "other cursor").Broadcast
	case 2, 3:
		c = history.Cursor{Inbox: m.drawID(rt), Broadcast: m.drawID(rt)}
	case 4:
		c.Inbox = history.FirstIDAt(m.clock.Now().Add(time.Minute))
	case 5:
		c.Broadcast = history.FirstIDAt(m.clock.Now().Add(time.Minute)) + 1
	}
	return c
}
