package historytest

import (
	"slices"
	"sync"
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
		{name: "ReturnsWhereTheMarkLies", check: ackReturnsMark},
		{name: "TellsFollowersWhenTheMarkMoves", check: ackTells},
		{name: "TellsNobodyWhoIsNotAttached", check: ackTellsOnlyAttached},
		{name: "IsDeliveredInItsTurn", check: ackInTurn},
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

func (r *rig) ackFrom(connection, user string, c history.Cursor) history.ReadMark {
	r.Helper()
	mark, err := r.store.Ack(r.ctx, user, c, connection)
	if err != nil {
		r.Fatalf("acking %+v of %q: %v", c, user, err)
	}
	return mark
}

func ackReturnsMark(r *rig) {
	one, b, two := r.unicast("ann"), r.broadcast(), r.unicast("ann")
	for _, c := range []struct{ to, mark history.Cursor }{
		{history.Cursor{}, history.Cursor{}},
		{history.Cursor{Inbox: one.ID}, history.Cursor{Inbox: one.ID}},
		{history.Cursor{Broadcast: b.ID}, history.Cursor{Inbox: one.ID, Broadcast: b.ID}},
		{near(r), history.Cursor{Inbox: two.ID, Broadcast: b.ID}},
		{history.Cursor{}, history.Cursor{Inbox: two.ID, Broadcast: b.ID}},
	} {
		if got := r.ackFrom("", "ann", c.to); got.Cursor != c.mark {
			r.Errorf("an ack of %+v returned %+v, want %+v", c.to, got, c.mark)
		}
	}
}

func ackTells(r *rig) {
	for _, user := range []string{"ann", "ann", "bob"} {
		r.attach(user, history.Start{})
	}
	one, b, two := r.multicast("ann", "bob"), r.broadcast(), r.unicast("ann")
	f := r.follow()
	want := func(newest history.Message, user, exclude string, mark history.ReadMark) {
		r.Helper()
		r.wantDeliveries(f.take(), history.Delivery{
			Message: history.Message{ID: newest.ID}, Recipients: to(user, none), ExcludeConnection: exclude, Acked: &mark})
	}
	r.ack("ann", history.Cursor{Inbox: one.ID})
	want(two, "ann", "", history.ReadMark{Cursor: history.Cursor{Inbox: one.ID}, Unread: 2})
	r.ackFrom("c1", "bob", history.Cursor{Broadcast: b.ID})
	want(b, "bob", "c1", history.ReadMark{Cursor: history.Cursor{Broadcast: b.ID}, Unread: 1})
	r.ackFrom("c2", "ann", near(r))
	want(two, "ann", "c2", history.ReadMark{Cursor: history.Cursor{Inbox: two.ID, Broadcast: b.ID}})

	// The mark does not move.
	r.ack("ann", near(r))
	r.ack("ann", history.Cursor{})
	r.ack("bob", history.Cursor{Broadcast: b.ID})
	if _, err := r.store.Ack(r.ctx, "ann", history.Cursor{Inbox: history.MaxID}, ""); err == nil {
		r.Error("an ack in the far future was taken")
	}
	r.wantDeliveries(f.take())
}

func ackTellsOnlyAttached(r *rig) {
	r.attach("bob", history.Start{})
	r.attach("ann", history.Start{})
	r.store.Detach("ann")
	f := r.follow()
	m := r.unicast("ann")
	r.ack("ann", history.Cursor{Inbox: m.ID})
	r.wantDeliveries(f.take())
}

// ackInTurn: one who counts what is delivered knows what is unread.
func ackInTurn(r *rig) {
	r.attach("ann", history.Start{})
	f := r.follow()
	var wg sync.WaitGroup
	for range 4 {
		sent := make(chan history.ID, 100)
		wg.Go(func() {
			defer close(sent)
			for range cap(sent) {
				result, err := r.store.Append(r.ctx, history.Push{Kind: history.Unicast, Users: []string{"ann"}, Data: []byte("1")})
				if err != nil {
					r.Errorf("appending: %v", err)
				}
				sent <- result.ID
			}
		})
		wg.Go(func() {
			for id := range sent {
				var err error
				switch id % 3 {
				case 0:
					err = r.messages().Recall(r.ctx, id)
				case 1:
					_, err = r.store.Ack(r.ctx, "ann", history.Cursor{Inbox: id}, "")
				}
				if err != nil {
					r.Errorf("recalling or acking: %v", err)
				}
			}
		})
	}
	wg.Wait()
	r.engine.settle()
	f.mu.Lock()
	defer f.mu.Unlock()
	var shown []history.ID
	acks := 0
	for _, d := range f.got {
		switch {
		case d.Recall:
			shown = slices.DeleteFunc(shown, func(id history.ID) bool { return id == d.Message.ID })
		case d.Acked != nil:
			acks++
			unread := 0
			for _, id := range shown {
				if id > d.Acked.Cursor.Inbox {
					unread++
				}
			}
			if unread != d.Acked.Unread {
				r.Fatalf("ack %d, to %+v, comes after %d messages that are unread", acks, *d.Acked, unread)
			}
		default:
			shown = append(shown, d.Message.ID)
		}
	}
	if acks == 0 {
		r.Error("no ack was delivered")
	}
}
