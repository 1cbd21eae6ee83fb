package redis_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/redis"
)

// TestRecallOfOvertakenIDs: where an inbox has a multicast under an id of its
// own, it is recalled with the others, by either id, and its user gets that
// one.
func TestRecallOfOvertakenIDs(t *testing.T) {
	now := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	conf := redis.Config{
		URL: shared.URL(), Node: "recall", Prefix: rand.Text() + ":", Partitions: 16,
		Now: func() time.Time { return now },
	}
	// This node does not see what the other one appends: its ids lie behind.
	s, other := openStore(t, conf), openStore(t, conf)
	ctx := context.Background()
	users := []string{"ann"}
	for i := range 20 {
		users = append(users, fmt.Sprint("user", i))
	}
	push := func(by *redis.Store, p history.Push) history.ID {
		t.Helper()
		r, err := by.Append(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	recalls := map[string]history.ID{}
	defer other.Follow(func(batch []history.Delivery) {
		for _, d := range batch {
			for _, to := range d.Recipients {
				if d.Recall {
					recalls[to.User] = d.Message.ID
				}
			}
		}
	})()
	for _, user := range users {
		if _, err := other.Attach(ctx, user, history.Start{}); err != nil {
			t.Fatal(err)
		}
	}
	for byOwn := range 2 {
		for _, user := range users[1:] { // their partitions are ahead of ann's
			push(other, history.Push{Kind: history.Unicast, Users: []string{user}, Data: []byte("1")})
		}
		id := push(s, history.Push{Kind: history.Multicast, Users: users, Data: []byte("a body that is kept apart, being longer than 32 bytes")})
		ids, own := map[string]history.ID{}, 0
		for _, user := range users {
			p, err := s.Page(ctx, user, history.Query{Limit: 1})
			if err != nil || len(p.Messages) != 1 || p.Messages[0].Kind != history.Multicast {
				t.Fatalf("newest of %s: %+v, %v", user, p, err)
			}
			ids[user] = p.Messages[0].ID
			if ids[user] != id {
				own++
			}
		}
		if own == 0 {
			t.Fatal("no inbox has an id of its own")
		}
		by := id
		if byOwn == 1 {
			by = ids[users[1]]
		}
		if kind, err := s.KindOf(ctx, by); kind != history.Multicast || err != nil {
			t.Errorf("kind of %d: %v, %v", by, kind, err)
		}
		clear(recalls)
		if err := s.Recall(ctx, by); err != nil {
			t.Fatalf("recalling %d as %d: %v", id, by, err)
		}
		if err := redis.Settle(ctx, other); err != nil {
			t.Fatal(err)
		}
		for _, user := range users {
			p, err := s.Page(ctx, user, history.Query{Limit: 100})
			want := byOwn + 1
			if user == users[0] {
				want = 0
			}
			if err != nil || len(p.Messages) != want || p.Unread != want {
				t.Errorf("%s has %d messages and %d unread, %v, want %d", user, len(p.Messages), p.Unread, err, want)
			}
			if recalls[user] != ids[user] {
				t.Errorf("%s got a recall of %d, want %d", user, recalls[user], ids[user])
			}
		}
	}
}

// TestRecallLeavesOtherBodies: a body that lies where another message's id is
// does not go with that one.
func TestRecallLeavesOtherBodies(t *testing.T) {
	now := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	conf := redis.Config{
		URL: shared.URL(), Node: "recall", Prefix: rand.Text() + ":", Partitions: 2,
		Now: func() time.Time { return now },
	}
	// This node does not see what the other one appends: its ids lie behind.
	s, other := openStore(t, conf), openStore(t, conf)
	ctx := context.Background()
	push := func(by *redis.Store, users ...string) history.ID {
		t.Helper()
		p := history.Push{Kind: history.Multicast, Users: users, Data: []byte("a body that is kept apart, being longer than 32 bytes")}
		r, err := by.Append(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	// The partition of its first user gives a multicast its id.
	ahead, behind := []string{}, ""
	for i := 0; len(ahead) < 3 || behind == ""; i++ {
		user := fmt.Sprint("user", i)
		id := redis.Align(s, history.Push{Kind: history.Unicast, Users: []string{user}}, 2)
		if id == 2 {
			behind = user
		} else {
			ahead = append(ahead, user)
		}
	}
	fresh := ahead[2] // has the message under its id, and the others not
	ahead = ahead[:2]
	for range 10 {
		push(other, ahead...)
	}
	kept := push(other, ahead...)
	far := push(s, behind, ahead[0], ahead[1]) // its body lies at kept + 1
	if far > kept {
		t.Fatalf("id %d is not behind %d", far, kept)
	}
	var same history.ID
	for same <= kept {
		same = push(s, behind, ahead[0], ahead[1], fresh)
	}
	if same != kept+1 {
		t.Fatalf("id %d, want %d", same, kept+1)
	}
	before, err := s.Page(ctx, ahead[0], history.Query{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Recall(ctx, same); err != nil {
		t.Fatal(err)
	}
	after, err := s.Page(ctx, ahead[0], history.Query{Limit: 100})
	if err != nil || len(after.Messages) != len(before.Messages)-1 || after.Unread != before.Unread-1 {
		t.Errorf("%d messages and %d unread became %d and %d, %v; one was recalled",
			len(before.Messages), before.Unread, len(after.Messages), after.Unread, err)
	}
}
