package historytest

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"pushd.example/internal/history"
)

func collapsePromises() []promise {
	few := history.Retention{InboxCount: 3, BroadcastCount: 3}
	return []promise{
		{name: "NewestUnreadGivesPlace", check: newestGivesPlace},
		{name: "WhatIsAckedStays", check: ackedStays},
		{name: "EachInboxForItself", check: eachInboxForItself},
		{name: "BroadcastsForEverybody", check: broadcastsGivePlace},
		{name: "LogsApart", check: logsApart},
		{name: "DuplicateReplacesNothing", check: duplicateReplacesNothing},
		{name: "ManyUsers", check: collapseForMany},
		{name: "DroppedByRetention", retention: few, check: collapseOfDropped},
		{name: "WithTTL", check: collapseWithTTL},
		{name: "AtTheSameTime", check: collapseAtOnce},
		{name: "ManyAndOneOfThemAtTheSameTime", check: collapseManyAtOnce},
	}
}

func reopenCollapsePromises() []promise {
	return []promise{{name: "GoesOn", check: collapseAfterReopen}}
}

// on returns a push that is the latest word on key.
func on(key string, kind history.Kind, users ...string) history.Push {
	return history.Push{Kind: kind, Users: users, CollapseKey: key}
}

func newestGivesPlace(r *rig) {
	r.attach("ann", history.Start{})
	f := r.follow()
	long := strings.Repeat("k", history.MaxCollapseKey)
	before := r.unicast("ann")
	first := r.send(on("a", history.Unicast, "ann"))
	other := r.send(on(long, history.Unicast, "ann"))
	start := r.heads("ann")
	second := r.send(on("a", history.Unicast, "ann"))
	r.wantHistory("ann", before, other, second)
	if n := r.unread("ann"); n != 3 {
		r.Errorf("%d unread, want 3", n)
	}
	p := r.page("ann", history.Query{Direction: history.Backward, Before: second.ID, Limit: 1})
	r.wantMessages("the page before", p.Messages, other)
	if p := r.forward("ann", start); p.Truncated {
		r.Error("a message in the place of another is no truncation")
	}
	third := r.send(on("a", history.Multicast, "ann", "bob"))
	r.wantHistory("ann", before, other, third)
	r.wantDeliveries(f.take(),
		history.Delivery{Message: before, Recipients: to("ann", none)},
		history.Delivery{Message: first, Recipients: to("ann", before.ID)},
		history.Delivery{Message: other, Recipients: to("ann", first.ID)},
		history.Delivery{Message: second, Recipients: to("ann", other.ID)},
		history.Delivery{Message: third, Recipients: to("ann", second.ID)})
}

func ackedStays(r *rig) {
	first := r.send(on("a", history.Unicast, "ann"))
	r.ack("ann", r.heads("ann"))
	second := r.send(on("a", history.Unicast, "ann"))
	third := r.send(on("a", history.Unicast, "ann"))
	r.wantHistory("ann", first, third)
	if n := r.unread("ann"); n != 1 {
		r.Errorf("%d unread, want 1", n)
	}
	if n := r.ack("ann", history.Cursor{Inbox: second.ID}); n != 1 {
		r.Errorf("%d unread after an ack of what was replaced, want 1", n)
	}
}

func eachInboxForItself(r *rig) {
	long := strings.Repeat("x", 300) // stored once for all
	p := on("a", history.Multicast, "ann", "bob")
	p.Data = []byte(long)
	first := r.send(p)
	r.ack("bob", r.heads("bob"))
	p.Users, p.Data = []string{"bob", "ann", "cleo"}, []byte(long+"2")
	second := r.send(p)
	r.wantHistory("ann", second)
	r.wantHistory("bob", first, second)
	r.wantHistory("cleo", second)
}

func broadcastsGivePlace(r *rig) {
	first := r.send(on("a", history.Broadcast))
	r.ack("bob", r.heads("bob"))
	other := r.broadcast()
	start := r.heads("ann")
	second := r.send(on("a", history.Broadcast))
	for _, user := range []string{"ann", "bob", "new"} {
		r.wantHistory(user, other, second)
	}
	third := r.send(on("a", history.Broadcast))
	r.wantMessages("after a cursor", r.forward("ann", start).Messages, third)
	for user, want := range map[string]int{"ann": 2, "bob": 2} {
		if n := r.unread(user); n != want {
			r.Errorf("%d unread of %s, want %d", n, user, want)
		}
	}
	if n := r.ack("ann", history.Cursor{Broadcast: first.ID}); n != 2 {
		r.Errorf("%d unread after an ack of what was replaced, want 2", n)
	}
	r.clock.Advance(time.Hour)
	r.wantHistory("ann", other, third)
}

func logsApart(r *rig) {
	b := r.send(on("a", history.Broadcast))
	u := r.send(on("a", history.Unicast, "ann"))
	r.wantHistory("ann", b, u)
	b2 := r.send(on("a", history.Broadcast))
	r.wantHistory("ann", u, b2)
}

