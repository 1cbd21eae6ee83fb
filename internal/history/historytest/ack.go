package historytest

import (
	"time"

	"pushd.example/internal/history"
)

func ackPromises() []promise {
	return []promise{
		{name: "LowersUnread", check: ackLowersUnread},
		{name: "MovesEachLogOnlyForward", check: ackOnlyForward},
		{name: "StopsAtTheHead", check: ackStopsAtHead},
		{name: "IsOfOneUserOnly", check: ackIsPrivate},
		{name: "CountsWhatIsShown", check: ackCountsShown},
		{name: "OfAUserWithoutInbox", check: ackOfNewUser},
	}
}

func ackLowersUnread(r *rig) {
	sent := mixed(r, 8)
	var c history.Cursor
	for i, m := range sent {
		c = cursorOf(c, m)
		if n, want := r.ack("ann", c), len(sent)-i-1; n != want {
			r.Errorf("acked %d of %d: %d unread", i+1, len(sent), n)
		}
		if n, want := r.unread("ann"), len(sent)-i-1; n != want {
			r.Errorf("acked %d of %d: a page says %d unread", i+1, len(sent), n)
		}
	}
	r.wantHistory("ann", sent...)
	r.unicast("ann")
	if n := r.unread("ann"); n != 1 {
		r.Errorf("%d unread after one more, want 1", n)
	}
}

func ackOnlyForward(r *rig) {
	a1, b1 := r.unicast("ann"), r.broadcast()
	a2, b2 := r.unicast("ann"), r.broadcast()
	steps := []struct {
		c      history.Cursor
		unread int
	}{
		{history.Cursor{}, 4},
		{history.Cursor{Inbox: a1.ID}, 3},
		{history.Cursor{Broadcast: b2.ID}, 1},
		{history.Cursor{Inbox: a1.ID, Broadcast: b1.ID}, 1},
		{history.Cursor{}, 1},
		{history.Cursor{Inbox: a2.ID - 1}, 1},
		{history.Cursor{Inbox: a2.ID}, 0},
		{history.Cursor{Inbox: a1.ID}, 0},
	}
	for _, s := range steps {
		if n := r.ack("ann", s.c); n != s.unread {
			r.Errorf("after an ack of %+v %d are unread, want %d", s.c, n, s.unread)
		}
	}
}

func ackStopsAtHead(r *rig) {
	r.unicast("ann")
	foreign := r.unicast("bob") // later than ann's head
	if n := r.ack("ann", history.Cursor{Inbox: foreign.ID, Broadcast: foreign.ID}); n != 0 {
		r.Errorf("%d unread, want 0", n)
	}
	r.clock.Advance(-24 * time.Hour)
	a := r.attach("ann", history.Start{At: history.StartUnread, Limit: 1})
	if heads := r.heads("ann"); a.From != heads {
		r.Errorf("the read mark is %+v, want the heads %+v", a.From, heads)
	}
}

func ackIsPrivate(r *rig) {
	r.multicast("ann", "bob")
	b := r.broadcast()
	r.ack("ann", history.Cursor{Inbox: b.ID, Broadcast: b.ID})
	if n := r.unread("bob"); n != 2 {
		r.Errorf("%d unread for another user, want 2", n)
	}
}

func ackCountsShown(r *rig) {
	a := r.unicast("ann")
	r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, TTL: time.Second})
	r.send(history.Push{Kind: history.Broadcast, TTL: time.Second})
	r.broadcast()
	if n := r.ack("ann", history.Cursor{Inbox: a.ID}); n != 3 {
		r.Errorf("%d unread, want 3", n)
	}
	r.clock.Advance(time.Minute)
	if n := r.ack("ann", history.Cursor{Inbox: a.ID}); n != 1 {
		r.Errorf("%d unread when two have expired, want 1", n)
	}
}

func ackOfNewUser(r *rig) {
	r.broadcast()
	b := r.broadcast()
	later := r.broadcast()
	if n := r.ack("new", history.Cursor{Broadcast: b.ID}); n != 1 {
		r.Errorf("%d unread, want 1", n)
	}
	a := r.attach("new", history.Start{At: history.StartUnread, Limit: 10})
	r.wantMessages("unread of a new user", a.Page.Messages, later)
}
