package conn_test

import (
	"context"
	"testing"

	"pushd.example/internal/conn"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// ack makes user ack message m by a call.
func (r *rig) ack(user string, m history.Message) {
	r.t.Helper()
	if _, err := r.store.Ack(r.ctx, user, cursorAt(m), ""); err != nil {
		r.t.Fatal(err)
	}
}

// cursorAt returns the cursor of one who has seen nothing but m.
func cursorAt(m history.Message) history.Cursor {
	if m.Kind == history.Broadcast {
		return history.Cursor{Broadcast: m.ID}
	}
	return history.Cursor{Inbox: m.ID}
}

func (c *client) wantAcked(cursor history.Cursor, unread int) {
	c.t.Helper()
	if got := c.read(); got.Type != "acked" || got.Cursor != cursor.String() || got.Unread != unread {
		c.t.Fatalf("want acked up to %v with %d unread, got %+v", cursor, unread, got)
	}
}

// wantMark reads a batch that has nothing but a read mark.
func wantMark(t *testing.T, ctx context.Context, sub *conn.Subscription, cursor history.Cursor, unread int) {
	t.Helper()
	batch, err := sub.Next(ctx)
	if err != nil || len(batch.Messages) > 0 || batch.Acked == nil || *batch.Acked != (history.ReadMark{Cursor: cursor, Unread: unread}) {
		t.Fatalf("next came %+v with the read mark %+v, %v; want %v with %d unread", batch, batch.Acked, err, cursor, unread)
	}
}

// An ack reaches every connection of its user once, however it is made.
func TestAckReachesAllConnectionsOfItsUser(t *testing.T) {
	r := serve(t, nil)
	a1, a2, b := r.connect("a"), r.connect("a"), r.connect("b")
	sub := r.subscribe("a", history.Start{At: history.StartNow})
	one, two := r.send(history.Unicast, "1", "a"), r.send(history.Broadcast, "2")
	for _, c := range []*client{a1, a2} {
		c.wantData("1", "2")
	}
	b.wantData("2")
	wantNext(t, r.ctx, sub, "1", "2")

	a1.say(`{"type":"ack","cursor":"` + cursorAt(one).String() + `"}`)
	a1.wantAcked(cursorAt(one), 1)
	a2.wantAcked(cursorAt(one), 1)
	wantMark(t, r.ctx, sub, cursorAt(one), 1)

	both := history.Cursor{Inbox: one.ID, Broadcast: two.ID}
	r.ack("a", two)
	a1.wantAcked(both, 0)
	a2.wantAcked(both, 0)
	wantMark(t, r.ctx, sub, both, 0)

	// The mark is there already: only the one who asks is answered.
	a1.say(`{"type":"ack","cursor":"` + cursorAt(one).String() + `"}`)
	a1.wantAcked(both, 0)
	r.multicast("3", "a", "b")
	for _, c := range []*client{a1, a2, b} {
		c.wantData("3")
	}
	wantNext(t, r.ctx, sub, "3")
}

// A connection whose unread was read before an ack, and that is open only after it,
// learns of the ack.
func TestAckWhileConnecting(t *testing.T) {
	r, f := serveFaulty(t, nil)
	witness := r.connect("a") // what it has seen, its loop has
	one, two := r.send(history.Unicast, "1", "a"), r.send(history.Unicast, "2", "a")
	witness.wantData("1", "2")
	late := make(chan struct{})
	f.set(func() { f.late = late })
	connected, subscribed := make(chan *client), make(chan *conn.Subscription)
	go func() { connected <- r.connect("a") }()
	go func() { subscribed <- r.subscribe("a", history.Start{At: history.StartNow}) }()
	testkit.WaitFor(t, "both to be attached", func() bool { return f.waiting.Load() == 2 })
	r.ack("a", one)
	witness.wantAcked(cursorAt(one), 1)
	f.set(func() { f.late = nil })
	close(late)
	c, sub := <-connected, <-subscribed
	if _, begin := sub.Hello(); c.hello.Unread != 2 || begin.Page.Unread != 2 {
		t.Errorf("%d and %d unread at the time of Attach, want 2", c.hello.Unread, begin.Page.Unread)
	}
	c.wantAcked(cursorAt(one), 1)
	wantMark(t, r.ctx, sub, cursorAt(one), 1)
	r.ack("a", two)
	c.wantAcked(cursorAt(two), 0)
	wantMark(t, r.ctx, sub, cursorAt(two), 0)
	witness.wantAcked(cursorAt(two), 0)
	c.say(`{"type":"ping"}`)
	if m := c.read(); m.Type != "pong" {
		t.Errorf("want pong, got %+v", m)
	}
}

// A subscription is told the newest read mark, where it stands among the messages
// that wait.
func TestReadMarkAmongMessages(t *testing.T) {
	r := serve(t, nil)
	sub := r.subscribe("a", history.Start{At: history.StartNow})
	one, two := r.send(history.Unicast, "1", "a"), r.send(history.Unicast, "2", "a")
	r.ack("a", one)
	three := r.send(history.Unicast, "3", "a")
	r.ack("a", two)
	four := r.send(history.Unicast, "4", "a")
	r.recall(one)
	r.recall(four)
	r.unicast("a", "5")
	batch, err := sub.Next(r.ctx)
	var got []history.ID
	for _, m := range batch.Messages[:batch.Before] {
		got = append(got, m.ID)
	}
	if err != nil || len(got) != 2 || got[0] != two.ID || got[1] != three.ID || len(batch.Messages) != 3 {
		t.Fatalf("%d of %d messages come before the read mark, %v, %v; want %d and %d", batch.Before, len(batch.Messages), got, err, two.ID, three.ID)
	}
	if batch.Acked == nil || *batch.Acked != (history.ReadMark{Cursor: cursorAt(two), Unread: 1}) {
		t.Errorf("the read mark is %+v, want %v with 1 unread", batch.Acked, cursorAt(two))
	}
}
