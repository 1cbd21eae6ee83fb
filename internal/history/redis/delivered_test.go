package redis_test

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
	"pushd.example/internal/history/historytest"
	"pushd.example/internal/history/redis"
)

// TestDeliveredRangesAreThoseOfTheEngine records random ranges, more than are kept,
// and compares them with those of package engine: among few entries, where ranges
// mostly touch, and among many, where they mostly do not.
func TestDeliveredRangesAreThoseOfTheEngine(t *testing.T) {
	for _, entries := range []int{24, 40 * engine.MaxRanges} {
		t.Run(fmt.Sprint("entries=", entries), func(t *testing.T) { deliveredRangesAreThoseOfTheEngine(t, entries) })
	}
}

func deliveredRangesAreThoseOfTheEngine(t *testing.T, entries int) {
	c := redis.Config{URL: shared.URL(), Node: "n", Prefix: rand.Text() + ":", Retention: history.Retention{InboxCount: entries}}
	s := openStore(t, c)
	var sent []history.ID
	for range entries {
		sent = append(sent, appended(t, s, history.Push{Kind: history.Unicast, Users: []string{"ann"}}))
	}
	seed := mathrand.Uint64()
	random := mathrand.New(mathrand.NewPCG(seed, 0))
	var ranges engine.DeliveredRanges
	at, longest := history.Epoch, 0
	for step := range 300 {
		at = at.Add(time.Second)
		from := random.IntN(len(sent))
		added := history.Range{From: sent[from] - history.ID(random.IntN(2)), At: at}
		added.To = sent[min(from+random.IntN(3), len(sent)-1)]
		ranges = ranges.Add(added)
		longest = max(longest, len(ranges))
		record(t, s, history.UserRange{User: "ann", Range: added})
		for _, id := range []history.ID{added.To, sent[random.IntN(len(sent))]} {
			u := receiptOf(t, s, id).Users[0]
			if at, ok := ranges.Find(id); u.Delivered != ok || !u.DeliveredAt.Equal(at) {
				t.Fatalf("seed %d, step %d: %d delivered: %v, at %v, want %v, %v", seed, step, id, u.Delivered, u.DeliveredAt, ok, at)
			}
		}
		if n := rangesOf(t, s, c, "ann"); n != len(ranges) {
			t.Fatalf("seed %d, step %d: %d ranges, want %d", seed, step, n, len(ranges))
		}
	}
	if many := entries > engine.MaxRanges; many != (longest == engine.MaxRanges) {
		t.Errorf("seed %d: there were up to %d ranges", seed, longest)
	}
}

// rangesOf returns how many delivered ranges are kept of a user.
func rangesOf(t *testing.T, s *redis.Store, c redis.Config, user string) int {
	t.Helper()
	ranges, _ := do(t, shared, "GET", c.Prefix+"{"+redis.Tag(s)+"}d:"+user).(string)
	return max(0, len(ranges)-7) / 20
}

// TestDeliveredRangesExpire: Redis drops delivered ranges when all entries in them are too old.
func TestDeliveredRangesExpire(t *testing.T) {
	c := redis.Config{URL: shared.URL(), Node: "n", Prefix: rand.Text() + ":", Retention: history.Retention{InboxAge: time.Hour}}
	s := openStore(t, c)
	for i := range history.ID(2 * engine.MergeBeyond) {
		record(t, s, history.UserRange{User: "ann", Range: history.Range{From: i, To: i + 1}})
	}
	left := do(t, shared, "PTTL", c.Prefix+"{"+redis.Tag(s)+"}d:ann").(int64)
	if most := time.Hour.Milliseconds(); left <= most-time.Minute.Milliseconds() || left > most {
		t.Errorf("the ranges are dropped after %d ms, want %d", left, most)
	}
}

// TestReceiptOfOvertakenIDs: where an inbox has a multicast under an id of its
// own, a delivered range that holds that id counts.
func TestReceiptOfOvertakenIDs(t *testing.T) {
	s, m := overtaken(t, historytest.NewClock().Now, history.Push{})
	for user, own := range m.own {
		if own != m.id {
			record(t, s, history.UserRange{User: user, Range: history.Range{From: own - 1, To: own, At: time.Now()}})
		}
	}
	o := receiptOf(t, s, m.id)
	if len(o.Users) != len(m.own) || o.Delivered != m.withOwnID() {
		t.Errorf("delivered to %d of %d, want %d of %d", o.Delivered, len(o.Users), m.withOwnID(), len(m.own))
	}
	for _, u := range o.Users {
		if want := m.own[u.User] != m.id; u.Delivered != want {
			t.Errorf("delivered to %s: %v, want %v", u.User, u.Delivered, want)
		}
	}
}

// multi is a multicast that some inboxes have under ids of their own.
type multi struct {
	id  history.ID
	own map[string]history.ID // by user
}

func (m multi) withOwnID() (n int) {
	for _, id := range m.own {
		if id != m.id {
			n++
		}
	}
	return n
}

// overtaken appends a multicast with what p has besides, and returns a store.
func overtaken(t *testing.T, now func() time.Time, p history.Push) (*redis.Store, multi) {
	t.Helper()
	conf := redis.Config{URL: shared.URL(), Node: "n", Prefix: rand.Text() + ":", Partitions: 16, Now: now}
	// This node does not see what the other one appends: its ids lie behind.
	s, other := openStore(t, conf), openStore(t, conf)
	p.Kind, p.Users, p.Data = history.Multicast, []string{"ann"}, body200
	for i := range 20 {
		user := fmt.Sprint("user", i)
		p.Users = append(p.Users, user)
		appended(t, other, history.Push{Kind: history.Unicast, Users: []string{user}})
	}
	m := multi{id: appended(t, s, p), own: map[string]history.ID{}}
	for _, user := range p.Users {
		page, err := s.Page(t.Context(), user, history.Query{Limit: 1})
		if err != nil || len(page.Messages) != 1 {
			t.Fatalf("newest of %s: %+v, %v", user, page, err)
		}
		m.own[user] = page.Messages[0].ID
	}
	if m.withOwnID() == 0 {
		t.Fatal("no inbox has an id of its own")
	}
	return s, m
}

func appended(t testing.TB, s *redis.Store, p history.Push) history.ID {
	t.Helper()
	r, err := s.Append(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	return r.ID
}

func record(t testing.TB, s *redis.Store, ranges ...history.UserRange) {
	t.Helper()
	if err := s.RecordDelivered(context.Background(), history.Deliveries{Inboxes: ranges}); err != nil {
		t.Fatal(err)
	}
}

func receiptOf(t testing.TB, s *redis.Store, id history.ID) history.Receipt {
	t.Helper()
	o, err := s.Receipt(context.Background(), id, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestBroadcastCountsAreDropped: counts of deliveries are dropped with their broadcasts.
func TestBroadcastCountsAreDropped(t *testing.T) {
	c := redis.Config{URL: shared.URL(), Node: "n", Prefix: rand.Text() + ":"}
	s := openStore(t, c)
	key := c.Prefix + "{" + redis.Tag(s) + "}H"
	for id := range 100 {
		do(t, shared, "HSET", key, id+1, 1)
	}
	if err := s.RecordDelivered(t.Context(), history.Deliveries{Broadcasts: map[history.ID]int{1: 1}}); err != nil {
		t.Fatal(err)
	}
	if n := do(t, shared, "HLEN", key); n != int64(0) {
		t.Errorf("%d counts, want none", n)
	}
}