func duplicateReplacesNothing(r *rig) {
	p := on("a", history.Multicast, "ann", "bob")
	p.IdempotencyKey = "k"
	first := r.send(p)
	second := r.send(on("a", history.Unicast, "ann"))
	p.Data = []byte("again")
	if got := r.push(p); !got.Duplicate || got.ID != first.ID {
		r.Errorf("result %+v, want a duplicate of %d", got, first.ID)
	}
	r.wantHistory("ann", second)
	r.wantHistory("bob", first)
}

// collapseForMany: for more than an engine takes in one step.
func collapseForMany(r *rig) {
	var users []string
	for i := range 1200 {
		users = append(users, fmt.Sprint("user", i))
	}
	r.send(on("a", history.Multicast, users...))
	acked := r.forward(users[7], history.Cursor{})
	r.ack(users[7], acked.Cursor)
	last := r.send(on("a", history.Multicast, users...))
	for _, user := range []string{users[0], users[500], users[1199]} {
		r.wantHistory(user, last)
	}
	r.wantHistory(users[7], append(acked.Messages, last)...)
}

func collapseOfDropped(r *rig) {
	r.send(on("a", history.Unicast, "ann"))
	r.send(on("a", history.Broadcast))
	var want []history.Message
	for range 200 {
		r.unicast("ann")
		r.broadcast()
	}
	for range 2 {
		want = append(want, r.unicast("ann"), r.broadcast())
	}
	want = append(want, r.send(on("a", history.Unicast, "ann")), r.send(on("a", history.Broadcast)))
	r.wantHistory("ann", want...)
}

func collapseWithTTL(r *rig) {
	expiring := func(kind history.Kind, users ...string) history.Push {
		p := on("a", kind, users...)
		p.TTL = time.Second
		return p
	}
	r.send(expiring(history.Unicast, "ann"))
	r.send(expiring(history.Broadcast))
	u, b := r.send(expiring(history.Unicast, "ann")), r.send(expiring(history.Broadcast))
	r.wantHistory("ann", u, b)
	r.clock.Advance(time.Minute)
	r.wantHistory("ann")
	if n := r.unread("ann"); n != 0 {
		r.Errorf("%d unread, want none", n)
	}
	u, b = r.send(on("a", history.Unicast, "ann")), r.send(on("a", history.Broadcast))
	r.wantHistory("ann", u, b)
	if n := r.unread("ann"); n != 2 {
		r.Errorf("%d unread, want 2", n)
	}
}

// collapseAtOnce: whoever appends, one of a key is left, and readers see one at
// any time.
// collapseManyAtOnce sends to many while one of them gets others on the same, and
// one acks.
func collapseManyAtOnce(r *rig) {
	var users []string
	for i := range 1100 {
		users = append(users, fmt.Sprint("user", i))
	}
	busy, acks := users[3], users[4]
	push := func(p history.Push) {
		if _, err := r.store.Append(r.ctx, p); err != nil {
			r.Error(err)
		}
	}
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			for range 5 {
				push(on("a", history.Multicast, users...))
			}
		})
	}
	running.Go(func() {
		for range 100 {
			push(on("a", history.Unicast, busy))
			if _, err := r.store.Ack(r.ctx, acks, r.heads(acks), ""); err != nil {
				r.Error(err)
			}
		}
	})
	running.Wait()
	for _, user := range []string{users[0], busy, users[1099]} {
		if p := r.forward(user, history.Cursor{}); len(p.Messages) != 1 || p.Unread != 1 {
			r.Errorf("%s: %d unread, history %s, want one", user, p.Unread, list(p.Messages))
		}
	}
	if n := r.unread(acks); n > 1 {
		r.Errorf("%s has %d unread", acks, n)
	}
}

func collapseAtOnce(r *rig) {
	r.send(on("a", history.Unicast, "ann"))
	r.send(on("a", history.Broadcast))
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for range 50 {
				for _, p := range []history.Push{on("a", history.Unicast, "ann"), on("a", history.Broadcast)} {
					if _, err := r.store.Append(r.ctx, p); err != nil {
						r.Error(err)
					}
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		writers.Wait()
		close(done)
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		p := r.forward("ann", history.Cursor{})
		if len(p.Messages) != 2 || p.Unread != 2 {
			r.Fatalf("%d unread, history %s, want one of each log", p.Unread, list(p.Messages))
		}
	}
}

func collapseAfterReopen(r *rig) {
	u, b := r.send(on("a", history.Unicast, "ann")), r.send(on("a", history.Broadcast))
	r.reopen()
	r.wantHistory("ann", u, b)
	u, b = r.send(on("a", history.Unicast, "ann")), r.send(on("a", history.Broadcast))
	r.wantHistory("ann", u, b)
	r.reopen()
	r.wantHistory("ann", u, b)
	if n := r.unread("ann"); n != 2 {
		r.Errorf("%d unread, want 2", n)
	}
}
