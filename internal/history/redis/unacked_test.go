package redis_test

import (
	"crypto/rand"
	"fmt"
	"sync"
	"testing"
	"time"

	"pushd/internal/history"
	"pushd/internal/history/historytest"
	"pushd/internal/history/redis"
)

// unackedBy reads until there is nothing more, and counts by user how often it
// came that the message was not acked.
func unackedBy(t *testing.T, s *redis.Store, at *history.Position, id history.ID) map[string]int {
	t.Helper()
	got := map[string]int{}
	for {
		p, err := s.ReadEvents(t.Context(), history.EventQuery{Kinds: history.Unacked, After: *at, Limit: 100})
		if err != nil || p.Lost {
			t.Errorf("reading events: lost: %v, %v", p.Lost, err)
			return got
		}
		*at = p.Next
		if len(p.Events) == 0 {
			return got
		}
		for _, e := range p.Events {
			if e.Kind != history.Unacked || e.ID != id {
				t.Errorf("event %+v, want one of message %d", e, id)
			}
			got[e.User]++
		}
	}
}

// wantOnce checks that each of users came once, and nobody else.
func wantOnce(t *testing.T, got map[string]int, users []string) {
	t.Helper()
	for _, user := range users {
		if got[user] != 1 {
			t.Errorf("%s came %d times", user, got[user])
		}
	}
	if len(got) != len(users) {
		t.Errorf("%d users came, want %d", len(got), len(users))
	}
}

// TestUnackedByNodesAtOnce: whichever node finds it out, it comes once, to the
// readers of all nodes.
func TestUnackedByNodesAtOnce(t *testing.T) {
	for _, partitions := range []int{1, 16} {
		t.Run(fmt.Sprint("partitions=", partitions), func(t *testing.T) {
			clock := historytest.NewClock()
			c := redis.Config{URL: shared.URL(), Node: "n", Prefix: rand.Text() + ":", Partitions: partitions, Now: clock.Now}
			stores := []*redis.Store{openStore(t, c), openStore(t, c)}
			positions := make([]history.Position, 2*len(stores))
			for i := range positions {
				unackedBy(t, stores[i%len(stores)], &positions[i], 0)
			}
			p := history.Push{Kind: history.Multicast, UnackedAfter: time.Minute}
			for i := range 2000 {
				p.Users = append(p.Users, fmt.Sprint("user", i))
			}
			id := appended(t, stores[0], p)
			clock.Advance(time.Minute)
			var running sync.WaitGroup
			for i := range positions {
				running.Go(func() { wantOnce(t, unackedBy(t, stores[i%len(stores)], &positions[i], id), p.Users) })
			}
			running.Wait()
			for i := range positions {
				wantOnce(t, unackedBy(t, stores[i%len(stores)], &positions[i], id), nil)
			}
		})
	}
}

// TestUnackedOfOvertakenIDs: also who has a message under an id of its own comes
// once, and with the id that Append returned.
func TestUnackedOfOvertakenIDs(t *testing.T) {
	for _, recalled := range []bool{false, true} {
		clock := historytest.NewClock()
		s, m := overtaken(t, clock.Now, history.Push{UnackedAfter: time.Second})
		var at history.Position
		unackedBy(t, s, &at, m.id)
		var acked, want []string
		for user, own := range m.own {
			if len(want) <= len(acked) {
				want = append(want, user)
				continue
			}
			acked = append(acked, user)
			if _, err := s.Ack(t.Context(), user, history.Cursor{Inbox: own}); err != nil {
				t.Fatal(err)
			}
		}
		if recalled {
			want = nil
			if err := s.Recall(t.Context(), m.id); err != nil {
				t.Fatal(err)
			}
		}
		clock.Advance(time.Second)
		wantOnce(t, unackedBy(t, s, &at, m.id), want)
	}
}

// TestUnackedGoes: what nobody asked for until the messages were gone is
// forgotten with the next that asks, and costs who does not ask nothing.
func TestUnackedGoes(t *testing.T) {
	clock := historytest.NewClock()
	c := redis.Config{URL: shared.URL(), Node: "n", Prefix: rand.Text() + ":", Now: clock.Now, Retention: history.Retention{InboxAge: time.Hour}}
	s := openStore(t, c)
	due := func() int64 { return do(t, shared, "ZCARD", c.Prefix+"{"+redis.Tag(s)+"}U").(int64) }
	p := history.Push{Kind: history.Unicast, Users: []string{"ann"}}
	appended(t, s, p)
	if n := due(); n != 0 {
		t.Errorf("%d due, want none: nobody asked", n)
	}
	p.UnackedAfter = time.Minute
	for range 10 {
		appended(t, s, p)
	}
	clock.Advance(time.Hour + 2*time.Minute)
	appended(t, s, p)
	if n := due(); n != 1 {
		t.Errorf("%d due, want the last", n)
	}
}
