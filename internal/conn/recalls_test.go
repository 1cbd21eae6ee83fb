package conn_test

import (
	"fmt"
	"testing"

	"pushd.example/internal/conn"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// send appends a message and returns it without its data, as a recall has it.
func (r *rig) send(kind history.Kind, data string, users ...string) history.Message {
	r.t.Helper()
	receipt := r.append(history.Push{Kind: kind, Users: users, Data: []byte(data)})
	return history.Message{ID: receipt.ID, Kind: kind}
}

// sent is the store behind what may be wrong with r's.
func (r *rig) messages() history.Messages {
	if f, ok := r.store.(*faulty); ok {
		return f.Store.(history.Messages)
	}
	return r.store.(history.Messages)
}

// recall takes m back.
func (r *rig) recall(m history.Message) {
	r.t.Helper()
	if err := r.messages().Recall(r.ctx, m.ID); err != nil {
		r.t.Fatal(err)
	}
}

func (c *client) wantRecall(m history.Message) {
	c.t.Helper()
	if got := c.read(); got.Type != "recall" || got.ID != m.ID.String() || got.Log != m.Kind.Log() {
		c.t.Fatalf("want the recall of %+v, got %+v", m, got)
	}
}

func TestRecall(t *testing.T) {
	r := serve(t, nil)
	a1, a2, b := r.connect("a"), r.connect("a"), r.connect("b")
	one := r.send(history.Unicast, "1", "a")
	two := r.send(history.Multicast, "2", "a", "b", "nobody")
	three := r.send(history.Broadcast, "3")
	a1.wantData("1", "2", "3")
	a2.wantData("1", "2", "3")
	b.wantData("2", "3")
	for _, m := range []history.Message{three, one, two} {
		r.recall(m)
	}
	r.broadcast("4")
	for _, c := range []*client{a1, a2} {
		c.wantRecall(three)
		c.wantRecall(one)
		c.wantRecall(two)
		c.wantData("4")
	}
	b.wantRecall(three)
	b.wantRecall(two)
	b.wantData("4")
	r.connect("a", "cursor", "0").wantData("4")
}

// Broadcasts and recalls that wait together go out one by one, in order.
func TestRecallsAmongBroadcasts(t *testing.T) {
	r := serve(t, nil)
	var clients []*client
	for i := range 5 {
		clients = append(clients, r.connect(fmt.Sprint(i)))
	}
	const rounds = 100
	var gone []history.Message
	for i := range rounds {
		m := r.send(history.Broadcast, fmt.Sprint(i))
		if i%3 == 0 {
			r.recall(m)
			gone = append(gone, m)
		}
	}
	for _, c := range clients {
		for i := range rounds {
			c.wantData(fmt.Sprint(i))
			if i%3 == 0 {
				c.wantRecall(gone[i/3])
			}
		}
	}
}

// A message that was read before its recall does not come after it.
func TestRecallOvertakesAPage(t *testing.T) {
	r, f := serveFaulty(t, nil)
	witness := r.connect("a") // what it has seen, its loop has
	one := r.send(history.Unicast, "1", "a")
	two := r.send(history.Broadcast, "2")
	r.unicast("a", "3")
	witness.wantData("1", "2", "3")
	late := make(chan struct{})
	f.set(func() { f.late = late })
	connected := make(chan *client)
	go func() { connected <- r.connect("a", "cursor", "0") }()
	testkit.WaitFor(t, "the first page to be read", func() bool { return f.waiting.Load() == 1 })
	r.recall(one)
	r.recall(two)
	witness.wantRecall(one)
	witness.wantRecall(two)
	f.set(func() { f.late = nil })
	close(late)
	c := <-connected
	c.wantData("3")
	witness.ws.CloseNow()
	testkit.WaitFor(t, "the witness to go", func() bool { return f.attached.Load() == 1 })

	// The same of a later page, all of which is gone.
	late = make(chan struct{})
	f.set(func() {
		f.late = late
		f.deliver = func([]history.Delivery) []history.Delivery { return nil }
	})
	r.unicast("a", `"lost"`)
	f.set(func() { f.deliver = nil })
	four := r.send(history.Multicast, "4", "a", "b") // shows the hole
	testkit.WaitFor(t, "the page to be read", func() bool { return f.waiting.Load() == 1 })
	lost := r.lastOf("a", 1)
	r.recall(lost)
	r.recall(four)
	c.wantRecall(lost)
	c.wantRecall(four)
	f.set(func() { f.late = nil })
	close(late)
	r.unicast("a", "5")
	c.wantData("5")
}

// lastOf returns the message of user's that so many others follow.
func (r *rig) lastOf(user string, others int) history.Message {
	r.t.Helper()
	store := r.store.(*faulty).Store
	p, err := store.Page(r.ctx, user, history.Query{Limit: others + 1})
	if err != nil || len(p.Messages) != others+1 {
		r.t.Fatalf("page %+v, %v", p, err)
	}
	m := p.Messages[0]
	m.Data = nil
	return m
}

// A recall that overtakes its message, as it may where several nodes share the
// data, has it not delivered at all.
func TestRecallBeforeItsMessage(t *testing.T) {
	r, f := serveFaulty(t, nil)
	c := r.connect("a")
	var held []history.Delivery
	f.set(func() {
		f.deliver = func(batch []history.Delivery) []history.Delivery {
			held = append(held, batch...)
			return nil
		}
	})
	m := r.send(history.Broadcast, "1")
	f.set(func() {
		f.deliver = func(batch []history.Delivery) []history.Delivery { return append(batch, held...) }
	})
	r.recall(m)
	f.set(func() { f.deliver = nil })
	r.broadcast("2")
	c.wantRecall(m)
	c.wantData("2")
}

func TestSubscriptionIsToldOfRecalls(t *testing.T) {
	r := serve(t, nil)
	sub := r.subscribe("a", history.Start{At: history.StartNow})
	other := r.subscribe("b", history.Start{At: history.StartNow})
	one := r.send(history.Unicast, "1", "a")
	two := r.send(history.Broadcast, "2")
	wantNext(t, r.ctx, sub, "1", "2")
	wantNext(t, r.ctx, other, "2")
	wantRecall := func(sub *conn.Subscription, m history.Message) {
		t.Helper()
		batch, err := sub.Next(r.ctx)
		if err != nil || len(batch.Recalls) != 1 || batch.Recalls[0].ID != m.ID || len(batch.Messages) > 0 {
			t.Fatalf("next came %+v, %v, want the recall of %d", batch, err, m.ID)
		}
	}
	r.recall(one)
	wantRecall(sub, one)
	r.recall(two)
	wantRecall(sub, two)
	wantRecall(other, two)
	r.unicast("b", "3")
	wantNext(t, r.ctx, other, "3")

	// One that is recalled before it was read does not come.
	gone := r.send(history.Unicast, "4", "b")
	r.recall(gone)
	wantRecall(other, gone)
	r.unicast("b", "5")
	wantNext(t, r.ctx, other, "5")
}

// A subscription that reads no recalls ends, and nobody waits for it.
func TestRecallsOfASubscriptionAreBounded(t *testing.T) {
	r := serve(t, nil)
	sub := r.subscribe("a", history.Start{At: history.StartNow})
	m := r.send(history.Unicast, "1", "a")
	wantNext(t, r.ctx, sub, "1")
	for range 1025 {
		r.recall(m)
	}
	var err error
	for err == nil {
		var batch conn.Batch
		if batch, err = sub.Next(r.ctx); len(batch.Recalls) > 1024 {
			t.Errorf("%d recalls were kept", len(batch.Recalls))
		}
	}
	if err != conn.ErrTruncated {
		t.Errorf("it ended with %v, want ErrTruncated", err)
	}
}
