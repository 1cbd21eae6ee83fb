package redis_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/historytest"
	"pushd.example/internal/history/redis"
	"pushd.example/internal/history/watch"
)

// unackedBy reads until there is nothing more, and counts by user how often it
// came that the message was not acked.
func unackedBy(t *testing.T, s *redis.Store, at *watch.Position, id history.ID) map[string]int {
	t.Helper()
	got := map[string]int{}
	for {
		p, err := s.ReadEvents(t.Context(), watch.Query{Kinds: watch.Unacked, After: *at, Limit: 100})
		if err != nil || p.Lost {
			t.Errorf("reading events: lost: %v, %v", p.Lost, err)
			return got
		}
		*at = p.Next
		if len(p.Events) == 0 {
			return got
		}
		for _, e := range p.Events {
			if e.Kind != watch.Unacked || e.ID != id {
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
			positions := make([]watch.Position, 2*len(stores))
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
		var at watch.Position
		unackedBy(t, s, &at, m.id)
		var acked, want []string
		for user, own := range m.own {
			if len(want) <= len(acked) {
				want = append(want, user)
				continue
			}
			acked = append(acked, user)
			if _, err := s.Ack(t.Context(), user, history.Cursor{Inbox: own}, ""); err != nil {
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

// TestUnackedGoesByItself: Redis drops what is due with the last message that it
// may be about, and what is too old goes in pieces.
func TestUnackedGoesByItself(t *testing.T) {
	c := redis.Config{URL: shared.URL(), Node: "n", Prefix: rand.Text() + ":", Retention: history.Retention{InboxAge: time.Hour}}
	s := openStore(t, c)
	p := history.Push{Kind: history.Unicast, Users: []string{"ann"}, UnackedAfter: time.Minute}
	appended(t, s, p)
	key := c.Prefix + "{" + redis.Tag(s) + "}U"
	left := do(t, shared, "PTTL", key).(int64)
	if most := time.Hour.Milliseconds(); left <= most-time.Minute.Milliseconds() || left > most {
		t.Errorf("what is due goes after %d ms, want %d", left, most)
	}
	add := []any{"ZADD", key}
	for i := range 250 {
		add = append(add, 1, fmt.Sprint("1-", i))
	}
	do(t, shared, add...)
	for _, want := range []int64{152, 53, 4} {
		appended(t, s, p)
		if n := do(t, shared, "ZCARD", key); n != want {
			t.Errorf("%d due, want %d", n, want)
		}
	}
}

// TestUnackedAmongOthers: a reader who always gets events of other kinds still gets
// those of users who have not acked, after the others.
func TestUnackedAmongOthers(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		for _, kinds := range []watch.Kind{watch.Unacked, watch.Unacked | watch.Delivered} {
			t.Run(fmt.Sprintf("partitions=%d/%v", partitions, kinds), func(t *testing.T) { unackedAmongOthers(t, partitions, kinds) })
		}
	}
}

func unackedAmongOthers(t *testing.T, partitions int, kinds watch.Kind) {
	clock := historytest.NewClock()
	s := openStore(t, redis.Config{URL: shared.URL(), Node: "n", Prefix: rand.Text() + ":", Partitions: partitions, Now: clock.Now})
	read := func(q watch.Query) watch.Page {
		p, err := s.ReadEvents(t.Context(), q)
		if err != nil || p.Lost {
			t.Fatalf("reading events: lost: %v, %v", p.Lost, err)
		}
		return p
	}
	read(watch.Query{Kinds: watch.AllKinds, Limit: 1}) // has deliveries recorded
	at := read(watch.Query{Kinds: kinds, Limit: 1}).Next
	id := appended(t, s, history.Push{Kind: history.Unicast, Users: []string{"ann"}, UnackedAfter: time.Second})
	clock.Advance(time.Second)
	var got, want []string
	deliver := func() {
		user := fmt.Sprint("user", len(want))
		id := appended(t, s, history.Push{Kind: history.Unicast, Users: []string{user}})
		record(t, s, history.UserRange{User: user, Range: history.Range{From: id - 1, To: id}})
		want = append(want, fmt.Sprint("delivered ", user, " ", id))
	}
	for range 20 {
		deliver()
	}
	for range 20 {
		deliver()
		p := read(watch.Query{Kinds: kinds, After: at, Limit: 16})
		at = p.Next
		for _, e := range p.Events {
			got = append(got, fmt.Sprint(e.Kind, " ", e.User, " ", e.ID))
		}
	}
	unacked := fmt.Sprint("unacked ann ", id)
	where := slices.Index(got, unacked)
	if where < 0 || slices.Contains(got[where+1:], unacked) {
		t.Fatalf("read %q, want %s once", got, unacked)
	}
	if kinds.Has(watch.Delivered) && partitions == 1 && where < 20 {
		t.Errorf("it came after %d others, want those that were there before it", where)
	}
	if got = slices.Delete(got, where, where+1); !kinds.Has(watch.Delivered) {
		want = nil
	}
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("others %q, want %q", got, want)
	}
}

// TestUnackedOfDamagedLists: what Redis has lost or mangled is said and left out.
func TestUnackedOfDamagedLists(t *testing.T) {
	clock := historytest.NewClock()
	var said bytes.Buffer
	c := redis.Config{
		URL: shared.URL(), Node: "n", Prefix: rand.Text() + ":", Now: clock.Now,
		Log: slog.New(slog.NewTextHandler(&said, nil)),
	}
	s := openStore(t, c)
	var at watch.Position
	unackedBy(t, s, &at, 0)
	id := appended(t, s, history.Push{Kind: history.Unicast, Users: []string{"ann"}, UnackedAfter: time.Second})
	pre := c.Prefix + "{" + redis.Tag(s) + "}"
	for i, fields := range [][]any{{"u", "\x01\x05\x01a"}, {"x", "y"}, {"u", "\x01\x00\x01a", "o", "z"}} {
		place := fmt.Sprintf("%d-0", id+1+history.ID(i))
		do(t, shared, append([]any{"XADD", pre + "R", place}, fields...)...)
		do(t, shared, "ZADD", pre+"U", 1, place)
	}
	do(t, shared, "ZADD", pre+"U", 1, "1-1", 1, "no list")
	clock.Advance(time.Second)
	wantOnce(t, unackedBy(t, s, &at, id), []string{"ann"})
	if n := do(t, shared, "ZCARD", pre+"U"); n != int64(0) {
		t.Errorf("%d stay due, want none", n)
	}
	s.Close()
	if n := strings.Count(said.String(), "reading the recipients of a message to check who has not acked it"); n != 3 {
		t.Errorf("it was said %d times, want 3: %s", n, said.String())
	}
}
